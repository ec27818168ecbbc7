/* SPDX-License-Identifier: Apache-2.0 */
/* Subscribers in words; the outbox; two who deliver at once. What webhooks and masters do is tested
 * in tests/system/notify.sh. */
#include "tests/unit/record/run_fixture.h"

#include "common/alloc.h"
#include "master/notify/notify.h"
#include "master/notify/outbox.h"
#include "master/notify/sign.h"
#include "master/record/run_db.h"

#define HEAD "mayfly: 1\nsplit: {range: 1-3}\ntask: {command: [echo, \"{}\"]}\n"

struct stand {
    struct run_fixture run;
    struct job *job;
};

static int setup(void **state)
{
    struct stand *stand = calloc(1, sizeof *stand);
    fixture_folder(&stand->run);
    fixture_open(&stand->run);
    fixture_close(&stand->run);
    *state = stand;
    return 0;
}

static int teardown(void **state)
{
    struct stand *stand = *state;
    job_destroy(stand->job);
    fixture_remove(stand->run.folder);
    free(stand);
    return 0;
}

/* The job's folder is the run's. */
static void load_job(struct stand *stand, const char *notify)
{
    struct mf_error error = {0};
    char *text = mf_format(HEAD "notify: %s\n", notify);
    assert_non_null(text);
    stand->job = job_parse("j.yaml", stand->run.folder, mf_bytes_text(text), NULL, 0, &error);
    if (stand->job == NULL)
        fail_msg("%s", error.text);
    mf_free(text);
}

static void add_rows(struct stand *stand, const char *outbox)
{
    struct mf_error error = {0};
    fixture_open(&stand->run);
    struct record_run row = {.outbox = outbox};
    assert_int_equal(record_run(stand->run.recorder, &row, &error), 0);
    fixture_close(&stand->run);
}

static void expect_target(struct stand *stand, const char *notify, const char *wanted)
{
    char out[NOTIFY_TARGET_SIZE];
    job_destroy(stand->job);
    load_job(stand, notify);
    assert_string_equal(notify_target(&stand->job->notify[0], out), wanted);
}

