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
#include "master/record/run_db.h"

struct run_options {
    const char *worker_binary; /* path of mayfly-worker */
    const char *output;        /* -o FILE: a copy of the result; NULL = standard output */
    bool json;                 /* the summary on standard output instead of the result */
    bool quiet;                /* no progress */
    bool detached;             /* submitted: nobody reads the streams, no result is printed */
};

/* The same run goes on: a retry of one that has ended, or a resume of one that has not. */
struct run_again {
    bool is_resume;
    bool is_planned;              /* its plan was begun; else all begins with `prepare:` */
    const struct plan_open *open; /* borrowed: what is to be done yet, up to the mark */
    size_t open_count;
    uint64_t high_water; /* the mark: what is behind it was never given to a worker */
    bool has_total;      /* its plan was finished */
    uint64_t total;
    uint64_t done, failed, dead; /* what the run has besides what is open */
    uint32_t last_worker;        /* ids up to this one were used */
    /* Of a resume: */
    int64_t left_us;                     /* wall clock: when the last master last wrote */
    const char *address;                 /* where the last master listened; "" = not known */
    const struct run_db_worker *workers; /* borrowed: all that ever were, rising ids */
    size_t worker_count;
};

/*
 * Carries out a run in `folder`, whose lock (lock_fd) is held and taken over. `again` is NULL for a
 * new run. Returns the exit code of the command line; what went wrong was said on standard error
 * and stands in master.log.
 */
int run_master(const struct job *job,
               const char *run_id,
               char *folder,
               int lock_fd,
               const struct run_again *again,
               const struct run_options *options);

#endif
