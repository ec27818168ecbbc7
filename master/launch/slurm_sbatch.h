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

/* A sentence of what sbatch has refused, and the remedy. */
void slurm_refusal(const struct child_result *result, char *reason, size_t size);

#endif
