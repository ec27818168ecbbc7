/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each write, sync and rename of what stores things fails in turn: with a full disk, a broken one,
 * an interruption, a short write. An operation is a row of steps. A step that failed for want of
 * room is given again, as the master does; what fails otherwise ends it. In the end what was stored
 * is whole, and what was there before an operation that failed still is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/checksum.h"
#include "common/mailbox.h"
#include "master/gather/output.h"
#include "master/record/intake.h"
#include "master/record/log_store.h"
#include "master/record/record.h"
#include "master/record/run_db.h"
#include "master/record/tree.h"
#include "master/run_folder.h"
#include "master/split/plan_seg.h"
#include "tests/unit/disk/disk_shim.h"

#define SIZE 300000u /* of what is stored: more than any buffer on the way */

struct scene {
    char folder[256], path[300];
    unsigned char *data;
    struct log_writer *logs;
    struct plan_writer *plan;
    struct intake *intake;
    struct output *output;
    struct recorder *recorder;
    struct mf_mailbox mailbox;
};

/* One thing that is stored. */
struct operation {
    const char *name;
    unsigned steps;
    int (*step)(struct scene *scene, unsigned number, struct mf_error *error);
    void (*close)(struct scene *scene);
    /* What is there afterwards; `done`: all steps went through. */
    void (*check)(const struct scene *scene, bool done);
    bool can_go_on; /* a step can be given again after MF_EFULL */
};

/* ---- logs ---- */

static int step_logs(struct scene *scene, unsigned number, struct mf_error *error)
{
    if (number == 0) {
        scene->logs = log_writer_open(scene->path, error);
        return scene->logs == NULL ? -1 : 0;
    }
    if (number == 4)
        return log_writer_flush(scene->logs, error);
    struct mf_bytes piece = mf_bytes_of(scene->data + (number - 1) * (SIZE / 3), SIZE / 3);
    return log_writer_append(scene->logs, 1, 1, 1, LOG_STDERR, piece, 0, error);
}

static void close_logs(struct scene *scene)
{
    log_writer_close(scene->logs);
}

static void check_logs(const struct scene *scene, bool done)
{
    struct mf_error error;
    struct log_piece piece;
    size_t at = 0;
    int rc;
    struct log_reader *reader = log_reader_open(scene->path, &error);
    while ((rc = log_reader_next(reader, 0, 0, 0, 0, &piece, &error)) > 0) {
        assert_true(at + piece.data.length <= SIZE);
        assert_memory_equal(piece.data.data, scene->data + at, piece.data.length);
        at += piece.data.length;
    }
    log_reader_close(reader);
    assert_int_equal(rc, 0);
    assert_true(!done || at == SIZE);
}

/* ---- plan.seg ---- */

static int step_plan(struct scene *scene, unsigned number, struct mf_error *error)
{
    if (number == 0) {
        scene->plan = plan_writer_create(scene->path, error);
        return scene->plan == NULL ? -1 : 0;
    }
    if (number == 4)
        return plan_writer_end(scene->plan, 3, error);
    if (number == 5)
        return plan_writer_flush(scene->plan, true, error);
    struct mf_subtask piece = {
        .id = number, .item = mf_bytes_of(scene->data + number, SIZE / 3), .offset = number};
    return plan_writer_append(scene->plan, &piece, error);
}

static void close_plan(struct scene *scene)
{
    plan_writer_destroy(scene->plan);
}

static void check_plan(const struct scene *scene, bool done)
{
    struct mf_error error;
    struct mf_subtask piece;
    uint64_t count = 0;
    int rc;
    struct plan_reader *reader = plan_reader_open(scene->path, &error);
    if (reader == NULL) {
        assert_false(done);
        return;
    }
    while ((rc = plan_reader_next(reader, &piece, &error)) > 0) {
        assert_int_equal(piece.id, ++count);
        assert_int_equal(piece.item.length, SIZE / 3);
        assert_memory_equal(piece.item.data, scene->data + count, SIZE / 3);
    }
    assert_int_equal(rc, 0);
    if (done) {
        assert_int_equal(count, 3);
        assert_true(plan_reader_complete(reader));
    }
    plan_reader_destroy(reader);
}

/* ---- files that come home ---- */

static int give_chunk(struct scene *scene, unsigned number, struct mf_error *error)
{
    struct mf_sha256 sum;
    unsigned char digest[MF_SHA256_SIZE];
    mf_sha256_init(&sum);
    mf_sha256_update(&sum, mf_bytes_of(scene->data, SIZE));
    mf_sha256_finish(&sum, digest);
    struct mf_chunk chunk = {.kind = MF_CHUNK_OUTPUT,
                             .subtask = 7,
                             .attempt = 1,
                             .epoch = 1,
                             .path = mf_bytes_text("a/b"),
                             .mode = 0600,
                             .offset = number * (SIZE / 2),
                             .data = mf_bytes_of(scene->data + number * (SIZE / 2), SIZE / 2),
                             .last = number > 0,
                             .sha256 = mf_bytes_of(digest, number > 0 ? sizeof digest : 0)};
    return intake_chunk(scene->intake, 1, &chunk, error);
}

