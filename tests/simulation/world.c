/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake workers and the wire between them and the master.
 *
 * A worker has two lanes, each a strict alternation of request and reply, as on the real wire; one
 * request is always under way. A connection has a generation: letters of an older one are lost (or,
 * with reorder, come in all the same), and after a reconnect the requests that are not answered go
 * again with their old sequence number.
 *
 * A hello says what the worker holds: what is queued, what runs, what has ended and is not
 * acknowledged. When the master turns out to be a new one (its welcome has another epoch), lanes
 * begin anew, and what was said in requests that were not answered is said again. The executor goes
 * on all the while.
 */
#include <stdlib.h>

#include "tests/simulation/sim.h"

#define ORPHAN_US (600 * SECOND)

static int64_t latency(struct sim *sim)
{
    int64_t us = between(sim, 100, 900);
    if (fault(sim, FAULT_DELAY) && percent(sim, 3))
        us += between(sim, 10 * MS, 12 * SECOND);
    if (fault(sim, FAULT_REORDER) && percent(sim, 10))
        us += between(sim, MS, 300 * MS);
    return us;
}

static void post(struct sim *sim, enum world_kind kind, uint32_t worker, struct letter *letter)
{
    struct world_event event = {.kind = kind,
                                .worker = worker,
                                .a = peer_of(sim, worker)->generation,
                                .b = sim->epoch,
                                .letter = letter};
    unsigned copies = fault(sim, FAULT_DOUBLE) && percent(sim, 10) ? 2 : 1;
    for (unsigned i = 0; i < copies; i++) {
        int64_t late = i > 0 && fault(sim, FAULT_REORDER) ? between(sim, 0, 40 * SECOND) : 0;
        if (letter != NULL)
            letter->references++;
        later(sim, latency(sim) + late, event);
    }
}

/* Of the connection that is up; an old letter gets through now and then, to be refused there. */
bool world_arrives(struct sim *sim, const struct world_event *event)
{
    return event->a == peer_of(sim, event->worker)->generation ||
           (fault(sim, FAULT_REORDER) && event->kind == WORLD_REQUEST && percent(sim, 50));
}

static void request(struct sim *sim, uint32_t worker, unsigned lane)
{
    struct peer *peer = peer_of(sim, worker);
    struct letter *letter = letter_create(lane, ++peer->lane[lane].sequence, peer->epoch);
    tasks_move(&peer->results, &letter->results);
    tasks_move(&peer->returned, &letter->returned);
    for (uint32_t i = 0; i < peer->running.count; i++) {
        struct task *task = &peer->running.at[i];
        if (!task->told || fault(sim, FAULT_DOUBLE))
            tasks_add(&letter->running, *task);
        task->told = true;
    }
    peer->lane[lane].awaiting = true;
    letter_release(peer->lane[lane].request);
    peer->lane[lane].request = letter;
    if (peer->connected)
        post(sim, WORLD_REQUEST, worker, letter);
}

/* Says what there is to say; one request is always under way. */
static void speak(struct sim *sim, uint32_t worker)
{
    struct peer *peer = peer_of(sim, worker);
    if (!peer->welcome || peer->process != PROCESS_ALIVE)
        return;
    bool untold = peer->results.count > 0 || peer->returned.count > 0;
    for (uint32_t i = 0; i < peer->running.count && !untold; i++)
        untold = !peer->running.at[i].told && peer->running.at[i].duration_us > 100 * MS;
    bool under_way = peer->lane[0].awaiting || peer->lane[1].awaiting;
    for (unsigned lane = 0; lane < 2; lane++) {
        if (!peer->lane[lane].awaiting && (untold || !under_way)) {
            request(sim, worker, lane);
            return;
        }
    }
}

/* The connection or the process ends; the master may notice. */
static void cut(struct sim *sim, uint32_t worker, bool process)
{
    struct peer *peer = peer_of(sim, worker);
    peer->connected = false;
    peer->generation++;
    if (process)
        peer->process = PROCESS_DEAD;
    unsigned how = (unsigned)chance(sim, 100);
    enum schedule_event_kind kind =
        process && how < 50 ? EVENT_WORKER_DIED : EVENT_WORKER_DISCONNECTED;
    if (how < 80)
        later(sim,
              between(sim, MS, 50 * MS),
              (struct world_event){
                  .kind = WORLD_NOTICE, .worker = worker, .a = kind, .b = peer->generation});
}

