/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake master around the scheduler: it turns what arrives into events, carries actions out, and
 * keeps the promises of schedule.h. Records are committed in groups after a while, and a request
 * with results is answered only after their commit. With `double`, repeated requests are not kept
 * from the scheduler, as the real wire would: it has to bear them.
 */
#include <stdlib.h>

#include "tests/simulation/sim.h"

static void act(struct sim *sim);

static const char *const event_names[] = {[EVENT_PLANNED] = "planned",
                                          [EVENT_PLAN_ENDED] = "plan ended",
                                          [EVENT_PLAN_FAILED] = "plan failed",
                                          [EVENT_WORKER_ADD] = "worker add",
                                          [EVENT_WORKER_KNOWN] = "worker known",
                                          [EVENT_WORKER_LAUNCHED] = "launched",
                                          [EVENT_WORKER_LAUNCH_FAILED] = "launch failed",
                                          [EVENT_WORKER_JOINED] = "joined",
                                          [EVENT_ADOPTED] = "adopted",
                                          [EVENT_WORKER_POLL] = "poll",
                                          [EVENT_WORKER_DISCONNECTED] = "disconnect",
                                          [EVENT_WORKER_DIED] = "died",
                                          [EVENT_WORKER_GONE] = "gone",
                                          [EVENT_STARTED] = "started",
                                          [EVENT_ENDED] = "ended",
                                          [EVENT_RETURNED] = "returned",
                                          [EVENT_RECORDED] = "recorded",
                                          [EVENT_GATHERED] = "gathered",
                                          [EVENT_DRAIN] = "drain",
                                          [EVENT_CANCEL] = "cancel",
                                          [EVENT_STOP] = "stop",
                                          [EVENT_PAUSE] = "pause",
                                          [EVENT_TICK] = "tick"};
static const char *const action_names[] = {"plan",
                                           "launch",
                                           "offer",
                                           "flush",
                                           "take back",
                                           "cancel",
                                           "record",
                                           "fenced",
                                           "lost",
                                           "lost subtask",
                                           "dismiss",
                                           "state",
                                           "gather",
                                           "finish"};

void shell_apply(struct sim *sim, struct schedule_event event)
{
    struct mf_error error = {0};
    event.now_us = sim->now_us;
    ledger_event(sim, &event);
    if (sim->options->verbose)
        say(sim,
            "-> %s worker %u subtask %llu attempt %u epoch %u cause %u count %llu ok %d",
            event_names[event.kind],
            event.worker,
            (unsigned long long)event.subtask,
            event.attempt,
            event.epoch,
            event.cause,
            (unsigned long long)event.count,
            event.ok);
    if (schedule_apply(sim->schedule, &event, &error) == -1)
        violation(sim, "an event is refused: %s", error.text);
}

static void apply_worker(struct sim *sim, enum schedule_event_kind kind, uint32_t worker)
{
    struct peer *peer = peer_of(sim, worker);
    if (kind == EVENT_WORKER_JOINED || kind == EVENT_WORKER_POLL)
        peer->away = false;
    else if (kind == EVENT_WORKER_DISCONNECTED)
        peer->away = true;
    else if (kind == EVENT_WORKER_DIED)
        peer->lost = true;
    else if (kind == EVENT_WORKER_GONE)
        peer->gone = true;
    if (kind == EVENT_WORKER_GONE && percent(sim, 80)) /* else the master dies before it is noted */
        peer->buried = true;
    shell_apply(sim,
                (struct schedule_event){
                    .kind = kind, .worker = worker, .slots = peer->slots, .free_places = 0});
}

/* The end of a group of events: actions, checks, the next tick. */
void shell_settle(struct sim *sim)
{
    act(sim);
    ledger_step(sim);
    int64_t deadline = schedule_deadline(sim->schedule);
    if (deadline < sim->tick_us) {
        int64_t late = fault(sim, FAULT_DELAY) && percent(sim, 10) ? between(sim, 0, 20 * MS) : 0;
        int64_t wait = deadline > sim->now_us ? deadline - sim->now_us : 0;
        sim->tick_us = deadline;
        later(sim, wait + late, (struct world_event){.kind = WORLD_TICK});
    }
}