static int step_intake(struct scene *scene, unsigned number, struct mf_error *error)
{
    static unsigned tries;
    const struct mf_fence fence = {.subtask = 7, .attempt = 1, .epoch = 1};
    if (number == 0) {
        tries = 0;
        scene->intake = intake_create(scene->folder, NULL, true, 1000, error);
        return scene->intake == NULL ? -1 : 0;
    }
    if (number < 3)
        return give_chunk(scene, number - 1, error);
    return intake_accept(scene->intake, 1, &fence, false, true, tries++ > 0, error);
}

static void close_intake(struct scene *scene)
{
    intake_destroy(scene->intake);
}

static void expect_content(const char *path, const unsigned char *data, size_t length)
{
    unsigned char *got = malloc(length + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s is not there", path);
    assert_int_equal(read(fd, got, length + 1), length);
    assert_memory_equal(got, data, length);
    close(fd);
    free(got);
}

static void check_intake(const struct scene *scene, bool done)
{
    char path[400];
    snprintf(path, sizeof path, "%s/outputs/0/7/a/b", scene->folder);
    if (done || access(path, F_OK) == 0) /* it is there whole, or not at all */
        expect_content(path, scene->data, SIZE);
    snprintf(path, sizeof path, "%s/incoming", scene->folder);
    assert_int_equal(access(path, F_OK), -1);
}

/* ---- a file that is written whole (summary.json, job.yaml) ---- */

static int step_whole(struct scene *scene, unsigned number, struct mf_error *error)
{
    (void)number;
    return write_file(scene->path, scene->data, SIZE, true, error);
}

static void close_nothing(struct scene *scene)
{
    (void)scene;
}

static void check_whole(const struct scene *scene, bool done)
{
    char path[400];
    struct stat facts;
    snprintf(path, sizeof path, "%s.new", scene->path);
    assert_int_equal(access(path, F_OK), -1);
    if (done)
        expect_content(scene->path, scene->data, SIZE);
    else if (stat(scene->path, &facts) == 0 && facts.st_size != SIZE)
        expect_content(scene->path, (const unsigned char *)"old", 3);
}

/* ---- the gathered result ---- */

static int step_result(struct scene *scene, unsigned number, struct mf_error *error)
{
    uint64_t bytes = 0;
    if (number == 0) {
        scene->output = output_open(scene->folder, error);
        return scene->output == NULL ? -1 : 0;
    }
    if (number < 4)
        return output_write(
            scene->output, mf_bytes_of(scene->data + (number - 1) * (SIZE / 3), SIZE / 3), error);
    return output_finish(scene->output, &bytes, error);
}

static void close_result(struct scene *scene)
{
    output_close(scene->output);
}

static void check_result(const struct scene *scene, bool done)
{
    char path[400];
    snprintf(path, sizeof path, "%s/result.tmp", scene->folder);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof path, "%s/result", scene->folder);
    assert_int_equal(access(path, F_OK), done ? 0 : -1);
    if (done)
        expect_content(path, scene->data, SIZE);
}

/* ---- run.db ---- */

static void on_committed(struct record_batch *batch, void *arg)
{
    mf_mailbox_post(arg, &batch->mail);
}

static int open_records(struct scene *scene, struct mf_error *error)
{
    uint32_t epoch;
    int notice;
    struct record_config config = {.path = scene->path,
                                   .run_id = "20261122-084512-test-7f3a",
                                   .job_name = "test",
                                   .job_text = "mayfly: 1\n",
                                   .durability_full = true,
                                   .network_fs = -1,
                                   .committed = on_committed,
                                   .arg = &scene->mailbox};
    scene->recorder = record_open(&config, &epoch, &notice, error);
    return scene->recorder == NULL ? -1 : 0;
}

/* Five results of 60 KB each. */
static int give_batch(struct scene *scene, unsigned number, struct mf_error *error)
{
    struct record_row rows[5];
    for (unsigned i = 0; i < 5; i++)
        rows[i] = (struct record_row){.subtask = number * 5 + i + 1,
                                      .attempt = 1,
                                      .epoch = 1,
                                      .worker = 1,
                                      .state = RECORD_DONE,
                                      .has_result = true,
                                      .result_bytes = SIZE / 5,
                                      .result = mf_bytes_of(scene->data + i, SIZE / 5)};
    struct record_batch batch = {.rows = rows, .row_count = 5};
    record_submit(scene->recorder, &batch);
    struct pollfd ready = {.fd = scene->mailbox.fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 60000), 1);
    assert_ptr_equal(mf_mailbox_take(&scene->mailbox), &batch.mail);
    if (batch.error.code == MF_OK)
        return 0;
    *error = batch.error;
    return -1;
}

static int step_records(struct scene *scene, unsigned number, struct mf_error *error)
{
    return number == 0 ? open_records(scene, error) : give_batch(scene, number - 1, error);
}

