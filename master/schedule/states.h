/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machines of the scheduler as tables: all states, all events, all edges. There is
 * nothing else: a pair of state and event without an edge is an error.
 *
 * The states of a run are in schedule.h, since the results table stores them.
 */
#ifndef MAYFLY_MASTER_SCHEDULE_STATES_H
#define MAYFLY_MASTER_SCHEDULE_STATES_H

#include "master/schedule/schedule.h"

#define SCHEDULE_ENUM(name, text) name,

/*
 * A subtask. The first five are in memory; of the others only the count is kept.
 *
 *     pending -> offered -> running -> done | failed | dead
 *      ^   ^        |          |
 *      |   +--------+----------+-> waiting -> pending        (all of the first five -> cancelled)
 *     held -> offered
 *
 * A subtask may have two live attempts; its state is that of the one that got furthest. While it
 * waits to be issued a second time it is pending, and its first attempt is still live. It is held
 * when an earlier master may have issued it, until a known worker says that it has it or all of
 * them have spoken or are over.
 */
#define SUBTASK_STATES(X)                                                                          \
    X(SUBTASK_PENDING, "pending")                                                                  \
    X(SUBTASK_OFFERED, "offered")                                                                  \
    X(SUBTASK_RUNNING, "running")                                                                  \
    X(SUBTASK_WAITING, "waiting")                                                                  \
    X(SUBTASK_HELD, "held")                                                                        \
    X(SUBTASK_DONE, "done")                                                                        \
    X(SUBTASK_FAILED, "failed")                                                                    \
    X(SUBTASK_DEAD, "dead")                                                                        \
    X(SUBTASK_CANCELLED, "cancelled")
enum subtask_state { SUBTASK_STATES(SCHEDULE_ENUM) SUBTASK_STATE_COUNT };

#define SUBTASK_EVENTS(X)                                                                          \
    X(SUBTASK_OFFER, "offer")               /* put into a message to a worker */                   \
    X(SUBTASK_START, "start")               /* a worker says that it runs */                       \
    X(SUBTASK_LEFT_OFFERED, "left offered") /* of its live attempts none runs */                   \
    X(SUBTASK_LEFT_RUNNING, "left running") /* another attempt ended, or is live again */          \
    X(SUBTASK_REQUEUE, "requeue")           /* lost, taken back, or to be issued again */          \
    X(SUBTASK_SUCCEED, "succeed")                                                                  \
    X(SUBTASK_RETRY, "retry")                                                                      \
    X(SUBTASK_FAIL, "fail") /* finally */                                                          \
    X(SUBTASK_DIE, "die")   /* attempts used up, or poison */                                      \
    X(SUBTASK_DUE, "due")   /* the backoff is over */                                              \
    X(SUBTASK_CANCEL, "cancel")                                                                    \
    X(SUBTASK_ADOPT, "adopt")      /* a known worker has it */                                     \
    X(SUBTASK_RELEASE, "release")  /* no known worker has it */                                    \
    X(SUBTASK_REDRIVE, "re-drive") /* by the user: the next master's EVENT_PLANNED */
enum subtask_event { SUBTASK_EVENTS(SCHEDULE_ENUM) SUBTASK_EVENT_COUNT };

#define SUBTASK_ENDS(X, from)                                                                      \
    X(from, SUBTASK_START, SUBTASK_RUNNING)                                                        \
    X(from, SUBTASK_LEFT_OFFERED, SUBTASK_OFFERED)                                                 \
    X(from, SUBTASK_LEFT_RUNNING, SUBTASK_RUNNING)                                                 \
    X(from, SUBTASK_REQUEUE, SUBTASK_PENDING)                                                      \
    X(from, SUBTASK_SUCCEED, SUBTASK_DONE)                                                         \
    X(from, SUBTASK_RETRY, SUBTASK_WAITING)                                                        \
    X(from, SUBTASK_FAIL, SUBTASK_FAILED)                                                          \
    X(from, SUBTASK_DIE, SUBTASK_DEAD)                                                             \
    X(from, SUBTASK_CANCEL, SUBTASK_CANCELLED)
#define SUBTASK_EDGES(X)                                                                           \
    X(SUBTASK_PENDING, SUBTASK_OFFER, SUBTASK_OFFERED)                                             \
    SUBTASK_ENDS(X, SUBTASK_PENDING) /* its first attempt may be live */                           \
    SUBTASK_ENDS(X, SUBTASK_OFFERED) /* an end says that it was started */                         \
    SUBTASK_ENDS(X, SUBTASK_RUNNING)                                                               \
    X(SUBTASK_WAITING, SUBTASK_DUE, SUBTASK_PENDING)                                               \
    X(SUBTASK_WAITING, SUBTASK_CANCEL, SUBTASK_CANCELLED)                                          \
    X(SUBTASK_HELD, SUBTASK_ADOPT, SUBTASK_OFFERED)                                                \
    X(SUBTASK_HELD, SUBTASK_RELEASE, SUBTASK_PENDING)                                              \
    X(SUBTASK_HELD, SUBTASK_CANCEL, SUBTASK_CANCELLED)                                             \
    X(SUBTASK_FAILED, SUBTASK_REDRIVE, SUBTASK_PENDING)                                            \
    X(SUBTASK_DEAD, SUBTASK_REDRIVE, SUBTASK_PENDING)

