/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the slurm launcher share: its state (slurm.c) and what it tells (slurm_tell.c).
 */
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
    bool unwanted;            /* to be cancelled */
    bool cancelled;           /* scancel was told */
    bool told_over;           /* its end is of no interest to anybody any more */
    bool is_live, is_running; /* as squeue says */
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
    bool was_cancelled; /* by the sweep */
    int64_t list_us, pace_us, pending_since_us;
    unsigned lists_failed;
    uint32_t listed; /* all of its jobs that Slurm has */
    char said[256];
    const struct launch_host *host, *swept, *checked;
    int64_t sweep_us; /* since then; 0 = no sweep */
    uint32_t ended;
};

/* The task could not be started: `again`, another start may go better; `given_up`, nobody else is
 * to try. */
void slurm_tell_failed(
    struct launcher *launcher, struct task *task, bool again, bool given_up, const char *reason);
/* Its worker has said that it has started, in `output`. */
void slurm_tell_started(struct launcher *launcher, struct task *task, const char *output);
/* Its job is not there any more. */
void slurm_tell_over(struct launcher *launcher, struct task *task);
/* So many wait in the queue, for `why`. Said once for each thing that they wait for. */
void slurm_say_pending(struct launcher *launcher, uint32_t pending, const char *why);

#endif
