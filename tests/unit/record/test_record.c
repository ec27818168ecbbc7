/* SPDX-License-Identifier: Apache-2.0 */
/* The recorder: what it commits, what its fence refuses, in which order things come back. */
#include "tests/unit/record/run_fixture.h"

#include <sqlite3.h>

#include "master/record/run_db.h"

static int setup(void **state)
{
    struct run_fixture *run = calloc(1, sizeof *run);
    fixture_folder(run);
    fixture_open(run);
    *state = run;
    return 0;
}

static int teardown(void **state)
{
    struct run_fixture *run = *state;
    if (run->recorder != NULL)
        fixture_close(run);
    fixture_remove(run->folder);
    free(run);
    return 0;
}

/* The first column of the first row as text, through a connection of its own. */
static void expect_sql(struct run_fixture *run, const char *sql, const char *expected)
{
    struct mf_error error;
    sqlite3 *db = run_db_open(run->db_path, &error);
    sqlite3_stmt *stmt = NULL;
    if (db == NULL)
        fail_msg("%s", error.text);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    const void *text = sqlite3_column_text(stmt, 0);
    assert_string_equal(text != NULL ? (const char *)text : "NULL", expected);
    sqlite3_finalize(stmt);
    run_db_close(db);
}

static void flush(struct run_fixture *run)
{
    struct mf_error error;
    if (record_flush(run->recorder, &error) < 0)
        fail_msg("%s", error.text);
}

static void every_column_is_stored(void **state)
{
    struct run_fixture *run = *state;
    struct record_row row = {.subtask = 7,
                             .attempt = 2,
                             .epoch = 1,
                             .worker = 3,
                             .state = RECORD_FAILED,
                             .cause = MF_CAUSE_SIGNAL,
                             .exit_code = -1,
                             .signal = 9,
                             .ended_us = 1700000000123456,
                             .wall_us = 2500000,
                             .user_us = 11,
                             .system_us = 12,
                             .peak_kib = 13,
                             .result_bytes = 4,
                             .has_result = true,
                             .result = mf_bytes_of("a\0\xff\n", 4),
                             .output_count = 14,
                             .output_bytes = 15,
                             .detail = mf_bytes_text("killed by h\xc3\xa4nd")};
    assert_int_equal(fixture_record(run, &row, 1), 0);
    expect_sql(run,
               "SELECT id || ' ' || subtask || ' ' || attempt || ' ' || state || ' ' || superseded"
               " || ' ' || cause || ' ' || exit_code || ' ' || signal || ' ' || epoch || ' ' ||"
               " worker || ' ' || started_us || ' ' || ended_us || ' ' || wall_us || ' ' || user_us"
               " || ' ' || system_us || ' ' || peak_kib || ' ' || result_bytes || ' ' ||"
               " output_count || ' ' || output_bytes || ' ' || detail || ' ' || hex(result)"
               " FROM attempt WHERE subtask = 7",
               "458754 7 2 failed 0 signal -1 9 1 3 1699999997623456 1700000000123456 2500000 11 12"
               " 13 4 14 15 killed by h\xc3\xa4nd 6100FF0A");
    row = fixture_row(8, 1, RECORD_DONE);
    row.ended_us = 0;
    row.detail = mf_bytes_of("\xff", 1);
    assert_int_equal(fixture_record(run, &row, 1), 0);
    expect_sql(run,
               "SELECT coalesce(ended_us, started_us, 'none') || typeof(result) || typeof(detail)"
               " FROM attempt WHERE subtask = 8",
               "nonenullblob");
    row = fixture_row(9, 1, RECORD_DONE);
    row.has_result = true;
    assert_int_equal(fixture_record(run, &row, 1), 0);
    expect_sql(run, "SELECT typeof(result) FROM attempt WHERE subtask = 9", "blob");
}

