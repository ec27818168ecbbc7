/* SPDX-License-Identifier: Apache-2.0 */
/* Events into the scheduler, its actions into the world: the thin shell around the pure core. */
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "master/run_internal.h"

#define OWN_ROWS 256u
#define FAILURES_TOLD 3u

void run_fail(struct run *run, const struct mf_error *error)
{
    mf_log(MF_ERROR, "%s", error->text);
    if (run->failure.code != MF_OK)
        return;
    run->failure = *error;
    run_queue(run, (struct schedule_event){.kind = EVENT_STOP});
}

void run_queue(struct run *run, struct schedule_event event)
{
    struct mf_error error;
    event.now_us = run_now_us(run);
    if (schedule_apply(run->schedule, &event, &error) == 0)
        return;
    if (event.kind == EVENT_STOP || run->failure.code != MF_OK) {
        mf_log(MF_ERROR, "%s", error.text);
        return;
    }
    mf_error_prefix(&error, "the scheduler refused an event of kind %d", (int)event.kind);
    run_fail(run, &error);
}

void run_apply(struct run *run, struct schedule_event event)
{
    run_queue(run, event);
    run_act(run);
}

struct run_worker *run_worker(struct run *run, uint32_t worker)
{
    if (worker >= run->worker_count) {
        uint32_t count = worker + 16;
        struct run_worker *workers = mf_realloc(run->workers, count * sizeof *workers);
        if (workers == NULL) {
            struct mf_error error;
            mf_raise(&error, MF_ENOMEM, "out of memory: worker %u", worker);
            run_fail(run, &error);
            return NULL;
        }
        memset(workers + run->worker_count, 0, (count - run->worker_count) * sizeof *workers);
        run->workers = workers;
        run->worker_count = count;
    }
    return &run->workers[worker];
}

bool run_has_total(const struct run *run)
{
    struct schedule_counts counts;
    schedule_counts(run->schedule, &counts);
    return counts.plan_ended || (run->again != NULL && run->again->has_total);
}

uint64_t run_total(const struct run *run)
{
    struct schedule_counts counts;
    if (run->again != NULL && run->again->has_total)
        return run->again->total;
    schedule_counts(run->schedule, &counts);
    return run->base_done + run->base_failed + run->base_dead + counts.planned;
}

static void fill_row(struct run *run, struct record_row *row, const struct mf_result *result)
{
    row->exit_code = result->exit_code;
    row->signal = result->signal;
    row->ended_us = run->answering.wall_us - (int64_t)result->age_us;
    row->wall_us = result->wall_us;
    row->user_us = result->user_us;
    row->system_us = result->system_us;
    row->peak_kib = result->peak_kib;
    row->detail = result->detail;
    if (row->state == RECORD_DONE) {
        row->result_bytes = result->result_bytes;
        row->has_result = result->result_bytes == result->inline_result.length;
        row->result = result->inline_result;
        row->output_count = result->output_count;
        row->output_bytes = result->output_bytes;
    }
    if (row->detail.length > 0 || row->result.length > 0)
        run->answering.borrows = true;
}

static bool has_files(const struct mf_result *result)
{
    return result->output_count > 0 || result->result_bytes > result->inline_result.length;
}

static void drop_files(struct run *run, const struct record_row *row)
{
    struct mf_fence fence = {.subtask = row->subtask, .attempt = row->attempt, .epoch = row->epoch};
    intake_drop(run->intake, row->worker, &fence);
}

