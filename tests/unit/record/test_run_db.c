/* SPDX-License-Identifier: Apache-2.0 */
/* Reading run.db, the golden file of schema version 1 first of all; re-driving; what is open. */
#include "tests/unit/record/run_fixture.h"

#include "common/alloc.h"
#include "master/record/run_db.h"
#include "master/record/sql.h"

/* A run folder whose run.db is the golden one. */
static int setup(void **state)
{
    struct run_fixture *run = calloc(1, sizeof *run);
    struct stat facts;
    sqlite3 *db;
    char *problem = NULL;
    fixture_folder(run);
    FILE *file = fopen(GOLDEN "/run-v1.sql", "r");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &facts), 0);
    char *sql = calloc(1, (size_t)facts.st_size + 1);
    assert_int_equal(fread(sql, 1, (size_t)facts.st_size, file), facts.st_size);
    fclose(file);
    assert_int_equal(sqlite3_open(run->db_path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &problem) != SQLITE_OK)
        fail_msg("%s", problem);
    sqlite3_close(db);
    free(sql);
    *state = run;
    return 0;
}

static int teardown(void **state)
{
    struct run_fixture *run = *state;
    fixture_remove(run->folder);
    free(run);
    return 0;
}

static sqlite3 *open_db(struct run_fixture *run)
{
    struct mf_error error;
    sqlite3 *db = run_db_open(run->db_path, &error);
    if (db == NULL)
        fail_msg("%s", error.text);
    return db;
}

static struct run_facts facts_of(struct run_fixture *run)
{
    struct mf_error error;
    struct run_facts facts;
    sqlite3 *db = open_db(run);
    if (run_db_facts(db, &facts, &error) < 0)
        fail_msg("%s", error.text);
    run_db_close(db);
    return facts;
}

static void change(struct run_fixture *run, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(run->db_path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* "subtask:last attempt:failures" of each open one. */
struct list {
    char text[1024];
    int stop_after;
};

static int note(void *arg, uint64_t subtask, uint32_t last_attempt, uint32_t failures)
{
    struct list *list = arg;
    size_t length = strlen(list->text);
    snprintf(list->text + length,
             sizeof list->text - length,
             "%s%llu:%u:%u",
             length > 0 ? " " : "",
             (unsigned long long)subtask,
             last_attempt,
             failures);
    return --list->stop_after == 0;
}

static void expect_open(struct run_fixture *run, uint64_t planned, const char *expected)
{
    struct mf_error error;
    struct list list = {0};
    sqlite3 *db = open_db(run);
    if (run_db_each_open(db, planned, note, &list, &error) < 0)
        fail_msg("%s", error.text);
    assert_string_equal(list.text, expected);
    run_db_close(db);
}

static void the_golden_facts(void **state)
{
    struct run_facts facts = facts_of(*state);
    assert_string_equal(facts.run_id, "20261122-084512-test-7f3a");
    assert_string_equal(facts.job_name, "test");
    assert_string_equal(facts.state, "partial");
    assert_string_equal(facts.reason, "dead letters");
    assert_int_equal(facts.epoch, 2);
    assert_int_equal(facts.high_water, 8);
    assert_true(facts.has_total);
    assert_int_equal(facts.total, 8);
    assert_int_equal(facts.done, 3);
    assert_int_equal(facts.failed, 1);
    assert_int_equal(facts.dead, 1); /* the other one is superseded */
    assert_int_equal(facts.cancelled, 2);
    assert_int_equal(facts.retried, 5);
    assert_int_equal(facts.fenced, 1);
    assert_int_equal(facts.attempts, 11);
    assert_int_equal(facts.started_us, 1699999999000000);
    assert_int_equal(facts.ended_us, 1700000003000000);
}

static void the_golden_rows(void **state)
{
    struct run_fixture *run = *state;
    sqlite3 *db = open_db(run);
    sqlite3_stmt *stmt;
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "SELECT (SELECT group_concat(subtask || state) FROM subtask) || ' ' ||"
                           " (SELECT group_concat(subtask || ':' || bytes || ':' ||"
                           " coalesce(file, hex(result))) FROM result) || ' ' ||"
                           " (SELECT group_concat(id || state || pid) FROM worker) || ' ' ||"
                           " (SELECT at || kind FROM event)",
                           -1,
                           &stmt,
                           NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0),
                        "1done,2done,3failed,4dead,5cancelled,6cancelled,7done,8cancelled"
                        " 1:4:6F6E650A,2:3:6100FF,7:100000:outputs/0/7.result 1gone4711,2ready4711"
                        " 2023-11-14T22:13:20.050Zjoined");
    sqlite3_finalize(stmt);
    run_db_close(db);
}

