/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains: triggers of kind `after`. Each has a hidden queue, after.NAME; a run that ends pushes one
 * event into that of every trigger that waits for its job and its state, in the transaction that
 * settles it, so that one run can start several jobs, and each of them keeps its events until a run
 * of it has succeeded with them.
 *
 * So that a master which dies between its run's final state and that transaction leaves no event
 * behind: a run that somebody waits for has a row in `firing` from its start (after_begin; runs of
 * triggers have one anyway), and whoever finds that row open and the run final settles it.
 */
#ifndef MAYFLY_MASTER_TRIGGER_AFTER_H
#define MAYFLY_MASTER_TRIGGER_AFTER_H

#include <stdint.h>

#include "common/error.h"
#include "master/queue/queue.h"
#include "master/trigger/evaluate.h"

/* A run that has ended. Borrowed. */
struct after_event {
    const char *run_id, *job;
    const char *state;  /* succeeded, partial, failed, cancelled */
    const char *folder; /* of the run, absolute */
    const char *result; /* path of its result; NULL = it has none */
    uint32_t epoch;     /* of the master that ended it: a retry's end is another event */
};

/*
 * Within a transaction: pushes the event for each trigger that it concerns and evaluates those. The
 * same event of the same run and epoch counts once. Its body is a JSON object with the keys run_id,
 * job, state, folder and result.
 */
int after_push(struct queues *queues,
               const struct after_event *event,
               int64_t now_us,
               struct trigger_fired *fired,
               struct mf_error *error);

/* Whether a trigger waits for the job: 1, 0, -1. Also outside of a transaction. */
int after_is_awaited(struct queues *queues, const char *job, struct mf_error *error);

/*
 * Within a transaction, when a run by hand begins: makes its firing row (trigger NULL, no queue,
 * cause "hand") if a trigger waits for its job. 1 made (or it was there already and is open again:
 * a retry), 0 nobody waits, -1.
 */
int after_begin(struct queues *queues,
                const char *run_id,
                const char *job,
                int64_t now_us,
                struct mf_error *error);

#endif
