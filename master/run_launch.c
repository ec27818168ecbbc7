/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers from their launch to their end: the fleet's reports into events, launch inputs, the sweep
 * of each host. A worker counts as gone when its process is known
 * to have ended after it was dismissed or lost.
 */
#include <jansson.h>
#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "master/run_addresses.h"
#include "master/run_internal.h"

/* A dismissed worker without a connection has so long to come back and hear of it. */
#define LEAVE_AFTER_US 2000000
/* So many keys and certificates are made before the logins of others go on. */
#define STARTS_A_TURN 8

void run_note_worker(struct run *run, const struct record_worker *row)
{
    struct mf_error error;
    if (record_worker(run->recorder, row, &error) < 0)
        run_fail(run, &error);
}

/* A worker that this master never heard of may have ended long before it began: at the latest when
 * it had waited in vain for so long as the orphan limit says. */
int64_t run_worker_end_us(const struct run *run, uint32_t id)
{
    int64_t now_us = mf_wall_us();
    const struct run_worker *worker = id < run->worker_count ? &run->workers[id] : NULL;
    if (run->again == NULL || run->again->left_us == 0 || id > run->again->last_worker ||
        (worker != NULL && worker->joined))
        return now_us;
    int64_t orphan_us = run->again->left_us + (int64_t)run->job->orphan_us;
    return orphan_us < now_us ? orphan_us : now_us;
}

static void say_gone(struct run *run, uint32_t id)
{
    struct run_worker *worker = &run->workers[id];
    if (worker->gone)
        return;
    worker->gone = true;
    worker->over_us = mf_monotonic_us();
    scatter_forget(run->scatter, id);
    run_stage_lost(run, id);
    endpoint_let_go(run->endpoint, id);
    run_close_way(run, id);
    run_note_worker(run,
                    &(struct record_worker){.id = id,
                                            .state = worker->lost ? "lost" : "gone",
                                            .ended_us = run_worker_end_us(run, id)});
    run_queue(run, (struct schedule_event){.kind = EVENT_WORKER_GONE, .worker = id});
}

/* Of the first host; the log has them all. */
static void say_client(struct run *run, const struct launch_report *report)
{
    if (report->elsewhere == NULL || run->said_client)
        return;
    run->said_client = true;
    progress_say(run->progress,
                 "%s: OpenSSH's client logs in, since libssh2 can't: %s",
                 report->place,
                 report->elsewhere);
}

/* Behind a queue: the host and the time come from it. A worker that joined first was there by
 * then. */
static void note_begin(struct run *run, const struct launch_report *report)
{
    struct run_worker *worker = &run->workers[report->worker];
    int64_t begun_us = report->begun_us;
    if (report->node == NULL && begun_us == 0)
        return;
    if (begun_us != 0 && worker->joined) {
        int64_t joined_us = mf_wall_us() - (mf_monotonic_us() - worker->joined_us);
        begun_us = begun_us < joined_us ? begun_us : joined_us;
    }
    if (report->node != NULL) {
        worker->is_placed = true;
        snprintf(worker->host, sizeof worker->host, "%s", report->node);
    }
    run_note_worker(run,
                    &(struct record_worker){
                        .id = report->worker, .host = report->node, .launched_us = begun_us});
}

static void note_launch(struct run *run, const struct launch_report *report)
{
    struct run_worker *worker = &run->workers[report->worker];
    note_begin(run, report);
    if (report->given_up) {
        mf_log(MF_INFO, "worker %u: %s", report->worker, report->error.text);
        return;
    }
    if (!report->ok) {
        mf_log(MF_ERROR, "worker %u: %s", report->worker, report->error.text);
        snprintf(run->launch_problem, sizeof run->launch_problem, "%.500s", report->error.text);
        return;
    }
    say_client(run, report);
    worker->pid = report->pid;
    worker->launched_us = mf_monotonic_us();
    worker->port = report->port;
    snprintf(worker->address,
             sizeof worker->address,
             "%s",
             report->address == NULL ? "" : report->address);
    if (worker->joined)
        return; /* it was quicker than the report of its start */
    worker->alive = true;
    run->awaiting = true;
    run->dial_us = 0;
    run_note_worker(
        run,
        &(struct record_worker){.id = report->worker,
                                .state = "joining",
                                .host = report->node == NULL ? report->place : report->node,
                                .address = worker->address,
                                .pid = report->pid,
                                .port = report->port});
}

