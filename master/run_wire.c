/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workers say, and what becomes of them: polls into events, chunks into files and logs, joins
 * and deaths. A worker counts as gone when its process is known to have ended after it was
 * dismissed or lost.
 */
#include <jansson.h>
#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/run_internal.h"

static void note_worker(struct run *run, const struct record_worker *row)
{
    struct mf_error error;
    if (record_worker(run->recorder, row, &error) < 0)
        run_fail(run, &error);
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
    note_worker(run,
                &(struct record_worker){
                    .id = id, .state = worker->lost ? "lost" : "gone", .ended_us = mf_wall_us()});
    run_queue(run, (struct schedule_event){.kind = EVENT_WORKER_GONE, .worker = id});
}

static void on_joined(void *arg, const struct mf_hello *hello, const char *address)
{
    struct run *run = arg;
    uint32_t id = hello->request.worker;
    struct run_worker *worker = run_worker(run, id);
    if (worker == NULL)
        return;
    if (!worker->joined) {
        worker->joined = true;
        worker->joined_us = mf_monotonic_us();
        worker->slots = hello->slots;
        worker->pid = hello->pid;
        snprintf(worker->host, sizeof worker->host, "%s", hello->host);
        if (run->stats.first_joined_us == 0)
            run->stats.first_joined_us = worker->joined_us;
        mf_log(MF_INFO,
               "worker %u joined from %s: %s, %u slots, process %u",
               id,
               address,
               hello->host,
               hello->slots,
               hello->pid);
        note_worker(run,
                    &(struct record_worker){.id = id,
                                            .state = "ready",
                                            .host = hello->host,
                                            .system = hello->system,
                                            .version = hello->version,
                                            .pid = hello->pid,
                                            .slots = hello->slots,
                                            .cpus = hello->cpus,
                                            .memory_bytes = hello->memory_bytes,
                                            .joined_us = mf_wall_us()});
    }
    run_apply(
        run,
        (struct schedule_event){.kind = EVENT_WORKER_JOINED, .worker = id, .slots = hello->slots});
}

static void queue_fence(struct run *run,
                        enum schedule_event_kind kind,
                        uint32_t worker,
                        const struct mf_fence *fence)
{
    run_queue(run,
              (struct schedule_event){.kind = kind,
                                      .worker = worker,
                                      .subtask = fence->subtask,
                                      .attempt = fence->attempt,
                                      .epoch = fence->epoch});
}

/* What a worker says of an attempt's end, as the scheduler takes it. A slot process that died is a
 * loss, like that of a whole worker, not a failure of the command: the core counts an end that it
 * did not order as one. */
static uint32_t judge_cause(struct run *run, uint32_t worker, const struct mf_result *result)
{
    if (result->cause < MF_CAUSE_LOST)
        return result->cause;
    if (result->cause > MF_CAUSE_LOST) /* only a master finds these out */
        return MF_CAUSE_WORKER_ERROR;
    struct mf_error error;
    char text[256];
    snprintf(
        text, sizeof text, "%.*s", (int)result->detail.length, (const char *)result->detail.data);
    mf_log(MF_WARNING,
           "worker %u lost subtask %llu (attempt %u): %s",
           worker,
           (unsigned long long)result->subtask,
           result->attempt,
           text);
    if (record_event(run->recorder, mf_wall_us(), "lost", worker, result->subtask, text, &error) <
        0)
        run_fail(run, &error);
    return MF_CAUSE_CANCELLED;
}

static void queue_poll(struct run *run, const struct mf_poll *poll)
{
    uint32_t worker = poll->request.worker;
    for (uint32_t i = 0; i < poll->returned_count; i++)
        queue_fence(run, EVENT_RETURNED, worker, &poll->returned[i]);
    for (uint32_t i = 0; i < poll->result_count; i++) {
        const struct mf_result *result = &poll->results[i];
        uint32_t cause = judge_cause(run, worker, result);
        run_queue(run,
                  (struct schedule_event){.kind = EVENT_ENDED,
                                          .worker = worker,
                                          .subtask = result->subtask,
                                          .attempt = result->attempt,
                                          .epoch = result->epoch,
                                          .cause = cause,
                                          .exit_code = result->exit_code,
                                          .duration_us = result->wall_us});
    }
    for (uint32_t i = 0; i < poll->running_count; i++)
        queue_fence(run, EVENT_STARTED, worker, &poll->running[i]);
    run_queue(run,
              (struct schedule_event){
                  .kind = EVENT_WORKER_POLL, .worker = worker, .free_places = poll->free_places});
}

