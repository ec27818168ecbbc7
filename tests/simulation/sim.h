/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated world around the scheduler: virtual time, one seeded source of chance, a fake
 * master shell (shell.c), fake workers and a network that delays, doubles, reorders and drops
 * (world.c), and a ledger that checks the guarantees from what it saw itself (ledger.c).
 *
 * The same seed and options give the same run, event by event.
 */
#ifndef MAYFLY_TESTS_SIMULATION_SIM_H
#define MAYFLY_TESTS_SIMULATION_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "master/schedule/break.h"
#include "master/schedule/schedule.h"

#define MS ((int64_t)1000)
#define SECOND ((int64_t)1000000)
/* A run that is not over by then hangs. */
#define BOUND_US (48 * 3600 * SECOND)

#define FAULTS(X)                                                                                  \
    X(LATE, "late")             /* workers join late, the plan comes late */                       \
    X(SLOW, "slow")             /* some workers are slower by far */                               \
    X(FAIL, "fail")             /* attempts fail */                                                \
    X(SILENT, "silent")         /* workers stop for longer than the lease */                       \
    X(CRASH, "crash")           /* workers die; some subtasks kill theirs */                       \
    X(RETURN, "return")         /* silent workers come back */                                     \
    X(RECONNECT, "reconnect")   /* connections break and come back */                              \
    X(DELAY, "delay")           /* messages, commits and ticks take long */                        \
    X(DOUBLE, "double")         /* messages come twice */                                          \
    X(REORDER, "reorder")       /* messages overtake each other, old ones come late */             \
    X(LAUNCHFAIL, "launchfail") /* launches fail or come to nothing */                             \
    X(USER, "user")             /* cancel, drain, pause, stop; the plan or the gather fails */
#define FAULT_BIT(name, text) FAULT_BIT_##name,
enum fault_bit { FAULTS(FAULT_BIT) FAULT_COUNT };
#define FAULT_ENUM(name, text) FAULT_##name = 1 << FAULT_BIT_##name,
enum fault { FAULTS(FAULT_ENUM) FAULT_ALL = (1 << FAULT_COUNT) - 1 };

struct options {
    uint64_t seed, seeds;
    uint32_t workers;
    uint64_t subtasks;
    unsigned faults;
    uint32_t retries;
    int64_t duration_us; /* of a subtask on an ordinary worker; 0 = by the seed */
    bool verbose, bench;
};

struct task {
    uint64_t subtask;
    uint32_t attempt;
    uint32_t cause;
    int32_t exit_code;
    int64_t duration_us;
    bool told; /* its start was said in a poll */
};

struct tasks {
    struct task *at;
    uint32_t count, cap;
};

/* A request or a reply; shared by the copies that are under way. */
struct letter {
    unsigned references;
    unsigned lane;
    uint64_t sequence;
    struct tasks results, running, returned; /* of a request */
    struct tasks offers, take_back, cancel;  /* of a reply */
    bool dismiss;
};

enum world_kind {
    WORLD_REPORT,    /* the launcher reports to the master; a = it went well */
    WORLD_DIAL,      /* the worker's process begins */
    WORLD_HELLO,     /* arrives at the master; a = generation of the connection */
    WORLD_REQUEST,   /* arrives at the master; a = generation */
    WORLD_REPLY,     /* arrives at the worker; a = generation */
    WORLD_TASK_END,  /* a = subtask, b = attempt */
    WORLD_CUT,       /* a connection breaks; a = for how long, 0 = the process dies */
    WORLD_RECONNECT, /* the worker is back on the wire */
    WORLD_SILENCE,   /* a worker stops; a = for how long, 0 = for ever */
    WORLD_NOTICE,    /* the master notices; a = enum schedule_event_kind */
    WORLD_STOP,      /* the master's launcher ends the process */
    WORLD_HOLD,      /* a held poll has to be answered; a = lane, b = sequence */
    WORLD_COMMIT,    /* a = records */
    WORLD_PLAN,      /* a = subtasks to plan */
    WORLD_GATHERED,
    WORLD_USER, /* a = enum schedule_event_kind, b = ok */
    WORLD_TICK
};

struct world_event {
    int64_t at_us;
    uint64_t order; /* same time: first come, first served */
    enum world_kind kind;
    uint32_t worker;
    uint64_t a, b;
    struct letter *letter;
};

