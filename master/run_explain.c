/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why something does not run: what the scheduler counts, beside what only the shell around it knows
 * (who paused it, which host is being logged in to, which was left out). A list of reasons, the one
 * that holds up most first; each is a word for programs and a sentence for people. Nothing here
 * changes the run.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "master/run_internal.h"
#include "master/schedule/explain.h"

#define NAMED 8u /* launches, and hosts that were left out; the others are counted */

/* What is looked at, and what was found. */
struct explaining {
    struct run *run;
    struct schedule_explanation core; /* what the scheduler says */
    int64_t now_us, core_now_us;      /* monotonic; the scheduler's */
    json_t *reasons;
};

static json_t *add(struct explaining *e, const char *word, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The new reason, borrowed, for more keys; NULL when memory is exhausted. */
static json_t *add(struct explaining *e, const char *word, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_t *reason = json_pack("{s:s, s:s}", "reason", word, "text", text);
    if (reason == NULL) /* a host's message that is not UTF-8, or was cut within a character */
        reason = json_pack("{s:s, s:s}", "reason", word, "text", word);
    json_array_append_new(e->reasons, reason);
    return reason;
}

/* A time of the scheduler as a stamp. */
static const char *stamp_of(const struct explaining *e, int64_t us, char stamp[MF_STAMP_SIZE])
{
    return us == INT64_MAX ? "?" : mf_stamp(mf_wall_us() + (us - e->core_now_us), stamp);
}

static double seconds_since(const struct explaining *e, int64_t from_us)
{
    return from_us == 0 || e->now_us <= from_us ? 0 : (double)(e->now_us - from_us) / 1e6;
}

static void explain_end(struct explaining *e)
{
    const struct run *run = e->run;
    const char *state = run_state_name(run->finished ? run->final_state : e->core.state);
    if (run->early == NULL && e->core.winding_down != NULL)
        add(e, "ending", "the run is being ended: %s", e->core.winding_down);
    if (run->early != NULL)
        add(e,
            run->early,
            "the run is %s, asked for by %s: nothing new starts%s",
            run->early,
            run->early_by,
            e->core.running > 0 ? ", what runs is waited for" : "");
    if (run->failure.code != MF_OK)
        add(e, "stopping", "the run stops: %s", run->failure.text);
    if (e->core.state == RUN_GATHERING)
        add(e,
            "gathering",
            "every subtask has ended: the results have been gathered for %.0f s",
            seconds_since(e, run->stats.gathering_us));
    if (e->core.state >= RUN_DISMISSING)
        add(e,
            "dismissing",
            "the work is over (%s): workers are dismissed and their hosts swept",
            state);
}

static void explain_disk(struct explaining *e)
{
    char since[MF_STAMP_SIZE], until[MF_STAMP_SIZE];
    const struct run_disk *disk = &e->run->disk;
    if (disk->is_waiting)
        add(e,
            "disk_full",
            "waiting for room since %s, until %s at the latest (disk_wait): %s",
            mf_stamp(disk->since_wall_us, since),
            stamp_of(e,
                     disk->since_us - e->run->clock.stood_us + (int64_t)e->run->job->disk_wait_us,
                     until),
            disk->text);
}

static void explain_pause(struct explaining *e)
{
    char stamp[MF_STAMP_SIZE];
    const struct run *run = e->run;
    if (!run->user_paused)
        return;
    json_t *reason = add(e,
                         "paused",
                         "paused since %s%s%s (mayfly unpause lets it go on)",
                         mf_stamp(run->pause_wall_us, stamp),
                         run->pause_reason[0] == '\0' ? "" : ": ",
                         run->pause_reason);
    json_object_set_new(reason, "because", json_string(run->pause_reason));
}

static void explain_plan(struct explaining *e)
{
    if (!e->core.plan_ended)
        add(e,
            "planning",
            "the plan is not finished: %s",
            e->core.pending > 0 ? "more of it is made when it is needed" : "the next are made");
}

/* Started or being started, and not heard of yet. */
static bool is_coming(const struct run_worker *worker)
{
    return (worker->launching || worker->alive) && !worker->joined && !worker->lost &&
           !worker->dismissed && !worker->given_up && !worker->gone;
}

static void explain_launch(struct explaining *e, uint32_t id)
{
    const struct run_worker *worker = &e->run->workers[id];
    const struct launch_host *host = fleet_host_of(e->run->fleet, id);
    const char *name = host == NULL ? "this machine" : host->name;
    bool is_queued = host != NULL && host->kind == LAUNCH_BY_SLURM;
    json_t *reason =
        add(e,
            worker->launching ? "launching" : "joining",
            worker->launching ? is_queued ? "worker %u waits in the queue of %s, for %.1f s so far"
                                          : "worker %u on %s is being launched, for %.1f s so far"
                              : "worker %u on %s was started, %.1f s ago by now, and "
                                "has not joined yet",
            id,
            name,
            seconds_since(e, worker->launching ? worker->begun_us : worker->launched_us));
    json_object_set_new(reason, "worker", json_integer(id));
    json_object_set_new(reason, "host", json_string(name));
}

/* Workers that are not there, although nobody starts them now. */
static void explain_absent(struct explaining *e, uint32_t coming)
{
    char stamp[MF_STAMP_SIZE];
    const char *problem = e->run->launch_problem;
    if (e->core.away > 0)
        add(e,
            "away",
            "%u of %u workers are not connected: they have until the end of their leases to come "
            "back",
            e->core.away,
            e->core.ready);
    if (e->core.wanted > 0)
        add(e,
            "relaunch",
            "%u workers are to be launched in the place of lost ones%s%s%s%s",
            e->core.wanted,
            e->core.relaunch_us == INT64_MAX ? "" : ", not before ",
            e->core.relaunch_us == INT64_MAX ? "" : stamp_of(e, e->core.relaunch_us, stamp),
            *problem == '\0' ? "" : "; the last launch failed: ",
            problem);
    else if (coming == 0 && e->core.ready == 0)
        add(e,
            "no_worker",
            "no worker is there%s%s",
            *problem == '\0' ? "" : "; the last one could not be started: ",
            problem);
}

static void explain_workers(struct explaining *e)
{
    const struct run *run = e->run;
    uint32_t coming = 0;
    for (uint32_t id = 1; id < run->worker_count; id++)
        if (is_coming(&run->workers[id]) && ++coming <= NAMED)
            explain_launch(e, id);
    if (coming > NAMED)
        add(e, "launching", "and %u more workers are on their way", coming - NAMED);
    explain_absent(e, coming);
}

static void explain_hosts(struct explaining *e)
{
    uint32_t left_out = 0;
    for (uint32_t i = 0; i < fleet_place_count(e->run->fleet); i++) {
        struct fleet_place place;
        fleet_place(e->run->fleet, i, &place);
        if (!place.unusable || ++left_out > NAMED)
            continue;
        json_t *reason = add(e,
                             "host_left_out",
                             "%s is left out: %s",
                             place.name,
                             place.reason == NULL ? "it cannot be used" : place.reason);
        json_object_set_new(reason, "host", json_string(place.name));
    }
    if (left_out > NAMED)
        add(e, "host_left_out", "and %u more hosts are left out", left_out - NAMED);
}

static uint64_t places(const struct run *run)
{
    uint64_t slots = 0;
    for (uint32_t id = 1; id < run->worker_count; id++) {
        const struct run_worker *worker = &run->workers[id];
        if (worker->joined && !worker->lost && !worker->dismissed && !worker->gone)
            slots += worker->slots;
    }
    return slots;
}

/* Whether inputs are on their way to a worker. */
static bool is_fetching(const struct run *run)
{
    for (uint32_t id = 1; id < run->worker_count; id++)
        for (unsigned lane = 0; lane < MF_LANES - MF_LANE_FETCH; lane++)
            if (run->workers[id].sent[lane].weight > 0)
                return true;
    return false;
}

static void explain_places(struct explaining *e)
{
    uint64_t slots = places(e->run);
    uint64_t queued = e->core.pending + e->core.offered;
    if (slots == 0 || queued == 0)
        return;
    if (e->core.running >= slots)
        add(e,
            "no_free_place",
            "%" PRIu64 " subtask%s for a place: all %" PRIu64 " places of %u worker%s are taken",
            queued,
            queued == 1 ? " waits" : "s wait",
            slots,
            e->core.ready,
            e->core.ready == 1 ? "" : "s");
    else if (e->core.offered > 0 && is_fetching(e->run))
        add(e,
            "staging",
            "%" PRIu64 " subtask%s offered to workers, and inputs are on their way to them",
            e->core.offered,
            e->core.offered == 1 ? " is" : "s are");
}

static void explain_backoff(struct explaining *e)
{
    char stamp[MF_STAMP_SIZE];
    if (e->core.waiting > 0)
        add(e,
            "backoff",
            "%" PRIu64 " failed subtask%s to be tried again, the first at %s",
            e->core.waiting,
            e->core.waiting == 1 ? " waits" : "s wait",
            stamp_of(e, e->core.waiting_until_us, stamp));
}

/* What an earlier master may have issued waits for its workers. */
static void explain_held(struct explaining *e)
{
    char stamp[MF_STAMP_SIZE];
    if (e->core.held > 0)
        add(e,
            "held",
            "%" PRIu64 " subtask%s be with workers of the earlier master: they wait for %u of "
            "these to come, until %s at the latest",
            e->core.held,
            e->core.held == 1 ? " may" : "s may",
            e->core.known_workers,
            stamp_of(e, e->core.held_until_us, stamp));
}

static void explain_records(struct explaining *e)
{
    if (e->core.unrecorded > 0 && e->core.running + e->core.offered == 0)
        add(e,
            "recording",
            "%" PRIu64 " result%s for their commit to run.db",
            e->core.unrecorded,
            e->core.unrecorded == 1 ? " waits" : "s wait");
}

/* In the order in which they hold up: the first one is the headline. */
static void explain(struct explaining *e)
{
    bool is_working = e->core.state <= RUN_RUNNING && !e->run->finished;
    explain_disk(e);
    explain_end(e);
    if (is_working && e->core.winding_down == NULL) {
        explain_pause(e);
        explain_held(e);
        explain_workers(e);
        explain_places(e);
        explain_backoff(e);
        explain_plan(e);
        explain_records(e);
    }
    explain_hosts(e);
}

static bool begin(struct explaining *e, struct run *run)
{
    *e = (struct explaining){.run = run,
                             .now_us = mf_monotonic_us(),
                             .core_now_us = mf_monotonic_us() - run->clock.stood_us,
                             .reasons = json_array()};
    schedule_explain(run->schedule, &e->core);
    return e->reasons != NULL;
}

/* Who has it, in words. */
static void describe_holders(const struct explaining *e,
                             const struct schedule_subtask *subtask,
                             char *text,
                             size_t size)
{
    size_t length = strlen(text);
    for (unsigned i = 0; i < subtask->holder_count && length < size; i++) {
        const struct schedule_holder *holder = &subtask->holder[i];
        const char *host = run_host_name(e->run, holder->worker);
        length += (size_t)snprintf(text + length,
                                   size - length,
                                   "%s%s on worker %u%s%s, attempt %u%s%s",
                                   i == 0 ? "" : "; and ",
                                   holder->running ? "it runs" : "it is offered, and not begun,",
                                   holder->worker,
                                   host == NULL ? "" : " on ",
                                   host == NULL ? "" : host,
                                   holder->attempt,
                                   holder->told ? ", which was asked to give it up" : "",
                                   holder->away ? ", whose connection is gone" : "");
    }
}

static void describe_subtask(const struct explaining *e,
                             const struct schedule_subtask *subtask,
                             char *text,
                             size_t size)
{
    char stamp[MF_STAMP_SIZE];
    text[0] = '\0';
    if (!subtask->found)
        snprintf(text, size, subtask->ahead ? "it is not planned yet" : "it has ended");
    else if (subtask->holder_count > 0)
        describe_holders(e, subtask, text, size);
    else if (strcmp(subtask->state, "waiting") == 0)
        snprintf(text,
                 size,
                 "it has failed %u time%s, and is tried again at %s",
                 subtask->failures,
                 subtask->failures == 1 ? "" : "s",
                 stamp_of(e, subtask->until_us, stamp));
    else if (strcmp(subtask->state, "held") == 0)
        snprintf(text,
                 size,
                 "a worker of the earlier master may have it: it waits for that until %s",
                 stamp_of(e, subtask->until_us, stamp));
    else
        snprintf(text, size, "it waits for its turn: %s", schedule_why_text(subtask->why));
}

/* What the scheduler knows of one subtask; a finished one stands in run.db. */
static json_t *explain_subtask(const struct explaining *e, uint64_t id)
{
    struct schedule_subtask subtask;
    char text[1024];
    schedule_explain_subtask(e->run->schedule, id, &subtask);
    describe_subtask(e, &subtask, text, sizeof text);
    json_t *object = json_pack("{s:I, s:s, s:s, s:i, s:i, s:i}",
                               "subtask",
                               (json_int_t)id,
                               "state",
                               subtask.ahead ? "planned later" : subtask.state,
                               "text",
                               text,
                               "attempt",
                               (int)subtask.attempt,
                               "failures",
                               (int)subtask.failures,
                               "losses",
                               (int)subtask.losses);
    return object;
}

json_t *run_explain_json(struct run *run, uint64_t subtask)
{
    struct explaining e;
    if (!begin(&e, run))
        return NULL;
    explain(&e);
    json_t *answer = json_pack("{s:b, s:i, s:s, s:s, s:o}",
                               "ok",
                               1,
                               "version",
                               1,
                               "run_id",
                               run->run_id,
                               "state",
                               run_state_name(run->finished ? run->final_state : e.core.state),
                               "reasons",
                               e.reasons);
    if (answer != NULL && subtask != 0)
        json_object_set_new(answer, "subtask", explain_subtask(&e, subtask));
    return answer;
}

const char *run_held_up(struct run *run)
{
    struct explaining e;
    if (!begin(&e, run))
        return NULL;
    bool is_held = e.core.paused || run->disk.is_waiting ||
                   (e.core.running == 0 && e.core.state <= RUN_RUNNING);
    if (is_held)
        explain(&e);
    const char *text = json_string_value(json_object_get(json_array_get(e.reasons, 0), "text"));
    if (text != NULL)
        snprintf(run->held_up, sizeof run->held_up, "%s", text);
    json_decref(e.reasons);
    return text == NULL ? NULL : run->held_up;
}
