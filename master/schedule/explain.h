/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why something is not running: questions to the scheduler that change nothing. Times are those of
 * the events (monotonic microseconds), INT64_MAX = no such time. Not thread-safe, as the scheduler.
 */
#ifndef MAYFLY_MASTER_SCHEDULE_EXPLAIN_H
#define MAYFLY_MASTER_SCHEDULE_EXPLAIN_H

#include "master/schedule/schedule.h"

/* Why pending subtasks are not with a worker: the first that applies, and it does for all of them.
 */
#define SCHEDULE_WHYS(X)                                                                           \
    X(WHY_NONE_PENDING, "nothing is pending")                                                      \
    X(WHY_WINDING_DOWN, "the run is being ended")                                                  \
    X(WHY_PAUSED, "paused")                                                                        \
    X(WHY_NO_WORKERS, "no worker has been added yet")                                              \
    X(WHY_WORKERS_TO_COME, "waiting for workers to launch and join")                               \
    X(WHY_RELAUNCH, "waiting to launch workers in the place of lost ones")                         \
    X(WHY_WORKERS_AWAY, "no worker is connected")                                                  \
    X(WHY_NO_PLACE, "no free place: every worker has as much as it should")                        \
    X(WHY_NEXT_POLL, "about to be offered, when a worker polls")
#define SCHEDULE_WHY_ENUM(name, text) name,
enum schedule_why { SCHEDULE_WHYS(SCHEDULE_WHY_ENUM) SCHEDULE_WHY_COUNT };

/* The text above, or "unknown". */
const char *schedule_why_text(enum schedule_why why);

struct schedule_explanation {
    enum run_state state;
    bool paused;
    const char *winding_down; /* why the run is being ended, static text; NULL = it is not */
    enum schedule_why why;    /* of the pending ones */
    uint64_t pending;
    uint64_t held; /* an earlier master may have issued them */
    int64_t held_until_us;
    uint32_t known_workers;         /* these are waited for */
    uint64_t waiting;               /* for the end of their backoff */
    int64_t waiting_until_us;       /* of the first of them */
    uint64_t offered, running;      /* with a worker; offered = not said to run yet */
    uint64_t stragglers;            /* second attempts that were issued for slowness */
    bool plan_ended;                /* else there may be more than was pulled so far */
    uint64_t plan_asked;            /* so many are being pulled */
    uint64_t unrecorded;            /* records whose commit is waited for */
    uint32_t launching, joining;    /* workers (known ones are joining) */
    uint32_t ready, away, draining; /* away: ready, but not connected */
    uint32_t idle;                  /* ready, with a slot for which it has nothing */
    uint32_t wanted;                /* to be launched: lost, or elastic and work waits */
    bool is_elastic;
    int64_t relaunch_us; /* not before */
    int64_t timeout_us;  /* the run is given up */
};

/* Of the run; constant time. */
void schedule_explain(const struct schedule *schedule, struct schedule_explanation *explanation);

struct schedule_holder {
    uint32_t worker, attempt, epoch;
    bool running; /* else offered */
    bool told;    /* it was asked back, or cancelled */
    bool away;    /* its worker is not connected */
};

struct schedule_subtask {
    bool found; /* else it has ended, or was not pulled from the plan so far */
    bool ahead; /* not found, and larger than all that were pulled: it was not pulled so far */
    const char *state;     /* its name */
    enum schedule_why why; /* pending: why it is not with a worker */
    uint32_t attempt;      /* the last number used */
    uint32_t failures, losses;
    int64_t until_us; /* waiting: its backoff; held: at the latest */
    int64_t since_us; /* running: about when it started */
    unsigned holder_count;
    struct schedule_holder holder[2];
};

/* Of one subtask. Constant time, but for a waiting one: the number of those that wait. */
void schedule_explain_subtask(const struct schedule *schedule,
                              uint64_t id,
                              struct schedule_subtask *subtask);

#endif
