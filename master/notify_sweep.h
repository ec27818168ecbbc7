/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sweep of notifications: what masters left in the outboxes of their runs, because a subscriber
 * could not be told in time or they were killed, is delivered by whoever comes by each minute: the
 * tick, or a watcher.
 */
#ifndef MAYFLY_MASTER_NOTIFY_SWEEP_H
#define MAYFLY_MASTER_NOTIFY_SWEEP_H

#include <stdint.h>

#include "common/error.h"
#include "master/job/job.h"

#define NOTIFY_SWEEP_US INT64_C(30000000) /* for a sweep each minute */

/*
 * Delivers what is due of all runs that outbox_run (queues.db) names and that have no live master.
 * Begins no try after `most_us`; several runs are looked at at once, so that one whose subscriber
 * hangs does not hold up the others. *left = runs whose outbox is not empty yet. What is wrong with
 * one run is logged; -1 only when queues.db cannot be read. Blocks: a watcher has it done by a
 * process of its own, `mayfly notify --due` (the library for webhooks is large, too).
 */
int notify_sweep(int64_t most_us, uint64_t *left, struct mf_error *error);
/* Whether any run is named: cheap. 1, 0, or -1. */
int notify_wants_sweep(struct mf_error *error);

/* The same for one run, whoever it is of: delivers until `most_us`; out of outbox_run when nothing
 * waits any more. *pending = rows that wait yet. `stop_fd` as in notify_session_end. */
int notify_deliver_run(const char *folder,
                       const char *run_id,
                       int64_t most_us,
                       int stop_fd,
                       uint64_t *pending,
                       struct mf_error *error);

#endif
