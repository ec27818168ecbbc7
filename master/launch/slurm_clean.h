/* SPDX-License-Identifier: Apache-2.0 */
/* What a run whose master is dead has in Slurm. */
#ifndef MAYFLY_MASTER_LAUNCH_SLURM_CLEAN_H
#define MAYFLY_MASTER_LAUNCH_SLURM_CLEAN_H

#include "common/error.h"

/* In the run's folder: the folder that the nodes see, or a link to it. */
#define SLURM_FOLDER "slurm"

/* Leaves a link to `shared` in the run's folder, where it is found again. */
int slurm_clean_link(const char *run_folder, const char *shared, struct mf_error *error);

/* Removes that link when what it led to is gone. */
void slurm_clean_unlink(const char *run_folder);

/* Ends the run's jobs and removes its shared folder, if it has one; waits for scancel. -1: what may
 * be left, and the remedy. */
int slurm_clean(const char *run_folder, const char *run_id, struct mf_error *error);

#endif
