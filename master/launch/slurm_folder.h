/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder that the master and Slurm's nodes both see: mayfly-worker; input.W, what worker W
 * needs to join, for its user alone, removed by the job that takes it; out.W, what that job said;
 * jobs, a line "W JOB INDEX ." for each worker that was submitted, for a later master of the run.
 * Nothing of it goes through Slurm: a batch script is kept by slurmctld, and by some sites for
 * ever.
 */
#ifndef MAYFLY_MASTER_LAUNCH_SLURM_FOLDER_H
#define MAYFLY_MASTER_LAUNCH_SLURM_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* Makes the folder, which may be there already, and copies the program `binary` into it. */
int slurm_folder_make(const char *folder, const char *binary, struct mf_error *error);
int slurm_folder_put_input(const char *folder,
                           uint32_t worker,
                           const char *input,
                           struct mf_error *error);
void slurm_folder_drop_input(const char *folder, uint32_t worker);
bool slurm_folder_has_input(const char *folder, uint32_t worker);
/* The array `job` has these workers, in that order. Durable when it returns 0. */
int slurm_folder_note_job(const char *folder,
                          uint32_t job,
                          const uint32_t *workers,
                          uint32_t count,
                          struct mf_error *error);
/* As it was noted, or else as the job itself has said when it began. */
bool slurm_folder_find_job(const char *folder, uint32_t worker, uint32_t *job, uint32_t *index);
/* What the worker's job has said, NUL-terminated, cut to `size`; false: nothing that can be seen.
 */
bool slurm_folder_read_output(const char *folder, uint32_t worker, char *text, size_t size);
/* Removes all of it; the files that were there. -1: some is left. */
int slurm_folder_remove(const char *folder, uint32_t *removed, struct mf_error *error);

#endif
