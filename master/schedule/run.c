/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run as a whole: when it is complete, how it is wound down before, how it ends.
 *
 * Winding down has a rising order: drain, failure, cancel. Nothing is planned, offered or launched
 * any more; what is offered is asked back; from failure on, what runs is cancelled and what is
 * pending counts as cancelled. When no attempt is live and all records are committed, the workers
 * are dismissed, and when each of them is gone or given up the run is finished.
 */
#include "master/schedule/core.h"

#define DISMISS_STEP 256u /* dismissals made up at once */
#define RELAUNCH_FIRST_US 100000
#define RELAUNCH_DOUBLINGS 6 /* 6.4 s at most */

void core_run_step(struct schedule *s, enum run_event event)
{
    int to = run_edge(s->state, event);
    if (to < 0) {
        schedule_broken(s, "the run", run_state_name(s->state), run_event_name(event));
        return;
    }
    if (s->state == (enum run_state)to)
        return;
    s->state = (enum run_state)to;
    if (s->state <= RUN_DISMISSING)
        action_push(s, SCHEDULE_RUN_STATE)->state = s->state;
}

bool core_run_working(const struct schedule *s)
{
    return s->state <= RUN_RUNNING && s->intent == INTENT_NONE;
}

/* With those of earlier masters, when the run goes on after an end. */
static uint64_t failures(const struct schedule *s)
{
    return s->config.base_failures + s->counts.failed + s->counts.dead;
}

bool core_run_failed(const struct schedule *s)
{
    uint64_t allowed = s->config.tolerate_count, total = s->config.base_total;
    if (s->config.tolerate_share > 0) {
        if (total == 0 && !s->counts.plan_ended) /* a share of what is not known yet */
            return false;
        total = total > 0 ? total : s->config.base_ended + s->counts.planned;
        uint64_t share = (uint64_t)(s->config.tolerate_share * (double)total);
        allowed = share > allowed ? share : allowed;
    }
    return failures(s) > allowed;
}

static bool work_left(const struct schedule *s)
{
    return s->live > 0 || !s->counts.plan_ended;
}

static void cancel_queued(struct schedule *s)
{
    while (s->waiting_count > 0)
        core_subtask_cancel(s, s->waiting[--s->waiting_count].index);
}

/* Those that wait for their second attempt go on with the first one. */
static void settle_pending(struct schedule *s, const struct subtask_queue *queue)
{
    for (uint32_t index = queue->head, next; index != NONE; index = next) {
        next = core_subtask_at(s, index)->pending.next;
        if (issue_any(core_subtask_at(s, index)))
            issue_settle(s, index);
        else if (s->intent >= INTENT_FAIL)
            core_subtask_cancel(s, index);
    }
}

void core_run_wind_down(struct schedule *s, enum intent intent, const char *reason)
{
    if (intent <= s->intent || s->state > RUN_RUNNING)
        return;
    s->intent = intent;
    s->reason = reason;
    s->no_worker = false;
    s->outcome = intent == INTENT_DRAIN  ? RUN_INTERRUPTED
                 : intent == INTENT_FAIL ? RUN_FAILED
                                         : RUN_CANCELLED;
    settle_pending(s, &s->pending);
    settle_pending(s, &s->held);
    if (intent >= INTENT_FAIL) {
        cancel_queued(s);
        s->wind_us = s->now_us + (int64_t)s->config.dismiss_us;
    }
    for (uint32_t id = 1; id <= s->worker_last; id++) {
        struct worker *w = core_worker_find(s, id);
        if (w != NULL && w->state == WORKER_READY && w->held > 0)
            core_list_put(s, LIST_SWEEP, w);
    }
}

int64_t core_run_timeout(const struct schedule *s)
{
    if (s->config.run_timeout_us == 0 || s->first_us < 0 || s->state > RUN_GATHERING ||
        s->intent >= INTENT_FAIL)
        return INT64_MAX;
    return s->first_us + (int64_t)s->config.run_timeout_us;
}

static void time_out(struct schedule *s)
{
    static const char reason[] = "the run took longer than its timeout";
    if (s->state == RUN_GATHERING) {
        s->outcome = RUN_FAILED;
        s->reason = reason;
    }
    core_run_wind_down(s, INTENT_FAIL, reason);
    core_run_step(s, RUN_TIMEOUT);
}

static void no_worker(struct schedule *s, const char *reason)
{
    core_run_wind_down(s, INTENT_FAIL, reason);
    s->no_worker = s->reason == reason;
}

static void give_up_issues(struct schedule *s, struct worker *w)
{
    unsigned k;
    for (uint32_t reference;
         (reference = w->running_head != 0 ? w->running_head : w->offered_head) != 0;) {
        uint32_t index = issue_of(reference, &k);
        issue_drop(s, index, k);
        if (issue_any(core_subtask_at(s, index))) {
            issue_settle(s, index);
        } else if (s->intent >= INTENT_FAIL) {
            core_subtask_cancel(s, index);
        } else {
            core_subtask_step(s, index, SUBTASK_REQUEUE);
            pending_put(s, index, true);
        }
    }
}

