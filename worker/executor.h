/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor: runs attempts in slots. Each slot is a small process of its own (the same binary,
 * `mayfly-worker slot`, free of nng), which spawns one attempt at a time, is its sub-reaper,
 * captures its streams, enforces its limits, and ends its whole tree. One executor per worker, on
 * the loop's thread.
 *
 * Attempts wait in one queue and are handed to free slots in order; when attempts are short, one is
 * handed over ahead so that a slot never waits for the worker, and it is recalled if the slot is
 * then kept busy.
 */
#ifndef MAYFLY_WORKER_EXECUTOR_H
#define MAYFLY_WORKER_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/loop.h"
#include "common/message.h"

struct executor;
struct stage;

/* A file that an ended attempt leaves behind: a large result, an output, a captured stream. */
struct executed_file {
    enum mf_chunk_kind kind;
    char *path;      /* to open; on the heap */
    char *name;      /* of an output, relative to the attempt's folder; bytes; NULL otherwise */
    uint64_t offset; /* where it starts in that file (streams are packed into segments) */
    uint64_t length;
    uint64_t sent; /* of it, while the attempt ran; 0 at first, the upload's business */
    uint64_t cut_bytes;
    uint32_t mode;
};

/* What a running attempt has written so far and may be sent. */
struct executed_growth {
    struct mf_fence fence;
    struct {
        const char *path; /* borrowed until executor_release; NULL: nothing there yet */
        uint64_t offset;  /* where the stream starts in that file */
        uint64_t length;  /* rises */
    } out, err;
};

/* An ended attempt. result.inline_result and detail are owned by this struct. */
struct executed {
    struct mf_result result;     /* age_us is 0: see ended_us */
    int64_t ended_us;            /* monotonic */
    struct executed_file *files; /* to send before the result is */
    uint32_t file_count;
    bool has_grown; /* `grew` was called of it */
    void *memory;   /* what the result borrows from */
    char *failure;  /* heap, NULL at first: for whoever turns the result into a failure later; freed
                       by executor_release */
};

struct executor_callbacks {
    void (*started)(void *arg, const struct mf_fence *fence);
    /* Takes executed (heap): give it back by executor_release when its files were sent and the
     * result acknowledged. */
    void (*ended)(void *arg, struct executed *executed);
    void (*returned)(void *arg, const struct mf_fence *fence); /* taken back before it started */
    /* A running attempt has written more: at most once a second, not in its first one. */
    void (*grew)(void *arg, const struct executed_growth *growth);
    void (*failed)(
        void *arg,
        const struct mf_error *error); /* the executor can't go on: the worker must end */
    void *arg;
};

/*
 * Makes this process a sub-reaper; it must have no other children, since what a dead slot leaves is
 * killed as "children that are no slots". Callbacks come from executor_tick, the loop, and (only
 * `returned`) from taking back and cancelling.
 *
 * folder: the worker's own (0700), where attempts/ and streams/ are made. task is copied. binary:
 * this executable
 * (/proc/self/exe as a rule). stage: fetches what attempts need, borrowed until executor_destroy;
 * NULL = all is in its place. Starts `slots` slot processes.
 */
struct executor *executor_create(struct mf_loop *loop,
                                 const struct mf_task *task,
                                 const char *run_id,
                                 uint32_t worker,
                                 const char *folder,
                                 const char *binary,
                                 uint32_t slots,
                                 struct stage *stage,
                                 const struct executor_callbacks *callbacks,
                                 struct mf_error *error);

/* Queues an attempt, which the next executor_tick hands out; copies what it needs. A fence that is
 * known (submitted and not released yet) is ignored. -1 only with MF_ENOMEM. */
int executor_submit(struct executor *executor,
                    const struct mf_subtask *subtask,
                    struct mf_error *error);
/* Takes back what is not started: `returned` follows, or nothing if it already runs or is not
 * known. */
void executor_take_back(struct executor *executor, const struct mf_fence *fence);
/* Ends it at once, TERM then KILL: `ended` with MF_CAUSE_CANCELLED follows; queued ones come as
 * `returned`. */
void executor_cancel(struct executor *executor, const struct mf_fence *fence);
/* As executor_cancel, of everything that was submitted. */
void executor_cancel_all(struct executor *executor);
void executor_release(struct executor *executor, struct executed *executed);

/* For the hello to another master: what was submitted and not released, at most `size` of it, and
 * how many were written. What has ended comes first, then what runs; of what waits, that which
 * finds no room goes back (`returned`). What was cancelled or asked back is left out. */
uint32_t executor_held(struct executor *executor, struct mf_held *held, uint32_t size);

/* What is in slots now (none of NULL); returns how many were written to `fences` (at most `size`).
 */
uint32_t executor_running(const struct executor *executor, struct mf_fence *fences, uint32_t size);
uint32_t executor_free_places(const struct executor *executor);
uint32_t executor_queued(const struct executor *executor); /* submitted, not ended */

/* Hands out and looks at deadlines: before each wait of the loop. Returns its next deadline. */
int64_t executor_tick(struct executor *executor, int64_t now_us);

/* Ends all slots and their trees (KILL after kill_after), waits for that, and removes attempts/ and
 * streams/. What has ended and was not released is freed too. */
void executor_destroy(struct executor *executor);

/* main() of `mayfly-worker slot`: control socket on descriptor 3. Returns the exit code. */
int slot_main(void);

#endif