static void plan_one(struct sim *sim, uint64_t id)
{
    struct account *account = &sim->accounts[id];
    if (account->table_final != 0 && !BREAKS(REPLAN))
        return;
    /* Some were tried before this run goes on. */
    if (sim->crashes == 0 && sim->options->faults != 0 && percent(sim, 5))
        account->table_last = 3;
    sim->plan_owed--;
    sim->planned++;
    shell_apply(sim,
                (struct schedule_event){.kind = EVENT_PLANNED,
                                        .subtask = id,
                                        .attempt = account->table_last,
                                        .failures = account->table_failures,
                                        .held = id <= sim->held_mark});
}

/* Never beyond the mark that is durable. */
static void plan(struct sim *sim)
{
    while (sim->plan_owed > 0 && sim->cursor < sim->options->subtasks && !sim->plan_failed) {
        if (sim->cursor == sim->mark && !BREAKS(MARK)) {
            sim->mark_asked = sim->cursor + sim->mark_block;
            return;
        }
        plan_one(sim, ++sim->cursor);
    }
    if (sim->cursor == sim->options->subtasks && !sim->plan_failed) {
        sim->plan_failed = true; /* nothing more may follow */
        shell_apply(sim, (struct schedule_event){.kind = EVENT_PLAN_ENDED});
    }
}

static void commit(struct sim *sim)
{
    if (sim->committing || sim->stopped || (sim->uncommitted == 0 && sim->mark_asked <= sim->mark))
        return;
    int64_t us = between(sim, MS, 10 * MS);
    if (fault(sim, FAULT_DELAY) && percent(sim, 5))
        us += between(sim, 0, 15 * SECOND);
    sim->committing = true;
    later(sim,
          us,
          (struct world_event){.kind = WORLD_COMMIT, .a = sim->uncommitted, .b = sim->mark_asked});
    sim->uncommitted = 0;
}

static void send_reply(struct sim *sim, uint32_t worker, unsigned k)
{
    struct peer *peer = peer_of(sim, worker);
    struct lane *lane = &peer->lane[k];
    struct letter *letter = letter_create(k, lane->seen, sim->epoch);
    lane->held = false;
    lane->answered = lane->seen;
    tasks_move(&peer->offers, &letter->offers);
    tasks_move(&peer->take_back, &letter->take_back);
    tasks_move(&peer->cancel, &letter->cancel);
    letter->dismiss = peer->tell_dismiss;
    letter_release(lane->reply);
    lane->reply = letter;
    world_reply(sim, worker, letter);
}

/* A request may be answered: at once when there is something to say, else it is held. */
static void answer(struct sim *sim, uint32_t worker, unsigned k)
{
    struct peer *peer = peer_of(sim, worker);
    if (peer->lane[1 - k].held)
        send_reply(sim, worker, 1 - k);
    if (peer->offers.count + peer->take_back.count + peer->cancel.count > 0 || peer->tell_dismiss) {
        send_reply(sim, worker, k);
        return;
    }
    peer->lane[k].held = true;
    later(sim,
          (int64_t)sim->config.lease_us / 3,
          (struct world_event){
              .kind = WORLD_HOLD, .worker = worker, .a = k, .b = peer->lane[k].seen});
}

static void flush(struct sim *sim, uint32_t worker)
{
    struct peer *peer = peer_of(sim, worker);
    for (unsigned k = 0; k < 2; k++) {
        if (peer->lane[k].held) {
            send_reply(sim, worker, k);
            return;
        }
    }
}