static bool on_polled(void *arg,
                      const struct mf_poll *poll,
                      const struct scatter_ticket *ticket,
                      nng_msg **message,
                      struct mf_decoder *decoder)
{
    struct run *run = arg;
    struct run_batch *batch = NULL;
    if (poll->result_count > 0 && (batch = run_batch_take(run, poll->result_count)) == NULL) {
        struct mf_error error;
        mf_raise(&error, MF_ENOMEM, "out of memory: %u results", poll->result_count);
        run_fail(run, &error);
        return true; /* not answered: the results are not acknowledged */
    }
    queue_poll(run, poll);
    run->answering = (struct answering){.poll = poll, .batch = batch, .wall_us = mf_wall_us()};
    run_act(run);
    bool borrows = run->answering.borrows;
    run->answering = (struct answering){0};
    run_act(run); /* rows that the master itself made meanwhile go their own way */
    if (batch == NULL)
        return false;
    if (batch->base.row_count == 0) {
        run_batch_free(run, batch);
        return false;
    }
    if (borrows) {
        batch->decoder = mf_decoder_detach(decoder);
        if (batch->decoder == NULL) {
            struct mf_error error;
            mf_raise(&error, MF_ENOMEM, "out of memory: the results of a message");
            run_fail(run, &error);
            run_batch_free(run, batch);
            return true;
        }
        batch->message = *message;
        *message = NULL;
    }
    batch->has_ticket = true;
    batch->ticket = *ticket;
    run_batch_submit(run, batch);
    return true;
}

static int
on_chunk(void *arg, uint32_t worker, const struct mf_chunk *chunk, struct mf_error *error)
{
    struct run *run = arg;
    if (intake_chunk(run->intake, worker, chunk, error) == 0)
        return 0;
    if (error->code != MF_EPROTOCOL)
        run_fail(run, error);
    return -1;
}

static void on_bye(void *arg, uint32_t worker, const char *reason)
{
    (void)arg;
    mf_log(MF_INFO, "worker %u said bye: %s", worker, reason == NULL ? "" : reason);
}

static void on_disconnected(void *arg, uint32_t worker)
{
    struct run *run = arg;
    run_stage_lost(run, worker);
    if (worker < run->worker_count && (run->workers[worker].dismissed || run->workers[worker].lost))
        return;
    run_apply(run, (struct schedule_event){.kind = EVENT_WORKER_DISCONNECTED, .worker = worker});
}

static void on_unsendable(void *arg, const struct mf_error *error)
{
    run_fail(arg, error);
}

static int payload(void *arg, uint64_t subtask, struct mf_subtask *out)
{
    const struct run *run = arg;
    return plan_payload(run->plan, subtask, out);
}

void run_wire_callbacks(struct run *run, struct scatter_callbacks *callbacks)
{
    *callbacks = (struct scatter_callbacks){.joined = on_joined,
                                            .polled = on_polled,
                                            .chunk = on_chunk,
                                            .bye = on_bye,
                                            .disconnected = on_disconnected,
                                            .failed = on_unsendable,
                                            .payload = payload,
                                            .fetch = run->stage == NULL ? NULL : run_stage_fetch,
                                            .arg = run};
}