static void the_golden_file_is_continued(void **state)
{
    struct run_fixture *run = *state;
    fixture_open(run);
    assert_int_equal(run->epoch, 3);
    struct record_row rows[] = {fixture_row(4, 4, RECORD_DONE),
                                fixture_row(6, 2, RECORD_DONE),
                                fixture_row(6, 3, RECORD_DONE),
                                fixture_row(8, 1, RECORD_DONE)};
    assert_int_equal(fixture_record(run, rows, 4), 2);
    fixture_close(run);
    expect_open(run, 8, "5:1:1");
}

struct seen {
    char text[400];
};

static int see_worker(void *arg, const struct run_db_worker *worker)
{
    struct seen *seen = arg;
    size_t length = strlen(seen->text);
    snprintf(seen->text + length,
             sizeof seen->text - length,
             "%u:%s:%u:%s:%s:%u ",
             worker->id,
             worker->state,
             worker->pid,
             worker->place,
             worker->address,
             worker->port);
    return 0;
}

static void expect_workers(struct run_fixture *run, const char *wanted)
{
    struct seen seen = {0};
    struct mf_error error;
    sqlite3 *db = open_db(run);
    assert_int_equal(run_db_each_worker(db, see_worker, &seen, &error), 0);
    assert_string_equal(seen.text, wanted);
    run_db_close(db);
}

/* An older file can be read as it is; who goes on with it makes it a newer one. */
static void the_workers_of_an_older_file(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    int64_t version = 0;
    expect_workers(run, "1:gone:4711:::0 2:ready:4711:::0 ");
    fixture_open(run);
    const struct record_worker third = {.id = 3,
                                        .state = "joining",
                                        .place = "etl@b",
                                        .address = "10.0.0.2",
                                        .port = 4000,
                                        .pid = 5};
    assert_int_equal(record_worker(run->recorder, &third, &error), 0);
    fixture_close(run);
    expect_workers(run, "1:gone:4711:::0 2:ready:4711:::0 3:joining:5:etl@b:10.0.0.2:4000 ");
    sqlite3 *db = open_db(run);
    assert_int_equal(sql_integer(db, "run.db", "PRAGMA user_version", &version, &error), 0);
    assert_int_equal(version, RECORD_SCHEMA_VERSION);
    run_db_close(db);
    fixture_open(run); /* once more: nothing is added twice */
    assert_int_equal(run->epoch, 4);
    fixture_close(run);
}

static void what_is_open(void **state)
{
    struct run_fixture *run = *state;
    expect_open(run, 8, "5:1:1 6:2:0 8:0:0");
    expect_open(run, 11, "5:1:1 6:2:0 8:0:0 9:0:0 10:0:0 11:0:0");
    expect_open(run, 5, "5:1:1");
    expect_open(run, 4, "");
    expect_open(run, 0, "");
    change(run, "DELETE FROM attempt WHERE id >> 16 IN (1, 2, 7)");
    expect_open(run, 8, "1:0:0 2:0:0 5:1:1 6:2:0 7:0:0 8:0:0");
    change(run, "DELETE FROM attempt");
    expect_open(run, 3, "1:0:0 2:0:0 3:0:0");
}

static void the_list_of_open_ones_can_be_left(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    sqlite3 *db = open_db(run);
    for (int after = 1; after <= 3; after++) {
        static const char *const expected[] = {"5:1:1", "5:1:1 6:2:0", "5:1:1 6:2:0 8:0:0"};
        struct list list = {.stop_after = after};
        assert_int_equal(run_db_each_open(db, 9, note, &list, &error), 0);
        assert_string_equal(list.text, expected[after - 1]);
    }
    run_db_close(db);
}