/*
 * A worker: launching -> joining -> ready -> draining -> gone; any -> lost -> gone. A known worker
 * of an earlier master begins as a joining one.
 */
#define WORKER_STATES(X)                                                                           \
    X(WORKER_LAUNCHING, "launching")                                                               \
    X(WORKER_JOINING, "joining")                                                                   \
    X(WORKER_READY, "ready")                                                                       \
    X(WORKER_DRAINING, "draining")                                                                 \
    X(WORKER_LOST, "lost")                                                                         \
    X(WORKER_GONE, "gone")
enum worker_state { WORKER_STATES(SCHEDULE_ENUM) WORKER_STATE_COUNT };

#define WORKER_EVENTS(X)                                                                           \
    X(WORKER_LAUNCHED, "launched")                                                                 \
    X(WORKER_LAUNCH_FAILED, "launch failed")                                                       \
    X(WORKER_ADOPT, "adopt") /* it says what it holds, and joins */                                \
    X(WORKER_JOINED, "joined")                                                                     \
    X(WORKER_POLL, "poll")                                                                         \
    X(WORKER_MESSAGE, "message") /* something about a subtask */                                   \
    X(WORKER_DISCONNECTED, "disconnected")                                                         \
    X(WORKER_DIED, "died")                                                                         \
    X(WORKER_ENDED, "gone")                                                                        \
    X(WORKER_DISMISS, "dismiss")                                                                   \
    X(WORKER_EXPIRE, "expire") /* its deadline has passed */
enum worker_event { WORKER_EVENTS(SCHEDULE_ENUM) WORKER_EVENT_COUNT };

