/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: books of its own, kept from events and actions alone, and checked against what the
 * scheduler says after every step.
 *
 *   G1  the counts add up to what was planned, and agree with the books; at the end every subtask
 *       is in exactly one final state
 *   G2  at most one final record a subtask; a record only for a fence that is live in the books,
 *       and a live one's result is never dropped; an attempt is recorded at most once
 *   G3  a worker may forget a result only when its record is committed or its fence void; what has
 *       a final record in the table is never planned, offered or started by a later master
 *   G4  (with main.c) the run ends in bounded time, and after a tick its deadline lies ahead
 *   G8  the scheduler's memory is bounded by the subtasks that are alive at once, and by workers
 *
 * Besides: attempts are numbered on, at most two are live, and the second has a cause; offers go to
 * workers that are there; a lost worker's subtasks are all named; retries, tolerance and time limit
 * are kept. What an earlier master may have issued is held, is offered to nobody while a known
 * worker may have it, and is not dropped when one says that it does.
 */
#include <stdlib.h>
#include <string.h>

#include "master/schedule/explain.h"
#include "tests/simulation/sim.h"

#define ID(x) ((unsigned long long)(x))

void ledger_begin(struct sim *sim)
{
    sim->accounts = need(calloc(sim->options->subtasks + 1, sizeof *sim->accounts));
    elastic_begin(sim);
}

static int
fence_of(const struct account *account, uint32_t worker, uint32_t attempt, uint32_t epoch)
{
    for (int k = 0; k < 2; k++) {
        if (account->worker[k] == worker && worker != 0 && account->attempt[k] == attempt &&
            account->epoch[k] == epoch)
            return k;
    }
    return -1;
}

static void add_fence(
    struct sim *sim, struct account *account, uint32_t worker, uint32_t attempt, uint32_t epoch)
{
    int k = account->worker[0] == 0 ? 0 : 1;
    account->worker[k] = worker;
    account->attempt[k] = (uint16_t)attempt;
    account->epoch[k] = epoch;
    account->issued = true;
    if (attempt > account->last)
        account->last = (uint16_t)attempt;
    sim->live_of[worker]++;
    sim->live++;
    sim->offers++;
}

static void void_fence(struct sim *sim, struct account *account, int k)
{
    if (account->worker[k] == 0)
        return;
    sim->live_of[account->worker[k]]--;
    sim->live--;
    account->worker[k] = 0;
}

static void void_all(struct sim *sim)
{
    for (uint64_t id = 1; id <= sim->cursor && sim->live > 0; id++) {
        void_fence(sim, &sim->accounts[id], 0);
        void_fence(sim, &sim->accounts[id], 1);
    }
}

/* A known worker has spoken, or is over. */
static void known_over(struct sim *sim, struct peer *peer)
{
    sim->known_waiting -= peer->known;
    peer->known = false;
}

static void planned(struct sim *sim, const struct schedule_event *event)
{
    struct account *account = &sim->accounts[event->subtask];
    if (account->table_final != 0)
        violation(
            sim, "G3: subtask %llu has a final record and is planned again", ID(event->subtask));
    if (account->issued && !event->held)
        violation(sim,
                  "G3: subtask %llu was issued by an earlier master, beyond the high-water mark",
                  ID(event->subtask));
    account->held = event->held;
    account->last = (uint16_t)event->attempt;
    account->failures = (uint8_t)event->failures;
    account->final = 0;
}

static bool is_claimed(const struct sim *sim, const struct schedule_event *event)
{
    struct task task = {
        .subtask = event->subtask, .attempt = event->attempt, .epoch = event->epoch};
    uint32_t i;
    return tasks_find(&sim->claims, &task, &i) && sim->claims.at[i].cause == event->worker;
}

