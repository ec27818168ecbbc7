/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger's page about elasticity (--elastic): how many workers there are, and who is let go.
 *
 *   - nobody is launched when `workers_max` launch, join, are ready or are being dismissed
 *   - fewer than `workers_min`, or fewer than the work that waits would fill, only for a short time
 *     while another one may be launched
 *   - who is let go is there, has nothing to do, and its results are committed; no subtask is lost
 *     with it
 *   - who is idle while the others have room for all work does go
 *   - without faults nobody is launched a second time
 *
 * A worker on its way counts with one slot or with four, whichever is in favour of the scheduler.
 */
#include "master/schedule/explain.h"
#include "tests/simulation/sim.h"

#define SLOTS_MOST 4u
/* 1 s of patience, 6.4 s between failed launches, and what ticks are late. */
#define GROW_SLACK_US (10 * SECOND)
#define IDLE_SLACK_US (3 * SECOND)

void elastic_configure(struct sim *sim)
{
    static const int64_t idle[] = {SECOND, 2 * SECOND, 30 * SECOND};
    struct schedule_config *config = &sim->config;
    if (!sim->options->elastic)
        return;
    config->workers_max = sim->options->workers;
    config->workers_min = 1 + (uint32_t)chance(sim, config->workers_max);
    config->worker_slots = (uint32_t)chance(sim, SLOTS_MOST + 1);
    config->idle_us = (uint64_t)idle[chance(sim, 3)];
}

void elastic_begin(struct sim *sim)
{
    struct elastic_book *book = &sim->elastic;
    *book = (struct elastic_book){.hosts = sim->config.workers_max,
                                  .launches = book->launches,
                                  .let_go = book->let_go,
                                  .lacks_since = INT64_MAX,
                                  .few_since = INT64_MAX};
    for (uint32_t id = 0; id < sim->peer_cap; id++) {
        sim->peers[id].presence = PRESENCE_NONE;
        sim->peers[id].rest_since = INT64_MAX;
        sim->peers[id].early = false;
    }
}

static void become(struct sim *sim, struct peer *peer, enum presence presence)
{
    sim->elastic.alive += (presence == PRESENCE_ALIVE) - (peer->presence == PRESENCE_ALIVE);
    sim->elastic.leaving += (presence == PRESENCE_LEAVING) - (peer->presence == PRESENCE_LEAVING);
    if (presence == PRESENCE_OVER && peer->presence == PRESENCE_ALIVE)
        sim->elastic.losses++;
    peer->presence = presence;
    peer->rest_since = INT64_MAX;
}

void elastic_event(struct sim *sim, const struct schedule_event *event)
{
    struct elastic_book *book = &sim->elastic;
    struct peer *peer = peer_of(sim, event->worker);
    if (!sim->options->elastic)
        return;
    switch (event->kind) {
    case EVENT_WORKER_ADD:
        peer->added = true;
        break;
    case EVENT_WORKER_KNOWN:
        become(sim, peer, PRESENCE_ALIVE);
        break;
    case EVENT_WORKER_LAUNCH_FAILED:
        if (peer->presence == PRESENCE_NONE || (peer->presence == PRESENCE_ALIVE && peer->joined))
            break;
        bool was_there = peer->presence == PRESENCE_ALIVE;
        become(sim, peer, PRESENCE_OVER);
        if (was_there && !event->ok)
            book->hosts = book->alive + book->leaving < book->hosts ? book->alive + book->leaving
                                                                    : book->hosts;
        break;
    case EVENT_WORKER_DIED:
        if (peer->presence == PRESENCE_ALIVE)
            become(sim, peer, PRESENCE_OVER);
        break;
    case EVENT_WORKER_GONE:
        if (peer->presence != PRESENCE_NONE)
            become(sim, peer, PRESENCE_OVER);
        break;
    case EVENT_WORKER_POLL:
        peer->polled = true;
        break;
    default:
        break;
    }
}

static void let_go(struct sim *sim, const struct schedule_action *action)
{
    struct schedule_counts counts;
    struct peer *peer = peer_of(sim, action->worker);
    schedule_counts(sim->schedule, &counts);
    sim->elastic.let_go++;
    peer->early = true;
    if (peer->presence != PRESENCE_ALIVE || !peer->joined || peer->away)
        violation(sim, "worker %u is let go, and is not there", action->worker);
    if (sim->live_of[action->worker] > 0)
        violation(sim,
                  "worker %u is let go, and has %u subtasks",
                  action->worker,
                  sim->live_of[action->worker]);
    if (sim->elastic.alive <= sim->config.workers_min && counts.state <= RUN_RUNNING)
        violation(sim,
                  "worker %u is let go, and only %u are left",
                  action->worker,
                  sim->elastic.alive - 1);
    for (unsigned k = 0; k < 2; k++) {
        const struct lane *lane = &peer->lane[k];
        for (uint32_t i = 0; lane->awaiting && i < lane->request->results.count; i++)
            if (!table_has(sim, &lane->request->results.at[i]))
                violation(
                    sim, "worker %u is let go before its results are committed", action->worker);
    }
}

