/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan at work: pulls pieces from the split (or from the recorded plan when a run goes on),
 * makes them durable where they can't be derived again, and keeps what a live subtask needs to be
 * offered. What is finished is forgotten: memory goes with the subtasks that are live, not with the
 * size of the job. Loop thread only.
 */
#ifndef MAYFLY_MASTER_PLAN_H
#define MAYFLY_MASTER_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/message.h"
#include "master/job/job.h"

struct plan;

/* What is left to do of a run that goes on: rising ids. */
struct plan_open {
    uint64_t subtask;
    uint32_t last_attempt;
    uint32_t failures;
};

/* A new plan. prepared may be NULL. `sync`: plan.seg goes to the disk before a piece is given out.
 */
struct plan *plan_create(const struct job *job,
                         const char *run_folder,
                         const char *prepared,
                         bool sync,
                         struct mf_error *error);
/* What a run that goes on has to do yet. */
struct plan_rest {
    const struct plan_open *open; /* borrowed: up to `mark`, what has no final record */
    size_t open_count;
    uint64_t mark; /* what is behind it was never given out, and is all to be done */
    bool is_whole; /* the plan was finished, and nothing of it is behind the mark */
    bool sync;     /* as for plan_create, should it be continued */
};
/* The recorded plan, only what is to be done of it. One that was not finished goes on where it
 * ends. */
struct plan *plan_reopen(const struct job *job,
                         const char *run_folder,
                         const char *prepared,
                         const struct plan_rest *rest,
                         struct mf_error *error);
void plan_destroy(struct plan *plan);

/*
 * Pulls pieces until `most` are there, `until_us` (monotonic) has come, or the plan ends, and calls
 * `f` for each after it is durable. Returns 1 if there may be more, 0 at the end, -1 with the
 * split's error; after MF_EFULL the next call goes on with what could not be written.
 */
typedef int plan_f(void *arg, uint64_t subtask, uint32_t last_attempt, uint32_t failures);
int plan_pull(struct plan *plan,
              uint64_t most,
              int64_t until_us,
              plan_f *f,
              void *arg,
              struct mf_error *error);

/* As plan_pull, all up to the mark of a reopened plan: what an earlier master may have given out.
 */
int plan_pull_marked(struct plan *plan, plan_f *f, void *arg, struct mf_error *error);

/* What a live subtask is, as it is offered (id, attempt and epoch are not set). -1: it is not live.
 */
int plan_payload(const struct plan *plan, uint64_t subtask, struct mf_subtask *out);
void plan_forget(struct plan *plan, uint64_t subtask);

#endif
