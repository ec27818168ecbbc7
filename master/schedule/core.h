/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the scheduler share; nobody else includes it. Reading order: states.h,
 * subtask.c, worker.c, issue.c (data), attempt.c, batch.c, straggler.c, elastic.c, resume.c, run.c
 * (policy), apply.c, act.c (the two ends), explain.c.
 *
 * Invariants
 *   - Nothing but reserve (apply.c) and schedule_create allocates: events are applied and actions
 *     made up in memory that is there, so a failed allocation changes nothing.
 *   - No step looks at all subtasks or all workers: lists are intrusive, timers of one kind have
 *     the same length and are therefore lists in order of time. Only what happens once in a run
 *     (winding down, releasing what was held) walks over everything, and stragglers are looked for
 *     worker by worker, seldom.
 *   - Between apply and act a worker may be LOST and still hold issues (it waits in LIST_LOSING):
 *     they are void from the moment of the loss.
 */
#ifndef MAYFLY_MASTER_SCHEDULE_CORE_H
#define MAYFLY_MASTER_SCHEDULE_CORE_H

#include "master/schedule/break.h"
#include "master/schedule/states.h"

#define NONE UINT32_MAX
#define SUBTASK_CHUNK 1024u
#define WORKER_CHUNK 64u
/* Actions that one event pushes at most: a record and an order to another worker. */
#define EVENT_ACTIONS 8u
#define ISSUE_AGE_MAX 255u /* epochs */

/* One live attempt of a subtask; linked into a list of its worker. 16 bytes. */
struct issue {
    uint32_t worker;     /* 0 = free */
    uint32_t next, prev; /* references, see issue.c; 0 = end */
    uint16_t attempt;
    uint8_t age; /* it was issued so many epochs ago, by an earlier master */
    bool running : 1;
    bool told : 1; /* it was asked back (offered) or cancelled (running) */
};

/* A live subtask; 56 bytes, and 8 in the index. */
struct subtask {
    uint64_t id;
    union {
        struct {
            uint32_t next, prev; /* pending or held: indices, NONE = end */
        } pending;
        int64_t started_us; /* running: when the state began, or its patience anew */
        uint32_t free;      /* next free record */
    };
    struct issue issue[2];
    uint16_t attempt;  /* the last number used */
    uint16_t recorded; /* there may be rows of attempts up to this number */
    uint16_t failures;
    uint8_t losses;
    uint8_t state; /* enum subtask_state */
};

struct subtask_queue {
    uint32_t head, tail; /* NONE = empty */
};

/* Hash id -> index: linear probing, deletion by shifting back. */
struct slot {
    uint32_t tag; /* the lower half of the id */
    uint32_t index;
};

struct waiting {
    int64_t due_us;
    uint32_t index;
};

/* A worker is in at most one list of each of these kinds. */
enum worker_link {
    LINK_TIMER,
    LINK_GRACE,
    LINK_QUEUE,
    LINK_IDLE,
    LINK_REST,
    LINK_LOAD,
    LINK_FLUSH,
    LINKS
};

enum worker_list {
    LIST_NONE,
    LIST_JOIN,    /* TIMER: launching and joining, by the time of launch */
    LIST_KNOWN,   /* TIMER: of an earlier master, by the time they were named */
    LIST_LEASE,   /* TIMER: ready, by the time of the last poll */
    LIST_DISMISS, /* TIMER: draining, or lost and not known to be dead */
    LIST_GRACE,   /* GRACE: disconnected, by that time */
    LIST_HUNGRY,  /* QUEUE: polled, and has less than its target */
    LIST_LOSING,  /* QUEUE: its loss is to be told, its issues to be dropped */
    LIST_WANTED,  /* QUEUE: lost, to be replaced */
    LIST_SWEEP,   /* QUEUE: the run is wound down, its issues are to be ended */
    LIST_IDLE,    /* IDLE: has a slot for which it holds nothing */
    LIST_REST,    /* REST: holds nothing, by the time since (with elasticity) */
    LIST_FLUSH,   /* FLUSH: something was put into its next message */
    LIST_LOAD     /* LOAD: can give back; one list for each power of two of microseconds to do */
};
#define LOAD_LISTS 48
#define LISTS (LIST_LOAD + LOAD_LISTS)

struct worker_place {
    uint32_t next, prev; /* ids, 0 = end */
};

struct worker {
    uint32_t id; /* 0 = no such worker */
    uint32_t slots;
    uint32_t target; /* it should hold so many */
    uint32_t held, running, asked;
    uint32_t offered_head, offered_tail, running_head, running_tail; /* references of issues */
    uint64_t duration_us16;     /* EWMA of an attempt, times 16; 0 = none */
    int64_t timer_us, grace_us; /* when LINK_TIMER and LINK_GRACE were set */
    int64_t rest_us;            /* when LINK_REST was */
    uint64_t record_mark;       /* so many records committed: its own are among them */
    struct worker_place place[LINKS];
    uint8_t in[LINKS]; /* enum worker_list */
    uint8_t state;     /* enum worker_state */
    bool connected;
    bool stale;    /* disconnected for longer than the grace: its subtasks may be issued again */
    bool announce; /* SCHEDULE_LOST is to come */
    bool replace;  /* and a replacement, while work is left */
    bool closed;   /* the end of the run does not wait for it */
    bool returned; /* lost, but heard of again */
};

