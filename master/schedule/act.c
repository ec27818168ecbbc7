/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Actions come out here: first those that events have pushed, in their order; then, one step at a
 * time, what the state asks for. A step is idempotent in the sense that it takes from a list what
 * it acts upon, so nothing is said twice; and it never allocates: the queue is empty when a step
 * is made, and it has room for the largest one (losing a worker that holds a full batch).
 */
#include "master/schedule/core.h"

#include <string.h>

#include "common/alloc.h"

/* For each subtask of a lost worker: its name, a record, an order to the other worker. */
uint32_t action_step_most(uint32_t issues)
{
    return 3 * issues + 512;
}

int action_reserve(struct schedule *s, uint32_t more)
{
    uint64_t need = (uint64_t)s->ring_count + more, step = action_step_most(s->config.batch_max);
    need = need > step ? need : step;
    if (need <= s->ring_cap)
        return 0;
    uint64_t cap = s->ring_cap == 0 ? 1024 : s->ring_cap;
    while (cap < need)
        cap *= 2;
    if (cap > UINT32_MAX / 2)
        return -1;
    struct schedule_action *grown = mf_malloc(cap * sizeof *grown);
    if (grown == NULL)
        return -1;
    uint32_t first = s->ring_cap - s->ring_head;
    first = first < s->ring_count ? first : s->ring_count;
    if (s->ring_count > 0) {
        memcpy(grown, s->ring + s->ring_head, first * sizeof *grown);
        memcpy(grown + first, s->ring, (s->ring_count - first) * sizeof *grown);
    }
    s->bytes += (cap - s->ring_cap) * sizeof *grown;
    mf_free(s->ring);
    s->ring = grown;
    s->ring_cap = (uint32_t)cap;
    s->ring_head = 0;
    return 0;
}

struct schedule_action *action_push(struct schedule *s, enum schedule_action_kind kind)
{
    if (s->ring_count == s->ring_cap) { /* no step may do that; the next event is refused */
        schedule_broken(s, "the queue of actions", "full", "one more");
        s->ring_count--;
    }
    struct schedule_action *action = &s->ring[(s->ring_head + s->ring_count++) & (s->ring_cap - 1)];
    *action = (struct schedule_action){.kind = kind, .epoch = s->config.epoch};
    return action;
}

struct schedule_action *action_push_issue(struct schedule *s,
                                          enum schedule_action_kind kind,
                                          uint64_t subtask,
                                          uint32_t attempt,
                                          uint32_t worker)
{
    struct schedule_action *action = action_push(s, kind);
    action->subtask = subtask;
    action->attempt = attempt;
    action->worker = worker;
    return action;
}

static bool lose(struct schedule *s)
{
    if (s->list[LIST_LOSING].head == 0)
        return false;
    struct worker *w = core_worker_at(s, s->list[LIST_LOSING].head);
    if (w->announce) {
        s->counts.workers_lost++;
        action_push(s, SCHEDULE_LOST)->worker = w->id;
    }
    unsigned k;
    for (uint32_t reference;
         (reference = w->running_head != 0 ? w->running_head : w->offered_head) != 0;) {
        uint32_t index = issue_of(reference, &k);
        attempt_lost(s, index, k);
    }
    s->relaunched += w->replace && elastic_on(s);
    if (w->replace && !elastic_on(s))
        core_list_put(s, LIST_WANTED, w);
    else
        core_list_take(s, LINK_QUEUE, w);
    return true;
}

static bool sweep(struct schedule *s)
{
    if (s->list[LIST_SWEEP].head == 0)
        return false;
    struct worker *w = core_worker_at(s, s->list[LIST_SWEEP].head);
    core_list_take(s, LINK_QUEUE, w);
    for (unsigned running = 0; running < 2; running++) {
        if (running && s->intent < INTENT_FAIL)
            break;
        uint32_t reference = running ? w->running_head : w->offered_head;
        while (reference != 0) {
            unsigned k;
            uint32_t index = issue_of(reference, &k);
            issue_tell(s, index, k);
            reference = core_subtask_at(s, index)->issue[k].next;
        }
    }
    core_worker_weigh(s, w);
    return true;
}

static bool flush(struct schedule *s)
{
    if (s->list[LIST_FLUSH].head == 0)
        return false;
    struct worker *w = core_worker_at(s, s->list[LIST_FLUSH].head);
    core_list_take(s, LINK_FLUSH, w);
    action_push(s, SCHEDULE_FLUSH)->worker = w->id;
    return true;
}

static bool act(struct schedule *s)
{
    return lose(s) || sweep(s) || resume_release(s) || core_run_relaunch(s) || core_run_plan(s) ||
           batch_offer(s) || batch_take_back(s) || straggler_offer(s) || elastic_launch(s) ||
           flush(s) || elastic_let_go(s) || core_run_act(s);
}

bool schedule_next(struct schedule *s, struct schedule_action *action)
{
    while (s->ring_count == 0) {
        if (!act(s))
            return false;
    }
    *action = s->ring[s->ring_head];
    s->ring_head = (s->ring_head + 1) & (s->ring_cap - 1);
    s->ring_count--;
    return true;
}
