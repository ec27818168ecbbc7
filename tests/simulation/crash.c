/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The death of a master, at any event or in the middle of its actions, and the next one.
 *
 * By kill -9 all that was in memory is gone; a power cut is as bad for the master's own workers,
 * and worse for what was being committed. The next master knows what stands in the table: final
 * records, how often a subtask failed, the high-water mark, and which workers were launched and not
 * buried.
 */
#include "tests/simulation/sim.h"

static int64_t next_crash(struct sim *sim)
{
    int64_t expected =
        (int64_t)(sim->options->subtasks / sim->options->workers + 1) * sim->duration_us;
    unsigned luck = (unsigned)chance(sim, 4);
    int64_t longest = luck == 0 ? 100 * MS : luck == 1 ? 5 * SECOND : 2 * expected + SECOND;
    return between(sim, 0, longest);
}

static void plan_next(struct sim *sim)
{
    if (fault(sim, FAULT_MASTER) && percent(sim, sim->crashes == 0 ? 60 : 50))
        later(
            sim, next_crash(sim), (struct world_event){.kind = WORLD_CRASH, .a = percent(sim, 30)});
}

void crash_plan(struct sim *sim)
{
    sim->epoch = sim->config.epoch;
    plan_next(sim);
}

void crash_happen(struct sim *sim)
{
    bool survives = percent(sim, sim->cut ? 25 : 50);
    if (sim->options->verbose)
        say(sim,
            "** the master dies%s; what it was committing is %s",
            sim->cut ? " by a power cut" : "",
            survives ? "durable" : "lost");
    sim->crash_in = 0;
    sim->crashes++;
    sim->down = true;
    table_forget(sim, survives);
    ledger_crashed(sim);
    shell_forget(sim);
    schedule_destroy(sim->schedule);
    sim->schedule = NULL;
    world_master_died(sim);
    int64_t away = percent(sim, 80)   ? between(sim, 20 * MS, 3 * SECOND)
                   : percent(sim, 80) ? between(sim, SECOND, 60 * SECOND)
                                      : between(sim, 60 * SECOND, 1200 * SECOND);
    later(sim, away, (struct world_event){.kind = WORLD_RESUME});
}

static void make_config(struct sim *sim)
{
    struct schedule_config *config = &sim->config;
    config->epoch += percent(sim, 95) ? 1 : (uint32_t)between(sim, 2, 400);
    config->worker_last = sim->worker_last;
    config->base_failures = config->base_total = 0;
    sim->base_done = 0;
    for (uint64_t id = 1; id <= sim->options->subtasks; id++) {
        uint8_t final = sim->accounts[id].table_final;
        sim->base_done += final == RECORD_DONE + 1;
        config->base_failures += final > RECORD_DONE + 1;
    }
    sim->base_failures = config->base_failures;
    sim->epoch = config->epoch;
}

static uint32_t name_known(struct sim *sim)
{
    uint32_t known = 0;
    for (uint32_t id = 1; id <= sim->worker_last; id++) {
        struct peer *peer = peer_of(sim, id);
        if (!peer->launched || peer->buried)
            continue;
        peer->known = peer->expected = true;
        sim->known_waiting++;
        known++;
        shell_apply(sim,
                    (struct schedule_event){
                        .kind = EVENT_WORKER_KNOWN, .worker = id, .slots = peer->slots});
    }
    return known;
}

static void add_workers(struct sim *sim, uint32_t known)
{
    uint32_t count = sim->options->elastic ? sim->config.workers_min : sim->options->workers;
    uint32_t more = known < count ? count - known : 0;
    if (known > 0 && percent(sim, 30))
        more = (uint32_t)chance(sim, 2);
    for (uint32_t id = sim->worker_last + 1; more > 0; more--, id++) {
        peer_of(sim, id)->slots = 1 + (uint32_t)chance(sim, 4);
        shell_apply(sim,
                    (struct schedule_event){
                        .kind = EVENT_WORKER_ADD, .worker = id, .slots = peer_of(sim, id)->slots});
    }
}

void crash_resume(struct sim *sim)
{
    struct mf_error error = {0};
    sim->down = false;
    sim->started_us = sim->now_us;
    sim->held_mark = sim->mark;
    make_config(sim);
    sim->schedule = need(schedule_create(&sim->config, &error));
    sim->first_bytes = schedule_memory(sim->schedule);
    if (sim->options->verbose)
        say(sim, "** a new master, epoch %u", sim->epoch);
    plan_next(sim);
    add_workers(sim, name_known(sim));
    shell_settle(sim);
}
