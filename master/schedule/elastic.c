/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elasticity: how many workers there should be, between workers_min and workers_max.
 *
 * Work that waits is counted in slots: what is pending, held or with a worker, and the stragglers
 * that no worker can take over. Against it stand the slots of the workers that are there or on
 * their way (alive_slots). Where work exceeds slots, workers are launched: so many as the excess
 * fills, and of those at once only as many as have GROW_US to do by the average of an attempt; the
 * others when the excess has stood for as long. So few subtasks bring few workers, many bring all
 * of them in one step, and what is over before a worker could join brings none.
 *
 * A worker that has held nothing for idle_us is let go when the work fits the slots of the others;
 * a subtask whose backoff is over within idle_us counts as work, and its results have to be
 * durable. It is dismissed in the ordinary way, and counts against workers_max until it is gone:
 * its host carries no other one before. When the results are gathered there is no work left, and
 * workers_min does not count any more.
 *
 * A lost worker is not replaced by itself, it leaves a gap that is closed like any other; losses
 * and failed launches are counted where they happen (`relaunched`, see core_run_relaunches_left).
 * When a launch fails and no host is left for another one, `most` falls to what there is.
 */
#include "master/schedule/core.h"

#define GROW_US 1000000
#define LOOK_MOST 16u /* idle workers: one has more slots than another */

bool elastic_on(const struct schedule *s)
{
    return s->config.workers_max > 0;
}

static uint32_t alive(const struct schedule *s)
{
    return s->worker_in[WORKER_LAUNCHING] + s->worker_in[WORKER_JOINING] +
           s->worker_in[WORKER_READY];
}

/* In slots. */
static uint64_t demand(const struct schedule *s)
{
    uint64_t pending = s->counts.paused ? 0 : s->counts.pending;
    return pending + s->counts.held + s->issues + s->elastic.lacking;
}

/* Those that wait for the end of their backoff, when the first of them becomes ready before an idle
 * worker would go. */
static uint64_t ready_soon(const struct schedule *s)
{
    if (s->waiting_count == 0 || s->counts.paused ||
        s->waiting[0].due_us > s->now_us + (int64_t)s->config.idle_us)
        return 0;
    return s->waiting_count;
}

/* Of a worker that has not joined yet. */
static uint32_t slots_each(const struct schedule *s)
{
    uint64_t each =
        s->workers_connected > 0 ? s->ready_slots / s->workers_connected : s->config.worker_slots;
    return each > 0 ? (uint32_t)each : 1;
}

static uint64_t workers_for(const struct schedule *s, uint64_t slots)
{
    uint64_t each = slots_each(s);
    return slots / each + (slots % each != 0);
}

/* So many workers have GROW_US to do with all that there is. */
static uint64_t worthy(const struct schedule *s)
{
    double us = (double)demand(s) * (double)(s->duration_us16 / 16 + 1);
    double count = us / ((double)GROW_US * slots_each(s));
    return count < (double)UINT32_MAX ? (uint64_t)count + 1 : UINT32_MAX;
}

static uint64_t excess(const struct schedule *s)
{
    uint64_t work = demand(s);
    return work > s->elastic.alive_slots ? work - s->elastic.alive_slots : 0;
}

static uint32_t room(const struct schedule *s)
{
    uint32_t taken = alive(s) + s->worker_in[WORKER_DRAINING];
    return s->elastic.most > taken ? s->elastic.most - taken : 0;
}

static uint32_t ids_left(const struct schedule *s)
{
    return SCHEDULE_WORKER_MAX - 1 - s->worker_last;
}

bool elastic_may_launch(const struct schedule *s)
{
    return elastic_on(s) && s->elastic.most > 0 && ids_left(s) > 0 &&
           s->relaunched <= core_run_relaunches_most(s);
}

bool elastic_may_grow(const struct schedule *s)
{
    return elastic_may_launch(s) && room(s) > 0;
}

/* No worker is on its way that could help a straggler. */
static bool lacks_helper(const struct schedule *s)
{
    return s->elastic.lacking > 0 &&
           s->worker_in[WORKER_LAUNCHING] + s->worker_in[WORKER_JOINING] == 0;
}

