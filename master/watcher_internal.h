/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the watcher share: watcher.c (its life and its loop), watcher_jobs.c (job files
 * become triggers), watcher_round.c (what is due), watcher_source.c (where messages come from).
 *
 * A round looks at all that can be due and says when the next one has to be. It is made when that
 * time comes, when a source has something, when a job file has changed, when the clock is set, and
 * at least once in WATCHER_SWEEP_US: that is the sweep, which also finds what nobody tells of (runs
 * whose master was killed, changes on a file system without inotify). Nothing is kept from one
 * round to the next that does not stand in queues.db or in the folder, but for what was said
 * already.
 */
#ifndef MAYFLY_MASTER_WATCHER_INTERNAL_H
#define MAYFLY_MASTER_WATCHER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/loop.h"
#include "master/job/job.h"
#include "master/queue/queue.h"
#include "master/watch/alarm.h"
#include "master/watch/files.h"
#include "master/watch/place.h"
#include "master/watch/service.h"
#include "master/watch/stir.h"

#define WATCHER_SWEEP_US 60000000
/* Between two looks for the same reason: at changes of queues.db, at what is more than fits into
 * one round, after a round that failed. */
#define WATCHER_REST_US 1000000

/* A job file of the folder. */
struct served {
    char *path;
    struct file_version version; /* that was read */
    char *name;                  /* of the job whose trigger it is here; NULL = none */
    char *copy;                  /* in the watcher's place: the last version that could be read */
    char *trouble; /* why it, or its trigger, is not served as it stands; said once. NULL = none */
    struct watcher_source *source; /* NULL = none */
    bool is_found;                 /* by the present look */
    bool is_to_try;                /* again at each sweep: what was wrong may not be in the file */
};

struct watcher {
    char *state;  /* the state folder */
    char *folder; /* absolute, without links */
    char *place;
    char *program; /* of mayfly, where it was when this began: it may be replaced meanwhile */
    struct place_lock lock;
    struct service service;
    struct mf_loop *loop;
    struct files *files;
    int alarm_fd, signal_fd, stir_fd;
    struct queues *queues; /* NULL = not open: watcher_queues */
    dev_t queues_device;
    ino_t queues_inode;

    struct served *jobs;
    size_t job_count;
    dev_t folder_device;  /* where it was when it was read last */
    char *folder_trouble; /* why the folder cannot be read; said once */
    char *round_trouble;  /* why the last round was not made to its end */

    bool is_asked_to_stop, is_asked_to_read;
    bool is_due;      /* a round is */
    int64_t sweep_us; /* monotonic: the next sweep */
    int64_t next_us;  /* wall: when something is due, MF_NEVER = nothing before the sweep */
    pid_t deliverer;  /* of notifications that are left over; 0 = none now */
    bool is_stir_armed;
    int64_t stir_us;   /* monotonic: when queues.db stirred last */
    int64_t spoken_us; /* monotonic: when the service manager last heard of us */
};

/* Says `text` in the log unless it is what was said last (*said, heap); NULL: all is well again. */
void watcher_say_once(char **said, const char *text);

/* --- watcher_jobs.c --- */

/* Looks at the folder and registers what has changed; `all` reads every file anew. */
void watcher_look(struct watcher *watcher, bool all);
void watcher_forget_jobs(struct watcher *watcher);

/* --- watcher_source.c --- */

/* *out is the source of a job, NULL when it has none. -1: as feed_open. */
int watcher_source_open(struct watcher *watcher,
                        const struct job *job,
                        struct watcher_source **out,
                        struct mf_error *error);
void watcher_source_close(struct watcher_source *source); /* NULL is fine */
/* Takes what is there, if it is time (or a sweep). The triggers of its queue are not asked. */
void watcher_source_poll(struct watcher_source *source, struct queues *queues, bool sweep);
/* When it wants to be polled by itself (monotonic). */
int64_t watcher_source_next_us(const struct watcher_source *source);

/* --- watcher_round.c --- */

/* queues.db, opened (and made) when it is not; it stays open. NULL with an error. */
struct queues *watcher_queues(struct watcher *watcher, struct mf_error *error);
void watcher_close_queues(struct watcher *watcher);

/* Registers the trigger of `job`, which is to be started from `job_path`, as one of this watcher.
 * -1: it is another's, or cannot be. */
int watcher_register(struct watcher *watcher,
                     const struct job *job,
                     const char *job_path,
                     struct mf_error *error);
/* Removes it, when it is this watcher's. */
int watcher_unregister(struct watcher *watcher, const char *name, struct mf_error *error);
/* Removes those of this watcher that no job file has any more. */
int watcher_unregister_others(struct watcher *watcher, struct mf_error *error);

/* A round. `sweep`: also what others have left undone. -1: it was not made to its end, which is
 * logged; what is due may still be. */
int watcher_round(struct watcher *watcher, bool sweep);

#endif
