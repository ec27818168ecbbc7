/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable queues of one user: $XDG_STATE_HOME/mayfly/queues.db (docs/queues.md), which also
 * holds the triggers and what they fired (trigger_row.h, firing.h), so that a threshold is seen and
 * its messages are claimed in one transaction.
 *
 * Any number of processes work on the file at once. All that changes something does so between
 * queues_begin and queues_commit; what was not committed never was (a full disk, kill -9). A struct
 * queues belongs to one thread. Times are microseconds since 1970 UTC, given by the caller.
 *
 * A message is `ready`, then `claimed` by a run, then gone when that run has succeeded; given back
 * it is ready again, in its old place (the order is that of ids); after queue.claims_max failures
 * it is `dead`, kept with its cause until it is replayed or purged. Messages with the same group
 * are in order: only the first of a group that is not dead can be claimed, and at most one of a
 * group is claimed at a time.
 */
#ifndef MAYFLY_MASTER_QUEUE_QUEUE_H
#define MAYFLY_MASTER_QUEUE_QUEUE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

#define QUEUE_NAME_MAX 64u
#define QUEUE_BODY_MAX (1024u * 1024u) /* what an item of a subtask can be */
#define QUEUE_KEY_MAX 1024u            /* bytes of a key, and of a group */

struct queues {
    sqlite3 *db;
    char *path;                          /* of queues.db */
    struct queue_statements *statements; /* prepared once: statements.h */
    int64_t busy_since_us;               /* monotonic: since when others are waited for */
    int log_pages;                       /* of the write-ahead log, after the last commit */
    bool is_in_doubt;                    /* the last commit failed where that means nothing */
};

/* $XDG_STATE_HOME/mayfly/queues.db (heap). NULL: as state_folder. */
char *queues_path(struct mf_error *error);

/*
 * Opens the file, made with its folder when `make` is set. 1 and *queues, 0 when it is not there
 * and not to be made, -1: MF_ESETUP (disk, permissions, locked), MF_EINPUT (damaged, of a newer
 * version).
 */
int queues_open(const char *path, bool make, struct queues **queues, struct mf_error *error);
/* ... that of the user, at queues_path. */
int queues_open_own(bool make, struct queues **queues, struct mf_error *error);
void queues_close(struct queues *queues);

/*
 * One transaction of writing, waiting for others up to 60 s. A commit that fails has rolled back; a
 * rollback without a transaction does nothing. But when the disk could not say that all was
 * written, who opens the file next may find it there all the same: is_in_doubt is set then.
 */
int queues_begin(struct queues *queues, struct mf_error *error);
int queues_commit(struct queues *queues, struct mf_error *error);
void queues_rollback(struct queues *queues);

struct queue_info {
    int64_t id;
    char name[QUEUE_NAME_MAX + 1];
    int64_t created_us;
    uint64_t body_max, claims_max, key_us;
    uint64_t ready, ready_bytes, claimed, dead, pushed, done;
    /* Arrival of the oldest message that can be claimed; 0 = none can, even if some of groups whose
     * first message is claimed are ready. */
    int64_t oldest_us;
    uint64_t fan_out; /* how many queues get a copy of what is pushed */
};

struct queue_settings {
    uint64_t body_max;   /* bytes, at most QUEUE_BODY_MAX; 0 = QUEUE_BODY_MAX */
    uint64_t claims_max; /* 0 = 3 */
    uint64_t key_us;     /* 0 = 7 days */
};

/* MF_EUSAGE when the name is not made of letters, digits, '.', '-' and '_', or is too long. */
int queue_check_name(const char *name, struct mf_error *error);
/* *id of a new queue; MF_EUSAGE when there is one of that name. */
int queue_create(struct queues *queues,
                 const char *name,
                 const struct queue_settings *settings,
                 int64_t now_us,
                 int64_t *id,
                 struct mf_error *error);
/* What is pushed to `source` goes to `target` too, from now on. MF_EUSAGE when it is the same
 * queue, when `target` passes on itself or `source` gets copies: a copy is not passed on again. */
int queue_add_fan_out(struct queues *queues,
                      const struct queue_info *source,
                      const struct queue_info *target,
                      struct mf_error *error);
/* ... and no more, from now on. 1, or 0 when it did not. */
int queue_remove_fan_out(struct queues *queues,
                         const struct queue_info *source,
                         const struct queue_info *target,
                         struct mf_error *error);
