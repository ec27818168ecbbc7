/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attempts that a worker knows: from their submission until their result was acknowledged. A
 * table by fence, and the queue of those that wait for a slot.
 */
#ifndef MAYFLY_WORKER_ATTEMPTS_H
#define MAYFLY_WORKER_ATTEMPTS_H

#include "worker/executor.h"
#include "worker/segments.h"
#include "worker/slot.h"
#include "worker/stage.h"

enum attempt_state {
    ATTEMPT_STAGING, /* what it needs is fetched */
    ATTEMPT_QUEUED,
    ATTEMPT_AHEAD, /* with a slot, behind the one that runs there */
    ATTEMPT_RUNNING,
    ATTEMPT_ENDED /* handed to the caller, not released yet */
};

struct attempt {
    struct attempt *chain;           /* of its bucket */
    struct attempt *previous, *next; /* in the queue */
    enum attempt_state state;
    bool take_back; /* asked for while ahead */
    bool cancel;
    struct mf_fence fence;
    struct mf_subtask subtask; /* borrows from bytes */
    struct executed executed;
    uint32_t file_capacity;
    uint32_t output_count;
    struct segment *segments[2]; /* that executed.files refer to, or will */
    struct slot_streams streams; /* as they were told last, while it ran */
    struct stage_hold hold;
    size_t kept; /* memory that it holds after its end */
    unsigned char bytes[];
};

struct attempts {
    struct attempt **buckets;
    size_t bucket_count;
    size_t count;
    uint32_t unended; /* staging, queued, ahead, running */
    uint32_t staging;
    uint32_t queued;
    struct attempt *first, *last; /* the queue */
};

int attempts_init(struct attempts *attempts, struct mf_error *error);
/* Frees all; what they refer to is the caller's. */
void attempts_fini(struct attempts *attempts);

struct attempt *attempts_find(const struct attempts *attempts, const struct mf_fence *fence);
/* Copies the subtask; not in the queue yet. */
struct attempt *
attempts_add(struct attempts *attempts, const struct mf_subtask *subtask, struct mf_error *error);
void attempts_remove(struct attempts *attempts, struct attempt *attempt);

void attempts_push_back(struct attempts *attempts, struct attempt *attempt);
void attempts_push_front(struct attempts *attempts, struct attempt *attempt);
void attempts_unqueue(struct attempts *attempts, struct attempt *attempt);

/* Calls for each, in no order; it may remove the one it is called for. */
void attempts_each(struct attempts *attempts, void (*f)(void *, struct attempt *), void *arg);

#endif