#define WORKER_EDGES(X)                                                                            \
    X(WORKER_LAUNCHING, WORKER_LAUNCHED, WORKER_JOINING)                                           \
    X(WORKER_LAUNCHING, WORKER_LAUNCH_FAILED, WORKER_GONE)                                         \
    X(WORKER_LAUNCHING, WORKER_ADOPT, WORKER_LAUNCHING)                                            \
    X(WORKER_LAUNCHING, WORKER_JOINED, WORKER_READY) /* its hello overtook the report */           \
    X(WORKER_LAUNCHING, WORKER_DISCONNECTED, WORKER_LAUNCHING)                                     \
    X(WORKER_LAUNCHING, WORKER_DIED, WORKER_LOST)                                                  \
    X(WORKER_LAUNCHING, WORKER_ENDED, WORKER_GONE)                                                 \
    X(WORKER_LAUNCHING, WORKER_DISMISS, WORKER_DRAINING)                                           \
    X(WORKER_LAUNCHING, WORKER_EXPIRE, WORKER_LOST)                                                \
    X(WORKER_JOINING, WORKER_ADOPT, WORKER_JOINING)                                                \
    X(WORKER_JOINING, WORKER_JOINED, WORKER_READY)                                                 \
    X(WORKER_JOINING, WORKER_DISCONNECTED, WORKER_JOINING)                                         \
    X(WORKER_JOINING, WORKER_DIED, WORKER_LOST)                                                    \
    X(WORKER_JOINING, WORKER_ENDED, WORKER_GONE)                                                   \
    X(WORKER_JOINING, WORKER_DISMISS, WORKER_DRAINING)                                             \
    X(WORKER_JOINING, WORKER_EXPIRE, WORKER_LOST)                                                  \
    X(WORKER_READY, WORKER_LAUNCHED, WORKER_READY)                                                 \
    X(WORKER_READY, WORKER_LAUNCH_FAILED, WORKER_READY) /* it speaks, so it lives */               \
    X(WORKER_READY, WORKER_ADOPT, WORKER_READY)                                                    \
    X(WORKER_READY, WORKER_JOINED, WORKER_READY)                                                   \
    X(WORKER_READY, WORKER_POLL, WORKER_READY)                                                     \
    X(WORKER_READY, WORKER_MESSAGE, WORKER_READY)                                                  \
    X(WORKER_READY, WORKER_DISCONNECTED, WORKER_READY)                                             \
    X(WORKER_READY, WORKER_DIED, WORKER_LOST)                                                      \
    X(WORKER_READY, WORKER_ENDED, WORKER_GONE)                                                     \
    X(WORKER_READY, WORKER_DISMISS, WORKER_DRAINING)                                               \
    X(WORKER_READY, WORKER_EXPIRE, WORKER_LOST)                                                    \
    X(WORKER_DRAINING, WORKER_LAUNCHED, WORKER_DRAINING)                                           \
    X(WORKER_DRAINING, WORKER_LAUNCH_FAILED, WORKER_GONE)                                          \
    X(WORKER_DRAINING, WORKER_ADOPT, WORKER_DRAINING)                                              \
    X(WORKER_DRAINING, WORKER_JOINED, WORKER_DRAINING)                                             \
    X(WORKER_DRAINING, WORKER_POLL, WORKER_DRAINING)                                               \
    X(WORKER_DRAINING, WORKER_MESSAGE, WORKER_DRAINING)                                            \
    X(WORKER_DRAINING, WORKER_DISCONNECTED, WORKER_DRAINING)                                       \
    X(WORKER_DRAINING, WORKER_DIED, WORKER_DRAINING) /* as it was told; to be verified */          \
    X(WORKER_DRAINING, WORKER_ENDED, WORKER_GONE)                                                  \
    X(WORKER_DRAINING, WORKER_EXPIRE, WORKER_LOST)                                                 \
    X(WORKER_LOST, WORKER_LAUNCHED, WORKER_LOST)                                                   \
    X(WORKER_LOST, WORKER_LAUNCH_FAILED, WORKER_GONE)                                              \
    X(WORKER_LOST, WORKER_ADOPT, WORKER_LOST)                                                      \
    X(WORKER_LOST, WORKER_JOINED, WORKER_LOST)                                                     \
    X(WORKER_LOST, WORKER_POLL, WORKER_LOST)                                                       \
    X(WORKER_LOST, WORKER_MESSAGE, WORKER_LOST)                                                    \
    X(WORKER_LOST, WORKER_DISCONNECTED, WORKER_LOST)                                               \
    X(WORKER_LOST, WORKER_DIED, WORKER_LOST)                                                       \
    X(WORKER_LOST, WORKER_ENDED, WORKER_GONE)                                                      \
    X(WORKER_LOST, WORKER_EXPIRE, WORKER_GONE)                                                     \
    X(WORKER_GONE, WORKER_LAUNCHED, WORKER_GONE)                                                   \
    X(WORKER_GONE, WORKER_LAUNCH_FAILED, WORKER_GONE)                                              \
    X(WORKER_GONE, WORKER_ADOPT, WORKER_GONE)                                                      \
    X(WORKER_GONE, WORKER_JOINED, WORKER_GONE)                                                     \
    X(WORKER_GONE, WORKER_POLL, WORKER_GONE)                                                       \
    X(WORKER_GONE, WORKER_MESSAGE, WORKER_GONE)                                                    \
    X(WORKER_GONE, WORKER_DISCONNECTED, WORKER_GONE)                                               \
    X(WORKER_GONE, WORKER_DIED, WORKER_GONE)                                                       \
    X(WORKER_GONE, WORKER_ENDED, WORKER_GONE)

/*
 * The run: planning -> running -> gathering -> dismissing -> succeeded | partial | failed |
 * cancelled | interrupted. What is wound down (drain, cancel, failure) stays in its state until
 * nothing is under way, and then goes to dismissing.
 */
#define RUN_EVENTS(X)                                                                              \
    X(RUN_PLANNED, "planned")                                                                      \
    X(RUN_PLAN_ENDED, "plan ended")                                                                \
    X(RUN_PLAN_FAILED, "plan failed")                                                              \
    X(RUN_WORKER_ADD, "worker added")                                                              \
    X(RUN_WORKER, "worker")   /* any event of a worker */                                          \
    X(RUN_SUBTASK, "subtask") /* any message about a subtask */                                    \
    X(RUN_RECORDED, "recorded")                                                                    \
    X(RUN_GATHERED, "gathered")                                                                    \
    X(RUN_DRAIN, "drain")                                                                          \
    X(RUN_CANCEL, "cancel")                                                                        \
    X(RUN_STOP, "stop")                                                                            \
    X(RUN_PAUSE, "pause")                                                                          \
    X(RUN_TICK, "tick")                                                                            \
    X(RUN_COMPLETE, "complete") /* all is recorded, within the tolerance */                        \
    X(RUN_TIMEOUT, "timeout")   /* it has taken too long */                                        \
    X(RUN_OVER, "over")         /* ended otherwise, and nothing is under way */                    \
    X(RUN_END_SUCCEEDED, "end succeeded")                                                          \
    X(RUN_END_PARTIAL, "end partial")                                                              \
    X(RUN_END_FAILED, "end failed")                                                                \
    X(RUN_END_CANCELLED, "end cancelled")                                                          \
    X(RUN_END_INTERRUPTED, "end interrupted")
