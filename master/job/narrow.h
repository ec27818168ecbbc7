/* SPDX-License-Identifier: Apache-2.0 */
/* A job file with a smaller split: the same job, for some of its subtasks. Not thread-safe. */
#ifndef MAYFLY_MASTER_JOB_NARROW_H
#define MAYFLY_MASTER_JOB_NARROW_H

#include "master/job/job.h"

/* What the split becomes. */
struct narrowing {
    /* "list" or the key of the job's own kind: it has `items` in place of what was there; NULL: the
     * split stays. */
    const char *kind;
    const struct mf_bytes *items;
    size_t item_count;
    /* split.only, in place of what was there; none: all. */
    const struct mf_bytes *only;
    size_t only_count;
};

/*
 * Appends the job's text, changed so; it says in which folder its paths start, so that it can stand
 * anywhere. MF_EUSAGE when it would be larger than a job file may be, MF_ENOMEM.
 */
int job_narrow(const struct job *job,
               const struct narrowing *narrowing,
               struct mf_buffer *out,
               struct mf_error *error);

#endif