static void ticket_add(struct sim *sim, uint32_t worker, const struct letter *letter)
{
    if (sim->ticket_count == sim->ticket_cap) {
        size_t cap = sim->ticket_cap == 0 ? 64 : sim->ticket_cap * 2;
        struct ticket *grown = need(malloc(cap * sizeof *grown));
        for (size_t i = 0; i < sim->ticket_count; i++)
            grown[i] = sim->tickets[(sim->ticket_head + i) & (sim->ticket_cap - 1)];
        free(sim->tickets);
        sim->tickets = grown;
        sim->ticket_cap = cap;
        sim->ticket_head = 0;
    }
    sim->tickets[(sim->ticket_head + sim->ticket_count++) & (sim->ticket_cap - 1)] =
        (struct ticket){worker, letter->lane, letter->sequence, sim->recorded};
}

static void answer_committed(struct sim *sim)
{
    while (sim->ticket_count > 0 && !sim->stopped) {
        struct ticket ticket = sim->tickets[sim->ticket_head];
        if (ticket.record > sim->committed)
            return;
        sim->ticket_head = (sim->ticket_head + 1) & (sim->ticket_cap - 1);
        sim->ticket_count--;
        struct lane *lane = &peer_of(sim, ticket.worker)->lane[ticket.lane];
        if (lane->seen == ticket.sequence && lane->answered < ticket.sequence)
            answer(sim, ticket.worker, ticket.lane);
    }
}

static void take_request(struct sim *sim, uint32_t worker, const struct letter *letter)
{
    struct schedule_event event = {.worker = worker};
    const struct tasks *lists[] = {&letter->running, &letter->returned, &letter->results};
    static const enum schedule_event_kind kinds[] = {EVENT_STARTED, EVENT_RETURNED, EVENT_ENDED};
    for (unsigned l = 0; l < 3; l++) {
        event.kind = kinds[l];
        for (uint32_t i = 0; i < lists[l]->count; i++) {
            const struct task *task = &lists[l]->at[i];
            event.subtask = task->subtask;
            event.attempt = task->attempt;
            event.epoch = task->epoch;
            event.cause = task->cause;
            event.exit_code = task->exit_code;
            event.duration_us = (uint64_t)task->duration_us;
            shell_apply(sim, event);
        }
    }
    apply_worker(sim, EVENT_WORKER_POLL, worker);
    act(sim);
}

static void request(struct sim *sim, uint32_t worker, const struct letter *letter)
{
    struct peer *peer = peer_of(sim, worker);
    struct lane *lane = &peer->lane[letter->lane];
    if (!peer->joined || letter->epoch != sim->epoch)
        return; /* no session */
    if (letter->sequence <= lane->seen) {
        if (fault(sim, FAULT_DOUBLE) && percent(sim, 50))
            take_request(sim, worker, letter);
        if (letter->sequence == lane->answered)
            world_reply(sim, worker, lane->reply);
        return;
    }
    lane->seen = letter->sequence;
    take_request(sim, worker, letter);
    if (letter->results.count > 0 && !BREAKS(ACK))
        ticket_add(sim, worker, letter);
    else
        answer(sim, worker, letter->lane);
    answer_committed(sim);
}

static void adopt(struct sim *sim, uint32_t worker, const struct tasks *held)
{
    for (uint32_t i = 0; i < held->count; i++)
        shell_apply(sim,
                    (struct schedule_event){.kind = EVENT_ADOPTED,
                                            .worker = worker,
                                            .subtask = held->at[i].subtask,
                                            .attempt = held->at[i].attempt,
                                            .epoch = held->at[i].epoch,
                                            .ok = held->at[i].told});
}

static void hello(struct sim *sim, const struct world_event *event)
{
    uint32_t worker = event->worker;
    struct peer *peer = peer_of(sim, worker);
    if (!peer->expected)
        return; /* refused: an earlier master saw it gone */
    uint64_t issued =
        sim->held_mark < sim->options->subtasks ? sim->held_mark : sim->options->subtasks;
    if (peer->known && sim->cursor < issued) { /* it may hold what is not planned yet */
        later(sim, 10 * MS * (1 + sim->options->workers / 100), *event);
        event->letter->references++;
        return;
    }
    if (!peer->joined || (fault(sim, FAULT_DOUBLE) && percent(sim, 30)))
        adopt(sim, worker, &event->letter->held);
    peer->joined = true;
    apply_worker(sim, EVENT_WORKER_JOINED, worker);
    world_welcome(sim, worker);
}

