/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values of a job's `secrets`, read from where the job file says: a file, a command's standard
 * output, a variable of the environment. They are in the master's memory only, and are wiped there.
 *
 * They are read when the run begins (also anew by retry and resume), and again whenever
 * secret_sources_refresh is called, in a thread of its own, since a command takes its time. Until
 * secret_sources_take has returned, the thread alone uses what it reads.
 *
 * Threads: all functions from one thread.
 */
#ifndef MAYFLY_MASTER_SECRET_SOURCES_H
#define MAYFLY_MASTER_SECRET_SOURCES_H

#include <stdbool.h>

#include "common/error.h"
#include "common/message.h"
#include "master/job/job.h"

#define SECRETS_TOTAL_MAX (1u << 20) /* bytes of all of them */

struct secret_sources;

/*
 * Reads all of them; job is borrowed until secret_sources_close. When something comes in on
 * `signal_fd` (-1 = none) meanwhile it gives up and sets *interrupted. NULL with MF_EUSAGE or
 * MF_EINPUT and one sentence "FILE:LINE: secrets.NAME: ...".
 */
struct secret_sources *secret_sources_open(const struct job *job,
                                           int signal_fd,
                                           bool *interrupted,
                                           struct mf_error *error);
/* What can be said without running a command: files can be read and variables are set. */
int secret_sources_check(const struct job *job, struct mf_error *error);
/* NULL is fine. Ends a command that runs. */
void secret_sources_close(struct secret_sources *sources);

/* The values as they are now; borrowed until secret_sources_take or _close. The version of a secret
 * that has changed is higher than any was before. */
const struct mf_secret *secret_sources_list(const struct secret_sources *sources, uint32_t *count);

/* Begins to read them again, unless that is under way. */
void secret_sources_refresh(struct secret_sources *sources);
int secret_sources_fd(const struct secret_sources *sources); /* readable when they are read */
/* How many have changed. What could not be read keeps its value, which is logged. */
uint32_t secret_sources_take(struct secret_sources *sources);

#endif