static void redrive_all(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    uint64_t count;
    assert_int_equal(run_db_redrive(run->db_path, true, true, NULL, 0, &count, &error), 0);
    assert_int_equal(count, 2);
    expect_open(run, 8, "3:1:0 4:3:0 5:1:1 6:2:0 8:0:0");
    struct run_facts facts = facts_of(run);
    assert_string_equal(facts.state, "running");
    assert_string_equal(facts.reason, "");
    assert_int_equal(facts.ended_us, 0);
    assert_int_equal(facts.failed + facts.dead, 0);
}

static void redrive_by_kind(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    uint64_t count;
    assert_int_equal(run_db_redrive(run->db_path, false, true, NULL, 0, &count, &error), 0);
    assert_int_equal(count, 1);
    expect_open(run, 8, "4:3:0 5:1:1 6:2:0 8:0:0");
    assert_int_equal(run_db_redrive(run->db_path, true, false, NULL, 0, &count, &error), 0);
    assert_int_equal(count, 1);
    expect_open(run, 8, "3:1:0 4:3:0 5:1:1 6:2:0 8:0:0");
}

static void redrive_by_id_is_all_or_nothing(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    uint64_t count;
    static const uint64_t wrong[] = {1, 5, 6, 8, 0, UINT64_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t ids[] = {4, wrong[i]};
        char number[32];
        snprintf(number, sizeof number, "subtask %llu", (unsigned long long)wrong[i]);
        assert_int_equal(run_db_redrive(run->db_path, true, true, ids, 2, &count, &error), -1);
        assert_int_equal(error.code, MF_EUSAGE);
        assert_non_null(strstr(error.text, number));
    }
    uint64_t failed = 3, dead = 4;
    assert_int_equal(run_db_redrive(run->db_path, false, true, &failed, 1, &count, &error), -1);
    expect_open(run, 8, "5:1:1 6:2:0 8:0:0");
    assert_string_equal(facts_of(run).state, "partial");
    assert_int_equal(run_db_redrive(run->db_path, false, true, &dead, 1, &count, &error), 0);
    assert_int_equal(count, 1);
    expect_open(run, 8, "4:3:0 5:1:1 6:2:0 8:0:0");
}

static void a_run_that_succeeded_is_left_alone(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    uint64_t count;
    change(run,
           "DELETE FROM attempt WHERE state IN ('failed', 'dead');"
           "UPDATE run SET state = 'succeeded', total = 7");
    assert_int_equal(run_db_redrive(run->db_path, true, true, NULL, 0, &count, &error), 0);
    assert_int_equal(count, 0);
    assert_string_equal(facts_of(run).state, "succeeded");
    /* But one whose gather failed is gathered again. */
    change(run, "UPDATE run SET state = 'failed'");
    assert_int_equal(run_db_redrive(run->db_path, true, true, NULL, 0, &count, &error), 0);
    assert_int_equal(count, 0);
    assert_string_equal(facts_of(run).state, "running");
}

static void a_file_that_is_not_there(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    uint64_t count;
    assert_int_equal(unlink(run->db_path), 0);
    assert_null(run_db_open(run->db_path, &error));
    assert_int_equal(error.code, MF_EINPUT);
    assert_non_null(strstr(error.text, run->db_path));
    assert_int_equal(run_db_redrive(run->db_path, true, true, NULL, 0, &count, &error), -1);
    assert_int_equal(access(run->db_path, F_OK), -1);
}

static void a_damaged_file_is_named(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    struct run_facts facts;
    FILE *file = fopen(run->db_path, "r+");
    assert_int_equal(fseek(file, 4096, SEEK_SET), 0);
    for (int i = 0; i < 20000; i++)
        fputc(0x5a, file);
    fclose(file);
    sqlite3 *db = run_db_open(run->db_path, &error);
    int result = db == NULL ? -1 : run_db_facts(db, &facts, &error);
    run_db_close(db);
    assert_int_equal(result, -1);
    assert_int_equal(error.code, MF_EINPUT);
    assert_non_null(strstr(error.text, "damaged"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_golden_facts),
        TEST(the_golden_rows),
        TEST(the_golden_file_is_continued),
        TEST(the_workers_of_an_older_file),
        TEST(what_is_open),
        TEST(the_list_of_open_ones_can_be_left),
        TEST(redrive_all),
        TEST(redrive_by_kind),
        TEST(redrive_by_id_is_all_or_nothing),
        TEST(a_run_that_succeeded_is_left_alone),
        TEST(a_file_that_is_not_there),
        TEST(a_damaged_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
