/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notifications: what subscribers (`notify` of the job) are told of a run, at least once
 * (docs/notifications.md).
 *
 * The truth is the outbox, table `notification` of run.db: a row for each event and subscriber,
 * written in the transaction that makes the event true. Delivering is apart from that and may be
 * done by anybody, at any time: the run's master, a sweep (master/notify_sweep.h), the command
 * line. Whoever tells a subscriber holds its byte of notify.lock in the run folder, so that a row
 * is not sent by two at once. One that is killed after a subscriber has taken an event, and before
 * that is noted, has it sent again.
 *
 * Subscribers are independent of each other: each has a thread of its own that takes its rows in
 * order, the next one when the one before is delivered or given up.
 */
#ifndef MAYFLY_MASTER_NOTIFY_NOTIFY_H
#define MAYFLY_MASTER_NOTIFY_NOTIFY_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "master/job/job.h"

struct notify_session;

/*
 * Begins to deliver what stands in the outbox of the run in `folder`, in threads of its own, until
 * notify_session_end. job and texts are borrowed until then. What happens is logged (mf_log), and
 * what commands print goes to the run's master.log. NULL: no threads, no memory.
 */
struct notify_session *notify_session_open(const struct job *job,
                                           const char *folder,
                                           const char *run_id,
                                           struct mf_error *error);
/* Rows were committed. */
void notify_session_wake(struct notify_session *session);
/*
 * Goes on until nothing is left that can be delivered within `most_us`; what has been begun by then
 * is finished (each try has its own limit, notify.timeout). When something comes in on `stop_fd`
 * (-1 = none) it gives up at once. NULL is fine.
 */
void notify_session_end(struct notify_session *session, int64_t most_us, int stop_fd);

/*
 * The run's name in outbox_run of queues.db, for the sweep: before its first row is written; and
 * away, when it has ended and no row waits any more. Both can be done twice. They open queues.db,
 * notify_register makes it. -1: as queues_open.
 */
int notify_register(const char *run_id, struct mf_error *error);
int notify_unregister(const char *run_id, struct mf_error *error);
/* Those that are registered, oldest first (heap, each and the array); *count of them. No queues.db:
 * none. NULL with an error. */
char **notify_registered(size_t *count, struct mf_error *error);
void notify_registered_free(char **run_ids, size_t count);

/* What can be said of a subscriber before there is anything to tell: its queue is there, values
 * from outside can be read (those of a command are not asked for), libcurl can be loaded. 0, or -1
 * with a sentence that names its place in the job file. */
int notify_check(const struct job *job,
                 const struct job_notify *subscriber,
                 struct mf_error *error);

/* How long the end of a run, or a command, delivers: 10 s, or MAYFLY_NOTIFY_MOST_US
 * (docs/testing.md). */
int64_t notify_most_us(void);

#define NOTIFY_TARGET_SIZE 160
/* "webhook https://ops.example/hook": who that is, without what may be secret. Returns out. */
const char *notify_target(const struct job_notify *subscriber, char out[NOTIFY_TARGET_SIZE]);

#endif
