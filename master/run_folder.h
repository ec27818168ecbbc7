/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where runs live: $XDG_STATE_HOME/mayfly/runs/<run id>/ (0700), and who owns one: master.lock,
 * held for the master's life. A run is named by its id, by `last`, or by the start of its id when
 * only one fits.
 */
#ifndef MAYFLY_MASTER_RUN_FOLDER_H
#define MAYFLY_MASTER_RUN_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "master/record/run_id.h"
#include "master/record/state_folder.h"

/* Makes a new run folder by exclusive mkdir; its id in run_id, its path returned (heap). NULL:
 * MF_ESETUP naming the place and the remedy (read-only, full ...). */
char *run_folder_create(const char *job_name, char run_id[RUN_ID_SIZE], struct mf_error *error);
/* The folder of this id (heap), made if it is not there; it may be another master's: see
 * run_folder_lock. NULL: as run_folder_create. */
char *run_folder_create_as(const char *run_id, struct mf_error *error);

/* The folder that a run of this id has (heap), whether it is there or not. NULL: as state_folder.
 */
char *run_folder_path(const char *run_id, struct mf_error *error);

/* The folder of the run that `name` means (heap), its id in run_id. NULL: MF_EUSAGE naming what is
 * there. */
char *run_folder_find(const char *name, char run_id[RUN_ID_SIZE], struct mf_error *error);

/* Takes master.lock for the life of the returned descriptor. -1: MF_ESETUP when another master
 * holds it. */
int run_folder_lock(const char *folder, struct mf_error *error);
/* Whether some master holds the lock now. */
bool run_folder_is_live(const char *folder);

/* Whether a name has the form of a run id: others may have put other things beside the runs. */
bool run_folder_is_id(const char *name);
/* All run ids, oldest first (heap, each and the array); *count of them. NULL with an error. */
char **run_folder_list(size_t *count, struct mf_error *error);
void run_folder_list_free(char **ids, size_t count);

/* folder "/" name (heap), NULL when memory is exhausted. */
char *run_path(const char *folder, const char *name);

/* Writes a whole file: temporary, fsync if `sync`, rename. */
int write_file(
    const char *path, const void *data, size_t length, bool sync, struct mf_error *error);

#endif
