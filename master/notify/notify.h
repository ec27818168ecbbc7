/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notifications: what subscribers (`notify` of the job) are told of a run, at least once
 * (docs/notifications.md).
 *
 * The truth is the outbox, table `notification` of run.db: a row for each event and subscriber,
 * written in the transaction that makes the event true. Delivering is apart from that and may be
 * done by anybody, at any time: the run's master, a sweep, the command line. They agree by locks
 * (outbox.h), so that a row is not sent twice while they live; one that is killed after a
 * subscriber has taken an event, and before that is noted, has it sent again.
 *
 * Subscribers are independent of each other: each has a thread of its own that takes its rows in
 * order, the next one when the one before is delivered or given up.
 *
 * outbox_run in queues.db names runs whose outbox may not be empty, for the sweep.
 */
#ifndef MAYFLY_MASTER_NOTIFY_NOTIFY_H
#define MAYFLY_MASTER_NOTIFY_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "master/job/job.h"

struct notify_session;

/*
 * Begins to deliver what stands in the outbox of the run in `folder`, in threads of its own, until
 * notify_session_end. job and texts are borrowed until then. NULL: no threads, no memory.
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

/* The run's name in outbox_run: before its first row is written; and away, when it has ended and
 * nothing waits any more. They open queues.db, which is made when it is not there. */
int notify_register(const char *run_id, struct mf_error *error);
int notify_unregister(const char *run_id, struct mf_error *error);

/*
 * Delivers what is due of all runs that outbox_run names and that have no live master; for the tick
 * and for the watcher, which has it done by `mayfly notify --due` (a process, since the library for
 * webhooks is large). Begins no try after `most_us`. *left = runs whose outbox is not empty yet.
 * What is wrong with one run is logged and holds up no other; -1 only when queues.db cannot be read.
 */
int notify_sweep(int64_t most_us, uint64_t *left, struct mf_error *error);
/* Whether there is anything to sweep: cheap, opens queues.db only when it is there. 1, 0, -1. */
int notify_wants_sweep(struct mf_error *error);

#endif