enum run_event { RUN_EVENTS(SCHEDULE_ENUM) RUN_EVENT_COUNT };
#define RUN_STATE_COUNT ((int)RUN_INTERRUPTED + 1)

#define RUN_ANY(X, state)                                                                          \
    X(state, RUN_WORKER, state)                                                                    \
    X(state, RUN_SUBTASK, state)                                                                   \
    X(state, RUN_DRAIN, state)                                                                     \
    X(state, RUN_PAUSE, state)                                                                     \
    X(state, RUN_TICK, state)
#define RUN_WORKING(X, state)                                                                      \
    RUN_ANY(X, state)                                                                              \
    X(state, RUN_PLAN_FAILED, state)                                                               \
    X(state, RUN_WORKER_ADD, state)                                                                \
    X(state, RUN_CANCEL, state)                                                                    \
    X(state, RUN_STOP, state)                                                                      \
    X(state, RUN_TIMEOUT, state)                                                                   \
    X(state, RUN_OVER, RUN_DISMISSING)
/* What was asked for before the end was known may still come in. */
#define RUN_ENDING(X, state)                                                                       \
    RUN_ANY(X, state)                                                                              \
    X(state, RUN_PLANNED, state)                                                                   \
    X(state, RUN_PLAN_ENDED, state)                                                                \
    X(state, RUN_PLAN_FAILED, state)                                                               \
    X(state, RUN_RECORDED, state)                                                                  \
    X(state, RUN_GATHERED, state)                                                                  \
    X(state, RUN_CANCEL, state)                                                                    \
    X(state, RUN_STOP, state)
#define RUN_EDGES(X)                                                                               \
    RUN_WORKING(X, RUN_PLANNING)                                                                   \
    X(RUN_PLANNING, RUN_PLANNED, RUN_RUNNING)                                                      \
    X(RUN_PLANNING, RUN_PLAN_ENDED, RUN_RUNNING)                                                   \
    RUN_WORKING(X, RUN_RUNNING)                                                                    \
    X(RUN_RUNNING, RUN_PLANNED, RUN_RUNNING)                                                       \
    X(RUN_RUNNING, RUN_PLAN_ENDED, RUN_RUNNING)                                                    \
    X(RUN_RUNNING, RUN_RECORDED, RUN_RUNNING)                                                      \
    X(RUN_RUNNING, RUN_COMPLETE, RUN_GATHERING)                                                    \
    RUN_ANY(X, RUN_GATHERING)                                                                      \
    X(RUN_GATHERING, RUN_GATHERED, RUN_DISMISSING)                                                 \
    X(RUN_GATHERING, RUN_CANCEL, RUN_DISMISSING)                                                   \
    X(RUN_GATHERING, RUN_STOP, RUN_DISMISSING)                                                     \
    X(RUN_GATHERING, RUN_TIMEOUT, RUN_DISMISSING)                                                  \
    RUN_ENDING(X, RUN_DISMISSING)                                                                  \
    X(RUN_DISMISSING, RUN_END_SUCCEEDED, RUN_SUCCEEDED)                                            \
    X(RUN_DISMISSING, RUN_END_PARTIAL, RUN_PARTIAL)                                                \
    X(RUN_DISMISSING, RUN_END_FAILED, RUN_FAILED)                                                  \
    X(RUN_DISMISSING, RUN_END_CANCELLED, RUN_CANCELLED)                                            \
    X(RUN_DISMISSING, RUN_END_INTERRUPTED, RUN_INTERRUPTED)                                        \
    RUN_ENDING(X, RUN_SUCCEEDED)                                                                   \
    RUN_ENDING(X, RUN_PARTIAL)                                                                     \
    RUN_ENDING(X, RUN_FAILED)                                                                      \
    RUN_ENDING(X, RUN_CANCELLED)                                                                   \
    RUN_ENDING(X, RUN_INTERRUPTED)

/* The state after an event, or -1: there is no such edge. */
int subtask_edge(enum subtask_state from, enum subtask_event event);
int worker_edge(enum worker_state from, enum worker_event event);
int run_edge(enum run_state from, enum run_event event);

const char *subtask_state_name(enum subtask_state state);
const char *subtask_event_name(enum subtask_event event);
const char *worker_state_name(enum worker_state state);
const char *worker_event_name(enum worker_event event);
const char *run_event_name(enum run_event event);

/* The edges as they are written above, for the test that walks them. */
struct schedule_edge {
    int from, event, to;
};
extern const struct schedule_edge subtask_edges[], worker_edges[], run_edges[];
extern const unsigned subtask_edge_count, worker_edge_count, run_edge_count;

#endif