/* A claim, for now: whether it is live or void is known from the actions that follow. */
static void claimed(struct sim *sim, const struct schedule_event *event)
{
    struct account *account = &sim->accounts[event->subtask];
    struct peer *peer = peer_of(sim, event->worker);
    if (peer->joined || peer->lost || peer->dismissed || peer->gone ||
        fence_of(account, event->worker, event->attempt, event->epoch) >= 0 ||
        is_claimed(sim, event))
        return;
    if (event->attempt > account->last && account->final == 0 && event->subtask <= sim->cursor)
        account->last = (uint16_t)event->attempt;
    tasks_add(&sim->claims,
              (struct task){.subtask = event->subtask,
                            .attempt = event->attempt,
                            .epoch = event->epoch,
                            .cause = event->worker,
                            .told = event->ok});
}

/* Nothing said that it is void, so it is live. */
static void adopted(struct sim *sim, const struct task *claim)
{
    struct account *account = &sim->accounts[claim->subtask];
    if (account->final != 0 || claim->subtask > sim->cursor)
        violation(sim,
                  "G2: subtask %llu is adopted and is not under way: it %s",
                  ID(claim->subtask),
                  account->final != 0 ? "has ended" : "is not planned");
    if (account->worker[0] != 0 && account->worker[1] != 0)
        violation(sim, "G2: subtask %llu is adopted and has three live fences", ID(claim->subtask));
    else
        add_fence(sim, account, claim->cause, claim->attempt, claim->epoch);
    account->held = false;
    sim->adopted++;
}

/* The first so many claims. They are judged in the order in which they were made, since whether
 * there is room for one depends on those before it. */
static void settle_claims(struct sim *sim, uint32_t count)
{
    struct tasks *claims = &sim->claims;
    for (uint32_t i = 0; i < count; i++)
        adopted(sim, &claims->at[i]);
    claims->count -= count;
    for (uint32_t i = 0; i < claims->count && count > 0; i++)
        claims->at[i] = claims->at[i + count];
}

void ledger_event(struct sim *sim, const struct schedule_event *event)
{
    elastic_event(sim, event);
    if (event->kind == EVENT_ENDED) {
        tasks_add(&sim->expected,
                  (struct task){.subtask = event->subtask,
                                .attempt = event->attempt,
                                .epoch = event->epoch,
                                .cause = event->cause,
                                .exit_code = event->exit_code,
                                .duration_us = event->worker});
    } else if (event->kind == EVENT_RETURNED) {
        struct account *account = &sim->accounts[event->subtask];
        int k = fence_of(account, event->worker, event->attempt, event->epoch);
        if (k >= 0)
            void_fence(sim, account, k);
    } else if (event->kind == EVENT_PLANNED) {
        planned(sim, event);
    } else if (event->kind == EVENT_ADOPTED) {
        claimed(sim, event);
    } else if (event->kind == EVENT_WORKER_JOINED || event->kind == EVENT_WORKER_DIED ||
               event->kind == EVENT_WORKER_GONE) {
        known_over(sim, peer_of(sim, event->worker));
    }
    if (event->kind == EVENT_CANCEL || event->kind == EVENT_STOP ||
        event->kind == EVENT_PLAN_FAILED)
        sim->aborted = true;
}

/* By a live attempt, or by a record of it or of a later one; the books have those below 64. */
static bool number_is_taken(const struct account *account, uint32_t attempt)
{
    for (unsigned k = 0; k < 2; k++) {
        if (account->worker[k] != 0 && account->attempt[k] == attempt)
            return true;
    }
    return attempt >= 64 || account->numbers >> attempt != 0;
}

/* It runs: is it live in any case? While its subtask is held, and where another one lives and
 * leaves room for it; otherwise the subtask may wait for a retry, which the books don't say. */
static bool
has_to_be_live(const struct sim *sim, const struct account *account, const struct task *claim)
{
    struct schedule_explanation now;
    unsigned live = (account->worker[0] != 0) + (account->worker[1] != 0);
    if (!claim->told || sim->aborted || claim->attempt <= account->table_last ||
        sim->epoch - claim->epoch > 255)
        return false;
    if (live == 0)
        return account->held;
    schedule_explain(sim->schedule, &now);
    return live == 1 && now.winding_down == NULL && !number_is_taken(account, claim->attempt);
}