static void on_launched(void *arg, const struct launch_report *report)
{
    struct run *run = arg;
    struct run_worker *worker = run_worker(run, report->worker);
    worker->launching = false;
    worker->alive = report->ok;
    worker->pid = report->pid;
    if (report->ok) {
        note_worker(run,
                    &(struct record_worker){.id = report->worker,
                                            .state = "joining",
                                            .host = report->place,
                                            .pid = report->pid});
    } else {
        mf_log(MF_ERROR, "%s", report->error.text);
        snprintf(run->reason, sizeof run->reason, "%.500s", report->error.text);
    }
    if (worker->dismissed || worker->lost) {
        if (report->ok)
            run->launcher_class->stop(run->launcher, report->worker);
        else
            say_gone(run, report->worker);
        run_act(run);
        return;
    }
    run_apply(run,
              (struct schedule_event){.kind = report->ok ? EVENT_WORKER_LAUNCHED
                                                         : EVENT_WORKER_LAUNCH_FAILED,
                                      .worker = report->worker});
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

static void on_swept(void *arg, const struct sweep_report *report)
{
    struct run *run = arg;
    struct run_stats *stats = &run->stats;
    if (stats->sweep_count < RUN_SWEEPS_MAX) {
        struct run_sweep *sweep = &stats->sweeps[stats->sweep_count++];
        sweep->verified = report->verified;
        sweep->processes_ended = report->processes_ended;
        sweep->files_removed = report->files_removed;
        snprintf(sweep->place, sizeof sweep->place, "%s", report->place);
        snprintf(sweep->verified_by, sizeof sweep->verified_by, "%s", report->verified_by);
        snprintf(sweep->left, sizeof sweep->left, "%s", report->left == NULL ? "" : report->left);
    }
    mf_log(report->verified ? MF_INFO : MF_WARNING,
           "%s: %s (by %s), %u processes ended, %u files removed%s%s",
           report->place,
           report->verified ? "nothing of the run is left" : "not verified",
           report->verified_by,
           report->processes_ended,
           report->files_removed,
           report->left == NULL ? "" : ": ",
           report->left == NULL ? "" : report->left);
    for (uint32_t id = 1; id < run->worker_count; id++) {
        if (run->workers[id].slots == 0 && !run->workers[id].gone && !run->workers[id].lost)
            continue;
        bool verified = report->verified && !run->workers[id].alive;
        run->stats.verified_gone += verified;
        run->stats.unverified += !verified;
        note_worker(run,
                    &(struct record_worker){
                        .id = id, .verified_by = verified ? report->verified_by : "none"});
    }
    run->swept = true;
}

void run_launch_callbacks(struct run *run, struct launcher_callbacks *callbacks)
{
    *callbacks = (struct launcher_callbacks){
        .launched = on_launched, .died = on_died, .swept = on_swept, .arg = run};
}

static void hex(const unsigned char *bytes, size_t size, char *text)
{
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

/* The launch input: docs/protocol.md, "Launch". The caller wipes and frees it. */
static char *
launch_input(struct run *run, uint32_t worker, uint32_t slots, const struct credential *credential)
{
    char token[2 * MF_TOKEN_SIZE + 1], address[64];
    hex(credential->token, MF_TOKEN_SIZE, token);
    snprintf(address, sizeof address, "tls+tcp://127.0.0.1:%u", endpoint_port(run->endpoint));
    json_t *root = json_pack("{s:i, s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:[s], s:I, s:I}",
                             "version",
                             1,
                             "run",
                             run->run_id,
                             "worker",
                             (json_int_t)worker,
                             "slots",
                             (json_int_t)slots,
                             "authority",
                             credential->authority_pem,
                             "certificate",
                             credential->certificate_pem,
                             "key",
                             credential->key_pem,
                             "token",
                             token,
                             "addresses",
                             address,
                             "lease_us",
                             (json_int_t)run->job->lease_us,
                             "orphan_us",
                             (json_int_t)run->job->orphan_us);
    char *text = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    char *line = text == NULL ? NULL : mf_format("%s\n", text);
    if (text != NULL)
        mbedtls_platform_zeroize(text, strlen(text));
    free(text);
    mbedtls_platform_zeroize(token, sizeof token);
    return line;
}

static int start_worker(struct run *run, uint32_t id, uint32_t slots, struct mf_error *error)
{
    struct credential credential = {0};
    if (authority_issue(run->authority, id, &credential, error) < 0)
        return -1;
    char *input = launch_input(run, id, slots, &credential);
    int rc = input == NULL
                 ? mf_raise(error, MF_ENOMEM, "out of memory: the launch of worker %u", id)
                 : scatter_expect(run->scatter, id, credential.token, error);
    struct launch_order order = {.worker = id, .slots = slots, .input = input};
    if (rc == 0)
        rc = run->launcher_class->start(run->launcher, &order, error);
    if (input != NULL)
        mbedtls_platform_zeroize(input, strlen(input));
    mf_free(input);
    credential_fini(&credential);
    return rc;
}

void run_launch(struct run *run, uint32_t id)
{
    struct run_worker *worker = run_worker(run, id);
    struct mf_error error;
    if (worker == NULL)
        return;
    if (run->stats.launched++ == 0)
        run->stats.launched_us = mf_monotonic_us();
    worker->launching = true;
    note_worker(
        run, &(struct record_worker){.id = id, .state = "launching", .launched_us = mf_wall_us()});
    if (start_worker(run, id, run->job->slots, &error) == 0)
        return;
    struct launch_report report = {.worker = id, .error = error};
    on_launched(run, &report);
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
    scatter_forget(run->scatter, id);
    run_stage_lost(run, id);
    if (worker->alive)
        run->launcher_class->stop(run->launcher, id);
    else if (!worker->launching)
        say_gone(run, id);
}

void run_worker_dismiss(struct run *run, uint32_t id)
{
    struct run_worker *worker = run_worker(run, id);
    if (worker == NULL || worker->gone)
        return;
    worker->dismissed = true;
    if (worker->alive && worker->joined && !worker->lost)
        scatter_dismiss(run->scatter, id);
    else if (worker->alive)
        run->launcher_class->stop(run->launcher, id);
    else if (!worker->launching)
        say_gone(run, id);
}
