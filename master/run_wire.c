/* SPDX-License-Identifier: Apache-2.0 */
/* What workers say, and what becomes of it: polls into events, chunks into files and logs, joins.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/run_internal.h"

#define LOGS_US 2000000

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
        if (!worker->is_placed)
            snprintf(worker->host, sizeof worker->host, "%s", hello->host);
        if (run->stats.first_joined_us == 0)
            run->stats.first_joined_us = worker->joined_us;
        run_worker_connected(run, id, address);
        fleet_joined(run->fleet, id);
        mf_log(MF_INFO,
               "worker %u joined from %s: %s, %u slots, process %u",
               id,
               address,
               hello->host,
               hello->slots,
               hello->pid);
        run_note_worker(run,
                        &(struct record_worker){.id = id,
                                                .state = "ready",
                                                .host = worker->host,
                                                .system = hello->system,
                                                .version = hello->version,
                                                .pid = hello->pid,
                                                .slots = hello->slots,
                                                .cpus = hello->cpus,
                                                .memory_bytes = hello->memory_bytes,
                                                .joined_us = mf_wall_us()});
    }
    run_adopt_held(run, hello);
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
        const struct mf_fence fence = {
            .subtask = result->subtask, .attempt = result->attempt, .epoch = result->epoch};
        uint32_t cause = judge_cause(run, worker, result);
        intake_ended(run->intake, worker, &fence);
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

/* The rows that the scheduler made of the poll's results go to the writer, with what they borrow.
 */
static enum scatter_polled submit_results(struct run *run,
                                          struct run_batch *batch,
                                          const struct scatter_ticket *ticket,
                                          bool borrows,
                                          nng_msg **message,
                                          struct mf_decoder *decoder)
{
    /* All void: a result that came again is acknowledged behind its first coming. */
    if (batch->base.row_count == 0 && run->batches_out == 0) {
        run_batch_free(run, batch);
        return SCATTER_ANSWER;
    }
    if (borrows) {
        batch->decoder = mf_decoder_detach(decoder);
        if (batch->decoder == NULL) {
            struct mf_error error;
            mf_raise(&error, MF_ENOMEM, "out of memory: the results of a message");
            run_fail(run, &error);
            run_batch_free(run, batch);
            return SCATTER_COMMITS; /* never: not acknowledged */
        }
        batch->message = *message;
        *message = NULL;
    }
    batch->has_ticket = true;
    batch->ticket = *ticket;
    run_batch_submit(run, batch);
    return SCATTER_COMMITS;
}

static enum scatter_polled on_polled(void *arg,
                                     const struct mf_poll *poll,
                                     const struct scatter_ticket *ticket,
                                     nng_msg **message,
                                     struct mf_decoder *decoder)
{
    struct run *run = arg;
    struct run_batch *batch = NULL;
    struct mf_poll taken = *poll;
    if (!run_disk_takes(run))
        taken.result_count = 0;
    if (taken.result_count > 0 && (batch = run_batch_take(run, taken.result_count)) == NULL) {
        struct mf_error error;
        mf_raise(&error, MF_ENOMEM, "out of memory: %u results", taken.result_count);
        run_fail(run, &error);
        return SCATTER_COMMITS; /* not answered: the results are not acknowledged */
    }
    queue_poll(run, &taken);
    run->answering = (struct answering){.poll = &taken, .batch = batch, .wall_us = mf_wall_us()};
    run_act(run);
    bool borrows = run->answering.borrows;
    run->answering = (struct answering){0};
    run_act(run); /* rows that the master itself made meanwhile go their own way */
    if (taken.result_count < poll->result_count)
        return SCATTER_UNRECORDED;
    return batch == NULL ? SCATTER_ANSWER
                         : submit_results(run, batch, ticket, borrows, message, decoder);
}

static int
on_chunk(void *arg, uint32_t worker, const struct mf_chunk *chunk, struct mf_error *error)
{
    struct run *run = arg;
    bool is_file = chunk->kind == MF_CHUNK_RESULT || chunk->kind == MF_CHUNK_OUTPUT;
    if (run->disk.is_waiting)
        return 1;
    if (run->failure.code != MF_OK && is_file)
        return 0; /* no result is recorded any more: its files need not be kept */
    if (intake_chunk(run->intake, worker, chunk, error) == 0) {
        if (chunk->kind == MF_CHUNK_WORKER_LOG)
            run_loss_hear(run, worker, chunk->data);
        return 0;
    }
    if (error->code != MF_EPROTOCOL)
        run_trouble(run, error);
    return run->disk.is_waiting ? 1 : -1;
}

static void on_bye(void *arg, uint32_t worker, const char *reason)
{
    struct run *run = arg;
    mf_log(MF_INFO, "worker %u said bye: %s", worker, reason == NULL ? "" : reason);
    fleet_farewell(run->fleet, worker);
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

/* What is not in the store when a master is killed is lost, if its attempt was acknowledged. A disk
 * that is full now is none of this: what is written next says so. */
int64_t run_logs_step(struct run *run, int64_t now_us)
{
    struct mf_error error;
    if (now_us < run->logs_us)
        return run->logs_us;
    run->logs_us = now_us + LOGS_US;
    (void)log_writer_flush(run->logs, &error);
    return run->logs_us;
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
