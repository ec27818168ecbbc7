/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a subtask: planned, started, ended, returned, lost, due again, cancelled.
 *
 * Each end of an attempt comes out as one record or one void fence. The first final record of a
 * subtask voids its other attempt, and ends it on its worker. A failure while another attempt is
 * live is not the last word: the other decides.
 */
#include "master/schedule/core.h"

static void push_record(struct schedule *s,
                        struct subtask *sub,
                        const struct issue *issue,
                        enum schedule_record record,
                        uint32_t cause)
{
    struct schedule_action *action =
        action_push_issue(s, SCHEDULE_RECORD, sub->id, issue->attempt, issue->worker);
    action->epoch = issue_epoch(s, issue);
    action->record = record;
    action->cause = cause;
    s->record_asked++;
    core_worker_at(s, issue->worker)->record_mark = s->record_asked;
    if (issue->attempt > sub->recorded)
        sub->recorded = issue->attempt;
    if (record == RECORD_RETRIED)
        s->counts.retried++;
}

/* The final record: the subtask leaves memory. */
static void finish(struct schedule *s,
                   uint32_t index,
                   const struct issue *issue,
                   enum schedule_record record,
                   uint32_t cause)
{
    struct subtask *sub = core_subtask_at(s, index);
    s->relaunched =
        0; /* the run gets on: what is lost from now on may be replaced as often again */
    push_record(s, sub, issue, record, cause);
    for (unsigned k = 0; k < 2; k++) {
        if (sub->issue[k].worker == 0)
            continue;
        issue_tell(s, index, k);
        issue_drop(s, index, k);
    }
    pending_take(s, index);
    core_subtask_step(s,
                      index,
                      record == RECORD_DONE     ? SUBTASK_SUCCEED
                      : record == RECORD_FAILED ? SUBTASK_FAIL
                                                : SUBTASK_DIE);
    core_subtask_forget(s, index);
    if (record != RECORD_DONE && s->config.stop_on_failure && core_run_failed(s))
        core_run_wind_down(s, INTENT_FAIL, "more subtasks failed than are tolerated");
}

void core_subtask_cancel(struct schedule *s, uint32_t index)
{
    pending_take(s, index);
    core_subtask_step(s, index, SUBTASK_CANCEL);
    core_subtask_forget(s, index);
}

/* `was` has ended or is lost without a record; the subtask goes on with what it has left. */
static void go_on(struct schedule *s, uint32_t index, const struct issue *was)
{
    struct subtask *sub = core_subtask_at(s, index);
    if (issue_any(sub)) {
        issue_settle(s, index);
    } else if (s->intent >= INTENT_FAIL) {
        core_subtask_cancel(s, index);
    } else if (sub->attempt >= SCHEDULE_ATTEMPT_MAX) {
        finish(s, index, was, RECORD_DEAD, MF_CAUSE_LOST);
    } else if (BREAKS(LOSE)) {
        core_subtask_forget(s, index);
    } else {
        pending_take(s, index);
        core_subtask_step(s, index, SUBTASK_REQUEUE);
        pending_put(s, index, true);
    }
}

/* Its worker took it with it while it ran. */
static void lose_running(struct schedule *s, uint32_t index, const struct issue *was)
{
    struct subtask *sub = core_subtask_at(s, index);
    if (sub->losses < UINT8_MAX)
        sub->losses++;
    if (s->config.poison_losses != 0 && sub->losses >= s->config.poison_losses && !issue_any(sub))
        finish(s, index, was, RECORD_DEAD, MF_CAUSE_POISON);
    else
        go_on(s, index, was);
}

void attempt_planned(struct schedule *s, const struct schedule_event *event)
{
    if (s->plan_asked > 0)
        s->plan_asked--;
    if (s->state > RUN_DISMISSING)
        return;
    s->counts.planned++;
    if (event->subtask > s->planned_last)
        s->planned_last = event->subtask;
    if (s->intent >= INTENT_FAIL) {
        s->counts.cancelled++;
        return;
    }
    bool held = event->held && resume_waits(s);
    uint32_t index = core_subtask_add(s, event->subtask, held ? SUBTASK_HELD : SUBTASK_PENDING);
    struct subtask *sub = core_subtask_at(s, index);
    sub->attempt = sub->recorded = (uint16_t)event->attempt;
    sub->failures = (uint16_t)(event->failures < UINT16_MAX ? event->failures : UINT16_MAX);
    pending_put(s, index, false);
}

void attempt_started(struct schedule *s, const struct schedule_event *event)
{
    uint32_t index;
    unsigned k;
    if (!issue_find(s, event, &index, &k)) {
        struct worker *w = core_worker_at(s, event->worker);
        if (w->state != WORKER_READY)
            return;
        action_push_issue(s, SCHEDULE_CANCEL, event->subtask, event->attempt, w->id)->epoch =
            event->epoch;
        core_list_put(s, LIST_FLUSH, w);
        return;
    }
    struct subtask *sub = core_subtask_at(s, index);
    if (!sub->issue[k].running)
        issue_start(s, index, k);
    pending_take(s, index);
    if (sub->state != SUBTASK_RUNNING)
        sub->started_us = s->now_us;
    core_subtask_step(s, index, SUBTASK_START);
    if (s->intent >= INTENT_FAIL)
        issue_tell(s, index, k);
}

