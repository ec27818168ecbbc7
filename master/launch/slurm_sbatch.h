/* SPDX-License-Identifier: Apache-2.0 */
/* What sbatch is asked, and what it answers. No credential is in there: whoever may list processes
 * or jobs sees arguments. */
#ifndef MAYFLY_MASTER_LAUNCH_SLURM_SBATCH_H
#define MAYFLY_MASTER_LAUNCH_SLURM_SBATCH_H

#include "master/launch/child.h"
#include "master/launch/launcher.h"

/* Ended by NULL. */
struct slurm_arguments {
    char **items;
    size_t count;
};

/* Of an array of `count` workers; `is_test`: whether it would be taken, nothing is submitted. To be
 * released by slurm_arguments_fini in any case. */
int slurm_arguments_make(const struct launch_slurm *o,
                         const char *sbatch,
                         const char *job_name,
                         bool is_test,
                         uint32_t count,
                         struct slurm_arguments *arguments,
                         struct mf_error *error);
void slurm_arguments_fini(struct slurm_arguments *arguments);

/* The batch script of an array with these workers, in that order, appended. */
int slurm_script_make(const char *folder,
                      const char *run_id,
                      const uint32_t *workers,
                      uint32_t count,
                      struct mf_buffer *script,
                      struct mf_error *error);

/* The job that sbatch --parsable names. */
bool slurm_job_read(const char *output, uint32_t *job);

/* A sentence of what sbatch has refused, and the remedy. True: it may go better later. */
bool slurm_refusal(const struct child_result *result, char *reason, size_t size);

/* This process's environment without what changes the answers of Slurm's commands (SQUEUE_STATES,
 * SBATCH_WAIT); the array is the caller's (mf_free), its strings are not. NULL: out of memory. */
char **slurm_environment(struct mf_error *error);

#endif
