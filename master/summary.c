/* SPDX-License-Identifier: Apache-2.0 */
/* Status and summary: see summary.h. Keys are kept for good; a new one is a new key. */
#include "master/summary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/cost_json.h"
#include "master/run_folder.h"
#include "master/run_internal.h"

struct totals {
    bool known;
    uint64_t total, done, failed, dead, cancelled;
};

static struct totals count_totals(struct run *run, struct schedule_counts *counts)
{
    schedule_counts(run->schedule, counts);
    struct totals totals = {.known = counts->plan_ended,
                            .done = run->base_done + counts->done,
                            .failed = run->base_failed + counts->failed,
                            .dead = run->base_dead + counts->dead,
                            .cancelled = counts->cancelled};
    totals.total = run_total(run);
    totals.known = run_has_total(run);
    return totals;
}

static double seconds_between(int64_t from_us, int64_t to_us)
{
    return from_us == 0 || to_us <= from_us ? 0 : (double)(to_us - from_us) / 1e6;
}

static json_t *subtasks_json(const struct totals *totals)
{
    json_t *object =
        json_pack("{s:o, s:I, s:I, s:I, s:I}",
                  "total",
                  totals->known ? json_integer((json_int_t)totals->total) : json_null(),
                  "done",
                  (json_int_t)totals->done,
                  "failed",
                  (json_int_t)totals->failed,
                  "dead",
                  (json_int_t)totals->dead,
                  "cancelled",
                  (json_int_t)totals->cancelled);
    return object;
}

/* The bounds, and how many are wanted for the work that there is, where that varies. */
static json_t *workers_json(const struct run *run, const struct schedule_counts *counts)
{
    json_t *workers = json_pack("{s:i, s:i, s:i}",
                                "launched",
                                (int)run->stats.launched,
                                "alive",
                                (int)counts->workers_alive,
                                "lost",
                                (int)run->stats.lost);
    if (workers == NULL || run->job->worker_max == run->job->worker_min)
        return workers;
    json_object_set_new(workers, "min", json_integer(run->job->worker_min));
    json_object_set_new(workers, "max", json_integer(run->job->worker_max));
    json_object_set_new(workers, "wanted", json_integer(counts->workers_wanted));
    json_object_set_new(workers, "let_go", json_integer(counts->workers_let_go));
    return workers;
}

json_t *run_status_json(struct run *run)
{
    struct schedule_counts counts;
    struct totals totals = count_totals(run, &counts);
    int64_t now_us = mf_monotonic_us();
    double seconds = seconds_between(run->stats.first_joined_us, now_us);
    json_t *status = json_pack("{s:b, s:i, s:s, s:s, s:s, s:b, s:o}",
                               "ok",
                               1,
                               "version",
                               1,
                               "run_id",
                               run->run_id,
                               "job",
                               run->job->name,
                               "state",
                               run_state_name(run->finished ? run->final_state : counts.state),
                               "paused",
                               counts.paused,
                               "subtasks",
                               subtasks_json(&totals));
    if (status == NULL)
        return NULL;
    json_object_set_new(status, "firing", run_firing_json(run));
    if (run->disk.is_waiting)
        json_object_set_new(status, "disk_full", json_string(run->disk.text));
    json_object_set_new(status,
                        "live",
                        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}",
                                  "pending",
                                  (json_int_t)counts.pending,
                                  "held",
                                  (json_int_t)counts.held,
                                  "waiting",
                                  (json_int_t)counts.waiting,
                                  "offered",
                                  (json_int_t)counts.offered,
                                  "running",
                                  (json_int_t)counts.running,
                                  "retried",
                                  (json_int_t)counts.retried));
    json_object_set_new(status, "workers", workers_json(run, &counts));
    const char *held_up = run->finished ? NULL : run_held_up(run);
    json_object_set_new(status, "held_up", held_up == NULL ? json_null() : json_string(held_up));
    json_object_set_new(
        status, "seconds", json_real(seconds_between(run->stats.started_us, now_us)));
    json_object_set_new(
        status, "rate_per_s", json_real(seconds > 0 ? (double)counts.done / seconds : 0));
    return status;
}

/* Busy time of the busiest worker against the mean (1 = even), and the share of slot time in which
 * nothing ran. */
static void balance(const struct run *run, double *imbalance, double *idle_share)
{
    uint64_t sum = 0, most = 0;
    double paid = 0;
    unsigned count = 0;
    int64_t end_us =
        run->stats.gathering_us != 0 ? run->stats.gathering_us : run->stats.dismissing_us;
    for (uint32_t id = 1; id < run->worker_count; id++) {
        const struct run_worker *worker = &run->workers[id];
        if (!worker->joined)
            continue;
        int64_t over_us = end_us != 0 && (worker->over_us == 0 || end_us < worker->over_us)
                              ? end_us
                              : worker->over_us;
        paid += seconds_between(worker->joined_us, over_us) * worker->slots * 1e6;
        sum += worker->busy_us;
        most = worker->busy_us > most ? worker->busy_us : most;
        count++;
    }
    *imbalance = sum > 0 ? (double)most * count / (double)sum : 1;
    *idle_share = paid > 0 && (double)sum < paid ? 1 - (double)sum / paid : 0;
}