/* Nothing that is under way is waited for any longer. */
static void give_up_all(struct schedule *s)
{
    s->wind_us = INT64_MAX;
    for (uint32_t id = 1; id <= s->worker_last; id++) {
        struct worker *w = core_worker_find(s, id);
        if (w != NULL && w->state == WORKER_READY)
            give_up_issues(s, w);
    }
}

static void stop(struct schedule *s)
{
    if (s->state == RUN_GATHERING) {
        s->outcome = RUN_INTERRUPTED;
        s->reason = "stopped while the results were gathered";
    } else if (s->state <= RUN_RUNNING) {
        core_run_wind_down(s, INTENT_DRAIN, "stopped, since the master could not go on");
        s->stopped = true;
        give_up_all(s);
    }
    core_run_step(s, RUN_STOP);
}

static void gathered(struct schedule *s, bool ok)
{
    if (s->state == RUN_GATHERING) {
        bool partial = failures(s) > 0;
        s->outcome = !ok ? RUN_FAILED : partial ? RUN_PARTIAL : RUN_SUCCEEDED;
        s->reason = !ok       ? "the results could not be gathered"
                    : partial ? "some subtasks failed, within the tolerance"
                              : NULL;
    }
    core_run_step(s, RUN_GATHERED);
}

static void cancel(struct schedule *s)
{
    if (s->state == RUN_GATHERING) {
        s->outcome = RUN_CANCELLED;
        s->reason = "cancelled while the results were gathered";
    }
    core_run_wind_down(s, INTENT_CANCEL, "cancelled");
    core_run_step(s, RUN_CANCEL);
}

static void plan_ended(struct schedule *s, bool ok)
{
    s->plan_asked = 0;
    if (s->state <= RUN_DISMISSING)
        s->counts.plan_ended = true;
    core_run_step(s, ok ? RUN_PLAN_ENDED : RUN_PLAN_FAILED);
    if (!ok)
        core_run_wind_down(s, INTENT_FAIL, "the plan could not be continued");
    else if (s->config.stop_on_failure && core_run_failed(s))
        core_run_wind_down(s, INTENT_FAIL, "more subtasks failed than are tolerated");
}

void core_run_event(struct schedule *s, const struct schedule_event *event)
{
    switch (event->kind) {
    case EVENT_PLANNED:
        attempt_planned(s, event);
        core_run_step(s, RUN_PLANNED);
        break;
    case EVENT_PLAN_ENDED:
    case EVENT_PLAN_FAILED:
        plan_ended(s, event->kind == EVENT_PLAN_ENDED);
        break;
    case EVENT_WORKER_ADD:
        core_worker_add(s, event->worker, event->slots, 0);
        s->worker_added++;
        break;
    case EVENT_WORKER_KNOWN:
        core_worker_add_known(s, event->worker, event->slots);
        s->worker_added++;
        break;
    case EVENT_RECORDED:
        s->counts.recorded += event->count;
        break;
    case EVENT_GATHERED:
        gathered(s, event->ok);
        break;
    case EVENT_DRAIN:
        core_run_wind_down(
            s, INTENT_DRAIN, "drained: what ran was finished, the rest was not begun");
        break;
    case EVENT_CANCEL:
        cancel(s);
        break;
    case EVENT_STOP:
        stop(s);
        break;
    default:
        s->counts.paused = event->ok;
        break;
    }
}

void core_run_tick(struct schedule *s)
{
    if (core_run_working(s) && s->worker_added == 0 &&
        s->first_us + (int64_t)s->config.join_us <= s->now_us)
        no_worker(s, "no worker was added in time");
    if (core_run_timeout(s) <= s->now_us)
        time_out(s);
    if (s->state <= RUN_RUNNING && s->wind_us <= s->now_us)
        give_up_all(s);
}

int64_t core_run_deadline(const struct schedule *s)
{
    int64_t first = s->state <= RUN_RUNNING ? s->wind_us : INT64_MAX;
    int64_t timeout = core_run_timeout(s), straggler = straggler_deadline(s),
            elastic = elastic_deadline(s);
    first = timeout < first ? timeout : first;
    first = elastic < first ? elastic : first;
    if (!core_run_working(s))
        return first;
    first = straggler < first ? straggler : first;
    if (s->waiting_count > 0 && s->waiting[0].due_us < first)
        first = s->waiting[0].due_us;
    if (s->list[LIST_WANTED].count > 0 && s->relaunch_us < first)
        first = s->relaunch_us;
    int64_t start = s->first_us + (int64_t)s->config.join_us;
    if (s->worker_added == 0 && s->first_us >= 0 && start < first)
        first = start;
    return first;
}

