/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a master that goes on takes over from an earlier one.
 *
 * Subtasks that an earlier master may have issued are held: a worker that it knew (LIST_KNOWN) may
 * have them. Each known worker says what it holds before it joins, and each of these attempts is
 * live from then on with the epoch that it was issued in, or void. When no known worker is left to
 * wait for (each has joined, died, or used up its resume_us) the others are released: they become
 * pending, in the order of their ids and before all that are.
 */
#include "master/schedule/core.h"

bool resume_waits(const struct schedule *s)
{
    return s->list[LIST_KNOWN].count > 0 && !BREAKS(HELD);
}

bool resume_release(struct schedule *s)
{
    if (s->held.head == NONE || resume_waits(s))
        return false;
    while (s->held.tail != NONE) {
        uint32_t index = s->held.tail;
        pending_take(s, index);
        core_subtask_step(s, index, SUBTASK_RELEASE);
        pending_put(s, index, true);
    }
    return true;
}

/*
 * In the results table an attempt is (subtask, number), without its epoch: of two that two masters
 * gave the same number only one could be recorded.
 */
static bool number_is_free(const struct subtask *sub, uint32_t attempt)
{
    for (unsigned k = 0; k < 2; k++) {
        if (sub->issue[k].worker != 0 && sub->issue[k].attempt == attempt)
            return false;
    }
    return attempt > sub->recorded || BREAKS(NUMBER);
}

/* There is room for it, and it does not do again what is being waited for or done elsewhere. */
static bool
may_adopt(const struct schedule *s, const struct worker *w, const struct schedule_event *event)
{
    uint32_t index = core_subtask_find(s, event->subtask);
    if (index == NONE || w->state >= WORKER_READY || s->intent >= INTENT_FAIL)
        return false;
    if (event->epoch > s->config.epoch || s->config.epoch - event->epoch > ISSUE_AGE_MAX ||
        event->attempt == 0 || event->attempt > SCHEDULE_ATTEMPT_MAX)
        return false;
    const struct subtask *sub = core_subtask_at(s, index);
    if (sub->state == SUBTASK_WAITING || (sub->issue[0].worker != 0 && sub->issue[1].worker != 0) ||
        !number_is_free(sub, event->attempt))
        return false;
    if (BREAKS(REFUSE) || (BREAKS(CROWD) && issue_any(sub)))
        return false;
    return event->ok || (!issue_any(sub) && s->intent == INTENT_NONE);
}

/* Its number is not used again, so that no worker has two attempts of the same number. */
static void
skip_number(struct schedule *s, const struct worker *w, const struct schedule_event *event)
{
    uint32_t index = core_subtask_find(s, event->subtask);
    if (index == NONE || w->state >= WORKER_READY || event->attempt >= SCHEDULE_ATTEMPT_MAX)
        return;
    struct subtask *sub = core_subtask_at(s, index);
    if (event->attempt > sub->attempt)
        sub->attempt = (uint16_t)event->attempt;
}

static void adopt(struct schedule *s, struct worker *w, const struct schedule_event *event)
{
    uint32_t index = core_subtask_find(s, event->subtask);
    unsigned k = issue_add(s, w, index, event->attempt, (uint8_t)(s->config.epoch - event->epoch));
    if (core_subtask_at(s, index)->state == SUBTASK_HELD) {
        pending_take(s, index);
        core_subtask_step(s, index, SUBTASK_ADOPT);
    }
    if (event->ok)
        issue_start(s, index, k);
    issue_settle(s, index);
}

void resume_adopted(struct schedule *s, const struct schedule_event *event)
{
    struct worker *w = core_worker_at(s, event->worker);
    uint32_t index;
    unsigned k;
    if (w->state > WORKER_READY) /* it is told to go when it joins */
        return;
    if (issue_named(s, event, &index, &k)) { /* it says so again */
        if (event->ok && !core_subtask_at(s, index)->issue[k].running)
            issue_start(s, index, k);
        issue_settle(s, index);
    } else if (may_adopt(s, w, event)) {
        adopt(s, w, event);
    } else {
        skip_number(s, w, event);
        struct schedule_action *action =
            action_push_issue(s,
                              event->ok ? SCHEDULE_CANCEL : SCHEDULE_TAKE_BACK,
                              event->subtask,
                              event->attempt,
                              w->id);
        action->epoch = event->epoch;
        action->not_adopted = true;
        core_list_put(s, LIST_FLUSH, w);
    }
}