static json_t *seconds_json(const struct run_stats *s)
{
    int64_t run_end_us = s->gathering_us != 0 ? s->gathering_us : s->dismissing_us;
    int64_t gather_end_us = s->dismissing_us;
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}",
                     "wall",
                     seconds_between(s->started_us, s->ended_us),
                     "plan",
                     seconds_between(s->started_us, s->planned_us),
                     "launch",
                     seconds_between(s->launched_us, s->first_joined_us),
                     "run",
                     seconds_between(s->first_joined_us, run_end_us),
                     "gather",
                     seconds_between(s->gathering_us, gather_end_us),
                     "dismiss",
                     seconds_between(s->dismissing_us, s->ended_us));
}

static json_t *hosts_json(const struct run_stats *stats)
{
    json_t *hosts = json_array();
    for (uint32_t i = 0; i < stats->sweep_count; i++) {
        const struct run_sweep *sweep = &stats->sweeps[i];
        json_array_append_new(hosts,
                              json_pack("{s:s, s:b, s:s, s:i, s:i, s:s}",
                                        "host",
                                        sweep->place,
                                        "verified",
                                        sweep->verified,
                                        "verified_by",
                                        sweep->verified_by,
                                        "processes_ended",
                                        (int)sweep->processes_ended,
                                        "files_removed",
                                        (int)sweep->files_removed,
                                        "left",
                                        sweep->left));
    }
    return hosts;
}

/* Hosts that were left out, and why. */
static json_t *unusable_json(const struct run *run)
{
    json_t *hosts = json_array();
    for (uint32_t i = 0; i < fleet_place_count(run->fleet); i++) {
        struct fleet_place place;
        fleet_place(run->fleet, i, &place);
        if (place.unusable)
            json_array_append_new(hosts,
                                  json_pack("{s:s, s:s}",
                                            "host",
                                            place.name,
                                            "reason",
                                            place.reason == NULL ? "" : place.reason));
    }
    return hosts;
}

/* How the run was started, and what has become of its messages. */
static json_t *firing_json(const struct run *run)
{
    const struct run_firing *firing = &run->firing;
    json_t *object = run_firing_json(run);
    if (json_is_object(object) && firing->is_settled) {
        json_object_set_new(object, "done", json_integer((json_int_t)firing->settled.gone));
        json_object_set_new(object, "failed", json_integer((json_int_t)firing->settled.failed));
        json_object_set_new(object, "back", json_integer((json_int_t)firing->settled.back));
    }
    return object;
}

/* From the table that is closed now. A damaged one makes the run no worse: its figures are null. */
static json_t *cost_of(const struct run *run)
{
    struct mf_error error;
    json_t *cost = cost_json(run->folder, run->stats.ended_wall_us, &error);
    if (cost == NULL)
        mf_log(MF_ERROR, "no cost account: %s", error.text);
    return cost == NULL ? json_null() : cost;
}

static void
add_path(json_t *summary, const char *key, const struct run *run, const char *name, bool there)
{
    char *path = there ? run_path(run->folder, name) : NULL;
    json_object_set_new(summary, key, path == NULL ? json_null() : json_string(path));
    mf_free(path);
}

