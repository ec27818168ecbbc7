/* SPDX-License-Identifier: Apache-2.0 */
/* The recorder in trouble: killed, disk full, read-only, foreign and damaged files, no memory. */
#include "tests/unit/record/run_fixture.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "common/alloc.h"
#include "master/record/run_db.h"

static int setup(void **state)
{
    struct run_fixture *run = calloc(1, sizeof *run);
    fixture_folder(run);
    *state = run;
    return 0;
}

static int teardown(void **state)
{
    struct run_fixture *run = *state;
    umount2(run->folder, MNT_DETACH); /* a_full_disk's */
    fixture_remove(run->folder);
    free(run);
    return 0;
}

static int64_t integer_of(struct run_fixture *run, const char *sql)
{
    struct mf_error error;
    sqlite3 *db = run_db_open(run->db_path, &error);
    sqlite3_stmt *stmt = NULL;
    if (db == NULL)
        fail_msg("%s", error.text);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    run_db_close(db);
    return value;
}

static void expect_refusal(struct run_fixture *run, int code, const char *what)
{
    struct mf_error error = {0};
    run->recorder = fixture_try_open(run, &error);
    assert_null(run->recorder);
    assert_int_equal(error.code, code);
    if (strstr(error.text, what) == NULL)
        fail_msg("'%s' is not in '%s'", what, error.text);
    if (strstr(error.text, run->db_path) == NULL)
        fail_msg("the path is not in '%s'", error.text);
}

/* The child: records rows for ever and reports each batch that came back. */
static void record_for_ever(struct run_fixture *run, int report)
{
    struct record_row rows[37];
    uint64_t next = 1;
    fixture_open(run);
    for (;;) {
        for (int i = 0; i < 37; i++)
            rows[i] = fixture_row(next++, 1, RECORD_DONE);
        struct record_batch batch = {.rows = rows, .row_count = 37};
        record_submit(run->recorder, &batch);
        struct pollfd ready = {.fd = run->mailbox.fd, .events = POLLIN};
        poll(&ready, 1, -1);
        mf_mailbox_take(&run->mailbox);
        uint64_t done = next - 1;
        if (batch.error.code != MF_OK || write(report, &done, sizeof done) != sizeof done)
            _exit(1);
    }
}

/* Killed anywhere, also in mid-commit: what came back is there, batches are there whole or not at
 * all. */
static void killed_while_recording(void **state)
{
    struct run_fixture *run = *state;
    for (int network = -1; network <= 1; network += 2)
        for (unsigned round = 0; round < 6; round++) {
            int report[2];
            uint64_t done, last = 0;
            fixture_remove(run->folder);
            assert_int_equal(mkdir(run->folder, 0700), 0);
            run->network_fs = network;
            run->process_only = round % 2 != 0;
            assert_int_equal(pipe(report), 0);
            pid_t child = fork();
            if (child == 0) {
                close(report[0]);
                record_for_ever(run, report[1]);
            }
            close(report[1]);
            for (unsigned i = 0; i < 1 + 5 * round; i++)
                assert_int_equal(read(report[0], &last, sizeof last), sizeof last);
            assert_int_equal(kill(child, SIGKILL), 0);
            assert_int_equal(waitpid(child, NULL, 0), child);
            while (read(report[0], &done, sizeof done) == sizeof done)
                last = done;
            close(report[0]);
            int64_t rows = integer_of(run, "SELECT count(*) FROM attempt");
            assert_true(rows >= (int64_t)last);
            assert_int_equal(rows % 37, 0);
            fixture_open(run);
            assert_int_equal(run->epoch, 2);
            fixture_close(run);
            assert_int_equal(integer_of(run, "SELECT count(*) FROM attempt"), rows);
        }
}

/* The child: dies in mid-commit, when its journal is on the disk and so is half of its change. */
static void die_in_commit(const char *path)
{
    sqlite3 *db;
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db, "BEGIN IMMEDIATE; DELETE FROM attempt", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_db_cacheflush(db) != SQLITE_OK)
        _exit(1);
    _exit(0);
}

static void hot_journals_are_rolled_back_for_readers(void **state)
{
    struct run_fixture *run = *state;
    char journal[4096];
    int status;
    run->network_fs = 1;
    fixture_open(run);
    struct record_row row = fixture_row(1, 1, RECORD_DONE);
    fixture_record(run, &row, 1);
    fixture_close(run);
    pid_t child = fork();
    if (child == 0)
        die_in_commit(run->db_path);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    snprintf(journal, sizeof journal, "%s-journal", run->db_path);
    assert_int_equal(access(journal, F_OK), 0);
    assert_int_equal(integer_of(run, "SELECT count(*) FROM attempt"), 1);
}

