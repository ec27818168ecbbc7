/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated world around the scheduler: virtual time, one seeded source of chance, a fake
 * master shell (shell.c) over a fake results table (table.c), fake workers and a network that
 * delays, doubles, reorders and drops (world.c), and a ledger that checks the guarantees from what
 * it saw itself (ledger.c).
 *
 * A master may die (crash.c): the scheduler and all that the shell has in memory are gone, in the
 * middle of its actions too; a new one with the next epoch starts from the table, and workers come
 * back to it with what they hold, or late, or twice, or never.
 *
 * The same seed and options give the same run, event by event.
 */
#ifndef MAYFLY_TESTS_SIMULATION_SIM_H
#define MAYFLY_TESTS_SIMULATION_SIM_H

#include <setjmp.h>
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
    X(MASTER, "master")         /* the master dies and is resumed */                               \
    X(STRAGGLE, "straggle")     /* a few attempts take very long */                                \
    X(LAUNCHFAIL, "launchfail") /* launches fail or come to nothing */                             \
    X(USER, "user")             /* cancel, drain, pause, stop; the plan or the gather fails */
#define FAULT_BIT(name, text) FAULT_BIT_##name,
enum fault_bit { FAULTS(FAULT_BIT) FAULT_COUNT };
#define FAULT_ENUM(name, text) FAULT_##name = 1 << FAULT_BIT_##name,
enum fault { FAULTS(FAULT_ENUM) FAULT_ALL = (1 << FAULT_COUNT) - 1 };

struct options {
    uint64_t seed, seeds;
    uint32_t jobs;
    uint32_t workers;
    uint64_t subtasks;
    unsigned faults;
    uint32_t retries;
    int64_t duration_us; /* of a subtask on an ordinary worker; 0 = by the seed */
    bool verbose, bench, elastic;
};

struct task {
    uint64_t subtask;
    uint32_t attempt;
    uint32_t epoch; /* that it was issued in */
    uint32_t cause;
    int32_t exit_code;
    int64_t duration_us;
    bool told; /* its start was said in a poll; in a list of what is held: it is not queued */
};

struct tasks {
    struct task *at;
    uint32_t count, cap;
};

/* A request or a reply; shared by the copies that are under way. */
struct letter {
    unsigned references;
    unsigned lane;
    uint32_t epoch; /* of the session */
    uint64_t sequence;
    struct tasks results, running, returned; /* of a request */
    struct tasks held;                       /* of a hello */
    struct tasks offers, take_back, cancel;  /* of a reply */
    bool dismiss;
};

enum world_kind {
    WORLD_REPORT,    /* the launcher reports to the master; a = it went well */
    WORLD_DIAL,      /* the worker's process begins */
    WORLD_HELLO,     /* arrives at the master; a = generation of the connection; the letter says
                        what the worker holds */
    WORLD_REQUEST,   /* arrives at the master; a = generation */
    WORLD_REPLY,     /* arrives at the worker; a = generation; no letter: welcome to epoch b */
    WORLD_TASK_END,  /* a = subtask, b = epoch and attempt */
    WORLD_CUT,       /* a connection breaks; a = for how long, 0 = the process dies */
    WORLD_RECONNECT, /* the worker is back on the wire */
    WORLD_ORPHAN,    /* a worker without its master gives up; a = generation */
    WORLD_SILENCE,   /* a worker stops; a = for how long, 0 = for ever */
    WORLD_NOTICE,    /* the master notices; a = enum schedule_event_kind */
    WORLD_STOP,      /* the master's launcher ends the process */
    WORLD_HOLD,      /* a held poll has to be answered; a = lane, b = sequence */
    WORLD_COMMIT,    /* a = records, b = high-water mark */
    WORLD_PLAN,      /* what is owed of the plan */
    WORLD_GATHERED,
    WORLD_CRASH,  /* of the master; a = it is a power cut */
    WORLD_RESUME, /* a new master starts */
    WORLD_USER,   /* a = enum schedule_event_kind, b = ok */
    WORLD_TICK
};

struct world_event {
    int64_t at_us;
    uint64_t order; /* same time: first come, first served */
    enum world_kind kind;
    uint32_t worker;
    uint32_t epoch; /* of the master that it was made under: what a dead one waited for is void */
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

/* As the ledger sees a worker: launching, joining or ready; dismissed; over. */
enum presence { PRESENCE_NONE, PRESENCE_ALIVE, PRESENCE_LEAVING, PRESENCE_OVER };

enum process { PROCESS_NONE, PROCESS_ALIVE, PROCESS_DEAD };

struct peer {
    /* The worker's side. */
    enum process process;
    uint32_t slots;
    double slowness;
    bool welcome; /* it has joined once */
    bool connected;
    uint64_t generation; /* of its connection: letters of an older one are lost */
    uint32_t epoch;      /* of the master that it has a session with */
    int64_t silent_until;
    struct tasks queue, running, results, returned;
    struct lane lane[2];
    /* The master's side. */
    bool joined, away, lost, dismissed, gone;
    bool expected; /* by this master */
    bool known;    /* of an earlier one, and waited for */
    struct tasks offers, take_back, cancel;
    bool tell_dismiss;
    bool unflushed; /* the ledger's, and so is what follows */
    bool polled, early;
    bool added; /* by the shell */
    enum presence presence;
    int64_t rest_since; /* it should be let go since then */
    /* In the table. */
    bool launched, buried; /* buried: known to be gone */
};

/* What the ledger knows of a subtask, and what stands in the table. */
struct account {
    uint32_t worker[2]; /* live fences; 0 = none */
    uint32_t epoch[2];
    uint16_t attempt[2];
    uint16_t last;
    uint8_t failures;
    uint8_t final;                   /* enum schedule_record + 1 */
    bool held;                       /* planned so by this master, and not adopted */
    bool issued;                     /* by any master */
    uint64_t numbers, table_numbers; /* bit per number of an attempt that is recorded, below 64 */
    uint16_t table_last;
    uint8_t table_failures, table_final;
    uint8_t waiting;      /* records that are not committed */
    uint32_t table_epoch; /* of the master that wrote the final record */
};

/* A record whose commit is waited for. */
struct row {
    uint64_t subtask;
    uint32_t attempt, epoch;
    enum schedule_record record;
};

struct rows {
    struct row *at;
    size_t head, count, cap; /* a ring of a power of two */
};

struct elastic_book {
    uint32_t alive, leaving, hosts; /* hosts: so many workers may be there */
    uint32_t losses;                /* since a subtask became final */
    uint64_t launches, let_go;      /* by all masters */
    int64_t few_since, lacks_since; /* INT64_MAX: it is not so */
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