static void a_second_final_row_is_fenced(void **state)
{
    struct run_fixture *run = *state;
    static const int finals[] = {RECORD_DONE, RECORD_FAILED, RECORD_DEAD};
    for (uint64_t i = 0; i < 3; i++) {
        struct record_row rows[] = {fixture_row(i + 1, 1, RECORD_RETRIED),
                                    fixture_row(i + 1, 3, finals[i]),
                                    fixture_row(i + 1, 2, RECORD_DONE),
                                    fixture_row(i + 1, 4, RECORD_DONE)};
        /* Within one batch, and again in batches after it: late, doubled, of any state. */
        assert_int_equal(fixture_record(run, rows, 4), 2);
        assert_int_equal(fixture_record(run, rows, 4), 4);
        rows[2].state = RECORD_RETRIED;
        assert_int_equal(fixture_record(run, rows + 2, 1), 1);
    }
    expect_sql(run, "SELECT group_concat(id & 65535) FROM attempt", "1,3,1,3,1,3");
}

static void the_same_attempt_is_recorded_once(void **state)
{
    struct run_fixture *run = *state;
    struct record_row row = fixture_row(5, 1, RECORD_RETRIED);
    assert_int_equal(fixture_record(run, &row, 1), 0);
    row.state = RECORD_DONE;
    assert_int_equal(fixture_record(run, &row, 1), 1);
    row.attempt = 2;
    assert_int_equal(fixture_record(run, &row, 1), 0);
    expect_sql(run, "SELECT group_concat(state) FROM attempt", "retried,done");
}

static void the_fence_survives_a_restart(void **state)
{
    struct run_fixture *run = *state;
    struct record_row rows[] = {fixture_row(1, 1, RECORD_DONE),
                                fixture_row(70000, 2, RECORD_DEAD),
                                fixture_row(200000, 1, RECORD_RETRIED)};
    assert_int_equal(fixture_record(run, rows, 3), 0);
    fixture_close(run);
    fixture_open(run);
    assert_int_equal(run->epoch, 2);
    struct record_row late[] = {fixture_row(1, 2, RECORD_DONE),
                                fixture_row(70000, 1, RECORD_DONE),
                                fixture_row(200000, 1, RECORD_DONE),
                                fixture_row(200000, 2, RECORD_DONE)};
    assert_int_equal(fixture_record(run, late, 4), 3);
}

static void an_epoch_that_is_over_records_nothing(void **state)
{
    struct run_fixture *run = *state;
    struct run_fixture second = *run;
    struct record_row row = fixture_row(1, 1, RECORD_DONE);
    struct mf_error error = {0};
    fixture_open(&second);
    assert_int_equal(second.epoch, 2);
    assert_int_equal(fixture_record(run, &row, 1), 1);
    struct record_run update = {.state = "running"};
    assert_int_equal(record_run(run->recorder, &update, &error), 0);
    assert_int_equal(record_flush(run->recorder, &error), -1);
    assert_non_null(strstr(error.text, "another master"));
    /* The new one accepts what the old epoch issued, but not what no epoch has. */
    assert_int_equal(fixture_record(&second, &row, 1), 0);
    row = fixture_row(2, 1, RECORD_DONE);
    row.epoch = 3;
    assert_int_equal(fixture_record(&second, &row, 1), 1);
    fixture_close(&second);
    expect_sql(run, "SELECT state || epoch FROM run", "planning2");
}

static void what_another_connection_changes_is_seen(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    uint64_t count;
    struct record_row row = fixture_row(4, 1, RECORD_DEAD);
    assert_int_equal(fixture_record(run, &row, 1), 0);
    assert_int_equal(run_db_redrive(run->db_path, true, true, NULL, 0, &count, &error), 0);
    assert_int_equal(count, 1);
    assert_int_equal(fixture_record(run, &row, 1), 1); /* the number is used up */
    row = fixture_row(4, 2, RECORD_DONE);
    assert_int_equal(fixture_record(run, &row, 1), 0);
    row.attempt = 3;
    assert_int_equal(fixture_record(run, &row, 1), 1);
    expect_sql(run, "SELECT group_concat(state || superseded) FROM attempt", "dead1,done0");
}