/* Decides at the start how an attempt will end. */
static void decide(struct sim *sim, struct peer *peer, uint32_t worker, struct task *task)
{
    int64_t us = sim->duration_us / 2 + (int64_t)chance(sim, (uint64_t)sim->duration_us + 1);
    task->duration_us = (int64_t)((double)us * peer->slowness);
    if (fault(sim, FAULT_STRAGGLE) && percent(sim, 2))
        task->duration_us *= 60;
    task->cause = MF_CAUSE_NONE;
    if (percent(sim, sim->fail_percent)) {
        static const uint32_t causes[] = {MF_CAUSE_EXIT,
                                          MF_CAUSE_EXIT,
                                          MF_CAUSE_SIGNAL,
                                          MF_CAUSE_TIMEOUT,
                                          MF_CAUSE_WORKER_ERROR,
                                          MF_CAUSE_INPUT_CHANGED,
                                          MF_CAUSE_CANCELLED};
        task->cause = causes[chance(sim, sizeof causes / sizeof *causes)];
        task->exit_code = percent(sim, 20) ? 64 : 1;
    }
    if (fault(sim, FAULT_CRASH) && task->subtask % 401 == sim->options->seed % 401)
        later(
            sim, task->duration_us / 2, (struct world_event){.kind = WORLD_CUT, .worker = worker});
}

static void start_tasks(struct sim *sim, uint32_t worker)
{
    struct peer *peer = peer_of(sim, worker);
    while (peer->running.count < peer->slots && peer->queue.count > 0) {
        struct task task = peer->queue.at[0];
        tasks_remove(&peer->queue, 0);
        ledger_started(sim, &task);
        decide(sim, peer, worker, &task);
        tasks_add(&peer->running, task);
        later(sim,
              task.duration_us,
              (struct world_event){.kind = WORLD_TASK_END,
                                   .worker = worker,
                                   .a = task.subtask,
                                   .b = (uint64_t)task.epoch << 32 | task.attempt});
    }
}

static void task_end(struct sim *sim, const struct world_event *event)
{
    struct peer *peer = peer_of(sim, event->worker);
    struct task task = {
        .subtask = event->a, .attempt = (uint32_t)event->b, .epoch = (uint32_t)(event->b >> 32)};
    uint32_t i;
    if (!tasks_find(&peer->running, &task, &i))
        return;
    tasks_add(&peer->results, peer->running.at[i]);
    tasks_remove(&peer->running, i);
    start_tasks(sim, event->worker);
    speak(sim, event->worker);
}

static void obey(struct peer *peer, const struct letter *letter)
{
    uint32_t i;
    for (uint32_t n = 0; n < letter->offers.count; n++)
        tasks_add(&peer->queue, letter->offers.at[n]);
    for (uint32_t n = 0; n < letter->take_back.count; n++) {
        if (tasks_find(&peer->queue, &letter->take_back.at[n], &i)) {
            tasks_add(&peer->returned, peer->queue.at[i]);
            tasks_remove(&peer->queue, i);
        }
    }
    for (uint32_t n = 0; n < letter->cancel.count; n++) {
        if (tasks_find(&peer->running, &letter->cancel.at[n], &i)) {
            peer->running.at[i].cause = MF_CAUSE_CANCELLED;
            tasks_add(&peer->results, peer->running.at[i]);
            tasks_remove(&peer->running, i);
        }
    }
}

void world_end_process(struct sim *sim, uint32_t worker)
{
    struct peer *peer = peer_of(sim, worker);
    peer->process = PROCESS_DEAD;
    peer->connected = false;
    peer->generation++;
}

static void leave(struct sim *sim, uint32_t worker)
{
    world_end_process(sim, worker);
    int64_t after = between(sim, MS, 200 * MS);
    if (percent(sim, 50))
        later(sim,
              after,
              (struct world_event){
                  .kind = WORLD_NOTICE, .worker = worker, .a = EVENT_WORKER_DIED, .b = UINT64_MAX});
    later(sim,
          after + between(sim, MS, 500 * MS),
          (struct world_event){
              .kind = WORLD_NOTICE, .worker = worker, .a = EVENT_WORKER_GONE, .b = UINT64_MAX});
}