/* 1 and *info; -1: MF_EUSAGE naming the queues that there are. */
int queue_find(struct queues *queues,
               const char *name,
               struct queue_info *info,
               struct mf_error *error);
int queue_by_id(struct queues *queues, int64_t id, struct queue_info *info, struct mf_error *error);
/* By name, or those that get a copy of what is pushed to `source`. f returns 0 to go on, and may do
 * anything with `queues`: the list was read before. */
typedef int queue_each_f(void *arg, const struct queue_info *info);
int queue_each(struct queues *queues, queue_each_f *f, void *arg, struct mf_error *error);
int queue_each_target(
    struct queues *queues, int64_t source, queue_each_f *f, void *arg, struct mf_error *error);
/* The queue with all that waits in it and its dead messages is gone. MF_EUSAGE when a run has
 * messages of it, a trigger waits for it, or another queue passes its messages on to it. */
int queue_remove(struct queues *queues, const struct queue_info *queue, struct mf_error *error);

struct queue_message {
    int64_t id;
    const char *state;
    int64_t arrived_us;
    uint64_t claims, failures;
    const char *key, *group, *run_id, *cause; /* NULL = none */
    struct mf_bytes body;
    int64_t queue; /* that it is in; not for queue_push */
};

/*
 * Pushes body, key and group of `message` (and a copy to each queue of its fan_out, each
 * de-duplicated by itself). 1; 0 when a message with that key came before (nothing is done in this
 * queue); -1: MF_EUSAGE when body, key or group is too large for one of them (nothing is done).
 */
int queue_push(struct queues *queues,
               const struct queue_info *queue,
               const struct queue_message *message,
               int64_t now_us,
               struct mf_error *error);

/* Messages of a queue in a state ("ready", "claimed", "dead"), in order, at most `most` (0 = all),
 * until f returns non-zero. f does not change anything in `queues`; what it is given lasts as long
 * as its call. */
typedef int queue_message_f(void *arg, const struct queue_message *message);
int queue_peek(struct queues *queues,
               int64_t queue,
               const char *state,
               uint64_t most,
               queue_message_f *f,
               void *arg,
               struct mf_error *error);

/* --- What a run has to do with its messages. --- */

/* Claims up to `most` (0 = all) ready messages for run_id, in order; *count of them. */
int queue_claim(struct queues *queues,
                int64_t queue,
                const char *run_id,
                uint64_t most,
                uint64_t *count,
                struct mf_error *error);

/* The messages of a run in order of ids, those after `after_id`, at most `most` (0 = all). */
int queue_claimed(struct queues *queues,
                  const char *run_id,
                  int64_t after_id,
                  uint64_t most,
                  queue_message_f *f,
                  void *arg,
                  struct mf_error *error);

/* The messages of a run that has succeeded are gone; those noted by queue_fail are not. *count. */
int queue_done(struct queues *queues, const char *run_id, uint64_t *count, struct mf_error *error);
/* One message of the run has failed, by its own fault: it is ready again, or dead after claims_max
 * times; it is the run's no more. 1, or 0 when it was not the run's. */
int queue_fail(struct queues *queues,
               const char *run_id,
               int64_t id,
               const char *cause,
               struct mf_error *error);
/* The run's messages go back; with `blame` as those of a run that has failed by the fault of none
 * of them that we know: each counts as failed. *count. */
int queue_give_back(struct queues *queues,
                    const char *run_id,
                    bool blame,
                    const char *cause,
                    uint64_t *count,
                    struct mf_error *error);

/* Dead messages become ready, as new ones at the end (with new ids, arrival now, no failures); id 0
 * = all. Those that are too large for the queue stay dead (a source has set them aside). *count. */
int queue_replay(struct queues *queues,
                 int64_t queue,
                 int64_t id,
                 int64_t now_us,
                 uint64_t *count,
                 struct mf_error *error);
/* Removes messages in a state ("ready" or "dead"); claimed ones belong to their runs. *count. */
int queue_purge(struct queues *queues,
                int64_t queue,
                const char *state,
                uint64_t *count,
                struct mf_error *error);
/* Forgets keys whose time is over, some thousand at a time. */
int queue_forget_keys(struct queues *queues, int64_t now_us, struct mf_error *error);

#endif