static void notice(struct sim *sim, const struct world_event *event)
{
    struct peer *peer = peer_of(sim, event->worker);
    bool old = event->b != UINT64_MAX && event->b != peer->generation;
    if (old && event->a == EVENT_WORKER_DISCONNECTED && !percent(sim, 20))
        return;
    if (event->a != EVENT_WORKER_GONE || !peer->gone || percent(sim, 10))
        apply_worker(sim, (enum schedule_event_kind)event->a, event->worker);
}

/* The launcher ends a worker that does not end by itself, and sees that it is gone. */
static void stop(struct sim *sim, uint32_t worker)
{
    if (peer_of(sim, worker)->gone)
        return;
    world_end_process(sim, worker);
    later(sim,
          between(sim, MS, 500 * MS),
          (struct world_event){
              .kind = WORLD_NOTICE, .worker = worker, .a = EVENT_WORKER_GONE, .b = UINT64_MAX});
}

static void stop_later(struct sim *sim, uint32_t worker, unsigned share, int64_t us)
{
    bool reachable = !fault(sim, FAULT_SILENT) || percent(sim, share);
    if (reachable)
        later(sim, us, (struct world_event){.kind = WORLD_STOP, .worker = worker});
}

static struct task task_of(const struct schedule_action *action)
{
    return (struct task){
        .subtask = action->subtask, .attempt = action->attempt, .epoch = action->epoch};
}

static void dismissed(struct sim *sim, struct peer *peer, uint32_t worker)
{
    if (!peer->tell_dismiss && !peer->gone)
        stop_later(sim, worker, 90, 5 * SECOND);
    peer->tell_dismiss = peer->dismissed = true;
    flush(sim, worker);
}

static void lost(struct sim *sim, struct peer *peer, uint32_t worker)
{
    peer->lost = true;
    peer->offers.count = peer->take_back.count = peer->cancel.count = 0;
    stop_later(sim, worker, 60, between(sim, 10 * MS, 2 * SECOND));
}

static void carry_out(struct sim *sim, const struct schedule_action *action)
{
    struct peer *peer = peer_of(sim, action->worker);
    switch (action->kind) {
    case SCHEDULE_PLAN:
        sim->plan_owed += action->count;
        if (fault(sim, FAULT_LATE))
            later(sim, between(sim, 0, 100 * MS), (struct world_event){.kind = WORLD_PLAN});
        else
            plan(sim);
        break;
    case SCHEDULE_LAUNCH:
        if (action->replaces != 0)
            peer->slots = peer_of(sim, action->replaces)->slots;
        else if (peer->slots == 0)
            peer->slots = 1 + (uint32_t)chance(sim, 4);
        peer = peer_of(sim, action->worker);
        peer->launched = peer->expected = true;
        sim->worker_last = action->worker > sim->worker_last ? action->worker : sim->worker_last;
        world_launch(sim,
                     action->worker,
                     action->replaces != 0 ? peer_of(sim, action->replaces)->slots : peer->slots);
        break;
    case SCHEDULE_OFFER:
        tasks_add(&peer->offers, task_of(action));
        break;
    case SCHEDULE_TAKE_BACK:
        tasks_add(&peer->take_back, task_of(action));
        break;
    case SCHEDULE_CANCEL:
        tasks_add(&peer->cancel, task_of(action));
        break;
    case SCHEDULE_FLUSH:
        flush(sim, action->worker);
        break;
    case SCHEDULE_RECORD:
        table_add(sim, action);
        break;
    case SCHEDULE_LOST:
        lost(sim, peer, action->worker);
        break;
    case SCHEDULE_DISMISS:
        dismissed(sim, peer, action->worker);
        break;
    case SCHEDULE_GATHER:
        later(sim, between(sim, MS, SECOND), (struct world_event){.kind = WORLD_GATHERED});
        break;
    case SCHEDULE_FINISH:
        sim->finished = true;
        sim->finished_us = sim->now_us;
        sim->final_state = action->state;
        sim->reason = action->reason;
        break;
    default:
        break;
    }
}