static void on_launched(void *arg, const struct launch_report *report)
{
    struct run *run = arg;
    uint32_t id = report->worker;
    struct run_worker *worker = run_worker(run, id);
    worker->launching = false;
    MF_CRASH(MASTER_AFTER_LAUNCH);
    note_launch(run, report);
    if (worker->dismissed || worker->lost) {
        if (!report->ok && (!worker->joined || !report->given_up))
            say_gone(run, id);
        else if (!worker->joined)
            fleet_stop(run->fleet, id);
        run_act(run);
        return;
    }
    run_apply(run,
              (struct schedule_event){.kind = report->ok ? EVENT_WORKER_LAUNCHED
                                                         : EVENT_WORKER_LAUNCH_FAILED,
                                      .worker = id,
                                      .ok = report->again});
}

static void on_unusable(void *arg, const char *host, const char *reason)
{
    struct run *run = arg;
    (void)host;
    mf_log(MF_WARNING, "left out: %s", reason);
    progress_say(run->progress, "left out: %s", reason);
}

static void on_waits(void *arg, const char *sentence)
{
    struct run *run = arg;
    mf_log(MF_INFO, "%s", sentence);
    progress_say(run->progress, "%s", sentence);
}

static void on_died(void *arg, uint32_t id)
{
    struct run *run = arg;
    struct run_worker *worker = run_worker(run, id);
    worker->alive = false;
    if (worker->dismissed || worker->lost) {
        say_gone(run, id);
    } else {
        mf_log(MF_WARNING, "worker %u (process %u) died", id, worker->pid);
        run_queue(run, (struct schedule_event){.kind = EVENT_WORKER_DIED, .worker = id});
    }
    run_act(run);
}

static void log_sweep(const struct sweep_report *report)
{
    mf_log(report->verified ? MF_INFO : MF_WARNING,
           "%s: %s (by %s), %u processes ended, %u files removed%s%s",
           report->place,
           report->verified ? "nothing of the run is left" : "not verified",
           report->verified_by,
           report->processes_ended,
           report->files_removed,
           report->left == NULL ? "" : ": ",
           report->left == NULL ? "" : report->left);
}

static void keep_sweep(struct run *run, const struct sweep_report *report)
{
    struct run_stats *stats = &run->stats;
    struct run_sweep *sweeps = mf_realloc(stats->sweeps, (stats->sweep_count + 1) * sizeof *sweeps);
    if (sweeps == NULL)
        return; /* it stands in the log */
    stats->sweeps = sweeps;
    struct run_sweep *sweep = &sweeps[stats->sweep_count++];
    *sweep = (struct run_sweep){.verified = report->verified,
                                .processes_ended = report->processes_ended,
                                .files_removed = report->files_removed};
    snprintf(sweep->place, sizeof sweep->place, "%s", report->place);
    snprintf(sweep->verified_by, sizeof sweep->verified_by, "%s", report->verified_by);
    snprintf(sweep->left, sizeof sweep->left, "%s", report->left == NULL ? "" : report->left);
}

static void on_swept(void *arg, uint32_t place, const struct sweep_report *report)
{
    struct run *run = arg;
    MF_CRASH(MASTER_AFTER_SWEEP);
    log_sweep(report);
    keep_sweep(run, report);
    for (uint32_t id = 1; id < run->worker_count; id++) {
        if (fleet_place_of(run->fleet, id) != place)
            continue;
        run->stats.verified_gone += report->verified;
        run->stats.unverified += !report->verified;
        run_note_worker(
            run,
            &(struct record_worker){
                .id = id, .verified_by = report->verified ? report->verified_by : "none"});
    }
}

void run_fleet_callbacks(struct run *run, struct fleet_callbacks *callbacks)
{
    *callbacks = (struct fleet_callbacks){.launched = on_launched,
                                          .died = on_died,
                                          .swept = on_swept,
                                          .unusable = on_unusable,
                                          .waits = on_waits,
                                          .arg = run};
}

const char *run_host_name(const struct run *run, uint32_t id)
{
    const struct launch_host *host = fleet_host_of(run->fleet, id);
    const struct run_worker *worker = id < run->worker_count ? &run->workers[id] : NULL;
    if (host == NULL)
        return NULL;
    bool is_queue = host->kind == LAUNCH_BY_SLURM;
    return is_queue && worker != NULL && worker->host[0] != '\0' ? worker->host : host->name;
}