static bool is_unpaced(const struct schedule *s)
{
    return s->duration_us16 == 0 ||
           (s->elastic.short_us != INT64_MAX && s->now_us - s->elastic.short_us >= GROW_US);
}

/* Workers to launch now, but for the pace after failed launches. */
static uint32_t missing(const struct schedule *s)
{
    if (!core_run_working(s) || s->worker_added == 0 || !elastic_may_grow(s))
        return 0;
    uint32_t there = alive(s), free = room(s), least = s->config.workers_min;
    uint64_t more = workers_for(s, excess(s)), worth = worthy(s);
    if (!is_unpaced(s) && more > 0)
        more = worth <= there ? 0 : worth - there < more ? worth - there : more;
    if (more == 0 && lacks_helper(s))
        more = 1;
    if (there < least && least - there > more)
        more = least - there;
    free = free < ids_left(s) ? free : ids_left(s);
    return more < free ? (uint32_t)more : free;
}

static void note_excess(struct schedule *s)
{
    if (excess(s) == 0)
        s->elastic.short_us = INT64_MAX;
    else if (s->elastic.short_us == INT64_MAX)
        s->elastic.short_us = s->now_us;
}

bool elastic_launch(struct schedule *s)
{
    if (!elastic_on(s))
        return false;
    note_excess(s);
    if (BREAKS(GREED))
        s->elastic.most = s->config.workers_max + 1;
    if (missing(s) == 0 || (s->launch_failures > 0 && s->now_us < s->relaunch_us) ||
        (BREAKS(STARVE) && s->elastic.let_go > 0))
        return false;
    core_worker_add(s, s->worker_last + 1, slots_each(s), 0);
    return true;
}

static bool may_go(const struct schedule *s, const struct worker *w)
{
    uint32_t least = s->state == RUN_GATHERING ? 0 : s->config.workers_min;
    return alive(s) > least && demand(s) + ready_soon(s) + w->slots <= s->elastic.alive_slots &&
           s->elastic.lacking == 0 && w->record_mark <= s->counts.recorded &&
           ids_left(s) > s->config.workers_max;
}

static struct worker *first_to_go(const struct schedule *s)
{
    if (!elastic_on(s) || s->intent != INTENT_NONE || s->state > RUN_GATHERING || BREAKS(RETAIN))
        return NULL;
    if (BREAKS(HASTE) && s->list[LIST_LEASE].head != 0)
        return core_worker_at(s, s->list[LIST_LEASE].head);
    uint32_t id = s->list[LIST_REST].head;
    for (unsigned n = 0; id != 0 && n < LOOK_MOST; n++) {
        struct worker *w = core_worker_at(s, id);
        if (may_go(s, w))
            return w;
        id = w->place[LINK_REST].next;
    }
    return NULL;
}

bool elastic_let_go(struct schedule *s)
{
    struct worker *w = first_to_go(s);
    if (w == NULL || w->rest_us + (int64_t)s->config.idle_us > s->now_us)
        return false;
    s->elastic.let_go++;
    core_worker_dismiss(s, w, true);
    return true;
}

int64_t elastic_deadline(const struct schedule *s)
{
    if (!elastic_on(s))
        return INT64_MAX;
    const struct worker *w = first_to_go(s);
    int64_t first = w == NULL ? INT64_MAX : w->rest_us + (int64_t)s->config.idle_us;
    if (missing(s) > 0 && s->launch_failures > 0)
        first = s->relaunch_us < first ? s->relaunch_us : first;
    if (core_run_working(s) && elastic_may_grow(s) && excess(s) > 0 && !is_unpaced(s) &&
        s->elastic.short_us != INT64_MAX && s->elastic.short_us + GROW_US < first)
        first = s->elastic.short_us + GROW_US;
    return first;
}

void elastic_no_host(struct schedule *s)
{
    uint32_t there = alive(s) + s->worker_in[WORKER_DRAINING];
    if (elastic_on(s) && there < s->elastic.most)
        s->elastic.most = there;
}

uint32_t elastic_wanted(const struct schedule *s)
{
    if (!elastic_on(s) || !core_run_working(s))
        return 0;
    uint64_t count = workers_for(s, demand(s) + ready_soon(s));
    if (count < s->config.workers_min)
        count = s->config.workers_min;
    return count < s->elastic.most ? (uint32_t)count : s->elastic.most;
}