json_t *run_summary_json(struct run *run)
{
    struct schedule_counts counts;
    struct scatter_counts wire;
    struct totals totals = count_totals(run, &counts);
    const struct run_stats *stats = &run->stats;
    double imbalance, idle_share;
    scatter_counts(run->scatter, &wire);
    balance(run, &imbalance, &idle_share);
    json_t *seconds = seconds_json(stats);
    double run_seconds = json_real_value(json_object_get(seconds, "run"));
    json_t *summary = json_pack("{s:i, s:s, s:s, s:s, s:o}",
                                "version",
                                1,
                                "run_id",
                                run->run_id,
                                "job",
                                run->job->name,
                                "state",
                                run_state_name(run->final_state),
                                "subtasks",
                                subtasks_json(&totals));
    if (summary == NULL) {
        json_decref(seconds);
        return NULL;
    }
    json_object_set_new(summary,
                        "attempts",
                        json_pack("{s:I, s:I, s:I}",
                                  "total",
                                  (json_int_t)counts.recorded,
                                  "retried",
                                  (json_int_t)counts.retried,
                                  "fenced",
                                  (json_int_t)counts.fenced));
    json_object_set_new(summary,
                        "workers",
                        json_pack("{s:i, s:i, s:i, s:i, s:i}",
                                  "launched",
                                  (int)stats->launched,
                                  "lost",
                                  (int)stats->lost,
                                  "let_go",
                                  (int)counts.workers_let_go,
                                  "verified_gone",
                                  (int)stats->verified_gone,
                                  "unverified",
                                  (int)stats->unverified));
    json_object_set_new(summary, "seconds", seconds);
    json_object_set_new(summary,
                        "rate_per_s",
                        json_real(run_seconds > 0 ? (double)counts.recorded / run_seconds : 0));
    json_object_set_new(summary, "imbalance", json_real(imbalance));
    json_object_set_new(summary, "idle_share", json_real(idle_share));
    json_object_set_new(summary, "cost", cost_of(run));
    json_object_set_new(
        summary,
        "bytes",
        json_pack(
            "{s:I, s:I}", "in", (json_int_t)wire.bytes_in, "out", (json_int_t)wire.bytes_out));
    json_object_set_new(summary, "firing", firing_json(run));
    json_object_set_new(summary, "hosts", hosts_json(stats));
    json_object_set_new(summary, "hosts_left_out", unusable_json(run));
    json_object_set_new(summary, "credentials_removed", json_boolean(stats->credentials_removed));
    bool has_result = run->final_state == RUN_SUCCEEDED || run->final_state == RUN_PARTIAL;
    add_path(summary, "result", run, "result", has_result && run->job->gather != GATHER_NONE);
    add_path(summary, "log", run, "master.log", true);
    if (run->reason[0] != '\0')
        json_object_set_new(summary, "reason", json_string(run->reason));
    return summary;
}

int run_summary_write(struct run *run, json_t *summary, struct mf_error *error)
{
    char *text = summary == NULL ? NULL : json_dumps(summary, JSON_INDENT(2));
    char *path = run_path(run->folder, "summary.json");
    int rc = text == NULL || path == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: the summary")
                                          : write_file(path, text, strlen(text), true, error);
    free(text);
    mf_free(path);
    return rc;
}

/* One line for all hosts that are clean, one for each that is not. */
static void say_sweeps(struct run *run)
{
    const struct run_stats *stats = &run->stats;
    uint32_t verified = 0;
    for (uint32_t i = 0; i < stats->sweep_count; i++)
        verified += stats->sweeps[i].verified;
    if (verified == 1 && stats->sweep_count == 1)
        progress_say(run->progress,
                     "%s: verified: no process, file or credential of the run is left",
                     stats->sweeps[0].place);
    else if (verified > 0)
        progress_say(run->progress,
                     "%u of %u hosts verified: no process, file or credential of the run is left",
                     verified,
                     stats->sweep_count);
    for (uint32_t i = 0; i < stats->sweep_count; i++)
        if (!stats->sweeps[i].verified)
            progress_say(run->progress,
                         "%s: NOT verified: %s",
                         stats->sweeps[i].place,
                         stats->sweeps[i].left);
}

static void say_messages(struct run *run)
{
    const struct settled *settled = &run->firing.settled;
    if (run->firing.is_settled)
        progress_say(run->progress,
                     "messages of queue %s: %llu done, %llu failed, %llu given back",
                     run->job->split.queue,
                     (unsigned long long)settled->gone,
                     (unsigned long long)settled->failed,
                     (unsigned long long)settled->back);
}

void run_summary_print(struct run *run, const json_t *summary)
{
    struct schedule_counts counts;
    struct totals totals = count_totals(run, &counts);
    const struct run_stats *stats = &run->stats;
    double seconds = seconds_between(stats->started_us, stats->ended_us);
    progress_say(run->progress,
                 "run %s %s: %llu done, %llu failed, %llu dead, %llu cancelled in %.1f s",
                 run->run_id,
                 run_state_name(run->final_state),
                 (unsigned long long)totals.done,
                 (unsigned long long)totals.failed,
                 (unsigned long long)totals.dead,
                 (unsigned long long)totals.cancelled,
                 seconds);
    if (run->final_state == RUN_INTERRUPTED)
        progress_say(run->progress, "mayfly resume %s goes on from here", run->run_id);
    else if (run->job->split.kind == SPLIT_QUEUE)
        say_messages(run);
    else if (totals.failed + totals.dead > 0)
        progress_say(
            run->progress,
            "mayfly results %s --dead shows the dead letters, mayfly retry %s tries them again",
            run->run_id,
            run->run_id);
    const json_t *cost = json_object_get(summary, "cost");
    char text[160];
    if (json_is_object(cost))
        progress_say(run->progress, "paid for %s", cost_text(cost, text, sizeof text));
    say_sweeps(run);
    if (!stats->credentials_removed)
        progress_say(
            run->progress, "NOT removed: the keys in %s/keys (see master.log)", run->folder);
    progress_say(run->progress, "everything is in %s", run->folder);
}
