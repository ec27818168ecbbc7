/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the command launcher share: its state (command.c), the commands that run
 * (command_errand.c), what becomes of tasks (command_tell.c), the sweep (command_sweep.c). */
#ifndef MAYFLY_MASTER_LAUNCH_COMMAND_INTERNAL_H
#define MAYFLY_MASTER_LAUNCH_COMMAND_INTERNAL_H

#include "common/placeholder.h"
#include "master/launch/child.h"
#include "master/launch/command_ids.h"
#include "master/launch/launcher.h"

#define ERRANDS_MAX 8u   /* commands at a time */
#define OUTPUT_MAX 4096u /* what a worker says at its start */
#define STOPS_MAX 3u     /* times that a stop is tried */
#define LISTS_FAILED_MAX 3u
#define COMMAND_GRACE_US 1500000 /* for workers that have said goodbye */

enum task_state { WAITING, STARTING, PENDING, STARTED, OVER };
enum doing { NOTHING, START, LIST, STOP };

/* A worker, or, with worker 0, an id that no worker of this master has and that is to be ended. */
struct task {
    struct task *next;
    uint32_t worker;
    enum task_state state;
    char *id;       /* from PENDING on */
    bool told_over; /* its end is of no interest to anybody any more */
    bool joined, said_farewell;
    bool was_listed, is_listed;
    unsigned missed;    /* lists in a row that do not name it any more */
    bool unwanted;      /* to be stopped */
    bool stopping;      /* a stop is under way */
    bool was_stopped;   /* a stop has succeeded */
    unsigned stops;     /* that were begun */
    int64_t stop_us;    /* when the next one may be; when the last one had succeeded */
    int64_t started_us; /* when its start command was over */
};

struct errand {
    struct launcher *launcher;
    struct child *child;
    enum doing doing; /* NOTHING: free */
    struct task *task;
    int64_t began_us, exited_us;
};

struct launcher {
    struct mf_loop *loop;
    struct launcher_callbacks callbacks;
    struct launch_commands commands;
    char *folder; /* shared; NULL = nothing will be started */
    char *run_id;
    struct task *tasks;
    struct errand errands[ERRANDS_MAX];
    unsigned running; /* errands */
    unsigned starting;
    bool is_listing;
    bool is_proved;        /* list was asked before the first start, and named nothing */
    int64_t start_over_us; /* when a start was over last */
    int64_t list_us, pace_us;
    unsigned lists_failed;
    const struct launch_host *host, *swept, *checked;
    int64_t sweep_us; /* since then; 0 = no sweep */
    uint32_t ended;
    /* Starts of an earlier master that may still run, awaited since cut_us. */
    pid_t cut_pids[ERRANDS_MAX];
    unsigned cut_count;
    int64_t cut_us;
    bool is_torn; /* one of them is not even known by its number */
    char stop_problem[300];
};

/* command_errand.c: where the program of a template is. */
int errand_program(const struct launcher *launcher,
                   const struct launch_words *words,
                   const char *key,
                   char *path,
                   size_t size,
                   struct mf_error *error);
/* Runs a template; command_over follows. `input`: its standard input. */
int errand_begin(struct launcher *launcher,
                 enum doing doing,
                 struct task *task,
                 const char *input,
                 struct mf_error *error);
/* Ends those that take too long; the next deadline. */
int64_t errands_tick(struct launcher *launcher, int64_t now_us);
/* Why it failed; code -1: it took too long. */
void errand_problem(const struct launcher *launcher,
                    const struct child_result *result,
                    char *text,
                    size_t size);

/* command.c: an errand is over (it is free already). */
void command_over(struct launcher *launcher,
                  enum doing doing,
                  struct task *task,
                  int64_t began_us,
                  const struct child_result *result);
void command_ask_soon(struct launcher *launcher);
struct task *command_add_task(struct launcher *launcher, uint32_t worker, struct mf_error *error);
/* What became of its start, for a later master. */
void command_note(const struct launcher *launcher, const struct task *task, const char *text);

/* command_tell.c: the task could not be started: `again`, another start may go better; `given_up`,
 * nobody else is to try. */
void command_tell_failed(
    struct launcher *launcher, struct task *task, bool again, bool given_up, const char *reason);
void command_tell_started(struct launcher *launcher, struct task *task);
/* It is not there any more. */
void command_tell_over(struct launcher *launcher, struct task *task);
/* What a list that began at `began_us` says of all tasks. */
void command_look_at_tasks(struct launcher *launcher, struct command_ids *ids, int64_t began_us);

/* command_sweep.c: a list has succeeded; or none does. */
void command_sweep_step(struct launcher *launcher, const struct command_ids *ids);
void command_sweep_failed(struct launcher *launcher, const char *problem);
/* A start of an earlier master still runs: what it starts may not be in a list yet. */
bool command_is_cut(struct launcher *launcher, int64_t now_us);

#endif
