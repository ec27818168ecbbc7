/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run: the master's life from a job to a gathered result. This module alone knows the order of
 * the stations (docs/architecture.md); they know nothing of each other.
 */
#ifndef MAYFLY_MASTER_RUN_H
#define MAYFLY_MASTER_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "master/job/job.h"
#include "master/plan.h"

struct run_options {
    const char *worker_binary; /* path of mayfly-worker */
    const char *output;        /* -o FILE: a copy of the result; NULL = standard output */
    bool json;                 /* the summary on standard output instead of the result */
    bool quiet;                /* no progress */
    bool detached;             /* submitted: nobody reads the streams, no result is printed */
};

/* A retry: the same run goes on with the subtasks in `open` (borrowed). */
struct run_retry {
    const struct plan_open *open;
    size_t open_count;
    /* What the run has besides them. */
    uint64_t total, done, failed, dead;
};

/*
 * Carries out a run in `folder`, whose lock (lock_fd) is held and taken over. `retry` is NULL for a
 * new run. Returns the exit code of the command line; what went wrong was said on standard error
 * and stands in master.log.
 */
int run_master(const struct job *job,
               const char *run_id,
               char *folder,
               int lock_fd,
               const struct run_retry *retry,
               const struct run_options *options);

#endif
