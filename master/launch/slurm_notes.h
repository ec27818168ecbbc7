/* SPDX-License-Identifier: Apache-2.0 */
/* Which job of Slurm a worker is, in the shared folder (shared_folder.h): a note "JOB INDEX". */
#ifndef MAYFLY_MASTER_LAUNCH_SLURM_NOTES_H
#define MAYFLY_MASTER_LAUNCH_SLURM_NOTES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/* The array `job` has these workers, in that order. Durable when it returns 0. */
int slurm_note_job(const char *folder,
                   uint32_t job,
                   const uint32_t *workers,
                   uint32_t count,
                   struct mf_error *error);
/* As it was noted, or else as the job itself has said when it began. */
bool slurm_find_job(const char *folder, uint32_t worker, uint32_t *job, uint32_t *index);

#endif