static void close_records(struct scene *scene)
{
    record_close(scene->recorder, NULL);
}

static void check_records(const struct scene *scene, bool done)
{
    struct mf_error error;
    sqlite3_stmt *stmt = NULL;
    static const char sql[] = "SELECT (SELECT group_concat(integrity_check) FROM"
                              " pragma_integrity_check), (SELECT count(*) FROM attempt),"
                              " (SELECT total(length(result)) FROM attempt)";
    sqlite3 *db = run_db_open(scene->path, &error);
    if (db == NULL) { /* it failed before there was anything */
        assert_false(done);
        return;
    }
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal(sqlite3_column_text(stmt, 0), "ok");
    int64_t count = sqlite3_column_int64(stmt, 1);
    assert_int_equal(count % 5, 0);
    assert_true(!done || count == 10);
    assert_int_equal(sqlite3_column_int64(stmt, 2), count * (SIZE / 5));
    sqlite3_finalize(stmt);
    run_db_close(db);
}

static const struct operation operations[] = {
    {"logs", 5, step_logs, close_logs, check_logs, true},
    {"plan.seg", 6, step_plan, close_plan, check_plan, true},
    {"incoming", 4, step_intake, close_intake, check_intake, true},
    {"summary.json", 1, step_whole, close_nothing, check_whole, true},
    {"result", 5, step_result, close_result, check_result, false},
    {"run.db", 3, step_records, close_records, check_records, true},
};

/* ---- the driver ---- */

static void begin(struct scene *scene, const struct operation *operation)
{
    struct mf_error error;
    const char *base = getenv("TMPDIR");
    unsigned char *data = scene->data;
    *scene = (struct scene){.data = data};
    snprintf(scene->folder, sizeof scene->folder, "%s/mayfly-fails-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->path, sizeof scene->path, "%s/%s", scene->folder, operation->name);
    assert_int_equal(mf_mailbox_init(&scene->mailbox, &error), 0);
    if (operation->step == step_whole)
        assert_int_equal(write_file(scene->path, "old", 3, false, &error), 0);
}

static void expect_reason(const struct operation *operation,
                          enum disk_call call,
                          int number,
                          const struct mf_error *error)
{
    bool is_full = number == ENOSPC && call != DISK_SYNC;
    if (number == EINTR || number == DISK_SHORT)
        fail_msg("%s: an interruption is no failure: %s", operation->name, error->text);
    /* SQLite writes anew what it could not sync: there, it may pass. */
    if (is_full && error->code != MF_EFULL)
        fail_msg("%s: not taken for a full disk: %s", operation->name, error->text);
    if (number == EIO && error->code == MF_EFULL)
        fail_msg("%s: taken for a full disk: %s", operation->name, error->text);
    if (error->text[0] == '\0' || strchr(error->text, '/') == NULL)
        fail_msg("%s: the error names no place: '%s'", operation->name, error->text);
}

/* The n-th call fails, once. Whether it was reached. */
static bool fail_nth(struct scene *scene,
                     const struct operation *operation,
                     enum disk_call call,
                     int number,
                     unsigned long n)
{
    struct mf_error error = {0};
    bool done = true;
    begin(scene, operation);
    disk_fail(call, n, number, false);
    for (unsigned step = 0; step < operation->steps; step++) {
        if (operation->step(scene, step, &error) == 0)
            continue;
        expect_reason(operation, call, number, &error);
        bool again = error.code == MF_EFULL && operation->can_go_on && call != DISK_SYNC;
        done = again && operation->step(scene, step, &error) == 0;
        if (again && !done)
            fail_msg("%s: not the second time: %s", operation->name, error.text);
        if (!done)
            break;
    }
    bool reached = disk_count(call) >= n;
    disk_fail(call, 0, 0, false);
    operation->close(scene);
    operation->check(scene, done);
    mf_mailbox_fini(&scene->mailbox);
    tree_remove(scene->folder, NULL);
    return reached;
}

static void each_call_fails(void **state)
{
    (void)state;
    static const int numbers[] = {ENOSPC, EIO, EINTR, DISK_SHORT};
    struct scene scene = {.data = malloc(SIZE + 16)};
    for (unsigned i = 0; i < SIZE + 16; i++)
        scene.data[i] = (unsigned char)(i * 2654435761u >> 13);
    for (size_t o = 0; o < sizeof operations / sizeof *operations; o++)
        for (int call = 0; call < DISK_CALLS; call++)
            for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
                unsigned long n = 1;
                if (call != DISK_WRITE && numbers[k] != ENOSPC && numbers[k] != EIO)
                    continue;
                /* What only interrupts is tried less densely the farther on it is. */
                bool interrupts = numbers[k] == EINTR || numbers[k] == DISK_SHORT;
                while (fail_nth(&scene, &operations[o], (enum disk_call)call, numbers[k], n))
                    n += interrupts ? 1 + n / 4 : 1;
                if (call == DISK_WRITE && numbers[k] == ENOSPC)
                    assert_true(n > 1); /* it does write */
            }
    free(scene.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
