/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler: a pure state machine that owns the states of subtasks, workers and the run.
 *
 * No clock, no input or output, no thread, no randomness: events with a time stamp go in, actions
 * come out. Every event is validated against the state tables (states.h): a pair of state and event
 * without an edge is an error of the caller and is returned as one, never ignored. Stale and
 * doubled messages of workers are not errors: their fence decides. Each EVENT_ENDED is answered by
 * exactly one SCHEDULE_RECORD or SCHEDULE_FENCED, in the order of the events; a void EVENT_STARTED
 * by SCHEDULE_CANCEL (while its worker counts as alive); a void EVENT_RETURNED by nothing.
 *
 *     shell:  schedule_apply(s, &event)...  ->  while (schedule_next(s, &action)) act
 *
 * Offers are made up while actions are asked for: apply all events of one message, then take the
 * actions, and batches are large. An action may be answered by events at once (SCHEDULE_PLAN is).
 *
 * The shell promises: actions are carried out in their order; what SCHEDULE_RECORD names is
 * reported by EVENT_RECORDED once it is committed, SCHEDULE_GATHER by EVENT_GATHERED; what
 * SCHEDULE_PLAN asks for is given by so many EVENT_PLANNED, now or later, or ended by
 * EVENT_PLAN_ENDED or EVENT_PLAN_FAILED (nothing more is asked for before); EVENT_TICK comes at or
 * after schedule_deadline(). When it can't keep these it says EVENT_STOP. Everything else has a
 * deadline here. A time that is earlier than the last one counts as the last one.
 *
 * Memory: a subtask costs memory only while it is pending, held, waiting, offered or running.
 * Finished ones are forgotten (their count stays): an attempt that is not in the table is void. The
 * plan is pulled (SCHEDULE_PLAN) in small steps.
 *
 * Not thread-safe; one thread owns it.
 */
#ifndef MAYFLY_MASTER_SCHEDULE_SCHEDULE_H
#define MAYFLY_MASTER_SCHEDULE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/message.h"

struct schedule;

/* Policy of a run; copied by schedule_create. Times in microseconds. */
struct schedule_config {
    uint64_t seed; /* of the backoff's jitter */
    uint32_t epoch;
    uint32_t retries_max;  /* re-tries after the first attempt */
    uint64_t backoff_us;   /* before the first re-try */
    double backoff_factor; /* times the last one */
    uint64_t backoff_cap_us;
    bool jitter_full; /* wait a random share of the backoff (full jitter), else all of it */
    uint32_t final_code_count;
    int32_t final_codes[32]; /* exit codes that are not re-tried */
    uint64_t tolerate_count; /* failures (failed + dead) that are allowed */
    double tolerate_share;   /* or this share of the total (0..1); the larger of the two counts */
    bool stop_on_failure;    /* on_failure: stop */
    uint32_t poison_losses;  /* a subtask whose workers are lost this often while it runs is dead
                                (default 3, 0 = never) */
    uint64_t lease_us;       /* 30 s */
    uint64_t grace_us;   /* 500 ms: a disconnected worker's running subtasks may be issued elsewhere
                            after it */
    uint64_t join_us;    /* launching and joining together may take this long (60 s) */
    uint64_t resume_us;  /* a known worker has to join within this time, and held subtasks wait for
                            it no longer (default 0 = lease_us) */
    uint64_t dismiss_us; /* draining after dismissal may take this long (30 s), then the worker is
                            lost */
    uint32_t batch_max;  /* subtasks offered to a worker that are not finished, at most (4096) */
    uint64_t horizon_us; /* offer about this much work ahead (200 ms) */
    uint32_t plan_ahead; /* ask for the plan when fewer are pending (8192) */
    uint32_t relaunch_max; /* lost workers replaced, while work is left, without a subtask becoming
                              final in between (default SCHEDULE_RELAUNCH_AUTO: 3 x the workers
                              that were added, and 2 more than poison_losses at least) */
    double straggler_factor;   /* near the end, what runs for more than so many times the median of
                                  the done attempts gets a second attempt elsewhere (3; 0 = never) */
    uint64_t straggler_min_us; /* and for at least this time (30 s) */
    uint32_t workers_max;      /* 0 = as many workers as are added. Else: elastic, at most so many
                                  launch, join, are ready or are being dismissed at once */
    uint32_t workers_min;      /* elastic: at least so many while there is work (1 or more); so many
                                  are added at first */
    uint32_t worker_slots;     /* elastic: of a worker, before one has joined (0 = 1) */
    uint64_t idle_us; /* elastic: a worker that has nothing for so long is dismissed (30 s) */
    uint64_t run_timeout_us; /* after this time since the first event the run fails (0 = none) */
    uint32_t worker_last;    /* of a run that goes on: the largest id of a worker so far; those that
                                replace lost ones get larger ones */
    uint64_t base_total; /* of a run that goes on: all its subtasks, 0 = only those planned here */
    uint64_t base_ended; /* those that ended before, and are not planned here: used when base_total
                            is 0, and added to what is planned here */
    uint64_t base_failures; /* of these, the failed and dead ones that are not planned again */
};