static uint64_t random_next(struct schedule *s)
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* backoff * factor^(failures - 1), at most the cap; with full jitter a random share of it. */
static int64_t backoff(struct schedule *s, unsigned failures)
{
    double wait = (double)s->config.backoff_us, cap = (double)s->config.backoff_cap_us;
    for (unsigned i = 1; i < failures && wait < cap && wait >= 1 && s->config.backoff_factor != 1;
         i++)
        wait *= s->config.backoff_factor;
    uint64_t us = (uint64_t)(wait < cap ? wait : cap);
    return (int64_t)(s->config.jitter_full ? random_next(s) % (us + 1) : us);
}

static bool is_final(const struct schedule_config *config, const struct schedule_event *event)
{
    if (event->cause == MF_CAUSE_INPUT_MISSING || event->cause == MF_CAUSE_INPUT_CHANGED)
        return true;
    for (uint32_t i = 0; event->cause == MF_CAUSE_EXIT && i < config->final_code_count; i++) {
        if (config->final_codes[i] == event->exit_code)
            return true;
    }
    return false;
}

static void failed(struct schedule *s,
                   uint32_t index,
                   const struct issue *was,
                   const struct schedule_event *event)
{
    struct subtask *sub = core_subtask_at(s, index);
    if (sub->failures < UINT16_MAX)
        sub->failures++;
    if (is_final(&s->config, event)) {
        finish(s, index, was, RECORD_FAILED, event->cause);
    } else if (issue_any(sub)) {
        push_record(s, sub, was, RECORD_RETRIED, event->cause);
        issue_settle(s, index);
    } else if (sub->failures > s->config.retries_max || sub->attempt >= SCHEDULE_ATTEMPT_MAX) {
        finish(s, index, was, RECORD_DEAD, event->cause);
    } else {
        push_record(s, sub, was, RECORD_RETRIED, event->cause);
        pending_take(s, index);
        core_subtask_step(s, index, SUBTASK_RETRY);
        if (s->intent >= INTENT_FAIL)
            core_subtask_cancel(s, index);
        else
            waiting_put(s, index, s->now_us + backoff(s, sub->failures));
    }
}

static void average(uint64_t *us16, uint64_t duration_us)
{
    uint64_t sample = (duration_us < (1ull << 40) ? duration_us : 1ull << 40) * 16;
    if (*us16 == 0)
        *us16 = sample > 0 ? sample : 1;
    else
        *us16 += sample / 8 - *us16 / 8;
    if (*us16 == 0)
        *us16 = 1;
}

void attempt_ended(struct schedule *s, const struct schedule_event *event)
{
    uint32_t index;
    unsigned k;
    bool cancelled = event->cause == MF_CAUSE_CANCELLED;
    bool live = issue_find(s, event, &index, &k);
    if (!live || cancelled) {
        struct schedule_action *fenced =
            action_push_issue(s, SCHEDULE_FENCED, event->subtask, event->attempt, event->worker);
        fenced->epoch = event->epoch;
        fenced->cause = event->cause;
        s->counts.fenced += !cancelled;
    }
    if (!live)
        return;
    struct subtask *sub = core_subtask_at(s, index);
    struct issue was = sub->issue[k];
    if (BREAKS(FENCE)) {
        was.worker = event->worker;
        was.attempt = (uint16_t)event->attempt;
    }
    if (event->cause <= MF_CAUSE_EXIT) {
        average(&core_worker_at(s, sub->issue[k].worker)->duration_us16, event->duration_us);
        average(&s->duration_us16, event->duration_us);
    }
    if (event->cause == MF_CAUSE_NONE)
        straggler_sample(s, event->duration_us);
    issue_drop(s, index, k);
    if (event->cause == MF_CAUSE_NONE) {
        finish(s, index, &was, RECORD_DONE, MF_CAUSE_NONE);
    } else if (cancelled && was.told) {
        go_on(s, index, &was);
    } else if (cancelled) {
        /* We didn't order it: it counts as a loss, so that it can't go on for ever. */
        lose_running(s, index, &was);
    } else {
        failed(s, index, &was, event);
    }
}

void attempt_returned(struct schedule *s, const struct schedule_event *event)
{
    uint32_t index;
    unsigned k;
    if (!issue_find(s, event, &index, &k))
        return;
    struct issue was = core_subtask_at(s, index)->issue[k];
    issue_drop(s, index, k);
    s->counts.taken_back++;
    go_on(s, index, &was);
}

void attempt_lost(struct schedule *s, uint32_t index, unsigned k)
{
    struct subtask *sub = core_subtask_at(s, index);
    struct issue was = sub->issue[k];
    action_push_issue(s, SCHEDULE_LOST_SUBTASK, sub->id, was.attempt, was.worker)->epoch =
        issue_epoch(s, &was);
    issue_drop(s, index, k);
    if (was.running)
        lose_running(s, index, &was);
    else
        go_on(s, index, &was);
}

void attempt_due(struct schedule *s)
{
    while (s->waiting_count > 0 && s->waiting[0].due_us <= s->now_us && core_run_working(s)) {
        uint32_t index = waiting_pop(s);
        core_subtask_step(s, index, SUBTASK_DUE);
        pending_put(s, index, false);
    }
}
