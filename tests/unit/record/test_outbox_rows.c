/* SPDX-License-Identifier: Apache-2.0 */
/* Table notification: in older files, too; its rows are there exactly when what they tell is. */
#include "tests/unit/record/run_fixture.h"

#include "master/record/run_db.h"
#include "master/record/sql.h"

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
    fixture_remove(run->folder);
    free(run);
    return 0;
}

static void load_golden(struct run_fixture *run, const char *path)
{
    struct stat facts;
    sqlite3 *db;
    char *problem = NULL;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &facts), 0);
    char *sql = calloc(1, (size_t)facts.st_size + 1);
    assert_int_equal(fread(sql, 1, (size_t)facts.st_size, file), facts.st_size);
    fclose(file);
    unlink(run->db_path);
    assert_int_equal(sqlite3_open(run->db_path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &problem) != SQLITE_OK)
        fail_msg("%s", problem);
    sqlite3_close(db);
    free(sql);
}

static void read_text(struct run_fixture *run, const char *sql, char *out, size_t size)
{
    struct mf_error error;
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db = run_db_open(run->db_path, &error);
    if (db == NULL || sql_prepare(db, run->db_path, sql, &stmt, &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    sql_column_copy(stmt, 0, out, size);
    sqlite3_finalize(stmt);
    run_db_close(db);
}

static void expect_text(struct run_fixture *run, const char *sql, const char *wanted)
{
    char got[4096];
    read_text(run, sql, got, sizeof got);
    assert_string_equal(got, wanted);
}

/* All that a file of the newest version is made of. */
#define SHAPE                                                                                      \
    "SELECT (SELECT sql FROM sqlite_master WHERE name = 'notification') ||"                        \
    " (SELECT group_concat(name) FROM pragma_table_info('worker')) ||"                             \
    " (SELECT user_version FROM pragma_user_version) || (SELECT schema_version FROM run)"

static void older_files_get_the_table(void **state)
{
    static const char *const golden[] = {GOLDEN "/run-v1.sql", GOLDEN "/run-v2.sql"};
    struct run_fixture *run = *state;
    char fresh[4096];
    fixture_open(run);
    fixture_close(run);
    read_text(run, SHAPE, fresh, sizeof fresh);
    assert_non_null(strstr(fresh, "delivered_us"));
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        load_golden(run, golden[i]);
        expect_text(run, "SELECT count(*) FROM sqlite_master WHERE name = 'notification'", "0");
        expect_text(run, "SELECT state || reason FROM run", "partialdead letters");
        for (int times = 0; times < 2; times++) { /* nothing is added twice */
            fixture_open(run);
            fixture_close(run);
            expect_text(run, SHAPE, fresh);
        }
    }
    expect_text(
        run, "SELECT place || address || port FROM worker WHERE id = 1", "etl@a10.0.0.14001");
}

static int record(struct run_fixture *run, const char *run_state, const char *outbox)
{
    struct mf_error error = {0};
    struct record_run row = {.state = run_state, .outbox = outbox};
    assert_int_equal(record_run(run->recorder, &row, &error), 0);
    return record_flush(run->recorder, &error);
}

#define ROWS                                                                                       \
    "SELECT coalesce(group_concat(id || event || subscriber || target || payload || state ||"      \
    " attempts || (made_us > 1), ' '), '') FROM notification"

static void rows_come_with_their_state(void **state)
{
    struct run_fixture *run = *state;
    fixture_open(run);
    assert_int_equal(
        record(
            run,
            "partial",
            "[{\"event\":\"partial\",\"subscriber\":1,\"target\":\"a\",\"payload\":{\"x\":\"é'\"}},"
            "{\"event\":\"partial\",\"subscriber\":2,\"target\":\"b\",\"payload\":{}}]"),
        0);
    expect_text(run, ROWS, "1partial1a{\"x\":\"é'\"}pending01 2partial2b{}pending01");
    expect_text(run, "SELECT state FROM run", "partial");
    /* All or nothing: what cannot be written keeps the state from being written. */
    assert_int_equal(record(run, "failed", "[{\"event\":\"failed\"}]"), -1);
    assert_int_equal(record(run, "failed", "["), -1);
    expect_text(run, "SELECT state FROM run", "partial");
    expect_text(run, "SELECT count(*) FROM notification", "2");
    fixture_close(run);
}

static void some_come_only_once(void **state)
{
    static const char once[] = "[{\"event\":\"started\",\"subscriber\":1,\"target\":\"a\","
                               "\"payload\":{},\"once\":true}]";
    static const char other[] = "[{\"event\":\"started\",\"subscriber\":2,\"target\":\"a\","
                                "\"payload\":{},\"once\":true}]";
    static const char again[] = "[{\"event\":\"started\",\"subscriber\":1,\"target\":\"a\","
                                "\"payload\":{},\"once\":false}]";
    struct run_fixture *run = *state;
    fixture_open(run);
    assert_int_equal(record(run, NULL, once), 0);
    assert_int_equal(record(run, NULL, once), 0);
    expect_text(run, "SELECT count(*) FROM notification", "1");
    assert_int_equal(record(run, NULL, other), 0);
    assert_int_equal(record(run, NULL, again), 0);
    expect_text(run, "SELECT group_concat(subscriber) FROM notification", "1,2,1");
    fixture_close(run);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(older_files_get_the_table),
        TEST(rows_come_with_their_state),
        TEST(some_come_only_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
