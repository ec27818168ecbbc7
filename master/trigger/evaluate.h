/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether triggers fire. A queue is level-triggered: whoever changes something (a push, a run that
 * ends) and whoever looks now and then (tick, watcher) asks the same question of what is in the
 * file, in a transaction, and binds messages and run id there. So of any number of processes that
 * see a threshold crossed, the first one to commit fires, and the others see what it has left.
 *
 *     queues_begin
 *       queue_push ... / settle ... / nothing
 *       trigger_evaluate_queue          firings and claims, in the same transaction
 *     queues_commit
 *     trigger_hand_over                 (handover.h) starts the masters of what was fired
 *
 * A firing is made while, in this order: the trigger's open firings are fewer than its max_running,
 * its not_before has come, and its queue has `count` ready messages, or `bytes` of them, or its
 * oldest one is older than `age`. A batch is what can be claimed then, at most max_batch, so a
 * single evaluation may make several firings. When nothing can be claimed (every group has a
 * message that is being worked on) there is none.
 *
 * How long a trigger rests after failures is in settle.h. Times that lie further ahead than
 * anything here puts them were written before the clock was set back, and count as over: nothing
 * waits for a clock to catch up.
 *
 * A trigger whose job file is not the very file that was installed does not fire: its messages stay
 * where they are, and its last_error says so.
 *
 * Evaluating changes nothing where nothing fires, and costs one look-up by the queue's id then.
 */
#ifndef MAYFLY_MASTER_TRIGGER_EVALUATE_H
#define MAYFLY_MASTER_TRIGGER_EVALUATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "master/queue/queue.h"
#include "master/record/run_id.h"

/* One run that was decided on. */
struct trigger_run {
    char run_id[RUN_ID_SIZE];
    char *trigger; /* name */
    bool is_begun; /* its folder is there: it is resumed */
};

/* Those of a transaction. Zero-initialised is none; release with trigger_fired_fini. When the
 * transaction is rolled back they are void: call trigger_fired_fini. */
struct trigger_fired {
    struct trigger_run *runs;
    size_t count;
};
void trigger_fired_fini(struct trigger_fired *fired);
/* Appends a run. `trigger` is copied. */
int trigger_fired_add(struct trigger_fired *fired,
                      const char *run_id,
                      const char *trigger,
                      bool is_begun,
                      struct mf_error *error);
/* Those of `from`, which is committed, go to the end of `to`; `from` is empty then. */
int trigger_fired_move(struct trigger_fired *to,
                       struct trigger_fired *from,
                       struct mf_error *error);

/*
 * All within a transaction of the caller's; each appends to *fired. -1: as queue.h, and the caller
 * rolls back.
 *
 * The triggers that wait for a queue, or for one that it fans out to; also those of kind `after`,
 * which have a hidden queue each.
 */
int trigger_evaluate_queue(struct queues *queues,
                           int64_t queue,
                           int64_t now_us,
                           struct trigger_fired *fired,
                           struct mf_error *error);
/* Every trigger, whoever serves it: those of queues, and those of cron that wait for a run that has
 * ended by now. Not what is due by the clock: see due_fire (due.h). */
int trigger_evaluate_all(struct queues *queues,
                         int64_t now_us,
                         struct trigger_fired *fired,
                         struct mf_error *error);
/*
 * Fires one by hand: neither threshold nor max_running nor not_before count, and the batch may be
 * smaller. 1 fired, 0 when there is no message for it, -1: MF_EUSAGE when there is no such trigger,
 * or its job file has changed.
 */
int trigger_fire(struct queues *queues,
                 const char *trigger,
                 int64_t now_us,
                 struct trigger_fired *fired,
                 struct mf_error *error);

#endif
