/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sweep over queues.db that makes up for whatever died: by every ending master, each tick, each
 * watcher. Open firings are carried on (firing.h), then all triggers are evaluated, and what fires
 * is handed over. Any number of them may run at once.
 */
#ifndef MAYFLY_MASTER_SWEEP_H
#define MAYFLY_MASTER_SWEEP_H

#include "common/error.h"
#include "master/queue/queue.h"
#include "master/trigger/handover.h"

struct sweep_report {
    size_t started, resumed, settled, given_up; /* open firings that were carried on */
    size_t fired;                               /* new ones */
    size_t failed;                              /* of all these: their masters did not begin */
};

/* Outside of any transaction. *report may be NULL. -1: queues.db could not be used. */
int sweep_queues(struct queues *queues,
                 const struct handover *handover,
                 struct sweep_report *report,
                 struct mf_error *error);

#endif
