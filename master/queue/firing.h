/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firings: runs that were decided on, in queues.db. The row is the decision, bound to a run id (and
 * to messages) for ever; it is committed before anything is started. From then on, whoever finds it
 * `open` without a live master carries it on:
 *
 *     no run folder, starter dead          start the master
 *     run folder, not final, no live master   resume the run
 *     run.db says final                       settle: messages gone or given back, the row ended
 *
 * All of these can be done twice without harm: folders are made exclusively, the master's lock is
 * exclusive, settling is one transaction that asks for `open` first.
 */
#ifndef MAYFLY_MASTER_QUEUE_FIRING_H
#define MAYFLY_MASTER_QUEUE_FIRING_H

#include <stdbool.h>
#include <stdint.h>

#include "master/queue/queue.h"

#define FIRING_KEPT_US (90 * 86400 * INT64_C(1000000)) /* after its end, for people to look at */

/* A rest after the n-th failure in a row, as SQL, of n - 1: 1, 2, 4 ... minutes, an hour at most.
 * Triggers rest so, and firings whose master was started in vain. */
#define FIRING_REST_SQL(n) "min(60000000 << min(" n ", 6), 3600000000)"
/* Clocks that differ by less were not set back. */
#define FIRING_CLOCK_SLACK_US (60 * INT64_C(1000000))

struct firing {
    const char *run_id, *trigger; /* trigger NULL = a run by hand */
    int64_t queue;                /* 0 = none */
    const char *cause;            /* count, bytes, age, cron, after, hand */
    int64_t due_us;               /* 0 = none */
    const char *input;            /* folder of the run before; NULL = none */
    int64_t made_us;
    const char *starter;   /* "" = nobody is about to start it */
    uint64_t tries;        /* how often its master was started */
    int64_t not_before_us; /* it is not carried on again before; 0 = at any time */
    int64_t lease_us;      /* stamp; 0 = its master has not said anything yet */
    uint64_t messages;
    const char *state; /* open, succeeded, partial, failed, cancelled, given_up */
    int64_t ended_us;
    const char *text;
};

/* This process, for `starter`: pid, start time and boot id (heap); NULL when memory is exhausted.
 */
char *firing_starter(void);
/* Whether the process that a starter names still lives; "" does not. */
bool firing_starter_lives(const char *starter);

/* Whether a rest that ends at `not_before_us` (0 = there is none) goes on. One that ends later than
 * any can was begun before the clock was set back, and is over. */
bool firing_rests(int64_t not_before_us, int64_t now_us);

/* Within a transaction; run_id, trigger, queue, cause, due_us, input, made_us, starter, messages.
 */
int firing_insert(struct queues *queues, const struct firing *firing, struct mf_error *error);
/* 1 and *firing (borrows until the next call of it or of firing_each_open), 0 when there is none,
 * -1. */
int firing_find(struct queues *queues,
                const char *run_id,
                struct firing *firing,
                struct mf_error *error);
/* All open ones, oldest first, until f returns non-zero. f may do anything with `queues`, also in a
 * transaction of its own; what it is given lasts until its next call of firing_find or
 * firing_each_open. */
typedef int firing_each_f(void *arg, const struct firing *firing);
int firing_each_open(struct queues *queues, firing_each_f *f, void *arg, struct mf_error *error);
/* How many of a trigger are open. */
int firing_count_open(struct queues *queues,
                      const char *trigger,
                      uint64_t *count,
                      struct mf_error *error);
/*
 * Takes an open firing to carry it on: its starter becomes `starter`, unless it is not `before` any
 * more, because somebody else was faster. 1 or 0. (The caller looks at not_before_us.)
 */
int firing_take(struct queues *queues,
                const char *run_id,
                const char *before,
                const char *starter,
                struct mf_error *error);
/*
 * `starter` has done what it could: whoever finds the firing may carry it on, from the eighth time
 * on not before 1, 2, 4 ... minutes are over, an hour at most. A starter that dies before it gets
 * here does not count.
 */
int firing_release(struct queues *queues,
                   const char *run_id,
                   const char *starter,
                   int64_t now_us,
                   struct mf_error *error);
/* The master lives: until `lease_us`. */
int firing_renew(struct queues *queues,
                 const char *run_id,
                 int64_t lease_us,
                 struct mf_error *error);
/* Ends an open firing with a final state; 1, or 0 when it was not open any more. */
int firing_end(struct queues *queues,
               const char *run_id,
               const char *state,
               int64_t now_us,
               const char *text,
               struct mf_error *error);
/* Forgets those that ended before `before_us`, some thousand at a time. */
int firing_forget(struct queues *queues, int64_t before_us, struct mf_error *error);
/* What nobody asks for any more: keys whose time is over, firings that ended FIRING_KEPT_US ago. A
 * transaction of its own. */
int queues_forget(struct queues *queues, int64_t now_us, struct mf_error *error);

#endif