struct worker_ends {
    uint32_t head, tail, count;
};

#define STRAGGLER_BUCKETS 160u /* four to a power of two */

struct straggler {
    uint64_t took[STRAGGLER_BUCKETS]; /* done attempts by duration */
    uint64_t samples;
    int64_t look_us; /* not before */
};

struct elastic {
    uint64_t alive_slots; /* of workers that launch, join or are ready */
    uint32_t most;        /* workers that there may be: fewer when hosts can't be used */
    uint32_t lacking;     /* stragglers without a helper, at the last look */
    uint32_t let_go;
    int64_t short_us; /* since when there is more work than slots; INT64_MAX = there is not */
};

/* How the run is ended before all is done, in rising order: only the larger one counts. */
enum intent { INTENT_NONE, INTENT_DRAIN, INTENT_FAIL, INTENT_CANCEL };

struct schedule {
    struct schedule_config config;
    struct schedule_counts counts;
    int64_t now_us;
    uint64_t random;
    uint64_t bytes;                                           /* allocated */
    const char *broken_machine, *broken_state, *broken_event; /* an internal edge was missing */

    struct subtask **subtask_chunks;
    uint32_t subtask_chunk_count, subtask_chunk_cap;
    uint32_t free_head, free_count;
    uint64_t live; /* subtasks in memory */
    struct slot *index;
    uint32_t index_bits;
    struct subtask_queue pending, held;
    struct waiting *waiting; /* binary heap by due_us */
    uint32_t waiting_count, waiting_cap;
    uint64_t issues; /* live ones */

    struct worker **worker_chunks;
    uint32_t worker_chunk_count, worker_chunk_cap; /* ids below chunks x WORKER_CHUNK have memory */
    uint32_t worker_last;                          /* the largest id */
    uint32_t worker_added, worker_in[WORKER_STATE_COUNT];
    uint32_t worker_open;   /* the end waits for them */
    uint64_t ready_slots;   /* of those that are connected */
    uint64_t duration_us16; /* EWMA over all workers */
    uint32_t asked;         /* issues asked back, not answered yet */
    struct worker_ends list[LISTS];
    uint32_t turns; /* hungry workers that have not had their turn in this round */
    uint32_t workers_connected;
    struct straggler straggler;
    struct elastic elastic;
    uint64_t load_used; /* bit per LOAD list that is not empty */
    uint32_t relaunched, launch_failures;
    int64_t relaunch_us;

    enum run_state state;
    enum intent intent;
    bool stopped; /* nothing is waited for */
    enum run_state outcome;
    const char *reason;
    bool no_worker; /* that is the reason */
    uint64_t plan_asked;
    uint64_t planned_last; /* the largest id */
    uint64_t record_asked;
    int64_t first_us;   /* of the first event, -1 = none yet */
    int64_t wind_us;    /* what runs is given up at this time */
    uint32_t dismissed; /* ids up to this one have been told */

    struct schedule_action *ring;
    uint32_t ring_cap, ring_head, ring_count;
};

/* subtask.c: the store. Indices are stable while the subtask lives. */
static inline struct subtask *core_subtask_at(const struct schedule *s, uint32_t index)
{
    return &s->subtask_chunks[index / SUBTASK_CHUNK][index % SUBTASK_CHUNK];
}
int core_subtask_reserve(struct schedule *s); /* room for one more; -1 = no memory */
int waiting_reserve(struct schedule *s);
uint32_t core_subtask_find(const struct schedule *s, uint64_t id); /* NONE */
/* Pending or held, not yet in its queue. */
uint32_t core_subtask_add(struct schedule *s, uint64_t id, enum subtask_state state);
void core_subtask_step(struct schedule *s, uint32_t index, enum subtask_event event);
void core_subtask_forget(struct schedule *s, uint32_t index); /* it is in a final state */
/* The queue of its state, pending or held; taking from it one in another state does nothing. */
void pending_put(struct schedule *s, uint32_t index, bool front);
void pending_take(struct schedule *s, uint32_t index);
void waiting_put(struct schedule *s, uint32_t index, int64_t due_us);
uint32_t waiting_pop(struct schedule *s);
void core_subtasks_fini(struct schedule *s);

/* worker.c: the table, the lists, the life of a worker. */
static inline struct worker *core_worker_at(const struct schedule *s, uint32_t id)
{
    return &s->worker_chunks[id / WORKER_CHUNK][id % WORKER_CHUNK];
}
struct worker *core_worker_find(const struct schedule *s, uint32_t id); /* NULL */
int core_worker_reserve(struct schedule *s,
                        uint32_t id,
                        uint32_t spare); /* id, and spare ones more */