/* The first failures are told at once: they often show what is wrong with all. */
static void tell_failure(struct run *run, const struct record_row *row)
{
    char how[64];
    if (row->cause == MF_CAUSE_EXIT)
        snprintf(how, sizeof how, "exit code %d", row->exit_code);
    else if (row->cause == MF_CAUSE_SIGNAL)
        snprintf(how, sizeof how, "killed by signal %d", row->signal);
    else
        snprintf(how, sizeof how, "%s", mf_cause_name((int)row->cause));
    const char *host = fleet_is_remote(run->fleet) && row->worker < run->worker_count
                           ? run->workers[row->worker].host
                           : "";
    progress_say(run->progress,
                 "subtask %llu failed%s%s: %s%s%.*s",
                 (unsigned long long)row->subtask,
                 host[0] == '\0' ? "" : " on ",
                 host,
                 how,
                 row->detail.length > 0 ? ": " : "",
                 (int)row->detail.length,
                 (const char *)row->detail.data);
}

/* The row of an answered result, or of one that the master makes itself (poison): that has no
 * result. */
static void act_record(struct run *run, const struct schedule_action *action)
{
    bool is_own = action->cause >= MF_CAUSE_LOST || run->answering.poll == NULL;
    struct run_batch *batch = is_own ? run->own_batch : run->answering.batch;
    if (is_own && batch == NULL)
        batch = run->own_batch = run_batch_take(run, OWN_ROWS);
    if (batch == NULL) {
        struct mf_error error;
        mf_raise(&error, MF_ENOMEM, "out of memory: a row of the results table");
        run_fail(run, &error);
        return;
    }
    MF_CRASH(MASTER_BEFORE_RECORD);
    struct record_row *row = &batch->base.rows[batch->base.row_count++];
    *row = (struct record_row){.subtask = action->subtask,
                               .attempt = action->attempt,
                               .epoch = action->epoch,
                               .worker = action->worker,
                               .state = action->record,
                               .cause = action->cause};
    if (action->record != RECORD_RETRIED)
        plan_forget(run->plan, action->subtask);
    if (is_own) {
        row->ended_us = mf_wall_us();
        if (batch->base.row_count == OWN_ROWS) {
            run->own_batch = NULL;
            run_batch_submit(run, batch);
        }
        return;
    }
    const struct mf_result *result = &run->answering.poll->results[run->answering.next++];
    fill_row(run, row, result);
    struct run_worker *worker = run_worker(run, action->worker);
    worker->attempts++;
    worker->busy_us += result->wall_us;
    if (row->state == RECORD_DONE)
        fleet_proved(run->fleet, action->worker);
    if (has_files(result) && row->state != RECORD_DONE)
        drop_files(run, row);
    if (row->state >= RECORD_FAILED && ++run->stats.failures <= FAILURES_TOLD)
        tell_failure(run, row);
    MF_CRASH(MASTER_AFTER_RECORD);
}

static void act_fenced(struct run *run, const struct schedule_action *action)
{
    if (run->answering.poll == NULL)
        return;
    const struct mf_result *result = &run->answering.poll->results[run->answering.next++];
    struct mf_fence fence = {
        .subtask = action->subtask, .attempt = action->attempt, .epoch = action->epoch};
    if (has_files(result))
        intake_drop(run->intake, action->worker, &fence);
}

static void note_state(struct run *run, enum run_state state)
{
    int64_t now_us = mf_monotonic_us();
    if (state == RUN_GATHERING)
        run->stats.gathering_us = now_us;
    if (state == RUN_DISMISSING) {
        run->stats.dismissing_us = now_us;
        __atomic_store_n(&run->gather_stop, 1, __ATOMIC_RELAXED); /* at its timeout it may gather */
        run_leave_lost(run);
    }
    mf_log(MF_INFO, "the run is %s", run_state_name(state));
    struct mf_error error;
    struct record_run row = {.state = run_state_name(state)};
    if (record_run(run->recorder, &row, &error) < 0)
        run_fail(run, &error);
}