static void batches_come_back_in_order(void **state)
{
    struct run_fixture *run = *state;
    enum { BATCHES = 500, ROWS = 100 };
    struct record_batch *batches = calloc(BATCHES, sizeof *batches);
    struct record_row *rows = calloc(BATCHES * ROWS, sizeof *rows);
    for (uint64_t i = 0; i < BATCHES; i++) {
        batches[i].rows = rows + i * ROWS;
        batches[i].row_count = ROWS;
        for (uint64_t j = 0; j < ROWS; j++)
            rows[i * ROWS + j] = fixture_row(i * ROWS + j + 1, 1, RECORD_DONE);
        record_submit(run->recorder, &batches[i]);
    }
    int next = 0;
    while (next < BATCHES)
        for (struct mf_mail *mail = fixture_wait(run); mail != NULL; mail = mail->next) {
            assert_ptr_equal(mail, &batches[next++].mail);
            assert_int_equal(((struct record_batch *)mail)->fenced, 0);
        }
    expect_sql(run, "SELECT count(*) FROM attempt", "50000");
    free(batches);
    free(rows);
}

static void a_batch_that_came_back_is_readable_elsewhere(void **state)
{
    struct run_fixture *run = *state;
    for (uint64_t i = 1; i <= 20; i++) {
        char expected[16];
        fixture_result(run, i, "x");
        snprintf(expected, sizeof expected, "%d", (int)i);
        expect_sql(run, "SELECT count(*) FROM attempt", expected);
    }
}

static void rows_out_of_range_fail_only_their_batch(void **state)
{
    struct run_fixture *run = *state;
    struct record_row bad[] = {fixture_row(0, 1, RECORD_DONE),
                               fixture_row(1, 0, RECORD_DONE),
                               fixture_row(1, 65536, RECORD_DONE),
                               fixture_row(UINT64_C(1) << 40, 1, RECORD_DONE),
                               fixture_row(1, 1, 7)};
    struct record_row good = fixture_row(2, 65535, RECORD_DONE);
    for (int i = 0; i < 5; i++) {
        struct record_batch one = {.rows = &bad[i], .row_count = 1};
        record_submit(run->recorder, &one);
        fixture_wait(run);
        assert_int_equal(one.error.code, MF_EPROTOCOL);
    }
    assert_int_equal(fixture_record(run, &good, 1), 0);
    expect_sql(run, "SELECT group_concat(id) FROM attempt", "196607");
}

static void the_run_row_changes_only_as_told(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    struct record_run first = {.state = "running",
                               .reason = "slow disk",
                               .has_total = true,
                               .total = 12,
                               .has_high_water = true,
                               .high_water = 8,
                               .address = "127.0.0.1:4000"};
    struct record_run second = {.reason = "", .has_high_water = true, .high_water = 4};
    struct record_run third = {.state = "partial",
                               .has_counts = true,
                               .done = 1,
                               .failed = 2,
                               .dead = 3,
                               .cancelled = 4,
                               .retried = 5,
                               .fenced = 6,
                               .attempts = 7,
                               .ended_us = 99};
    const char *sql = "SELECT state || '|' || coalesce(reason, '-') || '|' || total || '|' ||"
                      " high_water || '|' || done || failed || dead || cancelled || retried ||"
                      " fenced || attempts || '|' || coalesce(ended_us, '-') || '|' || address"
                      " FROM run";
    record_run(run->recorder, &first, &error);
    flush(run);
    expect_sql(run, sql, "running|slow disk|12|8|0000000|-|127.0.0.1:4000");
    record_run(run->recorder, &second, &error);
    record_run(run->recorder, &third, &error);
    flush(run);
    expect_sql(run, sql, "partial|-|12|8|1234567|99|127.0.0.1:4000");
    expect_sql(run,
               "SELECT job_name || '|' || job || '|' || job_path || '|' || job_folder || '|' ||"
               " durability || '|' || schema_version FROM run",
               "test|mayfly: 1\n|job.yaml|/jobs/test|full|3");
}