/* There may be more when an earlier master's lost workers may live. */
static void check_launch(struct sim *sim)
{
    const struct elastic_book *book = &sim->elastic;
    if (book->alive + book->leaving > sim->config.workers_max)
        violation(sim,
                  "%u workers are there and %u are leaving, of at most %u",
                  book->alive,
                  book->leaving,
                  sim->config.workers_max);
}

void elastic_action(struct sim *sim, const struct schedule_action *action)
{
    struct peer *peer = peer_of(sim, action->worker);
    if (!sim->options->elastic)
        return;
    switch (action->kind) {
    case SCHEDULE_LAUNCH:
        sim->elastic.launches++;
        peer->polled = false;
        become(sim, peer, PRESENCE_ALIVE);
        if (!peer->added)
            check_launch(sim);
        break;
    case SCHEDULE_RECORD:
        if (action->record != RECORD_RETRIED)
            sim->elastic.losses = 0;
        if (action->cause == MF_CAUSE_POISON && peer->early)
            violation(sim, "a subtask is blamed for worker %u, which was let go", action->worker);
        break;
    case SCHEDULE_LOST:
        become(sim, peer, PRESENCE_OVER);
        break;
    case SCHEDULE_LOST_SUBTASK:
        if (peer->early)
            violation(sim,
                      "subtask %llu is lost with worker %u, which was let go",
                      (unsigned long long)action->subtask,
                      action->worker);
        break;
    case SCHEDULE_DISMISS:
        if (action->early)
            let_go(sim, action);
        if (peer->presence == PRESENCE_ALIVE)
            become(sim, peer, PRESENCE_LEAVING);
        break;
    default:
        break;
    }
}

/* For how long it has been so, which is over when it is not. */
static int64_t lasts(const struct sim *sim, bool is_so, int64_t *since)
{
    if (!is_so)
        *since = INT64_MAX;
    else if (*since == INT64_MAX)
        *since = sim->now_us;
    return is_so ? sim->now_us - *since : 0;
}

static bool may_launch(const struct sim *sim)
{
    const struct elastic_book *book = &sim->elastic;
    return sim->config.relaunch_max == SCHEDULE_RELAUNCH_AUTO &&
           book->losses < 3 * sim->config.workers_max && book->alive + book->leaving < book->hosts;
}

/* Slots of those that have joined, and at most of those that have not. */
static void sum_slots(const struct sim *sim, uint64_t *joined, uint64_t *to_come)
{
    *joined = *to_come = 0;
    for (uint32_t id = 1; id <= sim->worker_last && id < sim->peer_cap; id++) {
        const struct peer *peer = &sim->peers[id];
        if (peer->presence == PRESENCE_ALIVE && peer->joined)
            *joined += peer->slots;
        else if (peer->presence == PRESENCE_ALIVE)
            *to_come += SLOTS_MOST;
    }
}

static void check_idle(struct sim *sim, const struct schedule_counts *counts, uint64_t slots)
{
    bool settled = counts->recorded == sim->recorded;
    uint64_t work = counts->pending + counts->held + counts->waiting + sim->live;
    for (uint32_t id = 1; id <= sim->worker_last && id < sim->peer_cap; id++) {
        struct peer *peer = &sim->peers[id];
        bool idle = settled && peer->presence == PRESENCE_ALIVE && peer->joined && peer->polled &&
                    !peer->away && sim->live_of[id] == 0 && work + peer->slots <= slots &&
                    sim->elastic.alive > sim->config.workers_min;
        if (lasts(sim, idle, &peer->rest_since) > (int64_t)sim->config.idle_us + IDLE_SLACK_US)
            violation(sim, "worker %u is idle, and is not let go", id);
    }
}

void elastic_step(struct sim *sim)
{
    struct elastic_book *book = &sim->elastic;
    struct schedule_explanation now;
    struct schedule_counts counts;
    uint64_t joined, to_come;
    if (!sim->options->elastic)
        return;
    schedule_explain(sim->schedule, &now);
    schedule_counts(sim->schedule, &counts);
    bool works = now.state <= RUN_RUNNING && now.winding_down == NULL && !now.paused;
    sum_slots(sim, &joined, &to_come);
    bool few = works && may_launch(sim) && book->alive < sim->config.workers_min;
    bool lacks = works && may_launch(sim) && counts.pending > 0 &&
                 counts.pending + sim->live > joined + to_come;
    if (lasts(sim, few, &book->few_since) > GROW_SLACK_US)
        violation(sim, "only %u workers are there or on their way", book->alive);
    if (lasts(sim, lacks, &book->lacks_since) > GROW_SLACK_US)
        violation(sim, "work waits, and no worker is launched beside the %u", book->alive);
    if (works)
        check_idle(sim, &counts, joined);
}

void elastic_end(struct sim *sim)
{
    if (sim->options->elastic && sim->options->faults == 0 &&
        sim->elastic.launches > sim->config.workers_max)
        violation(sim,
                  "%llu workers were launched without a fault, at most %u at a time",
                  (unsigned long long)sim->elastic.launches,
                  sim->config.workers_max);
}
