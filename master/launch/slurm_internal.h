/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the slurm launcher share: its state and commands (slurm.c), what
 * follows from a list (slurm_look.c), and what it tells (slurm_tell.c). */
#ifndef MAYFLY_MASTER_LAUNCH_SLURM_INTERNAL_H
#define MAYFLY_MASTER_LAUNCH_SLURM_INTERNAL_H

#include <limits.h>

#include "master/launch/child.h"
#include "master/launch/launcher.h"

#define OUTPUT_MAX 4096u /* what a worker's task says at its start */

enum task_state { WAITING, SUBMITTING, QUEUED, STARTED, OVER };
enum doing { NOTHING, SUBMIT, LIST, CANCEL, CHECK };

struct task {
    struct task *next;
    uint32_t worker, job, index;
    enum task_state state;
    bool unwanted;                      /* to be cancelled */
    bool cancelled;                     /* scancel was told */
    bool told_over;                     /* its end is of no interest to anybody any more */
    bool is_single;                     /* a job of its own, not one of an array */
    bool is_listed;                     /* in the last list, if only as one that has ended */
    bool is_there, is_live, is_running; /* as squeue says: slurm_squeue.h */
    int64_t begun_us;  /* wall clock: the job began to run; 0 = it has not, as far as known */
    char node[64];     /* "" = not known */
    char ending[160];  /* why it ended, by what Slurm says; "" = not known */
    bool is_explained; /* ... and that is reason enough */
    bool is_unsaid;    /* its end was told, and why is to be said as soon as it is known */
};

struct launcher {
    struct mf_loop *loop;
    struct launcher_callbacks callbacks;
    char *folder, *job_name, *run_id;
    char sbatch[PATH_MAX], squeue[PATH_MAX], scancel[PATH_MAX];
    struct launch_slurm options;
    struct task *tasks;
    struct child *child;
    enum doing doing;
    bool is_fresh;      /* its folder was not there before */
    bool was_cancelled; /* by the sweep */
    int64_t list_us, pace_us, pending_since_us;
    int64_t command_us;      /* when the command that runs has run for too long */
    int64_t cancel_us;       /* no scancel before */
    unsigned cancels_failed; /* in a row */
    char cancel_problem[200];
    uint32_t listed; /* all of its jobs that Slurm has */
    char said[256], said_ending[160];
    const struct launch_host *host, *swept, *checked;
    int64_t sweep_us; /* since then; 0 = no sweep */
    uint32_t ended;
};

/* At the end of the list; NULL: out of memory. */
struct task *slurm_add_task(struct launcher *launcher, uint32_t worker, struct mf_error *error);
/* All jobs of the run's name are to end. */
void slurm_cancel_all(struct launcher *launcher);
/* squeue has answered, or could not. */
void slurm_listed(struct launcher *launcher, const struct child_result *result);

/* The task could not be started: `again`, another start may go better; `given_up`, nobody else is
 * to try. */
void slurm_tell_failed(
    struct launcher *launcher, struct task *task, bool again, bool given_up, const char *reason);
/* Its worker has said that it has started, in `output`. */
void slurm_tell_started(struct launcher *launcher, struct task *task, const char *output);
/* Its job is not there any more. */
void slurm_tell_over(struct launcher *launcher, struct task *task);
/* Why it is over, if that was not known when it was told. */
void slurm_say_ending(struct launcher *launcher, struct task *task);
/* Slurm does not list it any more: nobody will know. */
void slurm_forget_ending(struct task *task);
/* So many wait in the queue, for `why`. Said once for each thing that they wait for. */
void slurm_say_pending(struct launcher *launcher, uint32_t pending, const char *why);

#endif