static void act(struct sim *sim)
{
    struct schedule_action action;
    while (sim->violation[0] == '\0' && schedule_next(sim->schedule, &action)) {
        if (sim->options->verbose)
            say(sim,
                "<- %s worker %u subtask %llu attempt %u epoch %u record %d cause %u state %s",
                action_names[action.kind],
                action.worker,
                (unsigned long long)action.subtask,
                action.attempt,
                action.epoch,
                (int)action.record,
                action.cause,
                run_state_name(action.state));
        if (sim->crash_in > 0 && !sim->finished && --sim->crash_in == 0)
            longjmp(sim->death, 1);
        ledger_action(sim, &action);
        carry_out(sim, &action);
    }
    commit(sim);
}

static void tick(struct sim *sim)
{
    sim->tick_us = INT64_MAX;
    if (schedule_deadline(sim->schedule) > sim->now_us)
        return;
    shell_apply(sim, (struct schedule_event){.kind = EVENT_TICK});
    act(sim);
    if (schedule_deadline(sim->schedule) <= sim->now_us)
        violation(sim, "G4: after a tick the deadline is not ahead");
}

static void user(struct sim *sim, const struct world_event *event)
{
    if (event->a == EVENT_PLAN_FAILED) {
        struct schedule_counts counts;
        schedule_counts(sim->schedule, &counts);
        if (counts.plan_ended || sim->plan_failed || counts.state > RUN_DISMISSING)
            return;
        sim->plan_failed = true;
    }
    if (event->a == EVENT_STOP)
        sim->stopped = true;
    shell_apply(
        sim,
        (struct schedule_event){.kind = (enum schedule_event_kind)event->a, .ok = event->b != 0});
}

/* What was to happen to a master that is dead. */
static bool is_void(const struct sim *sim, const struct world_event *event)
{
    if (event->kind == WORLD_RESUME)
        return false;
    if (sim->down)
        return true;
    return event->epoch != sim->epoch && event->kind != WORLD_CRASH && event->kind != WORLD_USER &&
           event->kind != WORLD_HELLO && event->kind != WORLD_REQUEST;
}

static void crash(struct sim *sim, bool cut)
{
    if (sim->finished)
        return;
    sim->cut = cut;
    if (percent(sim, 50))
        crash_happen(sim);
    else
        sim->crash_in = 1 + (unsigned)chance(sim, 20);
}

void shell_event(struct sim *sim, struct world_event *event)
{
    if (is_void(sim, event))
        return;
    if (setjmp(sim->death) != 0) {
        crash_happen(sim);
        return;
    }
    switch (event->kind) {
    case WORLD_REPORT:
        shell_apply(sim,
                    (struct schedule_event){.kind = event->a ? EVENT_WORKER_LAUNCHED
                                                             : EVENT_WORKER_LAUNCH_FAILED,
                                            .worker = event->worker,
                                            .ok = event->b != 0});
        break;
    case WORLD_HELLO:
        if (world_arrives(sim, event))
            hello(sim, event);
        break;
    case WORLD_REQUEST:
        if (world_arrives(sim, event))
            request(sim, event->worker, event->letter);
        break;
    case WORLD_NOTICE:
        notice(sim, event);
        break;
    case WORLD_STOP:
        stop(sim, event->worker);
        break;
    case WORLD_HOLD: {
        struct lane *lane = &peer_of(sim, event->worker)->lane[event->a];
        if (lane->held && lane->seen == event->b)
            send_reply(sim, event->worker, (unsigned)event->a);
        break;
    }
    case WORLD_COMMIT:
        sim->committing = false;
        sim->committed += event->a;
        table_commit(sim, event->a, event->b);
        if (event->a > 0)
            shell_apply(sim, (struct schedule_event){.kind = EVENT_RECORDED, .count = event->a});
        plan(sim);
        act(sim);
        answer_committed(sim);
        break;
    case WORLD_PLAN:
        plan(sim);
        break;
    case WORLD_GATHERED:
        shell_apply(sim,
                    (struct schedule_event){.kind = EVENT_GATHERED,
                                            .ok = !fault(sim, FAULT_USER) || percent(sim, 90)});
        break;
    case WORLD_USER:
        user(sim, event);
        break;
    case WORLD_CRASH:
        crash(sim, event->a != 0);
        if (sim->down)
            return;
        break;
    case WORLD_RESUME:
        crash_resume(sim);
        return;
    default:
        tick(sim);
        break;
    }
    shell_settle(sim);
}

