/* SPDX-License-Identifier: Apache-2.0 */
/* Within the job module: values go into the members that the schema names for them. */
#ifndef MAYFLY_MASTER_JOB_STORE_H
#define MAYFLY_MASTER_JOB_STORE_H

#include "master/job/job.h"
#include "master/job/schema.h"

/* Where the row's value goes: into the job, or the newest of its `notify`. */
char *store_member(struct job *job, const struct schema_key *row);
/* A copy of the text into a member that is a char *; the one that was there is freed. */
int store_text(struct job *job,
               const struct schema_key *row,
               const char *text,
               struct mf_error *error);
/* A scalar as the row's simple types have it: 1 stored, 0 it is none of them, -1 it is out of
 * bounds. */
int store_scalar(struct job *job, const struct schema_key *row, const char *text);
/* The defaults of the job; or those of the newest of its `notify`. */
int store_defaults(struct job *job, bool of_notify, struct mf_error *error);

#endif
