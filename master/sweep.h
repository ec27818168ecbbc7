/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sweep over queues.db that makes up for whatever died: by every ending master, each tick, each
 * watcher. Open firings are carried on (firing.h), then all triggers are evaluated, and what fires
 * is handed over. Any number of them may run at once: each firing is taken by one of them.
 *
 * A run that dies again and again rests in between (firing_release). Runs that were started by hand
 * are never started or resumed here, only settled: who has interrupted one decides what becomes of
 * it.
 */
#ifndef MAYFLY_MASTER_SWEEP_H
#define MAYFLY_MASTER_SWEEP_H

#include "common/error.h"
#include "master/queue/queue.h"
#include "master/trigger/handover.h"

struct swept {
    size_t started, resumed; /* open firings whose master was started again */
    size_t settled;          /* ... whose run was over */
    size_t given_up;         /* ... that never came about */
    size_t fired;            /* new ones */
    size_t failed;           /* of all these: their masters did not begin */
};

/* Outside of any transaction. *report may be NULL. What goes wrong with one firing is noted in its
 * trigger and does not keep the others. -1: queues.db could not be used. */
int sweep_queues(struct queues *queues,
                 const struct handover *handover,
                 struct swept *report,
                 struct mf_error *error);

#endif
