/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of rows on their way to the writer and back: taken from a free list, so that a message
 * costs no allocation. */
#include <string.h>

#include "common/alloc.h"
#include "common/crash.h"
#include "common/log.h"
#include "master/run_internal.h"

struct run_batch *run_batch_take(struct run *run, uint32_t rows)
{
    struct run_batch *batch = run->free_batches;
    if (batch != NULL)
        run->free_batches = batch->next_free;
    else if ((batch = mf_calloc(1, sizeof *batch)) == NULL)
        return NULL;
    if (batch->capacity < rows) {
        struct record_row *more = mf_realloc(batch->base.rows, rows * sizeof *more);
        if (more == NULL) {
            run_batch_free(run, batch);
            return NULL;
        }
        batch->base.rows = more;
        batch->capacity = rows;
    }
    return batch;
}

void run_batch_free(struct run *run, struct run_batch *batch)
{
    struct record_row *rows = batch->base.rows;
    uint32_t capacity = batch->capacity;
    nng_msg_free(batch->message);
    mf_decoder_destroy(batch->decoder);
    *batch =
        (struct run_batch){.base.rows = rows, .capacity = capacity, .next_free = run->free_batches};
    run->free_batches = batch;
}

static bool has_files(const struct record_row *row)
{
    return row->state == RECORD_DONE &&
           (row->output_count > 0 || (!row->has_result && row->result_bytes > 0));
}

/* A row is written after its files are in their places: none ever names a file that is not there.
 */
static int settle_files(struct run *run, struct run_batch *batch, struct mf_error *error)
{
    for (; batch->settled < batch->base.row_count; batch->settled++) {
        const struct record_row *row = &batch->base.rows[batch->settled];
        const struct mf_fence fence = {
            .subtask = row->subtask, .attempt = row->attempt, .epoch = row->epoch};
        bool has_result = !row->has_result && row->result_bytes > 0;
        if (has_files(row) && intake_accept(run->intake,
                                            row->worker,
                                            &fence,
                                            has_result,
                                            row->output_count > 0,
                                            batch->has_failed,
                                            error) < 0) {
            batch->has_failed = true;
            return -1;
        }
        batch->has_failed = false;
    }
    return 0;
}

/* It waits for room; its worker is told so, and that its results are not recorded. */
static void hold(struct run *run, struct run_batch *batch)
{
    run_disk_hold(run, batch);
    if (batch->has_ticket)
        scatter_uncommitted(run->scatter, &batch->ticket);
}

void run_batch_submit(struct run *run, struct run_batch *batch)
{
    struct mf_error error;
    batch->weight = sizeof *batch + batch->capacity * sizeof *batch->base.rows +
                    (batch->message == NULL ? 0 : nng_msg_len(batch->message));
    run->batch_bytes += batch->weight;
    if (!run->disk.is_waiting && settle_files(run, batch, &error) < 0) {
        run_trouble(run, &error);
        if (!run->disk.is_waiting) { /* unanswered: nothing of it is acknowledged */
            run->batch_bytes -= batch->weight;
            run_batch_free(run, batch);
            return;
        }
    }
    if (run->disk.is_waiting) {
        hold(run, batch);
        return;
    }
    run->batches_out++;
    record_submit(run->recorder, &batch->base);
}

/* On the writer's thread. */
void run_batch_committed(struct record_batch *batch, void *arg)
{
    struct run *run = arg;
    mf_mailbox_post(&run->commits, &batch->mail);
}

static void take_back(struct run *run, struct run_batch *batch)
{
    run->batches_out--;
    if (batch->base.error.code != MF_OK) {
        run_trouble(run, &batch->base.error);
        if (run->disk.is_waiting) {
            hold(run, batch);
            return;
        }
        run->batch_bytes -= batch->weight;
        run_batch_free(run, batch);
        return;
    }
    run_disk_stored(run);
    if (batch->base.fenced > 0)
        mf_log(MF_WARNING, "the results table refused %u rows that were void", batch->base.fenced);
    if (batch->high_water > 0) {
        run->high_water = batch->high_water;
        MF_CRASH(MASTER_AFTER_MARK);
    }
    if (batch->base.row_count > 0) {
        run_queue(run,
                  (struct schedule_event){.kind = EVENT_RECORDED, .count = batch->base.row_count});
        run_notify_dead(run);
    }
    if (batch->tells)
        run_notify_wake(run);
    if (batch->has_ticket) {
        MF_CRASH(MASTER_BEFORE_ACKNOWLEDGE);
        scatter_committed(run->scatter, &batch->ticket);
        MF_CRASH(MASTER_AFTER_ACKNOWLEDGE);
    }
    run->batch_bytes -= batch->weight;
    run_batch_free(run, batch);
}

void run_batches_committed(void *arg, uint32_t events)
{
    (void)events;
    struct run *run = arg;
    struct mf_mail *mail = mf_mailbox_take(&run->commits);
    while (mail != NULL) {
        struct run_batch *batch = (struct run_batch *)mail;
        mail = mail->next;
        take_back(run, batch);
    }
    run_act(run);
}

void run_batches_fini(struct run *run)
{
    struct mf_mail *mail = run->commits.fd < 0 ? NULL : mf_mailbox_take(&run->commits);
    while (mail != NULL) {
        struct run_batch *batch = (struct run_batch *)mail;
        mail = mail->next;
        run_batch_free(run, batch);
    }
    while (run->free_batches != NULL) {
        struct run_batch *batch = run->free_batches;
        run->free_batches = batch->next_free;
        mf_free(batch->base.rows);
        mf_free(batch);
    }
}
