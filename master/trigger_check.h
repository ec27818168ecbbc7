/* SPDX-License-Identifier: Apache-2.0 */
/* What can be said of a job's trigger on this machine before it is registered. */
#ifndef MAYFLY_MASTER_TRIGGER_CHECK_H
#define MAYFLY_MASTER_TRIGGER_CHECK_H

#include "common/error.h"
#include "master/job/job.h"

/*
 * Its secrets can be had by a run that a trigger starts, its zone is known here, its source can be
 * used: 0; -1 with MF_EUSAGE and the place in the job file, or MF_ESETUP (a library is missing).
 */
int trigger_check(const struct job *job, struct mf_error *error);

#endif