/* What was claimed in this step is void: those before it are not. */
static void claim_refused(struct sim *sim, const struct schedule_action *action)
{
    struct task claim = {
        .subtask = action->subtask, .attempt = action->attempt, .epoch = action->epoch};
    uint32_t i;
    if (!tasks_find(&sim->claims, &claim, &i) || sim->claims.at[i].cause != action->worker)
        return;
    settle_claims(sim, i);
    claim = sim->claims.at[0];
    tasks_remove(&sim->claims, 0);
    if (has_to_be_live(sim, &sim->accounts[action->subtask], &claim))
        violation(sim,
                  "subtask %llu %s, runs on worker %u, and is not adopted",
                  ID(action->subtask),
                  sim->accounts[action->subtask].held ? "is held" : "has room",
                  action->worker);
}

/* The worker forgets these results from now on. */
void ledger_acknowledged(struct sim *sim, const struct letter *request)
{
    for (uint32_t i = 0; i < request->results.count; i++) {
        if (!table_has(sim, &request->results.at[i]))
            violation(sim,
                      "G3: the result of subtask %llu is acknowledged before its record is "
                      "committed",
                      ID(request->results.at[i].subtask));
    }
}

void ledger_started(struct sim *sim, const struct task *task)
{
    const struct account *account = &sim->accounts[task->subtask];
    if (account->table_final != 0 && task->epoch > account->table_epoch)
        violation(sim,
                  "G3: subtask %llu has a final record by the master of epoch %u, and what the one "
                  "of epoch %u issued is executed",
                  ID(task->subtask),
                  account->table_epoch,
                  task->epoch);
}

void ledger_crashed(struct sim *sim)
{
    for (uint64_t id = 1; id <= sim->options->subtasks; id++) {
        struct account *account = &sim->accounts[id];
        account->worker[0] = account->worker[1] = 0;
        account->held = false;
        account->waiting = 0;
        account->final = account->table_final;
        account->numbers = account->table_numbers;
    }
    for (uint32_t id = 0; id < sim->peer_cap; id++) {
        sim->peers[id].unflushed = false;
        sim->live_of[id] = 0;
    }
    sim->expected.count = sim->claims.count = 0;
    sim->earlier.offers += sim->offers;
    sim->earlier.fenced += sim->fenced;
    sim->earlier.stragglers += sim->stragglers;
    sim->done = sim->failed = sim->dead = sim->retried = sim->offers = sim->fenced = 0;
    sim->stragglers = sim->live = sim->live_most = 0;
    sim->unflushed = sim->known_waiting = 0;
    sim->aborted = sim->gather_seen = false;
    elastic_begin(sim);
}

/* Something for a worker has to be followed by a flush. */
static void to_flush(struct sim *sim, uint32_t worker, bool something)
{
    struct peer *peer = peer_of(sim, worker);
    sim->unflushed += (uint32_t)something - (uint32_t)peer->unflushed;
    peer->unflushed = something;
}

static void offered(struct sim *sim, const struct schedule_action *action)
{
    struct account *account = &sim->accounts[action->subtask];
    struct peer *peer = peer_of(sim, action->worker);
    if (account->final != 0)
        violation(sim, "G2: subtask %llu is offered after its end", ID(action->subtask));
    if (!peer->joined || peer->lost || peer->dismissed || peer->away)
        violation(sim, "worker %u is offered something and is not there", action->worker);
    if (action->attempt != account->last + 1u)
        violation(sim,
                  "subtask %llu: attempt %u follows attempt %u",
                  ID(action->subtask),
                  action->attempt,
                  account->last);
    if (account->worker[0] != 0 && account->worker[1] != 0)
        violation(sim, "G2: subtask %llu has three live fences", ID(action->subtask));
    uint32_t other = account->worker[0] != 0 ? account->worker[0] : account->worker[1];
    if (other == action->worker)
        violation(sim, "subtask %llu is twice on worker %u", ID(action->subtask), action->worker);
    if (action->second != (other != 0) ||
        (other != 0 && !action->straggler && !sim->peers[other].away))
        violation(sim, "subtask %llu is issued a second time without cause", ID(action->subtask));
    if (account->held && sim->known_waiting > 0)
        violation(sim,
                  "subtask %llu is held and offered while %u known workers may have it",
                  ID(action->subtask),
                  sim->known_waiting);
    sim->stragglers += action->straggler;
    add_fence(sim, account, action->worker, action->attempt, action->epoch);
    to_flush(sim, action->worker, true);
}