/* A new master: what the old one was told and has not acknowledged is said again. */
static void begin_session(struct sim *sim, struct peer *peer)
{
    for (unsigned k = 0; k < 2; k++) {
        struct lane *lane = &peer->lane[k];
        for (uint32_t i = 0; lane->awaiting && i < lane->request->results.count; i++)
            tasks_add(&peer->results, lane->request->results.at[i]);
        letter_release(lane->request);
        lane->request = NULL;
        lane->awaiting = false;
        lane->sequence = 0;
    }
    peer->returned.count = 0; /* they are not among what was held */
    for (uint32_t i = 0; i < peer->running.count; i++)
        peer->running.at[i].told = false;
    peer->epoch = sim->epoch;
}

static void welcome(struct sim *sim, struct peer *peer, const struct world_event *event)
{
    peer->welcome = true;
    if (peer->epoch != (uint32_t)event->b) {
        begin_session(sim, peer);
        return;
    }
    for (unsigned lane = 0; lane < 2; lane++) {
        if (peer->lane[lane].awaiting)
            post(sim, WORLD_REQUEST, event->worker, peer->lane[lane].request);
    }
}

/* A letter from the master; NULL is the welcome. */
static void reply(struct sim *sim, const struct world_event *event)
{
    struct peer *peer = peer_of(sim, event->worker);
    if (event->letter == NULL) {
        welcome(sim, peer, event);
    } else {
        struct lane *lane = &peer->lane[event->letter->lane];
        if (!lane->awaiting || lane->sequence != event->letter->sequence)
            return; /* doubled */
        lane->awaiting = false;
        ledger_acknowledged(sim, lane->request);
        obey(peer, event->letter);
        if (event->letter->dismiss) {
            leave(sim, event->worker);
            return;
        }
    }
    start_tasks(sim, event->worker);
    speak(sim, event->worker);
}

void world_reply(struct sim *sim, uint32_t worker, struct letter *letter)
{
    post(sim, WORLD_REPLY, worker, letter);
}

void world_welcome(struct sim *sim, uint32_t worker)
{
    post(sim, WORLD_REPLY, worker, NULL);
}

static void misfortunes(struct sim *sim, uint32_t worker)
{
    int64_t expected =
        (int64_t)(sim->options->subtasks / sim->options->workers + 1) * sim->duration_us;
    struct world_event event = {.kind = WORLD_CUT, .worker = worker};
    if (fault(sim, FAULT_CRASH) && percent(sim, 20))
        later(sim, between(sim, 0, 2 * expected), event);
    for (unsigned i = 0; i < 3 && fault(sim, FAULT_RECONNECT) && percent(sim, 40); i++) {
        int64_t longest = percent(sim, 70) ? 2 * SECOND : 60 * SECOND;
        event.a = (uint64_t)between(sim, 10 * MS, longest);
        later(sim, between(sim, 0, 2 * expected), event);
    }
    event.kind = WORLD_SILENCE;
    if (fault(sim, FAULT_SILENT) && percent(sim, 20)) {
        bool ever = !fault(sim, FAULT_RETURN) || percent(sim, 30);
        event.a = ever ? 0 : (uint64_t)between(sim, 5 * SECOND, 90 * SECOND);
        later(sim, between(sim, 0, 2 * expected), event);
    }
}

void world_launch(struct sim *sim, uint32_t worker, uint32_t slots)
{
    struct peer *peer = peer_of(sim, worker);
    unsigned luck = fault(sim, FAULT_LAUNCHFAIL) ? (unsigned)chance(sim, 100) : 100;
    peer->slots = slots;
    peer->slowness = 0.8 + 0.01 * (double)chance(sim, 40);
    if (fault(sim, FAULT_SLOW) && percent(sim, 25))
        peer->slowness *= 1 + (double)chance(sim, 40);
    int64_t report = between(sim, 5 * MS, 50 * MS), dial = between(sim, 5 * MS, 100 * MS);
    if (fault(sim, FAULT_LATE) && percent(sim, 25))
        dial += between(sim, 0, 90 * SECOND);
    if (luck >= 3) /* else the report never comes */
        later(sim,
              report,
              (struct world_event){
                  .kind = WORLD_REPORT, .worker = worker, .a = luck >= 15, .b = luck % 3 != 0});
    if (luck >= 20)
        later(sim, dial, (struct world_event){.kind = WORLD_DIAL, .worker = worker});
}

static void hold(struct tasks *held, const struct tasks *tasks, bool queued)
{
    for (uint32_t i = 0; i < tasks->count; i++) {
        tasks_add(held, tasks->at[i]);
        held->at[held->count - 1].told = !queued;
    }
}