static void act_finish(struct run *run, const struct schedule_action *action)
{
    run->finished = true;
    run->final_state = action->state;
    /* What came before the cancelling could not be recorded: it is not over, it can be resumed. */
    if (run->failure.code != MF_OK && action->state == RUN_CANCELLED)
        run->final_state = RUN_INTERRUPTED;
    if (action->reason == NULL || run->reason[0] != '\0')
        return;
    /* The scheduler knows that there is no worker, or that it was asked to end, not why. */
    const char *before = ": ", *cause = action->no_worker ? run->launch_problem : "", *behind = "";
    if (run->early != NULL &&
        (action->state == RUN_INTERRUPTED || action->state == RUN_CANCELLED)) {
        before = " (asked for by ";
        cause = run->early_by;
        behind = ")";
    }
    bool has_cause = cause[0] != '\0';
    snprintf(run->reason,
             sizeof run->reason,
             "%s%s%s%s",
             action->reason,
             has_cause ? before : "",
             cause,
             has_cause ? behind : "");
}

/* Another attempt of it is live: its worker is away, or takes much longer than the others. */
static void note_second(struct run *run, const struct schedule_action *action)
{
    struct mf_error error;
    mf_log(MF_INFO,
           "subtask %llu is given to worker %u as well (attempt %u)",
           (unsigned long long)action->subtask,
           action->worker,
           action->attempt);
    if (record_event(run->recorder,
                     mf_wall_us(),
                     "second attempt",
                     action->worker,
                     action->subtask,
                     action->straggler ? "the first one takes much longer than the others took"
                                       : "the worker of the first one is not connected",
                     &error) < 0)
        run_fail(run, &error);
}

static void act_order(struct run *run, const struct schedule_action *action)
{
    struct mf_fence fence = {
        .subtask = action->subtask, .attempt = action->attempt, .epoch = action->epoch};
    struct mf_error error;
    int rc = 0;
    if (action->kind == SCHEDULE_OFFER && action->second)
        note_second(run, action);
    if (action->kind == SCHEDULE_OFFER)
        rc = scatter_offer(run->scatter, action->worker, action->subtask, action->attempt, &error);
    else if (action->kind == SCHEDULE_TAKE_BACK)
        rc = scatter_take_back(run->scatter, action->worker, &fence, &error);
    else
        rc = scatter_cancel(run->scatter, action->worker, &fence, &error);
    if (rc < 0)
        run_fail(run, &error);
}

static void act(struct run *run, const struct schedule_action *action)
{
    switch (action->kind) {
    case SCHEDULE_PLAN:
        run->plan_wanted += action->count;
        break;
    case SCHEDULE_LAUNCH:
        run_launch(run, action->worker);
        break;
    case SCHEDULE_OFFER:
    case SCHEDULE_TAKE_BACK:
    case SCHEDULE_CANCEL:
        act_order(run, action);
        break;
    case SCHEDULE_FLUSH:
        scatter_flush(run->scatter, action->worker);
        break;
    case SCHEDULE_RECORD:
        act_record(run, action);
        break;
    case SCHEDULE_FENCED:
        act_fenced(run, action);
        break;
    case SCHEDULE_LOST:
        run_worker_lost(run, action->worker);
        run->loss = (struct run_loss){.worker = action->worker};
        break;
    case SCHEDULE_LOST_SUBTASK:
        run_loss_add(run, action);
        break;
    case SCHEDULE_DISMISS:
        run_worker_dismiss(run, action->worker, action->early);
        break;
    case SCHEDULE_RUN_STATE:
        note_state(run, action->state);
        break;
    case SCHEDULE_GATHER:
        run_gather_start(run);
        break;
    case SCHEDULE_FINISH:
        act_finish(run, action);
        break;
    }
}

void run_act(struct run *run)
{
    struct schedule_action action;
    while (schedule_next(run->schedule, &action)) {
        if (action.kind != SCHEDULE_LOST_SUBTASK)
            run_loss_say(run);
        act(run, &action);
    }
    run_loss_say(run);
    if (run->own_batch != NULL && run->answering.poll == NULL) {
        struct run_batch *batch = run->own_batch;
        run->own_batch = NULL;
        run_batch_submit(run, batch);
    }
}
