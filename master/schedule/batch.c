/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many subtasks a worker should hold, and who gets the next ones.
 *
 * Target: its slots, and as many more as it does in `horizon_us` by its own average; at most twice
 * the last target at each poll (the first is two a slot), at most batch_max. When the plan has
 * ended: at most half of an even share of what is left, but each slot its one.
 *
 * A worker that polls and holds less than its target is hungry; the hungry ones take turns, each
 * an even share of what is pending, so that the last subtasks don't go to the first that asks.
 * When nothing is pending any more and a slot is idle, the worker with most to do is asked for half
 * of what it has not started; each subtask is asked back once from each attempt.
 */
#include "master/schedule/core.h"

static uint32_t bounded(uint64_t value, uint64_t low, uint64_t high)
{
    value = value < low ? low : value;
    return (uint32_t)(value > high ? high : value);
}

/* What it should hold now: less than its target when the end is near. */
static uint32_t aim_of(const struct schedule *s, const struct worker *w)
{
    uint64_t target = w->target;
    if (s->counts.plan_ended) {
        uint64_t all = 2 * (s->ready_slots > 0 ? s->ready_slots : w->slots);
        uint64_t share = (s->live + all - 1) / all * w->slots;
        target = target < share ? target : share;
    }
    return bounded(target, w->slots, s->config.batch_max);
}

void batch_aim(struct schedule *s, struct worker *w)
{
    uint64_t slots = w->slots, target = w->target == 0 ? slots * 2 : w->target;
    if (w->duration_us16 != 0) {
        uint64_t each = w->duration_us16 / 16 + 1;
        uint64_t ahead = (s->config.horizon_us + each - 1) / each; /* for one slot */
        uint64_t ideal = ahead > UINT32_MAX ? UINT32_MAX : slots + slots * ahead;
        target = ideal < target * 2 ? ideal : target * 2;
    }
    w->target = bounded(target, slots, s->config.batch_max);
    if (w->held < aim_of(s, w) && w->in[LINK_QUEUE] != LIST_SWEEP)
        core_list_put(s, LIST_HUNGRY, w);
}

static void offer(struct schedule *s, struct worker *w, uint32_t index)
{
    struct subtask *sub = core_subtask_at(s, index);
    bool again = issue_any(sub);
    pending_take(s, index);
    core_subtask_step(s, index, SUBTASK_OFFER);
    issue_add(s, w, index, sub->attempt + 1u, 0);
    action_push_issue(s, SCHEDULE_OFFER, sub->id, sub->attempt, w->id)->second = again;
    if (again) /* its first attempt may have been running */
        issue_settle(s, index);
}

bool batch_offer(struct schedule *s)
{
    struct worker_ends *hungry = &s->list[LIST_HUNGRY];
    while (hungry->head != 0 && s->counts.pending > 0 && core_run_working(s) && !s->counts.paused) {
        struct worker *w = core_worker_at(s, hungry->head);
        if (s->turns == 0 || s->turns > hungry->count)
            s->turns = hungry->count;
        uint64_t share = (s->counts.pending + s->turns - 1) / s->turns;
        s->turns--;
        core_list_take(s, LINK_QUEUE, w);
        uint32_t aim = aim_of(s, w);
        if (w->held >= aim)
            continue;
        uint64_t want = aim - w->held;
        for (uint64_t n = share < want ? share : want; n > 0; n--)
            offer(s, w, s->pending.head);
        if (w->held < aim)
            core_list_put(s, LIST_HUNGRY, w);
        core_worker_weigh(s, w);
        core_list_put(s, LIST_FLUSH, w);
        return true;
    }
    s->turns = 0;
    return false;
}

bool batch_take_back(struct schedule *s)
{
    if (!s->counts.plan_ended || s->counts.pending > 0 || s->load_used == 0 ||
        s->asked >= s->list[LIST_IDLE].count || !core_run_working(s) || s->counts.paused)
        return false;
    unsigned most = 63u - (unsigned)__builtin_clzll(s->load_used);
    struct worker *w = core_worker_at(s, s->list[LIST_LOAD + most].head);
    uint32_t kept = w->held - w->asked, offered = kept - w->running, spare = kept - w->slots;
    uint32_t n = ((spare < offered ? spare : offered) + 1) / 2;
    for (uint32_t reference = w->offered_tail, next; reference != 0 && n > 0; reference = next) {
        unsigned k;
        uint32_t index = issue_of(reference, &k);
        struct issue *issue = &core_subtask_at(s, index)->issue[k];
        next = issue->prev;
        if (issue->told)
            continue;
        issue_tell(s, index, k);
        n--;
    }
    core_worker_weigh(s, w);
    return true;
}
