/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs that are not as they were planned: looked for before a run goes on, so that nobody finds
 * out an hour later. Only what is still needed is looked at.
 */
#ifndef MAYFLY_MASTER_CHANGED_H
#define MAYFLY_MASTER_CHANGED_H

#include <stdint.h>

#include "common/error.h"
#include "master/job/job.h"
#include "master/plan.h"

#define CHANGED_NAMED 3u /* so many are named */

struct changed {
    uint64_t inputs;   /* that are missing or not as planned */
    uint64_t subtasks; /* that need them */
    char names[1024];  /* the first few of them, with what is wrong */
};

/* Of what is open in the recorded plan of `run_folder`. 0, or -1: the plan can't be read. Plans
 * that are derived again have no inputs. */
int changed_find(const struct job *job,
                 const char *run_folder,
                 const struct plan_rest *rest,
                 struct changed *changed,
                 struct mf_error *error);

#endif