    uint32_t epoch; /* of the master */
    uint32_t worker_last;
    unsigned crashes;                /* so far */
    unsigned crash_in;               /* the master dies after so many actions; 0 = not */
    bool down, cut;                  /* no master; it died by a power cut */
    int64_t started_us, finished_us; /* this master */
    uint64_t held_mark;              /* the high-water mark when it started */

    uint64_t cursor;             /* of the plan: subtasks up to it were looked at */
    uint64_t planned, plan_owed; /* planned: by this master */
    uint64_t mark, mark_asked;   /* high-water marks: in the table, and on its way there */
    uint64_t mark_block;
    struct rows rows;
    uint64_t uncommitted, committed, recorded; /* records of this master */
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
    struct tasks claims;      /* what a hello says is held, until it is known to be live or void */
    uint64_t done, failed, dead, retried, offers, fenced, stragglers, live;
    uint64_t base_done, base_failures; /* of earlier masters, in the table */
    uint32_t known_waiting;            /* known workers that have neither joined nor are over */
    struct {
        uint64_t offers, fenced, stragglers;
    } earlier;          /* of masters that died */
    uint64_t adopted;   /* by all masters */
    uint32_t unflushed; /* workers */
    uint32_t *live_of;  /* by worker */
    uint64_t peak_bytes, peak_live, live_most, first_bytes;
    struct elastic_book elastic;
    jmp_buf death; /* of the master, out of the middle of its actions */
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
bool tasks_find(const struct tasks *tasks, const struct task *task, uint32_t *i); /* its fence */
void tasks_move(struct tasks *from, struct tasks *to);
struct letter *letter_create(unsigned lane, uint64_t sequence, uint32_t epoch);
void letter_release(struct letter *letter);
struct peer *peer_of(struct sim *sim, uint32_t worker);

/* world.c: the workers and the wire. */
void world_launch(struct sim *sim, uint32_t worker, uint32_t slots);
void world_event(struct sim *sim, struct world_event *event);
void world_reply(struct sim *sim, uint32_t worker, struct letter *letter);
bool world_arrives(struct sim *sim, const struct world_event *event); /* at the master */
void world_end_process(struct sim *sim, uint32_t worker);
void world_welcome(struct sim *sim, uint32_t worker);
void world_master_died(struct sim *sim);

/* shell.c: the master around the scheduler. */
void shell_begin(struct sim *sim);
void shell_event(struct sim *sim, struct world_event *event);
void shell_apply(struct sim *sim, struct schedule_event event);
void shell_settle(struct sim *sim); /* the end of a group of events */
void shell_forget(struct sim *sim); /* what it has in memory */
void shell_end(struct sim *sim);

/* table.c: what is durable. */
void table_begin(struct sim *sim);
void table_add(struct sim *sim, const struct schedule_action *action);
bool table_has(const struct sim *sim, const struct task *task); /* its record is not waited for */
void table_commit(struct sim *sim, uint64_t records, uint64_t mark);
void table_forget(struct sim *sim, bool survives); /* what was not committed; survives = what is
                                                      being committed is */
void table_end(struct sim *sim);

/* crash.c: the death of a master, and the next one. */
void crash_plan(struct sim *sim);
void crash_happen(struct sim *sim);
void crash_resume(struct sim *sim);

/* ledger.c */
void ledger_begin(struct sim *sim);
void ledger_event(struct sim *sim, const struct schedule_event *event);
void ledger_action(struct sim *sim, const struct schedule_action *action);
void ledger_acknowledged(struct sim *sim, const struct letter *request);
void ledger_started(struct sim *sim, const struct task *task);
void ledger_crashed(struct sim *sim);
void ledger_step(struct sim *sim); /* after the actions of a group of events */
void ledger_end(struct sim *sim);
void ledger_free(struct sim *sim);

/* elastic.c: the page about the number of workers. */
void elastic_configure(struct sim *sim);
void elastic_begin(struct sim *sim); /* of a master */
void elastic_event(struct sim *sim, const struct schedule_event *event);
void elastic_action(struct sim *sim, const struct schedule_action *action);
void elastic_step(struct sim *sim);
void elastic_end(struct sim *sim);

/* bench.c */
int bench(const struct options *options);

#endif