static void workers_and_events(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    struct record_worker launched = {.id = 1, .state = "launching", .launched_us = 5};
    struct record_worker joined = {.id = 1,
                                   .state = "ready",
                                   .host = "h",
                                   .system = "Linux",
                                   .version = "0.1",
                                   .folder = "/tmp/\xff",
                                   .pid = 77,
                                   .slots = 2,
                                   .cpus = 4,
                                   .memory_bytes = UINT64_C(1) << 33,
                                   .joined_us = 6};
    struct record_worker gone = {.id = 1, .state = "gone", .verified_by = "sweep", .ended_us = 7};
    record_worker(run->recorder, &launched, &error);
    record_worker(run->recorder, &joined, &error);
    record_worker(run->recorder, &gone, &error);
    record_event(run->recorder, 1700000000123000, "joined", 1, 0, "h has 2 slots", &error);
    record_event(run->recorder, 1700000000124000, "lost", 0, 9, NULL, &error);
    flush(run);
    expect_sql(run,
               "SELECT state || host || system || version || hex(folder) || verified_by || pid ||"
               " slots || cpus || memory_bytes || launched_us || joined_us || ended_us FROM worker",
               "goneh"
               "Linux"
               "0.1"
               "2F746D702FFF"
               "sweep"
               "77"
               "2"
               "4"
               "8589934592"
               "567");
    expect_sql(run,
               "SELECT group_concat(at || ' ' || kind || ' ' || coalesce(worker, '-') || ' ' ||"
               " coalesce(subtask, '-') || ' ' || coalesce(text, '-'), ';') FROM event",
               "2023-11-14T22:13:20.123Z joined 1 - h has 2 slots;"
               "2023-11-14T22:13:20.124Z lost - 9 -");
}

static void the_views_answer_for_every_subtask(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    struct record_row rows[] = {fixture_row(1, 1, RECORD_RETRIED),
                                fixture_row(1, 3, RECORD_RETRIED),
                                fixture_row(1, 2, RECORD_DONE), /* an earlier one came through */
                                fixture_row(3, 1, RECORD_RETRIED),
                                fixture_row(4, 1, RECORD_FAILED),
                                fixture_row(1500, 1, RECORD_DONE)};
    rows[5].result_bytes = 100000;
    assert_int_equal(fixture_record(run, rows, 6), 0);
    const char *list = "SELECT group_concat(subtask || state || attempts || coalesce(last_attempt,"
                       " '-')) FROM subtask WHERE subtask < 6";
    expect_sql(run, "SELECT count(*) FROM subtask", "1500"); /* as far as is known */
    expect_sql(run, list, "1done32,2pending0-,3pending11,4failed11,5pending0-");
    struct record_run total = {.has_total = true, .total = 2000};
    record_run(run->recorder, &total, &error);
    flush(run);
    expect_sql(run, "SELECT count(*) FROM subtask", "2000");
    struct record_run over = {.state = "partial"};
    record_run(run->recorder, &over, &error);
    flush(run);
    expect_sql(run, list, "1done32,2cancelled0-,3cancelled11,4failed11,5cancelled0-");
    expect_sql(run,
               "SELECT started || ' ' || ended || ' ' || wall_s FROM subtask WHERE subtask = 4",
               "2023-11-14T22:13:19.123Z 2023-11-14T22:13:20.123Z 1.0");
    expect_sql(run,
               "SELECT group_concat(subtask || ':' || attempt || ':' || bytes || ':' ||"
               " coalesce(file, '-')) FROM result",
               "1:2:0:-,1500:1:100000:outputs/1/1500.result");
    fixture_result(run, 6, "six");
    expect_sql(run, "SELECT typeof(result) || text FROM result WHERE subtask = 6", "blobsix");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_column_is_stored),
        TEST(a_second_final_row_is_fenced),
        TEST(the_same_attempt_is_recorded_once),
        TEST(the_fence_survives_a_restart),
        TEST(an_epoch_that_is_over_records_nothing),
        TEST(what_another_connection_changes_is_seen),
        TEST(batches_come_back_in_order),
        TEST(a_batch_that_came_back_is_readable_elsewhere),
        TEST(rows_out_of_range_fail_only_their_batch),
        TEST(the_run_row_changes_only_as_told),
        TEST(workers_and_events),
        TEST(the_views_answer_for_every_subtask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