static void targets_hold_no_secrets(void **state)
{
    struct stand *stand = *state;
    expect_target(stand, "{queue: q}", "queue q");
    expect_target(stand, "{command: [a, \"b c\"]}", "command a b c");
    expect_target(stand, "{shell: \"a |\\n b\"}", "shell a |  b");
    expect_target(stand, "{webhook: 'https://h:1/p?token=x'}", "webhook https://h:1/p");
    expect_target(stand, "{webhook: 'https://h#x'}", "webhook https://h");
    expect_target(stand, "{webhook: {env: HOOK}}", "webhook ($HOOK)");
    expect_target(stand, "{webhook: {file: /a}}", "webhook (file /a)");
    expect_target(stand, "{webhook: {command: [pass, x]}}", "webhook (command pass)");
    /* Cut in the middle of a character, and what follows is left out. */
    struct mf_buffer text = {0};
    assert_int_equal(mf_buffer_append_text(&text, "{command: [\"x", NULL), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(mf_buffer_append_text(&text, "\xc3\xa9", NULL), 0);
    assert_int_equal(mf_buffer_append_text(&text, "\", more]}", NULL), 0);
    char out[NOTIFY_TARGET_SIZE];
    job_destroy(stand->job);
    load_job(stand, mf_buffer_text(&text));
    mf_buffer_fini(&text);
    notify_target(&stand->job->notify[0], out);
    assert_in_range(strlen(out), NOTIFY_TARGET_SIZE - 3, NOTIFY_TARGET_SIZE - 1);
    assert_string_equal(out + strlen(out) - 5, "\xc3\xa9...");
}

static void the_signature(void **state)
{
    (void)state;
    char hex[SIGN_SIZE];
    struct mf_error error;
    /* printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key */
    assert_int_equal(
        sign_body(mf_bytes_text("key"), "1700000000", mf_bytes_text("{\"a\":1}"), hex, &error), 0);
    assert_string_equal(hex, "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03");
}

static struct outbox *open_outbox(struct stand *stand)
{
    struct mf_error error = {0};
    struct outbox *outbox = outbox_open(stand->run.folder, &error);
    if (outbox == NULL)
        fail_msg("%s", error.text);
    return outbox;
}

#define ROW(event, subscriber)                                                                     \
    "{\"event\":\"" event "\",\"subscriber\":" subscriber                                          \
    ",\"target\":\"t\",\"payload\":{\"event\":\"" event "\"}}"

static void rows_are_told_in_order(void **state)
{
    struct stand *stand = *state;
    struct mf_error error;
    struct outbox_row row;
    uint64_t count;
    add_rows(stand, "[" ROW("a", "1") "," ROW("b", "2") "," ROW("c", "1") "]");
    struct outbox *outbox = open_outbox(stand);
    assert_int_equal(outbox_next(outbox, 1, &row, &error), 1);
    assert_int_equal(row.id, 1);
    assert_string_equal(row.payload, "{\"event\":\"a\"}");
    assert_int_equal(outbox_note(outbox, 1, "pending", 5, 77, "no", &error), 0);
    assert_int_equal(outbox_next(outbox, 1, &row, &error), 1); /* c waits for a */
    assert_int_equal(row.id, 1);
    assert_int_equal(row.next_us, 77);
    assert_int_equal(row.attempts, 1);
    assert_int_equal(outbox_note(outbox, 1, "failed", 5, 0, "never", &error), 0);
    assert_int_equal(outbox_next(outbox, 1, &row, &error), 1);
    assert_int_equal(row.id, 3);
    assert_int_equal(outbox_note(outbox, 3, "delivered", 6, 0, NULL, &error), 0);
    assert_int_equal(outbox_next(outbox, 1, &row, &error), 0);
    assert_int_equal(outbox_next(outbox, 3, &row, &error), 0);
    assert_int_equal(outbox_again(outbox, 9, &count, &error), 0);
    assert_int_equal(count, 0);
    assert_int_equal(outbox_again(outbox, 0, &count, &error), 0);
    assert_int_equal(count, 2); /* a and b */
    assert_int_equal(outbox_again(outbox, 3, &count, &error), 0);
    assert_int_equal(count, 1);
    outbox_close(outbox);
    struct outbox_counts counts;
    sqlite3 *db = run_db_open(stand->run.db_path, &error);
    assert_int_equal(outbox_count(db, &counts, &error), 0);
    assert_int_equal(counts.pending, 3);
    run_db_close(db);
}

static void older_runs_have_none(void **state)
{
    struct stand *stand = *state;
    struct mf_error error;
    struct outbox_counts counts;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(stand->run.db_path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "DROP TABLE notification; PRAGMA user_version = 2", NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
    db = run_db_open(stand->run.db_path, &error);
    assert_int_equal(outbox_count(db, &counts, &error), 0);
    assert_int_equal(counts.pending + counts.delivered + counts.failed, 0);
    run_db_close(db);
    assert_null(outbox_open(stand->run.folder, &error));
    assert_int_equal(error.code, MF_EINPUT);
}

static unsigned count_lines(const char *folder)
{
    char path[400];
    unsigned lines = 0;
    snprintf(path, sizeof path, "%s/told", folder);
    FILE *file = fopen(path, "r");
    for (int c; file != NULL && (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    if (file != NULL)
        fclose(file);
    return lines;
}

/* A master and somebody who sends again, on the same outbox: each row is sent once. */
static void two_sessions_send_once(void **state)
{
    struct stand *stand = *state;
    struct mf_error error;
    struct notify_session *sessions[2];
    load_job(stand, "[{shell: 'sleep 0.01; cat >>told'}, {shell: 'cat >>told'}]");
    add_rows(stand, "[" ROW("a", "1") "," ROW("b", "2") "," ROW("c", "1") "," ROW("d", "1") "]");
    for (int i = 0; i < 2; i++) {
        sessions[i] = notify_session_open(stand->job, stand->run.folder, "run", &error);
        assert_non_null(sessions[i]);
    }
    for (int i = 0; i < 2; i++)
        notify_session_end(sessions[i], 60000000, -1);
    assert_int_equal(count_lines(stand->run.folder), 4);
}

/* Rows that come while a session goes on are told when it is woken; stopped, it ends at once. */
static void a_session_is_woken_and_stopped(void **state)
{
    struct stand *stand = *state;
    struct mf_error error;
    int ends[2];
    load_job(stand, "[{shell: 'cat >>told'}, {shell: 'exec sleep 1000', timeout: 10m}]");
    struct notify_session *session =
        notify_session_open(stand->job, stand->run.folder, "run", &error);
    assert_non_null(session);
    add_rows(stand, "[" ROW("a", "1") "," ROW("b", "2") "]");
    notify_session_wake(session);
    for (int i = 0; i < 6000 && count_lines(stand->run.folder) < 1; i++)
        poll(NULL, 0, 10);
    assert_int_equal(count_lines(stand->run.folder), 1);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    notify_session_end(session, 600000000, ends[0]);
    close(ends[0]);
    close(ends[1]);
    struct outbox_row row;
    struct outbox *outbox = open_outbox(stand);
    assert_int_equal(outbox_next(outbox, 1, &row, &error), 0);
    assert_int_equal(outbox_next(outbox, 2, &row, &error), 1);
    outbox_close(outbox);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(targets_hold_no_secrets),
        TEST(the_signature),
        TEST(rows_are_told_in_order),
        TEST(older_runs_have_none),
        TEST(two_sessions_send_once),
        TEST(a_session_is_woken_and_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