struct lane {
    bool awaiting; /* worker: a request is under way */
    uint64_t sequence;
    struct letter *request;  /* worker: to be sent again after a reconnect */
    uint64_t seen, answered; /* master: sequences */
    bool held;               /* master: a request that waits for something to say */
    struct letter *reply;    /* master: the last one, said again to a repeated request */
};

enum process { PROCESS_NONE, PROCESS_ALIVE, PROCESS_DEAD };

struct peer {
    /* The worker's side. */
    enum process process;
    uint32_t slots;
    double slowness;
    bool welcome; /* it has joined once */
    bool connected;
    uint64_t generation; /* of its connection: letters of an older one are lost */
    int64_t silent_until;
    struct tasks queue, running, results, returned;
    struct lane lane[2];
    /* The master's side. */
    bool joined, away, lost, dismissed, gone;
    struct tasks offers, take_back, cancel;
    bool tell_dismiss;
    bool unflushed; /* the ledger's */
};

/* What the ledger knows of a subtask. */
struct account {
    uint32_t worker[2]; /* live fences; 0 = none */
    uint16_t attempt[2];
    uint16_t last;
    uint8_t failures;
    uint8_t final; /* enum schedule_record + 1 */
};

struct sim {
    const struct options *options;
    uint64_t random;
    int64_t now_us;
    struct schedule_config config;
    struct schedule *schedule;

    struct world_event *heap;
    size_t heap_count, heap_cap;
    uint64_t order, steps;

    struct peer *peers; /* by id */
    uint32_t peer_cap;
    int64_t duration_us;
    unsigned fail_percent;

    uint64_t planned, plan_owed;
    uint64_t uncommitted, committed, recorded; /* records */
    bool committing;
    struct ticket {
        uint32_t worker;
        unsigned lane;
        uint64_t sequence, record;
    } * tickets; /* answers that wait for a commit; a ring of a power of two */
    size_t ticket_head, ticket_count, ticket_cap;
    int64_t tick_us;        /* the next planned tick */
    bool finished, aborted; /* aborted: cancelled, stopped or failed, so attempts may be dropped */
    bool plan_failed, stopped, gathering, gather_seen;
    enum run_state final_state;
    const char *reason;

    struct account *accounts; /* by subtask */
    struct tasks expected;    /* ends that were applied and are not answered yet */
    uint64_t done, failed, dead, retried, offers, fenced, live;
    uint32_t unflushed; /* workers */
    uint32_t *live_of;  /* by worker */
    uint64_t peak_bytes, peak_live;
    char violation[512];
};

/* main.c */
void violation(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say(const struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* events.c: chance, the queue of events, small arrays. Exhausted memory ends the program. */
uint64_t chance(struct sim *sim, uint64_t below);
bool percent(struct sim *sim, unsigned share);
int64_t between(struct sim *sim, int64_t low, int64_t high);
bool fault(const struct sim *sim, unsigned fault);
void later(struct sim *sim, int64_t delay_us, struct world_event event);
bool next_event(struct sim *sim, struct world_event *event);
void *need(void *memory);
void tasks_add(struct tasks *tasks, struct task task);
void tasks_remove(struct tasks *tasks, uint32_t i);
bool tasks_find(const struct tasks *tasks, uint64_t subtask, uint32_t attempt, uint32_t *i);
void tasks_move(struct tasks *from, struct tasks *to);
struct letter *letter_create(unsigned lane, uint64_t sequence);
void letter_release(struct letter *letter);
struct peer *peer_of(struct sim *sim, uint32_t worker);

/* world.c: the workers and the wire. */
void world_launch(struct sim *sim, uint32_t worker, uint32_t slots);
void world_event(struct sim *sim, struct world_event *event);
void world_reply(struct sim *sim, uint32_t worker, struct letter *letter);
bool world_arrives(struct sim *sim, const struct world_event *event); /* at the master */
void world_end_process(struct sim *sim, uint32_t worker);

/* shell.c: the master around the scheduler. */
void shell_begin(struct sim *sim);
void shell_event(struct sim *sim, struct world_event *event);
void shell_end(struct sim *sim);

/* ledger.c */
void ledger_begin(struct sim *sim);
void ledger_event(struct sim *sim, const struct schedule_event *event);
void ledger_action(struct sim *sim, const struct schedule_action *action);
void ledger_step(struct sim *sim); /* after the actions of a group of events */
void ledger_end(struct sim *sim);
void ledger_free(struct sim *sim);

/* bench.c */
int bench(const struct options *options);

#endif
