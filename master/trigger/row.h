/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of triggers in queues.db: what `mayfly trigger install` has registered. A row holds all
 * that is needed to decide whether to fire, so that a push reads no job file. Only when something
 * fires its sha256 is compared with what it was, and if it has changed it is read: it is the new
 * file that is run, as long as it asks for the same trigger.
 */
#ifndef MAYFLY_MASTER_TRIGGER_ROW_H
#define MAYFLY_MASTER_TRIGGER_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "master/job/job.h"
#include "master/queue/queue.h"

#define TRIGGER_HIDDEN_QUEUE "after." /* and the trigger's name: the queue of one of kind after */

struct trigger_row {
    char *name;
    char *job_path, *job_sha256;
    char *environment; /* of its masters: NAME=value, a line each */
    char *settings;    /* of trigger_settings_write */
    enum trigger_kind kind;
    int64_t queue;       /* 0 = none */
    uint64_t when_count; /* 0 = not said, as for the next two */
    uint64_t when_bytes;
    uint64_t when_age_us;
    uint64_t batch_max, running_max;
    char *after_job, *after_state; /* kind after; else NULL */
    /* Kind cron; else NULL and 0. */
    char *cron, *zone; /* zone NULL = that of the machine */
    enum trigger_overlap overlap;
    enum trigger_catchup catchup;
    uint64_t jitter_us;
    int64_t last_due_us;
    uint64_t waiting;
    char *watcher; /* NULL = installed by hand */
    int64_t installed_us;
    int64_t not_before_us; /* 0 = at any time */
    uint64_t failed;
    char *last_run, *last_error; /* NULL = none */
};

void trigger_row_fini(struct trigger_row *row);

/* 1 and *row (the caller ends it), 0 when there is none of that name, -1. */
int trigger_row_find(struct queues *queues,
                     const char *name,
                     struct trigger_row *row,
                     struct mf_error *error);

/* In the order of names: all; those that wait for a queue, or for one that it fans out to; those
 * that wait for the end of a job. Rows are read before the first call of f, which may do anything
 * with `queues`, and returns 0 to go on; else that is returned. */
typedef int
trigger_row_f(void *arg, struct queues *queues, struct trigger_row *row, struct mf_error *error);
int trigger_row_each(struct queues *queues, trigger_row_f *f, void *arg, struct mf_error *error);
int trigger_row_each_of_queue(
    struct queues *queues, int64_t queue, trigger_row_f *f, void *arg, struct mf_error *error);
int trigger_row_each_after(
    struct queues *queues, const char *job, trigger_row_f *f, void *arg, struct mf_error *error);

/* --- Changes, within a transaction. --- */

struct trigger_place {
    const char *job_path;    /* absolute: the file that `job` was read from */
    const char *environment; /* of trigger_environment */
    const char *watcher;     /* NULL = by hand */
    bool may_move;           /* the job may have been installed from another file before */
};

/*
 * Registers a job, or registers it anew: what it waits for is as the job says, its history stays,
 * what went wrong before is forgotten. A trigger of kind after gets its hidden queue. MF_EUSAGE:
 * the job has no trigger; its queue does not exist; it starts after a job that starts after it; its
 * name is taken by another file (unless may_move).
 */
int trigger_row_install(struct queues *queues,
                        const struct job *job,
                        const struct trigger_place *place,
                        int64_t now_us,
                        struct mf_error *error);

/* 1 removed, 0 when there is none; *events (may be NULL) of a hidden queue are dropped with it.
 * Runs that it has started go on. */
int trigger_row_remove(struct queues *queues,
                       const char *name,
                       uint64_t *events,
                       struct mf_error *error);

/* Notes what keeps the trigger from firing; nothing is written when it says so already. */
int trigger_row_note(struct queues *queues,
                     const char *name,
                     const char *text,
                     struct mf_error *error);

/* --- Its surroundings. --- */

/* The environment of its masters, from that of this process (heap): what a command line has, and no
 * secrets. NULL: MF_ENOMEM. */
char *trigger_environment(struct mf_error *error);

/* Whether the job file can be run as this trigger: it is the one that was installed, or one that
 * can be read and has the same name and `trigger`. If not, why, as a sentence in *why (heap, NULL
 * when memory is exhausted). */
bool trigger_row_is_current(const struct trigger_row *row, char **why);

/* The sha256 of a file as text (heap). NULL: MF_EUSAGE. */
char *trigger_file_sum(const char *path, struct mf_error *error);

#endif
