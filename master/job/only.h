/* SPDX-License-Identifier: Apache-2.0 */
/* split.only: the pieces of a split that are wanted, by their numbers. Not thread-safe. */
#ifndef MAYFLY_MASTER_JOB_ONLY_H
#define MAYFLY_MASTER_JOB_ONLY_H

#include "master/job/job.h"

/*
 * Makes ranges, sorted and apart from each other, of "3", "5-9" or "3, 5-9". Owned by *only, which
 * only_fini empties. -1 with MF_EUSAGE and a sentence without a place, or MF_ENOMEM.
 */
int only_parse(const struct job_strings *texts, struct job_only *only, struct mf_error *error);
void only_fini(struct job_only *only);

/* Appends "5-9", or "5" for a single one. */
int only_write(uint64_t first, uint64_t last, struct mf_buffer *out, struct mf_error *error);

#endif
