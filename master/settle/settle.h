/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settling: what becomes of the messages of a run that is over, and of its firing (firing.h). The
 * truth is run.db; nothing of a live run is needed, so that an ending master and whoever finds the
 * firing open later do the very same. It can be done twice: the second time the firing is not open.
 *
 *     succeeded   all messages are gone
 *     partial     those whose subtask is done are gone; the others have failed
 *     failed      all go back, since no result was made. Those whose subtask failed have failed;
 *                 the others are without blame. When no subtask has failed (prepare, gather, time
 *                 limit), each counts as failed; but not when no worker ever came
 *     cancelled   all go back without blame
 *
 * "Failed" is queue_fail: ready again, or dead after the queue's claims_max. A run that is not
 * final (interrupted, stopped by a full disk) keeps its messages: it is resumed.
 *
 * In the same transaction the trigger's row learns of it: after a success it fires as it likes;
 * after the n-th failure in a row not before min(1 min * 2^(n - 1), 1 h); after a cancelled run not
 * before 1 min, but it has not failed.
 *
 * Jobs that wait for this one (after.h) get their event, and all triggers that its messages or its
 * end concern are evaluated, in that transaction, too.
 *
 * Messages and subtasks are matched by the run's plan.seg. One thread.
 */
#ifndef MAYFLY_MASTER_SETTLE_SETTLE_H
#define MAYFLY_MASTER_SETTLE_SETTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "master/queue/firing.h"
#include "master/queue/queue.h"
#include "master/trigger/evaluate.h"

/* A message whose subtask has not been done. */
struct settle_failure {
    int64_t message;
    char *cause; /* heap */
};

/* How a run has ended. Zero-initialised is none. */
struct settle_ending {
    char run_id[96];
    char job_name[128];
    char state[32]; /* of table run, a final one; or given_up */
    char reason[512];
    uint32_t epoch;
    char *folder, *result; /* heap; NULL = there is none */
    bool is_blamed;        /* those that are not among the failures count as failed, too */
    struct settle_failure *failures;
    size_t failure_count, failure_capacity;
};

/* What was done with its messages. */
struct settled {
    uint64_t gone;   /* their work is done */
    uint64_t failed; /* back or dead, by their own fault */
    uint64_t back;   /* all others that went back */
};

/*
 * Reads how the run in `folder` has ended: 1 and *ending, which the caller ends by settle_fini; 0
 * when it is not final (or has no run.db yet); -1: run.db or the plan can't be read.
 */
int settle_read(const char *folder, struct settle_ending *ending, struct mf_error *error);
/* The ending of a run that never came about: its messages go back without blame. */
void settle_give_up(const char *run_id, const char *why, struct settle_ending *ending);
void settle_fini(struct settle_ending *ending);

/*
 * Within a transaction (queues_begin): ends the firing of the run and does with its messages as the
 * ending says. 1, *settled, and what fires because of it is appended to *fired: the caller hands it
 * over after its commit. 0 when the firing is not open any more, or there is none; -1: roll back.
 */
int settle_within(struct queues *queues,
                  const struct settle_ending *ending,
                  int64_t now_us,
                  struct settled *settled,
                  struct trigger_fired *fired,
                  struct mf_error *error);

/* settle_within in a transaction of its own; nothing is in *fired unless it is 1. */
int settle_ending(struct queues *queues,
                  const struct settle_ending *ending,
                  int64_t now_us,
                  struct settled *settled,
                  struct trigger_fired *fired,
                  struct mf_error *error);

/* settle_read, then settle_ending: 1 settled now, 0 not final or not open, -1. */
int settle_run(struct queues *queues,
               const char *folder,
               int64_t now_us,
               struct settled *settled,
               struct trigger_fired *fired,
               struct mf_error *error);

#endif