static void killed_before_the_schema_was_there(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    close(open(run->db_path, O_CREAT | O_WRONLY, 0600));
    assert_null(run_db_open(run->db_path, &error));
    assert_int_equal(error.code, MF_EINPUT);
    fixture_open(run);
    assert_int_equal(run->epoch, 1);
    fixture_close(run);
}

/* Submits one batch of large rows; how it ended. */
static struct mf_error
record_large(struct run_fixture *run, uint64_t first, char *text, size_t length)
{
    struct record_row rows[16];
    for (uint64_t i = 0; i < 16; i++) {
        rows[i] = fixture_row(first + i, 1, RECORD_DONE);
        rows[i].has_result = true;
        rows[i].result = mf_bytes_of(text, length);
        rows[i].result_bytes = length;
    }
    struct record_batch batch = {.rows = rows, .row_count = 16};
    record_submit(run->recorder, &batch);
    fixture_wait(run);
    return batch.error;
}

/* Until the disk is full; then what failed is recorded once there is room, and nothing is lost. */
static void fill_and_recover(struct run_fixture *run, void (*make_room)(void *arg), void *arg)
{
    enum { LENGTH = 60000 };
    char *text = calloc(1, LENGTH);
    struct mf_error error = {0};
    struct record_run running = {.state = "running"};
    uint64_t first = 1;
    for (; first < 16 * 64; first += 16) {
        error = record_large(run, first, text, LENGTH);
        if (error.code != MF_OK)
            break;
    }
    assert_int_equal(error.code, MF_EFULL);
    if (strstr(error.text, "is full") == NULL || strstr(error.text, "free space") == NULL ||
        strstr(error.text, run->db_path) == NULL)
        fail_msg("%s", error.text);
    /* It fails again for as long as it lasts. The run's state is kept for later. */
    error = record_large(run, first, text, LENGTH);
    assert_int_equal(error.code, MF_EFULL);
    make_room(arg);
    assert_int_equal(record_run(run->recorder, &running, &error), 0);
    error = record_large(run, first, text, LENGTH);
    assert_int_equal(error.code, MF_OK);
    fixture_close(run);
    assert_int_equal(integer_of(run, "SELECT count(*) FROM attempt"), (int64_t)first + 15);
    assert_int_equal(integer_of(run, "SELECT state = 'running' FROM run"), 1);
    free(text);
}

static void lift_limit(void *arg)
{
    struct rlimit *old = arg;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, old), 0);
}