static void hex(const unsigned char *bytes, size_t size, char *text)
{
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

/* How the worker and this master find each other, and what becomes of its program. */
int run_add_addresses(const struct run *run, const struct launch_host *host, json_t *root)
{
    const struct job *job = run->job;
    uint16_t port = endpoint_port(run->endpoint);
    bool is_dialed = job->connect == CONNECT_MASTER || job->connect == CONNECT_SSH;
    bool dials = host->is_local || !is_dialed;
    json_t *addresses = !dials           ? json_array()
                        : host->is_local ? addresses_for_here(port)
                                         : addresses_for_hosts(job->advertise, port);
    int rc = json_object_set_new(root, "addresses", addresses);
    if (rc == 0 && !host->is_local && dials)
        rc = json_object_set_new(root, "ssh_port", json_integer(port));
    if (rc == 0 && !host->is_local && job->connect != CONNECT_WORKER)
        rc = json_object_set_new(root, "listen", json_true());
    if (rc == 0 && job->keep_worker)
        rc = json_object_set_new(root, "keep_program", json_true());
    return rc;
}

/* Aids for tests (docs/testing.md), which only the environment of the master can ask for. */
static int add_aids(json_t *root)
{
    const char *journal = getenv("MAYFLY_JOURNAL"), *crash = getenv("MAYFLY_CRASH");
    int rc = 0;
    if (journal != NULL && journal[0] != '\0')
        rc = json_object_set_new(root, "journal", json_string(journal));
    if (rc == 0 && crash != NULL && crash[0] != '\0')
        rc = json_object_set_new(root, "crash", json_string(crash));
    return rc;
}

/* The launch input: docs/protocol.md, "Launch". The caller wipes and frees it. */
static char *launch_input(struct run *run,
                          uint32_t worker,
                          const struct launch_host *host,
                          const struct credential *credential)
{
    char token[2 * MF_TOKEN_SIZE + 1];
    hex(credential->token, MF_TOKEN_SIZE, token);
    json_t *root = json_pack("{s:i, s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:I, s:I}",
                             "version",
                             1,
                             "run",
                             run->run_id,
                             "worker",
                             (json_int_t)worker,
                             "slots",
                             (json_int_t)(host->slots > 0 ? host->slots : run->job->slots),
                             "authority",
                             credential->authority_pem,
                             "certificate",
                             credential->certificate_pem,
                             "key",
                             credential->key_pem,
                             "token",
                             token,
                             "lease_us",
                             (json_int_t)run->job->lease_us,
                             "orphan_us",
                             (json_int_t)run->job->orphan_us);
    char *text = root == NULL || run_add_addresses(run, host, root) < 0 || add_aids(root) < 0
                     ? NULL
                     : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    char *line = text == NULL ? NULL : mf_format("%s\n", text);
    if (text != NULL)
        mbedtls_platform_zeroize(text, strlen(text));
    free(text);
    mbedtls_platform_zeroize(token, sizeof token);
    return line;
}

static int start_worker(struct run *run, uint32_t id, struct mf_error *error)
{
    struct credential credential = {0};
    const struct launch_host *host = fleet_host_of(run->fleet, id);
    if (authority_issue(run->authority, id, &credential, error) < 0)
        return -1;
    char *input = launch_input(run, id, host, &credential);
    int rc = input == NULL
                 ? mf_raise(error, MF_ENOMEM, "out of memory: the launch of worker %u", id)
                 : scatter_expect(run->scatter, id, error);
    if (rc == 0)
        rc = fleet_start(run->fleet, id, input, error);
    if (input != NULL)
        mbedtls_platform_zeroize(input, strlen(input));
    mf_free(input);
    credential_fini(&credential);
    return rc;
}

void run_launch(struct run *run, uint32_t id)
{
    struct run_worker *worker = run_worker(run, id);
    if (worker == NULL || worker->launching)
        return; /* it waits in a queue, where an earlier master has put it */
    if (run->stats.launched++ == 0)
        run->stats.launched_us = mf_monotonic_us();
    worker->begun_us = mf_monotonic_us();
    worker->is_due = true;
    run->has_due = true;
}

static void fail_start(struct run *run, uint32_t id, const struct mf_error *error)
{
    struct launch_report report = {
        .worker = id, .again = fleet_has_room(run->fleet), .error = *error};
    on_launched(run, &report);
}

/* While it waited for room on the disk it was lost or dismissed. */
static void leave_unstarted(struct run *run, uint32_t id)
{
    struct launch_report report = {.worker = id, .given_up = true};
    mf_raise(&report.error, MF_ESETUP, "it was not started: it is not wanted any more");
    on_launched(run, &report);
}

/* Its host is chosen, and both are on their way to the disk. False: there is none. */
static bool place_worker(struct run *run, uint32_t id)
{
    struct mf_error error;
    const struct launch_host *host = fleet_assign(run->fleet, id, &error);
    bool is_queue = host != NULL && host->kind == LAUNCH_BY_SLURM; /* nothing is paid there yet */
    run_note_worker(run,
                    &(struct record_worker){.id = id,
                                            .state = "launching",
                                            .place = host == NULL ? NULL : host->name,
                                            .launched_us = is_queue ? 0 : mf_wall_us()});
    run->workers[id].launching = true;
    if (host == NULL)
        fail_start(run, id, &error);
    return host != NULL;
}

/* A worker that the results table does not know could never be found again. So one whose row finds
 * no room on the disk is started when there is room again. A few at a time: each costs a key and a
 * certificate, and the first ones log in meanwhile. */
void run_start_due(struct run *run)
{
    struct mf_error error;
    if (!run->has_due || run->disk.is_waiting)
        return;
    run->has_due = false;
    uint32_t count = run->worker_count; /* what is asked for meanwhile has its turn */
    for (uint32_t id = 1; id < count; id++) {
        struct run_worker *worker = &run->workers[id];
        if (worker->is_due && (worker->gone || (!worker->launching && !place_worker(run, id))))
            run->workers[id].is_due = false;
    }
    bool is_durable = record_flush(run->recorder, &error) == 0;
    if (!is_durable)
        run_trouble(run, &error);
    if (run->disk.is_waiting) {
        run->has_due = true;
        return;
    }
    unsigned started = 0;
    for (uint32_t id = 1; id < count; id++) {
        if (!run->workers[id].is_due)
            continue;
        if (is_durable && started++ == STARTS_A_TURN) {
            run->has_due = true;
            return;
        }
        run->workers[id].is_due = false;
        if (run->workers[id].lost || run->workers[id].dismissed) {
            leave_unstarted(run, id);
            continue;
        }
        MF_CRASH(MASTER_BEFORE_LAUNCH);
        if (!is_durable || start_worker(run, id, &error) < 0)
            fail_start(run, id, &error);
    }
}

void run_worker_lost(struct run *run, uint32_t id)
{
    struct run_worker *worker = run_worker(run, id);
    if (worker == NULL || worker->lost)
        return;
    worker->lost = true;
    run->stats.lost++;
    mf_log(MF_WARNING,
           "worker %u on %s is lost",
           id,
           worker->host[0] == '\0' ? "its host" : worker->host);
    struct mf_error error;
    if (record_event(run->recorder, mf_wall_us(), "worker lost", id, 0, worker->host, &error) < 0)
        run_fail(run, &error);
    if (intake_lost(run->intake, id, &error) < 0)
        run_trouble(run, &error);
    scatter_forget(run->scatter, id);
    run_stage_lost(run, id);
    endpoint_undial(run->endpoint, id);
    run_close_way(run, id);
    fleet_lost(run->fleet, id, run->job->max_losses);
    if (worker->alive || worker->launching)
        fleet_stop(run->fleet, id);
    else
        say_gone(run, id);
}

void run_leave_lost(struct run *run)
{
    for (uint32_t id = 1; id < run->worker_count; id++) {
        const struct run_worker *worker = &run->workers[id];
        const struct launch_host *host = fleet_host_of(run->fleet, id);
        if (worker->lost && !worker->launching && host != NULL && !host->is_local)
            say_gone(run, id);
    }
}

int64_t run_leave_step(struct run *run, int64_t now_us)
{
    if (run->leave_us == 0)
        return MF_NEVER;
    if (now_us < run->leave_us)
        return run->leave_us;
    run->leave_us = 0;
    for (uint32_t id = 1; id < run->worker_count; id++) {
        const struct run_worker *worker = &run->workers[id];
        if (worker->dismissed && worker->alive && worker->joined && !worker->lost &&
            !worker->gone && !scatter_is_connected(run->scatter, id))
            fleet_stop(run->fleet, id);
    }
    return MF_NEVER;
}

void run_worker_dismiss(struct run *run, uint32_t id)
{
    struct run_worker *worker = run_worker(run, id);
    if (worker == NULL || worker->gone)
        return;
    MF_CRASH(MASTER_BEFORE_DISMISS);
    struct mf_error error;
    if (!worker->dismissed &&
        record_event(run->recorder, mf_wall_us(), "worker dismissed", id, 0, worker->host, &error) <
            0)
        run_trouble(run, &error);
    worker->dismissed = true;
    if (worker->alive && worker->joined && !worker->lost) {
        scatter_dismiss(run->scatter, id);
        if (!scatter_is_connected(run->scatter, id))
            run->leave_us = mf_monotonic_us() + LEAVE_AFTER_US;
    } else if (worker->alive || worker->launching)
        fleet_stop(run->fleet, id);
    else
        say_gone(run, id);
    MF_CRASH(MASTER_AFTER_DISMISS);
}