static bool is_final_cause(const struct sim *sim, const struct task *end)
{
    return end->cause == MF_CAUSE_INPUT_MISSING || end->cause == MF_CAUSE_INPUT_CHANGED ||
           (end->cause == MF_CAUSE_EXIT && end->exit_code == sim->config.final_codes[0]);
}

/* Whether the record is the right one for that end; the fence is no longer in the account. */
static void check_record(struct sim *sim,
                         const struct schedule_action *action,
                         const struct account *account,
                         const struct task *end)
{
    enum schedule_record right = RECORD_RETRIED;
    if (end->cause == MF_CAUSE_NONE)
        right = RECORD_DONE;
    else if (is_final_cause(sim, end))
        right = RECORD_FAILED;
    else if (account->failures > sim->config.retries_max && account->worker[0] == 0 &&
             account->worker[1] == 0)
        right = RECORD_DEAD;
    if (action->record != right)
        violation(sim,
                  "subtask %llu attempt %u ended with cause %u, failure %u, and is recorded as %d",
                  ID(action->subtask),
                  action->attempt,
                  end->cause,
                  account->failures,
                  (int)action->record);
}

static void recorded(struct sim *sim, const struct schedule_action *action)
{
    struct account *account = &sim->accounts[action->subtask];
    bool lost = action->cause == MF_CAUSE_POISON;
    int k = fence_of(account, action->worker, action->attempt, action->epoch);
    sim->recorded++;
    if (account->final != 0)
        violation(sim, "G2: subtask %llu is recorded after its end", ID(action->subtask));
    uint64_t number = 1ull << (action->attempt & 63);
    if (account->numbers & number && action->attempt < 64)
        violation(sim,
                  "G2: attempt %u of subtask %llu is recorded a second time",
                  action->attempt,
                  ID(action->subtask));
    account->numbers |= number;
    if (k < 0 && !lost)
        violation(sim,
                  "G2: subtask %llu attempt %u of worker %u is recorded, its fence is void",
                  ID(action->subtask),
                  action->attempt,
                  action->worker);
    if (k >= 0)
        void_fence(sim, account, k);
    if (!lost) {
        const struct task *end = &sim->expected.at[0];
        if (sim->expected.count == 0 || end->subtask != action->subtask ||
            end->attempt != action->attempt || end->epoch != action->epoch ||
            end->duration_us != action->worker) {
            violation(sim, "G2: subtask %llu is recorded out of order", ID(action->subtask));
            return;
        }
        if (end->cause != MF_CAUSE_NONE && account->failures < UINT8_MAX)
            account->failures++;
        check_record(sim, action, account, end);
        tasks_remove(&sim->expected, 0);
    }
    if (action->record == RECORD_RETRIED) {
        sim->retried++;
        return;
    }
    account->final = (uint8_t)(action->record + 1);
    sim->done += action->record == RECORD_DONE;
    sim->failed += action->record == RECORD_FAILED;
    sim->dead += action->record == RECORD_DEAD;
    void_fence(sim, account, 0);
    void_fence(sim, account, 1);
}

static void fenced(struct sim *sim, const struct schedule_action *action)
{
    struct account *account = &sim->accounts[action->subtask];
    const struct task *end = &sim->expected.at[0];
    if (sim->expected.count == 0 || end->subtask != action->subtask ||
        end->attempt != action->attempt || end->epoch != action->epoch) {
        violation(sim, "G2: subtask %llu is fenced out of order", ID(action->subtask));
        return;
    }
    int k = fence_of(account, action->worker, action->attempt, action->epoch);
    if (k >= 0 && end->cause != MF_CAUSE_CANCELLED && !sim->aborted)
        violation(sim,
                  "G2: the result of subtask %llu attempt %u is dropped, its fence is live",
                  ID(action->subtask),
                  action->attempt);
    if (k >= 0)
        void_fence(sim, account, k);
    sim->fenced += end->cause != MF_CAUSE_CANCELLED;
    tasks_remove(&sim->expected, 0);
}

