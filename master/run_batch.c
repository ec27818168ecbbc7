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

void run_batch_submit(struct run *run, struct run_batch *batch)
{
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
        run_fail(run, &batch->base.error);
        return;
    }
    if (batch->base.fenced > 0)
        mf_log(MF_WARNING, "the results table refused %u rows that were void", batch->base.fenced);
    if (batch->high_water > 0) {
        run->high_water = batch->high_water;
        MF_CRASH(MASTER_AFTER_MARK);
    }
    if (batch->base.row_count > 0)
        run_queue(run,
                  (struct schedule_event){.kind = EVENT_RECORDED, .count = batch->base.row_count});
    if (batch->has_ticket) {
        MF_CRASH(MASTER_BEFORE_ACKNOWLEDGE);
        scatter_committed(run->scatter, &batch->ticket);
        MF_CRASH(MASTER_AFTER_ACKNOWLEDGE);
    }
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
        run_batch_free(run, batch);
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
