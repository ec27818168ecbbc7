/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of gather: one function and one file each. Each writes the whole result and leaves
 * finishing it to gather_run. */
#ifndef MAYFLY_MASTER_GATHER_KINDS_H
#define MAYFLY_MASTER_GATHER_KINDS_H

#include "common/error.h"
#include "master/gather/output.h"
#include "master/gather/source.h"
#include "master/job/job.h"

/* Borrowed for the call. */
struct gather {
    const struct job *job;
    const char *run_folder;
    const volatile int *stop; /* may be NULL */
    struct source *source;
    struct output *output;
};

int gather_concat(struct gather *gather, struct mf_error *error);
int gather_jsonl(struct gather *gather, struct mf_error *error);
int gather_csv(struct gather *gather, struct mf_error *error);
int gather_sql(struct gather *gather, struct mf_error *error);

#endif
