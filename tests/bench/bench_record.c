/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorder alone: the rows of bench_insert, pushed in batches of 1,024 from another thread,
 * each batch used again when it came back after its commit. Prints rows/s.
 *
 *     bench_record [ROWS] [FOLDER] [BATCHES IN FLIGHT]
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mailbox.h"
#include "master/record/record.h"

#define BATCH_ROWS 1024

static void fail(const struct mf_error *error)
{
    fprintf(stderr, "bench_record: %s\n", error->text);
    exit(1);
}

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

static void committed(struct record_batch *batch, void *arg)
{
    mf_mailbox_post(arg, &batch->mail);
}

/* Fills the batch with the next rows; how many. */
static uint32_t fill(struct record_batch *batch, uint64_t next, uint64_t rows, int64_t stamp)
{
    uint32_t count = 0;
    for (; count < BATCH_ROWS && next + count <= rows; count++) {
        uint64_t subtask = next + count;
        batch->rows[count] = (struct record_row){
            .subtask = subtask,
            .attempt = 1,
            .epoch = 1,
            .worker = 1 + (uint32_t)(subtask & 1),
            .state = RECORD_DONE,
            .ended_us = stamp + (int64_t)subtask,
            .wall_us = 3,
            .user_us = 1,
            .system_us = 1,
        };
    }
    batch->row_count = count;
    return count;
}

static void push(struct recorder *recorder,
                 struct mf_mailbox *mailbox,
                 struct record_batch *batches,
                 size_t batch_count,
                 uint64_t rows)
{
    uint64_t next = 1;
    int flying = 0;
    int64_t stamp = mf_wall_us();
    for (size_t i = 0; i < batch_count && next <= rows; i++, flying++) {
        next += fill(&batches[i], next, rows, stamp);
        record_submit(recorder, &batches[i]);
    }
    while (flying > 0) {
        struct pollfd ready = {.fd = mailbox->fd, .events = POLLIN};
        poll(&ready, 1, -1);
        for (struct mf_mail *mail = mf_mailbox_take(mailbox), *rest; mail != NULL; mail = rest) {
            struct record_batch *batch = (struct record_batch *)mail;
            rest = mail->next;
            flying--;
            if (batch->error.code != MF_OK)
                fail(&batch->error);
            if (next > rows)
                continue;
            next += fill(batch, next, rows, stamp);
            record_submit(recorder, batch);
            flying++;
        }
    }
}

int main(int argc, char **argv)
{
    uint64_t rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    size_t batch_count = argc > 3 ? strtoul(argv[3], NULL, 10) : 16;
    char path[4096];
    snprintf(path, sizeof path, "%s/bench_record.%d.db", argc > 2 ? argv[2] : ".", (int)getpid());
    struct mf_error error;
    struct mf_mailbox mailbox;
    struct record_config config = {.path = path,
                                   .run_id = "bench",
                                   .job_name = "bench",
                                   .job_text = "",
                                   .durability_full = true,
                                   .committed = committed,
                                   .arg = &mailbox};
    uint32_t epoch;
    int notice;
    struct record_batch *batches = must(calloc(batch_count, sizeof *batches));
    if (mf_mailbox_init(&mailbox, &error) < 0)
        fail(&error);
    for (size_t i = 0; i < batch_count; i++)
        batches[i].rows = must(calloc(BATCH_ROWS, sizeof *batches[i].rows));
    struct recorder *recorder = record_open(&config, &epoch, &notice, &error);
    if (recorder == NULL)
        fail(&error);
    int64_t began = mf_monotonic_us();
    push(recorder, &mailbox, batches, batch_count, rows);
    double seconds = (double)(mf_monotonic_us() - began) / 1e6;
    if (record_close(recorder, &error) < 0)
        fail(&error);
    printf("bench_record rows=%llu seconds=%.3f rows_per_s=%.0f\n",
           (unsigned long long)rows,
           seconds,
           (double)rows / seconds);
    for (size_t i = 0; i < batch_count; i++)
        free(batches[i].rows);
    free(batches);
    mf_mailbox_fini(&mailbox);
    unlink(path);
    return 0;
}
