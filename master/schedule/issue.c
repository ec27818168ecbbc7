/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live attempts ("issues"): a subtask has up to two, each in a list of its worker. What is offered
 * is a queue in the order of the offers, what runs a list with the latest start first.
 *
 * A fence (epoch, attempt) is live if and only if its issue is here and its worker is not lost:
 * issue_find is the one place that decides it. Of the epoch an issue keeps how long ago it was.
 */
#include "master/schedule/core.h"

static uint32_t reference_of(uint32_t index, unsigned k)
{
    return index * 2 + k + 1;
}

uint32_t issue_of(uint32_t reference, unsigned *k)
{
    *k = (reference - 1) % 2;
    return (reference - 1) / 2;
}

static struct issue *issue_at(const struct schedule *s, uint32_t reference)
{
    unsigned k;
    uint32_t index = issue_of(reference, &k);
    return &core_subtask_at(s, index)->issue[k];
}

static void unlink_issue(struct schedule *s, struct worker *w, struct issue *issue)
{
    uint32_t *head = issue->running ? &w->running_head : &w->offered_head;
    if (issue->prev == 0)
        *head = issue->next;
    else
        issue_at(s, issue->prev)->next = issue->next;
    if (issue->next != 0)
        issue_at(s, issue->next)->prev = issue->prev;
    else if (!issue->running)
        w->offered_tail = issue->prev;
    else
        w->running_tail = issue->prev;
}

uint32_t issue_epoch(const struct schedule *s, const struct issue *issue)
{
    return s->config.epoch - issue->age;
}

unsigned
issue_add(struct schedule *s, struct worker *w, uint32_t index, uint32_t attempt, uint8_t age)
{
    struct subtask *sub = core_subtask_at(s, index);
    unsigned k = sub->issue[0].worker == 0 ? 0 : 1;
    uint32_t reference = reference_of(index, k);
    sub->issue[k] = (struct issue){
        .worker = w->id, .prev = w->offered_tail, .attempt = (uint16_t)attempt, .age = age};
    if (attempt > sub->attempt)
        sub->attempt = (uint16_t)attempt;
    if (w->offered_tail == 0)
        w->offered_head = reference;
    else
        issue_at(s, w->offered_tail)->next = reference;
    w->offered_tail = reference;
    w->held++;
    s->issues++;
    s->counts.attempts++;
    return k;
}

static void answered(struct schedule *s, struct worker *w, const struct issue *issue)
{
    if (issue->told && !issue->running) {
        w->asked--;
        s->asked--;
    }
}

void issue_start(struct schedule *s, uint32_t index, unsigned k)
{
    struct issue *issue = &core_subtask_at(s, index)->issue[k];
    struct worker *w = core_worker_at(s, issue->worker);
    answered(s, w, issue);
    unlink_issue(s, w, issue);
    issue->told = false;
    issue->running = true;
    issue->prev = 0;
    issue->next = w->running_head;
    if (issue->next != 0)
        issue_at(s, issue->next)->prev = reference_of(index, k);
    else
        w->running_tail = reference_of(index, k);
    w->running_head = reference_of(index, k);
    w->running++;
    core_worker_weigh(s, w);
}

void issue_drop(struct schedule *s, uint32_t index, unsigned k)
{
    struct issue *issue = &core_subtask_at(s, index)->issue[k];
    struct worker *w = core_worker_at(s, issue->worker);
    answered(s, w, issue);
    unlink_issue(s, w, issue);
    w->held--;
    w->running -= issue->running;
    s->issues--;
    issue->worker = 0;
    core_worker_weigh(s, w);
}

void issue_tell(struct schedule *s, uint32_t index, unsigned k)
{
    struct subtask *sub = core_subtask_at(s, index);
    struct issue *issue = &sub->issue[k];
    struct worker *w = core_worker_at(s, issue->worker);
    if (issue->told || w->state != WORKER_READY)
        return;
    issue->told = true;
    if (!issue->running) {
        w->asked++;
        s->asked++;
    }
    action_push_issue(
        s, issue->running ? SCHEDULE_CANCEL : SCHEDULE_TAKE_BACK, sub->id, issue->attempt, w->id)
        ->epoch = issue_epoch(s, issue);
    core_list_put(s, LIST_FLUSH, w);
}

bool issue_named(const struct schedule *s,
                 const struct schedule_event *event,
                 uint32_t *index,
                 unsigned *k)
{
    *index = core_subtask_find(s, event->subtask);
    if (*index == NONE)
        return false;
    const struct subtask *sub = core_subtask_at(s, *index);
    for (*k = 0; *k < 2; ++*k) {
        const struct issue *issue = &sub->issue[*k];
        if (issue->worker == 0)
            continue;
        if (BREAKS(FENCE))
            return true;
        if (issue->worker == event->worker && issue->attempt == event->attempt &&
            event->epoch == issue_epoch(s, issue))
            return true;
    }
    return false;
}

bool issue_find(const struct schedule *s,
                const struct schedule_event *event,
                uint32_t *index,
                unsigned *k)
{
    return issue_named(s, event, index, k) &&
           (core_worker_at(s, event->worker)->state == WORKER_READY || BREAKS(FENCE));
}

bool issue_any(const struct subtask *sub)
{
    return sub->issue[0].worker != 0 || sub->issue[1].worker != 0;
}

/* Its only live attempt is on a worker that has been away for too long. */
static bool may_issue_again(const struct schedule *s, const struct subtask *sub)
{
    const struct issue *a = &sub->issue[0], *b = &sub->issue[1];
    if ((a->worker != 0) == (b->worker != 0) || sub->attempt >= SCHEDULE_ATTEMPT_MAX)
        return false;
    return core_run_working(s) && core_worker_at(s, a->worker != 0 ? a->worker : b->worker)->stale;
}

void issue_settle(struct schedule *s, uint32_t index)
{
    struct subtask *sub = core_subtask_at(s, index);
    bool was_pending = sub->state == SUBTASK_PENDING, again = may_issue_again(s, sub);
    bool running = false;
    for (unsigned k = 0; k < 2; k++)
        running |= sub->issue[k].worker != 0 && sub->issue[k].running;
    if (again && !was_pending) {
        core_subtask_step(s, index, SUBTASK_REQUEUE);
        pending_put(s, index, true);
    } else if (!again) {
        if (was_pending)
            pending_take(s, index);
        core_subtask_step(s, index, running ? SUBTASK_LEFT_RUNNING : SUBTASK_LEFT_OFFERED);
        if (running)
            sub->started_us = s->now_us;
    }
}