static void hello(struct sim *sim, uint32_t worker)
{
    struct peer *peer = peer_of(sim, worker);
    struct letter *letter = letter_create(0, 0, peer->epoch);
    hold(&letter->held, &peer->queue, true);
    hold(&letter->held, &peer->running, false);
    hold(&letter->held, &peer->results, false);
    for (unsigned k = 0; k < 2; k++) {
        if (peer->lane[k].awaiting)
            hold(&letter->held, &peer->lane[k].request->results, false);
    }
    post(sim, WORLD_HELLO, worker, letter);
    letter_release(letter);
}

static void dial(struct sim *sim, uint32_t worker, bool first)
{
    struct peer *peer = peer_of(sim, worker);
    if (peer->process == PROCESS_DEAD || (!first && peer->connected))
        return;
    if (first)
        misfortunes(sim, worker);
    peer->process = PROCESS_ALIVE;
    if (sim->down) { /* nobody listens */
        later(sim,
              between(sim, 100 * MS, SECOND),
              (struct world_event){.kind = WORLD_RECONNECT, .worker = worker});
        return;
    }
    peer->connected = true;
    peer->generation++;
    hello(sim, worker);
}

static void orphan(struct sim *sim, const struct world_event *event)
{
    struct peer *peer = peer_of(sim, event->worker);
    if (!peer->connected && peer->generation == event->a)
        peer->process = PROCESS_DEAD;
}

/* How a worker fares when its master is gone: it comes back soon, late, twice or never. */
static void master_left(struct sim *sim, uint32_t worker)
{
    struct peer *peer = peer_of(sim, worker);
    unsigned luck = (unsigned)chance(sim, 100);
    peer->generation++;
    if (!peer->connected)
        return;
    peer->connected = false;
    struct world_event event = {.kind = WORLD_RECONNECT, .worker = worker};
    later(sim,
          ORPHAN_US,
          (struct world_event){.kind = WORLD_ORPHAN, .worker = worker, .a = peer->generation});
    if (sim->cut && luck < 25) { /* it ran on the master's machine */
        peer->process = PROCESS_DEAD;
        return;
    }
    if (luck < 32)
        return;
    int64_t after = luck < 85   ? between(sim, 30 * MS, 700 * MS)
                    : luck < 95 ? between(sim, SECOND, 20 * SECOND)
                                : between(sim, 20 * SECOND, 120 * SECOND);
    later(sim, after, event);
    if (luck % 10 == 0) { /* and once more */
        later(sim,
              after + between(sim, 0, 3 * SECOND),
              (struct world_event){.kind = WORLD_CUT, .worker = worker, .a = MS});
    }
}

void world_master_died(struct sim *sim)
{
    for (uint32_t id = 1; id < sim->peer_cap; id++) {
        if (sim->peers[id].process == PROCESS_ALIVE)
            master_left(sim, id);
    }
}

/* A stopped process does nothing until it goes on. */
static bool stopped(struct sim *sim, struct world_event *event)
{
    struct peer *peer = peer_of(sim, event->worker);
    if (peer->silent_until <= sim->now_us)
        return false;
    if (peer->silent_until < INT64_MAX) {
        if (event->letter != NULL)
            event->letter->references++;
        later(sim, peer->silent_until - sim->now_us, *event);
    }
    return true;
}

void world_event(struct sim *sim, struct world_event *event)
{
    struct peer *peer = peer_of(sim, event->worker);
    if (event->kind == WORLD_DIAL) {
        dial(sim, event->worker, true);
        return;
    }
    if (peer->process != PROCESS_ALIVE || stopped(sim, event))
        return;
    switch (event->kind) {
    case WORLD_REPLY:
        if (peer->connected && event->a == peer->generation)
            reply(sim, event);
        break;
    case WORLD_TASK_END:
        task_end(sim, event);
        break;
    case WORLD_CUT:
        cut(sim, event->worker, event->a == 0);
        if (event->a != 0)
            later(sim,
                  (int64_t)event->a,
                  (struct world_event){.kind = WORLD_RECONNECT, .worker = event->worker});
        break;
    case WORLD_RECONNECT:
        dial(sim, event->worker, false);
        break;
    case WORLD_ORPHAN:
        orphan(sim, event);
        break;
    default:
        peer->silent_until = event->a == 0 ? INT64_MAX : sim->now_us + (int64_t)event->a;
        break;
    }
}