static void gather(struct sim *sim)
{
    sim->gather_seen = true;
    if (sim->committed != sim->recorded || sim->uncommitted > 0)
        violation(sim, "G3: gathering begins before all records are committed");
    if (sim->live > 0)
        violation(sim, "gathering begins while %llu attempts are live", ID(sim->live));
    if (sim->base_done + sim->base_failures + sim->done + sim->failed + sim->dead !=
        sim->options->subtasks)
        violation(sim, "G1: gathering begins before all subtasks have ended");
}

void ledger_action(struct sim *sim, const struct schedule_action *action)
{
    if (sim->finished && action->kind != SCHEDULE_FENCED && action->kind != SCHEDULE_DISMISS)
        violation(sim, "action %d after the end", (int)action->kind);
    if (action->not_adopted)
        claim_refused(sim, action);
    else
        settle_claims(sim, sim->claims.count);
    elastic_action(sim, action);
    switch (action->kind) {
    case SCHEDULE_OFFER:
        offered(sim, action);
        break;
    case SCHEDULE_RECORD:
        recorded(sim, action);
        break;
    case SCHEDULE_FENCED:
        fenced(sim, action);
        break;
    case SCHEDULE_LOST_SUBTASK: {
        struct account *account = &sim->accounts[action->subtask];
        int k = fence_of(account, action->worker, action->attempt, action->epoch);
        if (k < 0 && !sim->aborted)
            violation(sim, "subtask %llu was not on the lost worker", ID(action->subtask));
        else if (k >= 0)
            void_fence(sim, account, k);
        break;
    }
    case SCHEDULE_RUN_STATE:
        if (action->state == RUN_DISMISSING) {
            void_all(sim);
            if (sim->committed != sim->recorded && !sim->stopped)
                violation(sim, "G3: the run winds up before all records are committed");
        }
        break;
    case SCHEDULE_TAKE_BACK:
    case SCHEDULE_CANCEL:
        to_flush(sim, action->worker, true);
        break;
    case SCHEDULE_LOST:
    case SCHEDULE_DISMISS:
        known_over(sim, peer_of(sim, action->worker));
        if (action->kind == SCHEDULE_DISMISS)
            break;
        to_flush(sim, action->worker, false);
        break;
    case SCHEDULE_FLUSH:
        to_flush(sim, action->worker, false);
        break;
    case SCHEDULE_GATHER:
        gather(sim);
        break;
    default:
        break;
    }
}

static void check_counts(struct sim *sim, const struct schedule_counts *counts)
{
    uint64_t live =
        counts->pending + counts->held + counts->waiting + counts->offered + counts->running;
    uint64_t final = counts->done + counts->failed + counts->dead + counts->cancelled;
    if (live + final != counts->planned)
        violation(sim,
                  "G1: %llu live and %llu ended are not the %llu planned",
                  ID(live),
                  ID(final),
                  ID(counts->planned));
    if (counts->done != sim->done || counts->failed != sim->failed || counts->dead != sim->dead ||
        counts->retried != sim->retried || counts->attempts != sim->offers ||
        counts->fenced != sim->fenced || counts->stragglers != sim->stragglers)
        violation(sim,
                  "G1: counts differ from the books: done %llu/%llu failed %llu/%llu dead "
                  "%llu/%llu retried %llu/%llu attempts %llu/%llu fenced %llu/%llu",
                  ID(counts->done),
                  ID(sim->done),
                  ID(counts->failed),
                  ID(sim->failed),
                  ID(counts->dead),
                  ID(sim->dead),
                  ID(counts->retried),
                  ID(sim->retried),
                  ID(counts->attempts),
                  ID(sim->offers),
                  ID(counts->fenced),
                  ID(sim->fenced));
    if (live > sim->peak_live)
        sim->peak_live = live;
    if (live > sim->live_most)
        sim->live_most = live;
}

/* Subtasks in chunks of 1,024, their index, the backoffs; workers; a queue of actions that was
 * filled by one large message. */
