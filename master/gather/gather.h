/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gather: the recorded results become the one aggregated result. Reads run.db (and outputs/ for
 * results that are files) in plan order, in constant memory; writes `result` whole: a temporary
 * file, fsync, rename. One file a kind.
 */
#ifndef MAYFLY_MASTER_GATHER_GATHER_H
#define MAYFLY_MASTER_GATHER_GATHER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "master/job/job.h"

/*
 * Gathers the run in `run_folder` (run.db, outputs/) by job->gather into run_folder/result. Gather
 * `none` makes no result. *bytes is the result's size. -1: MF_EINPUT naming the subtask and line
 * when a result does not have the declared format, MF_EUSAGE when the SQL is wrong (SQLite's own
 * words), MF_ESETUP when the disk is full. No `result` is left behind on failure. Runs on any
 * thread; `stop` (may be NULL) is polled: non-zero ends it early.
 */
int gather_run(const struct job *job,
               const char *run_folder,
               uint64_t *bytes,
               const volatile int *stop,
               struct mf_error *error);

/* Where the standard output of `subtask` is when it is a file:
 * outputs/<subtask/1000>/<subtask>.result below the run folder. `out` holds at least 4096 bytes. */
const char *gather_result_path(const char *run_folder, uint64_t subtask, char *out);

#endif