/* What the user does, and when: nothing in half of the runs. */
static void plan_user(struct sim *sim)
{
    static const enum schedule_event_kind kinds[] = {
        EVENT_CANCEL, EVENT_DRAIN, EVENT_STOP, EVENT_PAUSE, EVENT_PAUSE, EVENT_PLAN_FAILED};
    if (!fault(sim, FAULT_USER))
        return;
    int64_t expected =
        (int64_t)(sim->options->subtasks / sim->options->workers + 1) * sim->duration_us;
    for (unsigned i = 0; i < 2 && percent(sim, 35); i++) {
        struct world_event event = {
            .kind = WORLD_USER, .a = kinds[chance(sim, sizeof kinds / sizeof *kinds)], .b = 1};
        int64_t at = between(sim, 0, 2 * expected + SECOND);
        later(sim, at, event);
        event.b = 0;
        if (event.a == EVENT_PAUSE)
            later(sim, at + between(sim, MS, 60 * SECOND), event);
    }
}

void shell_forget(struct sim *sim)
{
    sim->ticket_count = 0;
    sim->tick_us = INT64_MAX;
    sim->plan_failed = sim->stopped = sim->gathering = false;
    sim->cursor = sim->planned = sim->plan_owed = 0;
    for (uint32_t id = 0; id < sim->peer_cap; id++) {
        struct peer *peer = &sim->peers[id];
        peer->joined = peer->away = peer->lost = peer->dismissed = peer->gone = false;
        peer->expected = peer->known = peer->tell_dismiss = false;
        peer->offers.count = peer->take_back.count = peer->cancel.count = 0;
        for (unsigned k = 0; k < 2; k++) {
            struct lane *lane = &peer->lane[k];
            letter_release(lane->reply);
            lane->reply = NULL;
            lane->seen = lane->answered = 0;
            lane->held = false;
        }
    }
}

void shell_begin(struct sim *sim)
{
    crash_plan(sim);
    plan_user(sim);
    uint32_t count = sim->options->elastic ? sim->config.workers_min : sim->options->workers;
    for (uint32_t id = 1; id <= count; id++) {
        peer_of(sim, id)->slots = 1 + (uint32_t)chance(sim, 4);
        shell_apply(sim,
                    (struct schedule_event){
                        .kind = EVENT_WORKER_ADD, .worker = id, .slots = peer_of(sim, id)->slots});
    }
    shell_settle(sim);
}

void shell_end(struct sim *sim)
{
    free(sim->tickets);
    for (uint32_t id = 0; id < sim->peer_cap; id++) {
        struct peer *peer = &sim->peers[id];
        struct tasks *lists[] = {&peer->queue,
                                 &peer->running,
                                 &peer->results,
                                 &peer->returned,
                                 &peer->offers,
                                 &peer->take_back,
                                 &peer->cancel};
        for (unsigned i = 0; i < sizeof lists / sizeof *lists; i++)
            free(lists[i]->at);
        for (unsigned k = 0; k < 2; k++) {
            letter_release(peer->lane[k].request);
            letter_release(peer->lane[k].reply);
        }
    }
    free(sim->peers);
}
