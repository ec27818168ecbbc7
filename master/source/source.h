/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources of a queue: where its messages come from when nobody calls `mayfly queue push`. A kind of
 * source is one struct feed_class (feed.h): a spool folder (spool.c), lists and streams of Redis
 * (redis.c). A struct feed is a source that is open.
 *
 * What every kind promises: what is there is first taken, so that nobody else takes it (a rename, a
 * consumer group); then committed to the queue, each message with a key that stays the same
 * whenever this is repeated; then acknowledged. Whoever dies in between is healed by the next poll,
 * of the same queue, in whatever process: nothing is lost, and the keys keep it from being doubled.
 *
 * A source alone starts no run: whoever polls has to evaluate the queue's triggers afterwards.
 *
 * Threads: a feed belongs to one thread at a time, as the struct queues that it is given does.
 */
#ifndef MAYFLY_MASTER_SOURCE_SOURCE_H
#define MAYFLY_MASTER_SOURCE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "master/queue/queue.h"

struct job;
struct job_secret;

/* Borrowed by feed_open for the call. One of spool and server is set; NULL = not said. */
struct feed_settings {
    const char *spool; /* a folder, absolute */

    const char *server; /* HOST, HOST:PORT, either with /NUMBER of a database; or the absolute path
                           of a socket */
    const char *list, *stream;         /* exactly one of them */
    const char *group;                 /* of a stream; "mayfly" */
    const char *user;                  /* NULL = the server's default user */
    const struct job_secret *password; /* where it is read from when somebody logs in */
    const char *folder;                /* of the job: where a command that prints it runs */

    /* For tests; 0 = as documented. */
    int64_t quiet_us; /* spool: how long a file must be left alone where nothing else tells */
    int64_t limit_us; /* server: how long it may take for each answer */
};

struct feed_report {
    uint64_t pushed; /* messages that are new in the queue */
    uint64_t known;  /* that had been committed by somebody who died before he could say so */
    uint64_t aside;  /* that cannot be messages, now dead letters of the queue, with the cause */
    uint64_t left;   /* that could not be taken, and are still where they were */
    bool more;       /* there is more than was asked for: poll again */
    char text[512];  /* why something was left, about the first; "" */
};

struct feed;

/* The source that a job names, if it does; what they point to is the job's. */
bool feed_settings_of(const struct job *job, struct feed_settings *settings);

/* What can be said of settings without touching anything: 0, or MF_EUSAGE. */
int feed_check(const struct feed_settings *settings, struct mf_error *error);

/*
 * `queue` is the name of a queue. With `watch` the feed has a descriptor to wait on and costs
 * nothing while nothing comes; without it only feed_poll is of use. Touches neither folder nor
 * server, which may be away now and back later. NULL: MF_EUSAGE, MF_ENOMEM, or MF_ESETUP when the
 * library that this kind needs is not there.
 */
struct feed *feed_open(const struct feed_settings *settings,
                       const char *queue,
                       bool watch,
                       struct mf_error *error);

/*
 * Moves what is there into the queue, at most about `most` messages (0 = 1,000), in transactions of
 * its own: none may be open in `queues`. Takes no longer than a few time limits of the server (5 s
 * each). -1: MF_ESETUP (folder or server missing, not allowed, wrong type of key ...), MF_EFULL,
 * MF_EUSAGE (there is no such queue); what had been committed before is in the report all the same.
 * After a failure it comes back at once with 0 and nothing until feed_next_us is over, so that a
 * server that is away costs little.
 */
int feed_poll(struct feed *feed,
              struct queues *queues,
              uint64_t most,
              struct feed_report *report,
              struct mf_error *error);

/* Readable (EPOLLIN) when a poll is due; -1 = none at the moment. May change with each poll. */
int feed_fd(const struct feed *feed);
/* When a poll is due by itself (monotonic). */
int64_t feed_next_us(const struct feed *feed);

/* What was taken and not acknowledged is for the next one. NULL is fine. */
void feed_close(struct feed *feed);

/*
 * The files of a run's messages, when the run has ended: within the transaction that settles. With
 * `succeeded` (or partial) before queue_done: the files of messages that are still claimed go to
 * SPOOL/done/RUN_ID/NAME. In any case after queue_fail and queue_give_back: those of messages that
 * are dead now, of this run, go to SPOOL/failed/RUN_ID/NAME, which becomes their body, so that a
 * replay finds them. The rest stays claimed, for the next run. Messages that do not come from a
 * spool folder are left alone; where there are none of them it costs one look-up.
 *
 * Can be repeated after it, or its caller, was killed at any moment. The moves are durable when it
 * returns. -1: MF_EFULL, MF_ESETUP: nothing may be committed; try again when there is room. A file
 * or a spool folder that is gone is no failure.
 */
int spool_settle(struct queues *queues, const char *run_id, bool succeeded, struct mf_error *error);

#endif