#define SCHEDULE_RELAUNCH_AUTO UINT32_MAX
#define SCHEDULE_ATTEMPT_MAX 65535u    /* attempts of a subtask are numbered up to this */
#define SCHEDULE_WORKER_MAX (1u << 20) /* ids of workers are smaller */

enum schedule_event_kind {
    EVENT_PLANNED, /* subtask, attempt = last number used so far (0), failures so far: one more is
                      known. held = an earlier master may have issued it, and a known worker may
                      have it: it is not offered before each of them has joined or is over */
    EVENT_PLAN_ENDED,  /* the split has no more */
    EVENT_PLAN_FAILED, /* the split broke: the run stops (failed) */
    EVENT_WORKER_ADD,  /* worker, slots: a worker to launch. Its id is new; replacements get the ids
                          that follow the largest one, so add all of a group before taking actions */
    EVENT_WORKER_KNOWN,         /* worker, slots: one that an earlier master started and that may
                                   live. As a joining worker, but it has resume_us. Say it of all
                                   of them before actions are taken; new ones have higher ids */
    EVENT_WORKER_LAUNCHED,      /* worker: it was started; it is to join now */
    EVENT_WORKER_LAUNCH_FAILED, /* worker, ok: it could not be started; ok = another in its place
                                   may be */
    EVENT_WORKER_JOINED, /* worker, slots: hello accepted (a repeated hello of the same session is
                            one too) */
    EVENT_ADOPTED,     /* worker, subtask, attempt, epoch, ok: a known worker holds this attempt of
                          an earlier epoch; ok = it runs, or has ended (EVENT_ENDED follows), else
                          it is queued. Said before its EVENT_WORKER_JOINED, all in one step, and
                          after all that may have been issued is planned. It is live from now on,
                          or void (the subtask has ended, is not planned, waits for its backoff, or
                          has enough live attempts; or the number may have a row): then it is
                          answered by SCHEDULE_CANCEL or SCHEDULE_TAKE_BACK. After the worker has
                          joined nothing is adopted any more */
    EVENT_WORKER_POLL, /* worker, free_places: alive, and can be spoken to */
    EVENT_WORKER_DISCONNECTED, /* worker: its connection is gone; it may come back */
    EVENT_WORKER_DIED,         /* worker: known to be dead (pidfd). After SCHEDULE_DISMISS
                                  EVENT_WORKER_GONE has to follow all the same */
    EVENT_WORKER_GONE,         /* worker: dismissed and verified, or given up */
    EVENT_STARTED,             /* worker, subtask, attempt, epoch: it runs now */
    EVENT_ENDED,               /* worker, subtask, attempt, epoch, cause, exit_code, duration_us */
    EVENT_RETURNED,            /* worker, subtask, attempt, epoch: taken back, not started */
    EVENT_RECORDED,            /* count: so many of the records asked for are committed */
    EVENT_GATHERED,            /* ok: the result is durable (or failed) */
    EVENT_DRAIN,  /* Ctrl-C once: what runs finishes, nothing new starts; the run stays resumable */
    EVENT_CANCEL, /* end everything now */
    EVENT_STOP,   /* the shell can't go on (disk): as drain, but nothing is waited for */
    EVENT_PAUSE,  /* ok = true (pause) or false: offer nothing while paused */
    EVENT_TICK    /* time has passed */
};

struct schedule_event {
    enum schedule_event_kind kind;
    int64_t now_us; /* monotonic */
    uint64_t subtask;
    uint32_t attempt;
    uint32_t epoch;
    uint32_t worker;
    uint32_t slots;
    uint32_t free_places;
    uint32_t failures;
    uint32_t cause; /* enum mf_cause */
    int32_t exit_code;
    uint64_t duration_us;
    uint64_t count;
    bool ok;
    bool held;
};

enum schedule_action_kind {
    SCHEDULE_PLAN,   /* count: pull so many subtasks from the split, one EVENT_PLANNED each */
    SCHEDULE_LAUNCH, /* worker: start it. A replacement has an id of its own, `replaces` names the
                        lost one; 0 = it was added, or work waits */
    SCHEDULE_OFFER,  /* worker, subtask, attempt: put into the next message to it. second = another
                        attempt of it is live; straggler = since that one takes so long */
    SCHEDULE_FLUSH,  /* worker: that was all for now; send if a poll of it is held */
    SCHEDULE_TAKE_BACK, /* worker, subtask, attempt, epoch: ask it to give back what it has not
                           started */
    SCHEDULE_CANCEL,    /* worker, subtask, attempt, epoch: ask it to end a running attempt */
    SCHEDULE_RECORD,    /* subtask, attempt, epoch, worker, record, cause: write this row, then
                           EVENT_RECORDED. The epoch is that of the attempt: an adopted one has an
                           earlier one. MF_CAUSE_LOST and MF_CAUSE_POISON are made up here and
                           answer no EVENT_ENDED */
    SCHEDULE_FENCED,    /* subtask, attempt, epoch, worker, cause: void, or MF_CAUSE_CANCELLED; drop
                           its result */
    SCHEDULE_LOST, /* worker: given up; name it, with what it held (one SCHEDULE_LOST_SUBTASK each
                      follows); end it if it can be reached, then EVENT_WORKER_GONE (waited for at
                      most dismiss_us unless it is known to be dead) */
    SCHEDULE_LOST_SUBTASK, /* worker, subtask, attempt, epoch */
    SCHEDULE_DISMISS,      /* worker: tell it to end; then verify; then EVENT_WORKER_GONE. Comes
                              again when a worker that is over is heard of again, and may come
                              while its launch is still under way. early = it is idle, and the
                              run goes on without it */
    SCHEDULE_RUN_STATE,    /* state: the run is in this state now (planning, running, gathering,
                              dismissing) */
    SCHEDULE_GATHER,       /* partial = failures within the tolerance; then EVENT_GATHERED */
    SCHEDULE_FINISH        /* state = final state, or interrupted; reason; everything is over */
};

