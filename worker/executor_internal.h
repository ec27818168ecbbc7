/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of the executor share: executor.c, its order of work, and executor_life.c, how
 * it is made and ended. */
#ifndef MAYFLY_WORKER_EXECUTOR_INTERNAL_H
#define MAYFLY_WORKER_EXECUTOR_INTERNAL_H

#include "worker/attempts.h"
#include "worker/executor.h"
#include "worker/request.h"
#include "worker/slots.h"

#define CLEAN_LIMIT_US 5000000 /* so long what a dead slot left is looked for */

struct executor {
    struct mf_loop *loop;
    struct executor_callbacks callbacks;
    struct request_maker *maker;
    struct stage *stage; /* NULL: nothing is fetched */
    char *folder;
    char *binary;
    char *slot_env[4];
    uint64_t kill_after_us;
    struct attempts attempts;
    uint32_t slot_count;
    struct slot_process *slots;
    uint32_t dead; /* slots that wait for their leftovers to be gone */
    int64_t clean_at_us;
    int64_t clean_limit_us;
    uint64_t kept; /* memory of attempts that have ended and are not released */
    bool failed;
};

/* executor.c */
int executor_start_slot(struct executor *executor,
                        struct slot_process *slot,
                        struct mf_error *error);
/* Has the stage tell when an attempt's inputs are there, or can't be. */
void executor_watch_stage(struct executor *executor);

#endif