void core_run_pace_launches(struct schedule *s)
{
    unsigned doublings =
        s->launch_failures < RELAUNCH_DOUBLINGS ? s->launch_failures : RELAUNCH_DOUBLINGS;
    s->launch_failures++;
    s->relaunch_us = s->now_us + ((int64_t)RELAUNCH_FIRST_US << doublings);
}

static uint32_t relaunches(const struct schedule *s, uint32_t used)
{
    uint64_t max = s->config.relaunch_max;
    /* One that kills its workers is to be found out before they are used up; the first of them may
     * be lost before they have said what runs there. */
    uint64_t least = s->config.poison_losses + 2ull;
    if (max == SCHEDULE_RELAUNCH_AUTO) {
        max = 3ull * (elastic_on(s) ? s->config.workers_max : s->worker_added);
        max = max > least ? max : least;
    }
    uint64_t left = max > used ? max - used : 0;
    uint64_t ids = SCHEDULE_WORKER_MAX - 1 - s->worker_last;
    return (uint32_t)(left < ids ? left : ids);
}

uint32_t core_run_relaunches_left(const struct schedule *s)
{
    return relaunches(s, s->relaunched);
}

uint32_t core_run_relaunches_most(const struct schedule *s)
{
    return relaunches(s, 0);
}

bool core_run_relaunch(struct schedule *s)
{
    if (s->list[LIST_WANTED].head == 0)
        return false;
    struct worker *lost = core_worker_at(s, s->list[LIST_WANTED].head);
    bool wanted = core_run_working(s) && work_left(s) && core_run_relaunches_left(s) > 0;
    if (wanted && s->launch_failures > 0 && s->now_us < s->relaunch_us)
        return false;
    core_list_take(s, LINK_QUEUE, lost);
    if (wanted) {
        s->relaunched++;
        core_worker_add(s, s->worker_last + 1, lost->slots, lost->id);
    }
    return true;
}

bool core_run_plan(struct schedule *s)
{
    uint64_t ahead = s->config.plan_ahead;
    if (!core_run_working(s) || s->counts.plan_ended || s->plan_asked > 0 ||
        s->counts.pending >= (ahead + 1) / 2)
        return false;
    s->plan_asked = ahead - s->counts.pending;
    action_push(s, SCHEDULE_PLAN)->count = s->plan_asked;
    return true;
}

static bool work(struct schedule *s)
{
    bool recorded = s->counts.recorded == s->record_asked;
    if (s->intent != INTENT_NONE) {
        if (s->issues > 0 || (!recorded && !s->stopped))
            return false;
        core_run_step(s, RUN_OVER);
    } else if (!work_left(s)) {
        if (!recorded)
            return false;
        if (core_run_failed(s)) {
            core_run_wind_down(s, INTENT_FAIL, "more subtasks failed than are tolerated");
        } else {
            core_run_step(s, RUN_COMPLETE);
            action_push(s, SCHEDULE_GATHER)->partial = failures(s) > 0;
        }
    } else {
        uint32_t hope = s->worker_in[WORKER_LAUNCHING] + s->worker_in[WORKER_JOINING] +
                        s->worker_in[WORKER_READY] + s->list[LIST_WANTED].count;
        if (s->worker_added == 0 || hope > 0 || elastic_may_launch(s))
            return false;
        no_worker(s, "no worker is left, and none may be launched any more");
    }
    return true;
}

static bool dismiss(struct schedule *s)
{
    static const enum run_event ends[] = {[RUN_SUCCEEDED] = RUN_END_SUCCEEDED,
                                          [RUN_PARTIAL] = RUN_END_PARTIAL,
                                          [RUN_FAILED] = RUN_END_FAILED,
                                          [RUN_CANCELLED] = RUN_END_CANCELLED,
                                          [RUN_INTERRUPTED] = RUN_END_INTERRUPTED};
    if (s->dismissed < s->worker_last) {
        for (unsigned n = 0; n < DISMISS_STEP && s->dismissed < s->worker_last; n++) {
            struct worker *w = core_worker_find(s, ++s->dismissed);
            if (w != NULL && w->state <= WORKER_READY)
                core_worker_dismiss(s, w, false);
        }
        return true;
    }
    if (s->worker_open > 0)
        return false;
    core_run_step(s, ends[s->outcome]);
    struct schedule_action *action = action_push(s, SCHEDULE_FINISH);
    action->state = s->outcome;
    action->reason = s->reason;
    action->no_worker = s->no_worker;
    return true;
}

bool core_run_act(struct schedule *s)
{
    if (s->state <= RUN_RUNNING)
        return work(s);
    return s->state == RUN_DISMISSING && dismiss(s);
}