static void check_memory(struct sim *sim)
{
    uint64_t bytes = schedule_memory(sim->schedule);
    uint64_t bound = sim->first_bytes + (sim->live_most / 1024 + 1) * 1024 * (56 + 32 + 32) +
                     (sim->worker_last + 4ull * sim->options->workers + 128) * 400 + (256u << 10);
    if (bytes > bound)
        violation(sim,
                  "G8: the scheduler holds %llu bytes with at most %llu subtasks alive at once",
                  ID(bytes),
                  ID(sim->live_most));
    if (bytes > sim->peak_bytes)
        sim->peak_bytes = bytes;
}

void ledger_step(struct sim *sim)
{
    struct schedule_counts counts;
    schedule_counts(sim->schedule, &counts);
    settle_claims(sim, sim->claims.count);
    check_counts(sim, &counts);
    check_memory(sim);
    elastic_step(sim);
    if (sim->expected.count > 0)
        violation(sim,
                  "G2: the end of subtask %llu is neither recorded nor fenced",
                  ID(sim->expected.at[0].subtask));
    if (sim->unflushed > 0)
        violation(sim, "something is said to a worker without a flush");
    if (counts.cancelled > 0 || counts.state > RUN_GATHERING)
        sim->aborted = true;
    /* What was given up after a cancel has no action of its own. */
    if (sim->aborted && counts.offered + counts.running + counts.pending == 0 && sim->live > 0)
        void_all(sim);
}

static void check_end(struct sim *sim, const struct schedule_counts *counts)
{
    uint64_t failures = sim->base_failures + sim->failed + sim->dead;
    uint64_t known = sim->base_done + sim->base_failures + counts->planned;
    bool all = known == sim->options->subtasks && counts->cancelled == 0;
    bool right = true;
    switch (sim->final_state) {
    case RUN_SUCCEEDED:
        right = all && failures == 0 && sim->gather_seen;
        break;
    case RUN_PARTIAL:
        right = all && failures > 0 && failures <= sim->config.tolerate_count && sim->gather_seen;
        break;
    case RUN_FAILED:
    case RUN_CANCELLED:
    case RUN_INTERRUPTED:
        right = sim->reason != NULL;
        break;
    default:
        right = false;
    }
    if (!right)
        violation(sim,
                  "the run ends %s with %llu planned, %llu failures, reason %s",
                  run_state_name(sim->final_state),
                  ID(counts->planned),
                  ID(failures),
                  sim->reason == NULL ? "none" : sim->reason);
    if (sim->config.run_timeout_us != 0 &&
        sim->finished_us - sim->started_us > (int64_t)sim->config.run_timeout_us + 300 * SECOND)
        violation(sim, "G4: the run goes on for more than five minutes after its timeout");
}

void ledger_end(struct sim *sim)
{
    struct schedule_counts counts;
    schedule_counts(sim->schedule, &counts);
    uint64_t final[RECORD_DEAD + 2] = {0};
    for (uint64_t id = 1; id <= sim->options->subtasks; id++)
        final[sim->accounts[id].final]++;
    uint64_t failures = final[RECORD_FAILED + 1] + final[RECORD_DEAD + 1];
    uint64_t ended = counts.done + counts.failed + counts.dead;
    if (final[RECORD_DONE + 1] != sim->base_done + counts.done ||
        failures != sim->base_failures + counts.failed + counts.dead)
        violation(sim, "G1: the final states of the subtasks are not what the counts say");
    if (sim->final_state != RUN_INTERRUPTED && ended + counts.cancelled != counts.planned)
        violation(sim, "G1: %llu subtasks are in no final state", ID(counts.planned - ended));
    if (!sim->stopped && (counts.recorded != sim->recorded || sim->committed != sim->recorded))
        violation(sim, "the run ends before all records are committed");
    if (schedule_deadline(sim->schedule) != INT64_MAX)
        violation(sim, "the run has ended and still has a deadline");
    check_end(sim, &counts);
    elastic_end(sim);
}

void ledger_free(struct sim *sim)
{
    free(sim->accounts);
    free(sim->expected.at);
    free(sim->claims.at);
    free(sim->live_of);
}