struct worker *core_worker_add(struct schedule *s, uint32_t id, uint32_t slots, uint32_t replaces);
void core_worker_add_known(struct schedule *s, uint32_t id, uint32_t slots);
void core_list_put(struct schedule *s, enum worker_list list, struct worker *w);
void core_list_take(struct schedule *s, enum worker_link link, struct worker *w);
void core_worker_weigh(struct schedule *s, struct worker *w); /* its place in IDLE and LOAD */
void core_worker_dismiss(struct schedule *s, struct worker *w, bool early);
void core_worker_event(struct schedule *s, struct worker *w, const struct schedule_event *event);
void core_worker_tick(struct schedule *s);
int64_t core_worker_deadline(const struct schedule *s);
void core_workers_fini(struct schedule *s);

/* issue.c: the live attempts. k is 0 or 1: which of the two of a subtask. */
uint32_t issue_of(uint32_t reference, unsigned *k); /* the subtask's index */
uint32_t issue_epoch(const struct schedule *s, const struct issue *issue);
unsigned
issue_add(struct schedule *s, struct worker *w, uint32_t index, uint32_t attempt, uint8_t age);
void issue_start(struct schedule *s, uint32_t index, unsigned k);
void issue_drop(struct schedule *s, uint32_t index, unsigned k);
void issue_tell(struct schedule *s, uint32_t index, unsigned k); /* take back or cancel, once */
bool issue_named(const struct schedule *s,
                 const struct schedule_event *event,
                 uint32_t *index,
                 unsigned *k); /* of that worker, whatever state it is in */
bool issue_find(const struct schedule *s,
                const struct schedule_event *event,
                uint32_t *index,
                unsigned *k);                          /* and the worker's word counts */
void issue_settle(struct schedule *s, uint32_t index); /* the state that its issues leave it in */
bool issue_any(const struct subtask *sub);

/* attempt.c: what happens to a subtask. */
void attempt_planned(struct schedule *s, const struct schedule_event *event);
void attempt_started(struct schedule *s, const struct schedule_event *event);
void attempt_ended(struct schedule *s, const struct schedule_event *event);
void attempt_returned(struct schedule *s, const struct schedule_event *event);
void attempt_lost(struct schedule *s, uint32_t index, unsigned k);
void attempt_due(struct schedule *s);
void core_subtask_cancel(struct schedule *s, uint32_t index);

/* resume.c: what is taken over from an earlier master. */
bool resume_waits(const struct schedule *s); /* for known workers */
bool resume_release(struct schedule *s);     /* true: what was held is pending now */
void resume_adopted(struct schedule *s, const struct schedule_event *event);

/* batch.c: how much, to whom. */
void batch_aim(struct schedule *s, struct worker *w); /* its target, at a poll */
bool batch_offer(struct schedule *s);                 /* true: something was pushed */
bool batch_take_back(struct schedule *s);

/* straggler.c: second attempts near the end. */
void straggler_sample(struct schedule *s, uint64_t duration_us);
bool straggler_offer(struct schedule *s); /* true: something was pushed */
int64_t straggler_deadline(const struct schedule *s);

/* elastic.c: how many workers. */
bool elastic_on(const struct schedule *s);
bool elastic_may_launch(const struct schedule *s); /* now or later */
bool elastic_may_grow(const struct schedule *s);   /* there is room for one more */
bool elastic_launch(struct schedule *s);           /* true: something was pushed */
bool elastic_let_go(struct schedule *s);
int64_t elastic_deadline(const struct schedule *s);
void elastic_no_host(struct schedule *s); /* a launch failed, and none can take its place */
uint32_t elastic_wanted(const struct schedule *s);

/* run.c: the run as a whole. */
void core_run_step(struct schedule *s, enum run_event event);
void core_run_wind_down(struct schedule *s, enum intent intent, const char *reason);
void core_run_event(struct schedule *s, const struct schedule_event *event);
bool core_run_failed(const struct schedule *s);  /* more failures than tolerated */
bool core_run_working(const struct schedule *s); /* planning or running, not wound down */
void core_run_pace_launches(struct schedule *s); /* a launch came to nothing */
bool core_run_act(struct schedule *s);
bool core_run_relaunch(struct schedule *s);
bool core_run_plan(struct schedule *s);
uint32_t core_run_relaunches_left(const struct schedule *s); /* now */
uint32_t core_run_relaunches_most(const struct schedule *s); /* after a record, too */
void core_run_tick(struct schedule *s);
int64_t core_run_deadline(const struct schedule *s);
int64_t core_run_timeout(const struct schedule *s); /* INT64_MAX = none */

/* act.c: the queue of actions. Room was reserved. */
struct schedule_action *action_push(struct schedule *s, enum schedule_action_kind kind);
struct schedule_action *action_push_issue(struct schedule *s,
                                          enum schedule_action_kind kind,
                                          uint64_t subtask,
                                          uint32_t attempt,
                                          uint32_t worker);
int action_reserve(struct schedule *s, uint32_t more);
uint32_t
action_step_most(uint32_t issues); /* actions of one step for a worker that holds so many */

void schedule_broken(struct schedule *s, const char *machine, const char *state, const char *event);

#endif
