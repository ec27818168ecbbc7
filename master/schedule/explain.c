/* SPDX-License-Identifier: Apache-2.0 */
/* Why something is not running; see explain.h. Reads, and changes nothing. */
#include "master/schedule/explain.h"

#include "master/schedule/core.h"

const char *schedule_why_text(enum schedule_why why)
{
#define TEXT(name, text) [name] = text,
    static const char *const texts[] = {SCHEDULE_WHYS(TEXT)};
#undef TEXT
    return (unsigned)why < SCHEDULE_WHY_COUNT ? texts[why] : "unknown";
}

/* Why there is no worker to offer to. */
static enum schedule_why why_no_worker(const struct schedule *s)
{
    if (s->worker_added == 0)
        return WHY_NO_WORKERS;
    if (s->worker_in[WORKER_READY] > 0)
        return WHY_WORKERS_AWAY;
    if (s->worker_in[WORKER_LAUNCHING] + s->worker_in[WORKER_JOINING] > 0)
        return WHY_WORKERS_TO_COME;
    return WHY_RELAUNCH;
}

static enum schedule_why why_pending(const struct schedule *s)
{
    if (s->counts.pending == 0)
        return WHY_NONE_PENDING;
    if (!core_run_working(s))
        return WHY_WINDING_DOWN;
    if (s->counts.paused)
        return WHY_PAUSED;
    if (s->workers_connected == 0)
        return why_no_worker(s);
    return s->list[LIST_IDLE].count == 0 ? WHY_NO_PLACE : WHY_NEXT_POLL;
}

static int64_t held_until(const struct schedule *s)
{
    if (s->list[LIST_KNOWN].count == 0)
        return INT64_MAX;
    return core_worker_at(s, s->list[LIST_KNOWN].tail)->timer_us + (int64_t)s->config.resume_us;
}

void schedule_explain(const struct schedule *s, struct schedule_explanation *explanation)
{
    const struct schedule_counts *counts = &s->counts;
    uint32_t wanted = elastic_on(s) ? elastic_missing(s) : s->list[LIST_WANTED].count;
    *explanation = (struct schedule_explanation){
        .state = s->state,
        .paused = counts->paused,
        .winding_down = s->intent != INTENT_NONE ? s->reason : NULL,
        .why = why_pending(s),
        .pending = counts->pending,
        .held = counts->held,
        .held_until_us = counts->held > 0 ? held_until(s) : INT64_MAX,
        .known_workers = s->list[LIST_KNOWN].count,
        .waiting = counts->waiting,
        .waiting_until_us = s->waiting_count > 0 ? s->waiting[0].due_us : INT64_MAX,
        .offered = counts->offered,
        .running = counts->running,
        .stragglers = counts->stragglers,
        .plan_ended = counts->plan_ended,
        .plan_asked = s->plan_asked,
        .unrecorded = s->record_asked - counts->recorded,
        .launching = s->worker_in[WORKER_LAUNCHING],
        .joining = s->worker_in[WORKER_JOINING],
        .ready = s->worker_in[WORKER_READY],
        .away = s->worker_in[WORKER_READY] - s->workers_connected,
        .draining = s->worker_in[WORKER_DRAINING],
        .idle = s->list[LIST_IDLE].count,
        .wanted = wanted,
        .is_elastic = elastic_on(s),
        .relaunch_us = wanted > 0 && s->launch_failures > 0 ? s->relaunch_us : INT64_MAX,
        .timeout_us = core_run_timeout(s),
    };
}

static int64_t due_of(const struct schedule *s, uint32_t index)
{
    for (uint32_t i = 0; i < s->waiting_count; i++) {
        if (s->waiting[i].index == index)
            return s->waiting[i].due_us;
    }
    return INT64_MAX;
}

static void
holders(const struct schedule *s, const struct subtask *sub, struct schedule_subtask *subtask)
{
    for (unsigned k = 0; k < 2; k++) {
        const struct issue *issue = &sub->issue[k];
        if (issue->worker == 0)
            continue;
        subtask->holder[subtask->holder_count++] =
            (struct schedule_holder){.worker = issue->worker,
                                     .attempt = issue->attempt,
                                     .epoch = issue_epoch(s, issue),
                                     .running = issue->running,
                                     .told = issue->told,
                                     .away = !core_worker_at(s, issue->worker)->connected};
    }
}

void schedule_explain_subtask(const struct schedule *s,
                              uint64_t id,
                              struct schedule_subtask *subtask)
{
    uint32_t index = core_subtask_find(s, id);
    *subtask = (struct schedule_subtask){.state = schedule_subtask_state(s, id),
                                         .ahead = index == NONE && id > s->planned_last,
                                         .found = index != NONE,
                                         .until_us = INT64_MAX,
                                         .since_us = INT64_MAX};
    if (index == NONE)
        return;
    const struct subtask *sub = core_subtask_at(s, index);
    subtask->attempt = sub->attempt;
    subtask->failures = sub->failures;
    subtask->losses = sub->losses;
    if (sub->state == SUBTASK_PENDING)
        subtask->why = why_pending(s);
    else if (sub->state == SUBTASK_WAITING)
        subtask->until_us = due_of(s, index);
    else if (sub->state == SUBTASK_HELD)
        subtask->until_us = held_until(s);
    else if (sub->state == SUBTASK_RUNNING)
        subtask->since_us = sub->started_us;
    holders(s, sub, subtask);
}
