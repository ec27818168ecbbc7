/* SPDX-License-Identifier: Apache-2.0 */
/*
 * History: one row a run, over all runs, in a small database beside the run folders. A convenience
 * only: the run folders are the truth, and this file can be made again from them at any time. So
 * nothing here may harm a run: whoever begins or ends one logs an error of these functions and goes
 * on; a damaged file is moved aside and begun anew.
 *
 * Any number of processes may write at once. Functions open and close the file themselves; any
 * thread.
 */
#ifndef MAYFLY_MASTER_RECORD_HISTORY_H
#define MAYFLY_MASTER_RECORD_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct history_run {
    const char *run_id, *job_name, *job_path, *folder;
    const char *state, *reason;   /* "" = none; a run that has not ended has the state "running" */
    int64_t started_us, ended_us; /* 0 = not yet */
    bool has_total;
    uint64_t total, done, failed, dead, cancelled;
};

/* Notes a run that begins (or begins again): run_id, job_name, job_path, folder, started_us. */
int history_begin(const char *path, const struct history_run *run, struct mf_error *error);
/* Notes its end: run_id, state, reason, ended_us and the counts. */
int history_end(const char *path, const struct history_run *run, struct mf_error *error);
/* Forgets a run; fine when it is not there. */
int history_remove(const char *path, const char *run_id, struct mf_error *error);

/* Calls f for each run, the newest first, until it returns non-zero. `run` is borrowed for the
 * call. A file that is not there is an empty history. */
typedef int history_list_f(void *arg, const struct history_run *run);
int history_list(const char *path, history_list_f *f, void *arg, struct mf_error *error);
/* The id of the newest run: 1, 0 when there is none, -1. */
int history_last(const char *path, char *run_id, size_t size, struct mf_error *error);

/*
 * Makes the history again from the run folders: each folder below `runs` with a readable run.db
 * becomes a row, rows without a folder go. *count = how many runs there are.
 */
int history_rebuild(const char *path, const char *runs, uint64_t *count, struct mf_error *error);

#endif
