/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Units of staging: what is fetched as one entry of the cache - an input, a group of inputs, or the
 * job's own files - and the attempts that wait for it. What files a unit has follows from the
 * subtask or the task alone. Loop thread only.
 */
#ifndef MAYFLY_WORKER_UNIT_H
#define MAYFLY_WORKER_UNIT_H

#include "common/buffer.h"
#include "worker/attempts.h"
#include "worker/cache.h"
#include "worker/fetch.h"

enum unit_state { UNIT_WAITING, UNIT_FETCHING, UNIT_READY };

struct unit {
    struct unit *chain;           /* of its bucket */
    struct unit *previous, *next; /* while it is not ready, in the order of need */
    char key[CACHE_KEY_SIZE];
    enum unit_state state;
    bool is_started;       /* an attempt has begun that uses it */
    int64_t try_at_us;     /* while it waits */
    bool needs_room;       /* it waits for that; else for another worker */
    uint32_t fulls;        /* how often the disk was full */
    uint32_t users;        /* attempts, waiting ones included */
    struct attempt *first; /* waiting, oldest first */
    struct attempt **last;
    uint64_t bytes; /* that are to be fetched, as far as they are known */
    struct cache_entry entry;
    struct transfer transfer;
    char *folder;          /* where its files are when it is ready, absolute */
    char *path;            /* of the file of an input */
    struct mf_buffer item; /* of a group that is ready: the list of where its files are */
};

/* What of a run's task decides how inputs are staged; borrowed. */
struct unit_rules {
    uint32_t staging; /* enum mf_staging */
    uint32_t stdin_mode;
    bool is_grouped;
    const char *job_folder;
};

/* Whether the subtask has an input at all that may have to be fetched. */
bool unit_is_needed(const struct unit_rules *rules, const struct mf_subtask *subtask);
/* The key of the unit that the subtask needs. */
void unit_key(const struct unit_rules *rules,
              const struct mf_subtask *subtask,
              char key[CACHE_KEY_SIZE]);

/* NULL: MF_ENOMEM. */
struct unit *unit_create(const struct unit_rules *rules,
                         const struct cache *cache,
                         const char *key,
                         const struct mf_subtask *subtask,
                         struct mf_error *error);
struct unit *
unit_create_job(const struct mf_task *task, const struct cache *cache, struct mf_error *error);
void unit_destroy(struct unit *unit);

/* Whether all of the job's own files are in their own place. */
bool unit_job_is_in_place(const struct mf_task *task);

/* When all files are there: the list of a group. -1: MF_ENOMEM. */
int unit_list(struct unit *unit, struct mf_error *error);

#endif
