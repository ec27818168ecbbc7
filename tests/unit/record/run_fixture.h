/* SPDX-License-Identifier: Apache-2.0 */
/* A run folder of its own for a test of record or gather, written by the real recorder. */
#ifndef MAYFLY_TESTS_RUN_FIXTURE_H
#define MAYFLY_TESTS_RUN_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mailbox.h"
#include "master/record/record.h"

struct run_fixture {
    char folder[256];
    char db_path[300];
    struct mf_mailbox mailbox;
    struct recorder *recorder;
    uint32_t epoch;
    int notice;
    bool process_only; /* durability */
    int network_fs;
};

static inline void fixture_folder(struct run_fixture *run)
{
    const char *base = getenv("TMPDIR");
    snprintf(run->folder, sizeof run->folder, "%s/mayfly-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(run->folder));
    snprintf(run->db_path, sizeof run->db_path, "%s/run.db", run->folder);
}

static inline int
fixture_remove_one(const char *path, const struct stat *facts, int kind, struct FTW *where)
{
    (void)facts, (void)kind, (void)where;
    return remove(path);
}

static inline void fixture_remove(const char *folder)
{
    nftw(folder, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fixture_committed(struct record_batch *batch, void *arg)
{
    mf_mailbox_post(arg, &batch->mail);
}

static inline struct recorder *fixture_try_open(struct run_fixture *run, struct mf_error *error)
{
    struct record_config config = {.path = run->db_path,
                                   .run_id = "20261122-084512-test-7f3a",
                                   .job_name = "test",
                                   .job_text = "mayfly: 1\n",
                                   .job_path = "job.yaml",
                                   .job_folder = "/jobs/test",
                                   .durability_full = !run->process_only,
                                   .network_fs = run->network_fs,
                                   .committed = fixture_committed,
                                   .arg = &run->mailbox};
    return record_open(&config, &run->epoch, &run->notice, error);
}

static inline void fixture_open(struct run_fixture *run)
{
    struct mf_error error = {0};
    assert_int_equal(mf_mailbox_init(&run->mailbox, &error), 0);
    run->recorder = fixture_try_open(run, &error);
    if (run->recorder == NULL)
        fail_msg("%s", error.text);
}

static inline void fixture_close(struct run_fixture *run)
{
    struct mf_error error = {0};
    if (record_close(run->recorder, &error) < 0)
        fail_msg("%s", error.text);
    run->recorder = NULL;
    mf_mailbox_fini(&run->mailbox);
}

/* Waits for the next batches that come back; a chain. */
static inline struct mf_mail *fixture_wait(struct run_fixture *run)
{
    struct pollfd ready = {.fd = run->mailbox.fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 60000), 1);
    return mf_mailbox_take(&run->mailbox);
}

static inline struct record_row fixture_row(uint64_t subtask, uint32_t attempt, int state)
{
    return (struct record_row){.subtask = subtask,
                               .attempt = attempt,
                               .epoch = 1,
                               .worker = 1,
                               .state = (enum schedule_record)state,
                               .cause = state == RECORD_DONE ? MF_CAUSE_NONE : MF_CAUSE_EXIT,
                               .exit_code = state == RECORD_DONE ? 0 : 1,
                               .ended_us = 1700000000123456,
                               .wall_us = 1000000};
}

/* Records one batch and waits for its commit; how many rows were fenced. Fails the test on an
 * error. */
static inline uint32_t
fixture_record(struct run_fixture *run, struct record_row *rows, size_t count)
{
    struct record_batch batch = {.rows = rows, .row_count = (uint32_t)count};
    record_submit(run->recorder, &batch);
    struct mf_mail *mail = fixture_wait(run);
    assert_ptr_equal(mail, &batch.mail);
    if (batch.error.code != MF_OK)
        fail_msg("%s", batch.error.text);
    return batch.fenced;
}

/* A done subtask with an inline result. */
static inline void fixture_result(struct run_fixture *run, uint64_t subtask, const char *text)
{
    struct record_row row = fixture_row(subtask, 1, RECORD_DONE);
    row.has_result = true;
    row.result = mf_bytes_text(text);
    row.result_bytes = row.result.length;
    assert_int_equal(fixture_record(run, &row, 1), 0);
}

#endif
