/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulls the plan while the scheduler wants more: a few milliseconds at a time, and never beyond the
 * high-water mark that is durable. The mark is moved ahead early, so that nothing waits for it.
 */
#include <stdio.h>

#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "master/run_internal.h"

#define STEP_US 3000
#define MARK_BLOCK 262144u

static int on_planned(void *arg, uint64_t subtask, uint32_t last_attempt, uint32_t failures)
{
    struct run *run = arg;
    bool is_resume = run->again != NULL && run->again->is_resume;
    run->planned = subtask;
    if (run->plan_wanted > 0)
        run->plan_wanted--;
    run_queue(run,
              (struct schedule_event){.kind = EVENT_PLANNED,
                                      .subtask = subtask,
                                      .attempt = last_attempt,
                                      .failures = failures,
                                      .held = is_resume && subtask <= run->again->high_water});
    return 0;
}

static void move_mark(struct run *run)
{
    if (run->planned + MARK_BLOCK / 2 < run->high_water_asked)
        return;
    MF_CRASH(MASTER_BEFORE_MARK);
    struct mf_error error;
    struct run_batch *batch = run_batch_take(run, 0);
    run->high_water_asked += MARK_BLOCK;
    struct record_run row = {.has_high_water = true, .high_water = run->high_water_asked};
    if (batch == NULL || record_run(run->recorder, &row, &error) < 0) {
        if (batch == NULL)
            mf_raise(&error, MF_ENOMEM, "out of memory: the high-water mark");
        run_fail(run, &error);
        return;
    }
    batch->high_water = run->high_water_asked; /* an empty batch behind the mark: it tells when the
                                                  mark is durable */
    run_batch_submit(run, batch);
}

static void end_plan(struct run *run)
{
    struct mf_error error;
    run->plan_over = true;
    run->stats.planned_us = mf_monotonic_us();
    struct record_run row = {.has_total = true, .total = run_total(run)};
    if (record_run(run->recorder, &row, &error) < 0)
        run_fail(run, &error);
    mf_log(MF_INFO, "the plan has %llu subtasks", (unsigned long long)row.total);
    run_queue(run, (struct schedule_event){.kind = EVENT_PLAN_ENDED});
}

void run_plan_failed(struct run *run, const struct mf_error *error)
{
    mf_log(MF_ERROR, "%s", error->text);
    run->plan_over = true;
    if (error->code ==
        MF_EINPUT) /* the job's input is wrong: the run fails; anything else may be mended */
        snprintf(run->reason, sizeof run->reason, "%.500s", error->text);
    else if (run->failure.code == MF_OK)
        run->failure = *error;
    run_queue(run, (struct schedule_event){.kind = EVENT_PLAN_FAILED});
}

int64_t run_plan_step(struct run *run, int64_t now_us)
{
    if (run->plan_over || run->plan_wanted == 0 || run->finished || run->disk.is_waiting)
        return MF_NEVER;
    uint64_t most = run->plan_wanted;
    if (run->again == NULL || !run->again->has_total) {
        move_mark(run);
        uint64_t room = run->high_water > run->planned ? run->high_water - run->planned : 0;
        if (room == 0)
            return MF_NEVER; /* the commit of the mark wakes the loop */
        most = most < room ? most : room;
    }
    struct mf_error error;
    int rc = plan_pull(run->plan, most, now_us + STEP_US, on_planned, run, &error);
    if (rc < 0 && error.code == MF_EFULL && run->failure.code == MF_OK) {
        run_trouble(run, &error); /* what could not be written comes with the next pull */
    } else if (rc < 0) {
        run_plan_failed(run, &error);
    } else if (rc == 0) {
        end_plan(run);
    }
    run_act(run);
    return rc > 0 && run->plan_wanted > 0 ? now_us : MF_NEVER;
}

int run_plan_held(struct run *run, struct mf_error *error)
{
    run->high_water = run->high_water_asked = run->again->high_water;
    run->planned = run->high_water; /* what is behind it comes next, when it is wanted */
    int rc = plan_pull_marked(run->plan, on_planned, run, error);
    if (rc < 0)
        return -1;
    run->planned = run->high_water;
    if (rc == 0)
        end_plan(run);
    return 0;
}
