/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stragglers: near the end, when nothing is pending and a worker has a slot to spare, a subtask
 * that runs for far longer than the others took is issued a second time, on another worker. The
 * first final record wins, as always with two attempts, and the other attempt is ended.
 *
 * Far longer: `straggler_factor` times the median of the attempts that were done, and longer than
 * `straggler_min_us`. The median comes from a histogram with four buckets to a power of two, and is
 * at most a fifth too large. One that fails again and again is not helped by a second attempt:
 * after more failures than re-tries it gets none, and each failure starts its patience anew.
 *
 * Looking means to look at the longest running subtasks of each worker. It is done at most once in
 * LOOK_US, and only near the end; there at least once in LOOK_AGAIN_US, since the median moves and
 * workers come.
 */
#include "master/schedule/core.h"

#define LOOK_US 10000
#define LOOK_AGAIN_US 1000000
#define STEP_MOST 256u /* offers of one step, for which the queue of actions has room */
#define SAMPLES_LEAST 3u
#define QUARTERS 4u

static unsigned bucket_of(uint64_t us)
{
    us = us < QUARTERS ? QUARTERS : us;
    unsigned power = 63u - (unsigned)__builtin_clzll(us);
    unsigned bucket = (power - 2) * QUARTERS + (unsigned)(us >> (power - 2)) % QUARTERS;
    return bucket < STRAGGLER_BUCKETS ? bucket : STRAGGLER_BUCKETS - 1;
}

/* The end of a bucket. */
static uint64_t bucket_us(unsigned bucket)
{
    return (uint64_t)(QUARTERS + bucket % QUARTERS + 1) << (bucket / QUARTERS);
}

void straggler_sample(struct schedule *s, uint64_t duration_us)
{
    s->straggler.took[bucket_of(duration_us)]++;
    s->straggler.samples++;
}

static uint64_t median_us(const struct schedule *s)
{
    uint64_t seen = 0;
    unsigned bucket = 0;
    while (bucket < STRAGGLER_BUCKETS - 1 &&
           (seen += s->straggler.took[bucket]) * 2 < s->straggler.samples)
        bucket++;
    return bucket_us(bucket);
}

/* One that has run for so long is a straggler. */
static int64_t limit_us(const struct schedule *s)
{
    double limit = s->config.straggler_factor * (double)median_us(s);
    double most = (double)(INT64_MAX / 4), least = (double)s->config.straggler_min_us;
    limit = limit > least ? limit : least;
    return (int64_t)(limit < most ? limit : most);
}

/* By a worker that is there, or by one that could be. */
static bool may_be_helped(const struct schedule *s)
{
    return s->list[LIST_IDLE].count > 0 || elastic_may_grow(s);
}

static bool near_the_end(const struct schedule *s)
{
    return s->config.straggler_factor > 0 && s->straggler.samples >= SAMPLES_LEAST &&
           s->counts.plan_ended && s->counts.pending + s->counts.held == 0 &&
           s->counts.running > 0 && may_be_helped(s) && core_run_working(s) && !s->counts.paused;
}

int64_t straggler_deadline(const struct schedule *s)
{
    return near_the_end(s) ? s->straggler.look_us : INT64_MAX;
}

static bool may_help(const struct schedule *s, const struct subtask *sub)
{
    return sub->state == SUBTASK_RUNNING && sub->failures <= s->config.retries_max &&
           sub->attempt < SCHEDULE_ATTEMPT_MAX &&
           (sub->issue[0].worker == 0 || sub->issue[1].worker == 0);
}

/* A worker with a slot to spare that has polled, and not this one. */
static struct worker *helper_of(const struct schedule *s, const struct worker *w)
{
    for (uint32_t id = s->list[LIST_IDLE].head; id != 0;) {
        struct worker *helper = core_worker_at(s, id);
        if (id != w->id && helper->target > 0 && helper->held < s->config.batch_max)
            return helper;
        id = helper->place[LINK_IDLE].next;
    }
    return NULL;
}

static void help(struct schedule *s, struct worker *helper, uint32_t index)
{
    struct subtask *sub = core_subtask_at(s, index);
    issue_add(s, helper, index, sub->attempt + 1u, 0);
    struct schedule_action *action =
        action_push_issue(s, SCHEDULE_OFFER, sub->id, sub->attempt, helper->id);
    action->second = action->straggler = true;
    s->counts.stragglers++;
    core_worker_weigh(s, helper);
    core_list_put(s, LIST_FLUSH, helper);
}

/* Those of one worker, the longest running first. The time when the next one is due. */
static int64_t look_at(struct schedule *s, const struct worker *w, int64_t limit, unsigned *room)
{
    for (uint32_t reference = w->running_tail; reference != 0;) {
        unsigned k;
        uint32_t index = issue_of(reference, &k);
        struct subtask *sub = core_subtask_at(s, index);
        reference = sub->issue[k].prev;
        if (!may_help(s, sub))
            continue;
        if (sub->started_us + limit > s->now_us)
            return sub->started_us + limit;
        struct worker *helper = *room > 0 ? helper_of(s, w) : NULL;
        if (helper == NULL && !elastic_on(s))
            return INT64_MAX;
        if (helper != NULL)
            help(s, helper, index);
        else
            s->elastic.lacking++;
        --*room;
    }
    return INT64_MAX;
}

bool straggler_offer(struct schedule *s)
{
    if (!near_the_end(s))
        s->elastic.lacking = 0;
    if (!near_the_end(s) || s->straggler.look_us > s->now_us)
        return false;
    s->elastic.lacking = 0;
    int64_t limit = limit_us(s);
    int64_t next = s->now_us + (limit / 4 < LOOK_AGAIN_US ? limit / 4 : LOOK_AGAIN_US);
    unsigned room = STEP_MOST;
    for (uint32_t id = 1; id <= s->worker_last && room > 0 && may_be_helped(s); id++) {
        struct worker *w = core_worker_find(s, id);
        if (w == NULL || w->state != WORKER_READY)
            continue;
        int64_t due = look_at(s, w, limit, &room);
        next = due < next ? due : next;
    }
    room += s->elastic.lacking; /* nobody was told of them */
    if (room > 0)               /* else it goes on in the next step */
        s->straggler.look_us = next > s->now_us + LOOK_US ? next : s->now_us + LOOK_US;
    return room < STEP_MOST;
}