/* A limit on the file's size stands for the disk. */
static void a_file_that_may_not_grow(void **state)
{
    struct run_fixture *run = *state;
    struct rlimit old, low;
    fixture_open(run);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = (struct rlimit){.rlim_cur = 3 << 20, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    fill_and_recover(run, lift_limit, &old);
}

static void remove_ballast(void *arg)
{
    assert_int_equal(unlink(arg), 0);
}

static void a_full_disk(void **state)
{
    struct run_fixture *run = *state;
    if (mount("tmpfs", run->folder, "tmpfs", 0, "size=8m,mode=700") < 0) {
        print_message("a_full_disk: mounting a tmpfs is not allowed here, skipped\n");
        skip();
    }
    char path[300], *ballast = calloc(1, 4 << 20);
    snprintf(path, sizeof path, "%s/ballast", run->folder);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    ssize_t written = write(fd, ballast, 4 << 20);
    close(fd);
    free(ballast);
    assert_int_equal(written, 4 << 20);
    fixture_open(run);
    fill_and_recover(run, remove_ballast, path);
}

static void updates_are_kept_while_the_disk_is_full(void **state)
{
    struct run_fixture *run = *state;
    struct rlimit old, low = {0};
    struct mf_error error = {0};
    struct record_run running = {.state = "running", .has_high_water = true, .high_water = 5};
    struct record_worker worker = {.id = 3, .state = "ready"};
    fixture_open(run);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low.rlim_max = old.rlim_max;
    low.rlim_cur = 1;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    record_run(run->recorder, &running, &error);
    record_worker(run->recorder, &worker, &error);
    int result = record_flush(run->recorder, &error);
    int again = record_flush(run->recorder, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(result, -1);
    assert_int_equal(error.code, MF_EFULL);
    assert_int_equal(again, -1);
    assert_int_equal(record_flush(run->recorder, &error), 0);
    fixture_close(run);
    assert_int_equal(integer_of(run, "SELECT state = 'running' AND high_water = 5 FROM run"), 1);
    assert_int_equal(integer_of(run, "SELECT count(*) FROM worker WHERE id = 3"), 1);
}

static void a_network_file_system_has_no_write_ahead_log(void **state)
{
    struct run_fixture *run = *state;
    char path[310];
    run->network_fs = 1;
    fixture_open(run);
    assert_int_equal(run->notice, RECORD_NETWORK_FS_WARNING);
    fixture_result(run, 1, "x");
    snprintf(path, sizeof path, "%s-wal", run->db_path);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(integer_of(run, "SELECT count(*) FROM attempt"), 1);
    fixture_close(run);
    /* The same file later on a local disk, and back. */
    for (int network = -1; network <= 1; network += 2) {
        run->network_fs = network;
        fixture_open(run);
        assert_int_equal(run->notice, network > 0 ? RECORD_NETWORK_FS_WARNING : 0);
        assert_int_equal(access(path, F_OK), network > 0 ? -1 : 0);
        fixture_close(run);
    }
}

static void foreign_files_are_refused(void **state)
{
    struct run_fixture *run = *state;
    sqlite3 *db;
    FILE *file = fopen(run->db_path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database. ", file);
    fclose(file);
    expect_refusal(run, MF_EINPUT, "not a database");
    assert_int_equal(unlink(run->db_path), 0);
    assert_int_equal(sqlite3_open(run->db_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE other(x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    expect_refusal(run, MF_EINPUT, "not the results table of a run");
}

static void newer_schemas_are_refused(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    sqlite3 *db;
    fixture_open(run);
    fixture_close(run);
    assert_int_equal(sqlite3_open(run->db_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 4", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    expect_refusal(run, MF_EINPUT, "schema version 4");
    assert_null(run_db_open(run->db_path, &error));
    assert_non_null(strstr(error.text, "newer mayfly"));
}

static void another_runs_file_is_refused(void **state)
{
    struct run_fixture *run = *state;
    sqlite3 *db;
    fixture_open(run);
    fixture_close(run);
    assert_int_equal(sqlite3_open(run->db_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE run SET run_id = 'x'", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    expect_refusal(run, MF_EINPUT, "belongs to run 'x'");
}

static void a_place_that_is_not_there(void **state)
{
    struct run_fixture *run = *state;
    snprintf(run->db_path, sizeof run->db_path, "%s/nowhere/run.db", run->folder);
    expect_refusal(run, MF_ESETUP, "cannot open");
}

static void exhausted_memory_is_reported(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error = {0};
    bool passed = false;
    fixture_open(run);
    fixture_result(run, 1, "x"); /* so that there is a set of finished ones to load */
    fixture_close(run);
    for (unsigned long n = 1; !passed && n < 100; n++) {
        mf_alloc_fail_at(n);
        run->recorder = fixture_try_open(run, &error);
        mf_alloc_fail_at(0);
        passed = run->recorder != NULL;
        if (!passed)
            assert_int_equal(error.code, MF_ENOMEM);
    }
    assert_true(passed);
    assert_int_equal(mf_mailbox_init(&run->mailbox, &error), 0);
    struct record_run update = {.state = "running"};
    mf_alloc_fail_at(1);
    assert_int_equal(record_run(run->recorder, &update, &error), -1);
    assert_int_equal(error.code, MF_ENOMEM);
    /* A batch that needs a new part of the set fails, and passes the next time. */
    struct record_row rows[] = {fixture_row(2, 1, RECORD_DONE),
                                fixture_row(900000, 1, RECORD_DONE)};
    struct record_batch batch = {.rows = rows, .row_count = 2};
    mf_alloc_fail_at(1);
    record_submit(run->recorder, &batch);
    fixture_wait(run);
    mf_alloc_fail_at(0);
    assert_int_equal(batch.error.code, MF_ENOMEM);
    assert_int_equal(fixture_record(run, rows, 2), 0);
    fixture_close(run);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(killed_while_recording),
        TEST(hot_journals_are_rolled_back_for_readers),
        TEST(killed_before_the_schema_was_there),
        TEST(a_file_that_may_not_grow),
        TEST(a_full_disk),
        TEST(updates_are_kept_while_the_disk_is_full),
        TEST(a_network_file_system_has_no_write_ahead_log),
        TEST(foreign_files_are_refused),
        TEST(newer_schemas_are_refused),
        TEST(another_runs_file_is_refused),
        TEST(a_place_that_is_not_there),
        TEST(exhausted_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