/* What a recorded attempt is (column state of table attempt). */
enum schedule_record {
    RECORD_RETRIED = 0, /* failed, and the subtask gets another attempt */
    RECORD_DONE = 1,
    RECORD_FAILED = 2, /* final exit code, input missing or changed */
    RECORD_DEAD = 3    /* attempts used up, or poison */
};

#define SCHEDULE_RUN_STATES(X)                                                                     \
    X(RUN_PLANNING, "planning")                                                                    \
    X(RUN_RUNNING, "running")                                                                      \
    X(RUN_GATHERING, "gathering")                                                                  \
    X(RUN_DISMISSING, "dismissing")                                                                \
    X(RUN_SUCCEEDED, "succeeded")                                                                  \
    X(RUN_PARTIAL, "partial")                                                                      \
    X(RUN_FAILED, "failed")                                                                        \
    X(RUN_CANCELLED, "cancelled")                                                                  \
    X(RUN_INTERRUPTED,                                                                             \
      "interrupted") /* never stored: what SCHEDULE_FINISH says after a drain or stop */

#define SCHEDULE_RUN_ENUM(name, text) name,
enum run_state { SCHEDULE_RUN_STATES(SCHEDULE_RUN_ENUM) };

const char *run_state_name(enum run_state state);

struct schedule_action {
    enum schedule_action_kind kind;
    uint64_t subtask;
    uint32_t attempt;
    uint32_t epoch;
    uint32_t worker;
    uint32_t replaces;
    uint32_t cause;
    enum schedule_record record;
    enum run_state state;
    uint64_t count;
    bool partial;
    bool second, straggler;
    bool early;
    bool not_adopted;   /* SCHEDULE_TAKE_BACK, SCHEDULE_CANCEL: the answer to an EVENT_ADOPTED */
    const char *reason; /* SCHEDULE_FINISH: why it is not succeeded, static text; else NULL */
    bool no_worker;     /* SCHEDULE_FINISH: there was no worker (left); the shell knows why */
};

/* Counts, for status and summary; all of them O(1). */
struct schedule_counts {
    enum run_state state;
    bool paused;
    bool plan_ended;
    uint64_t planned; /* the total once plan_ended */
    uint64_t pending, held, waiting, offered, running;
    uint64_t done, failed, dead, cancelled;
    uint64_t attempts; /* issued or adopted */
    uint64_t retried, fenced, taken_back, recorded;
    uint64_t stragglers; /* second attempts that were issued for slowness */
    uint32_t workers_launched, workers_alive, workers_lost, workers_gone;
    uint32_t workers_wanted; /* elastic: for the work that there is now; else 0 */
    uint32_t workers_let_go; /* dismissed before the end of the run, since they were idle */
};

/* NULL and MF_ENOMEM when memory is exhausted. */
struct schedule *schedule_create(const struct schedule_config *config, struct mf_error *error);
void schedule_destroy(struct schedule *schedule);

/* Defaults for every field of *config. */
void schedule_config_default(struct schedule_config *config);

/*
 * Applies one event. 0, or -1: MF_EPROTOCOL for a pair of state and event that has no edge (nothing
 * has changed), or MF_ENOMEM (nothing has changed).
 */
int schedule_apply(struct schedule *schedule,
                   const struct schedule_event *event,
                   struct mf_error *error);

/* The next action, in order; false when there is none. Nothing is lost if the caller stops in
 * between. */
bool schedule_next(struct schedule *schedule, struct schedule_action *action);

/* When EVENT_TICK is wanted at the latest: monotonic microseconds, INT64_MAX = never. */
int64_t schedule_deadline(const struct schedule *schedule);

void schedule_counts(const struct schedule *schedule, struct schedule_counts *counts);

/* For tests and --explain: the name of a subtask's or worker's state; "finished" or "unknown" if
 * not in the table. */
const char *schedule_subtask_state(const struct schedule *schedule, uint64_t subtask);
const char *schedule_worker_state(const struct schedule *schedule, uint32_t worker);

/* Bytes that the scheduler holds now (its own allocations), for the memory benchmark. */
uint64_t schedule_memory(const struct schedule *schedule);

#endif
