/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fires by the clock. What is due is decided by cron_due (master/cron/due.h), from the last
 * time that is settled and the time now; here it becomes firings, and that last time moves, in one
 * transaction, so that of two ticks at once only one fires.
 *
 * While a run of before is open, `overlap` says what becomes of a time: skip, it is left out;
 * queue, it waits (trigger.waiting; evaluating starts it later, at most DUE_WAITING_MAX of them);
 * allow, it fires all the same. A trigger whose job file has changed fires nothing, and its times
 * stay due: `catchup` decides about them once it is installed again.
 */
#ifndef MAYFLY_MASTER_TRIGGER_DUE_H
#define MAYFLY_MASTER_TRIGGER_DUE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "master/queue/queue.h"
#include "master/trigger/evaluate.h"
#include "master/trigger/row.h"

#define DUE_WAITING_MAX 1000u

/*
 * Within a transaction; `row` was read in it. *next_us (may be NULL) is when to ask again, MF_NEVER
 * when not; a row of another kind has nothing due. -1: as queue.h, or MF_EUSAGE: the zone is gone.
 */
int due_fire(struct queues *queues,
             const struct trigger_row *row,
             int64_t now_us,
             struct trigger_fired *fired,
             int64_t *next_us,
             struct mf_error *error);

/* Whether somebody else looks after the trigger: a watcher that lives. NULL = nobody does. */
typedef bool due_left_f(void *arg, const struct trigger_row *row);

/* The same for all triggers but those that are left to somebody, in a transaction each; what is
 * wrong with one is noted in its row. Outside of any transaction; appends what was fired and
 * committed. */
int due_fire_all(struct queues *queues,
                 int64_t now_us,
                 due_left_f *is_left,
                 void *arg,
                 struct trigger_fired *fired,
                 struct mf_error *error);

/* When a row fires next, without its jitter: 1 and *next_us, 0 never again or not by the clock, -1.
 */
int due_next(const struct trigger_row *row,
             int64_t now_us,
             int64_t *next_us,
             struct mf_error *error);

#endif
