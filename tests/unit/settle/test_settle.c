/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the messages of a run, for each of its endings; that it is done once; and that
 * nothing is done about a run that goes on. */
#include "tests/unit/queue/queue_fixture.h"

#include <sys/stat.h>

#include "master/record/schema.h"
#include "master/settle/settle.h"
#include "master/split/plan_seg.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_begin, fixture_end)
#define RUN "20261124-120000-pages-0001"

static struct settled settled;
static struct trigger_fired fired;

static void run_path_of(const struct fixture *fixture, const char *name, char path[160])
{
    snprintf(path, 160, "%s/%s%s%s", fixture->folder, RUN, *name == '\0' ? "" : "/", name);
}

/* A queue of four messages, of which the run has claimed `claimed`, with the firing of a trigger.
 */
static void claim_some(struct fixture *fixture, unsigned claimed)
{
    static const char *const bodies[] = {"a", "b", "c", "d"};
    make_queue(fixture, "documents", (struct queue_settings){.claims_max = 2});
    for (size_t i = 0; i < 4; i++)
        push(fixture, "documents", bodies[i], NULL);
    assert_int_equal(claim(fixture, "documents", RUN, claimed), claimed);
    const struct firing firing = {.run_id = RUN,
                                  .trigger = "pages",
                                  .queue = info_of(fixture, "documents").id,
                                  .cause = "count",
                                  .made_us = NOW,
                                  .starter = "1 1 x",
                                  .messages = claimed};
    ok(fixture, firing_insert(fixture->queues, &firing, &fixture->error));
    ok(fixture,
       sql_exec(fixture->queues->db,
                fixture->path,
                "INSERT INTO trigger(name, job_path, kind, settings, installed_us, failed, "
                "job_sha256, environment,"
                " not_before_us) VALUES('pages', '/j', 'queue', '{}', 1, 2, '', '', 77)",
                &fixture->error));
}

/* plan.seg with as many messages, from id 1. */
static void write_plan(struct fixture *fixture, unsigned messages)
{
    char path[160];
    run_path_of(fixture, "plan.seg", path);
    struct plan_writer *writer = plan_writer_create(path, &fixture->error);
    assert_non_null(writer);
    for (unsigned i = 1; i <= messages; i++) {
        const struct mf_subtask piece = {.id = i, .item = mf_bytes_text("x"), .message = i};
        ok(fixture, plan_writer_append(writer, &piece, &fixture->error));
    }
    ok(fixture, plan_writer_end(writer, messages, &fixture->error));
    ok(fixture, plan_writer_flush(writer, false, &fixture->error));
    plan_writer_destroy(writer);
}

/* The folder of a run in `state`; `rows` are what SQL says besides. */
static void write_run(struct fixture *fixture, const char *state, const char *rows)
{
    char path[160], sql[1024];
    sqlite3 *db;
    run_path_of(fixture, "", path);
    assert_int_equal(mkdir(path, 0700), 0);
    run_path_of(fixture, "run.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    ok(fixture, sql_exec(db, path, record_schema, &fixture->error));
    snprintf(sql,
             sizeof sql,
             "INSERT INTO run(one, schema_version, version, run_id, job_name, job, durability,"
             " state, reason, epoch, total, started_us)"
             " VALUES(1, 2, '0', '" RUN "', 'pages', '', 'full', '%s', 'for a reason', 1, 3, 1);"
             "INSERT INTO worker(id, joined_us) VALUES(1, 5);%s",
             state,
             rows);
    ok(fixture, sql_exec(db, path, sql, &fixture->error));
    sqlite3_close(db);
}

/* An attempt's row: subtask, attempt, state, cause, exit code. */
#define ROW(subtask, attempt, state, cause, code)                                                  \
    "INSERT INTO attempt(id, state, cause, exit_code, signal, epoch, worker, wall_us, user_us,"    \
    " system_us, peak_kib, result_bytes, output_count, output_bytes, detail)"                      \
    " VALUES((" #subtask " << 16) + " #attempt ", '" state "', '" cause "', " #code                \
    ", 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, NULL);"
#define DONE(subtask) ROW(subtask, 1, "done", "none", 0)

static int settle(struct fixture *fixture)
{
    char path[160];
    run_path_of(fixture, "", path);
    int rc = settle_run(fixture->queues, path, NOW, &settled, &fired, &fixture->error);
    assert_int_equal(fired.count, 0);
    check_invariants(fixture);
    return rc;
}

static void expect_settled(uint64_t gone, uint64_t failed, uint64_t back)
{
    assert_int_equal(settled.gone, gone);
    assert_int_equal(settled.failed, failed);
    assert_int_equal(settled.back, back);
}

static void expect_list(struct fixture *fixture, const char *state, const char *bodies)
{
    assert_string_equal(list(fixture, "documents", state).text, bodies);
}

static void expect_firing(struct fixture *fixture, const char *state)
{
    struct firing firing;
    assert_int_equal(firing_find(fixture->queues, RUN, &firing, &fixture->error), 1);
    assert_string_equal(firing.state, state);
}

/* failed in a row, and not_before relative to NOW in minutes; -1 = none. */
static void expect_trigger(struct fixture *fixture, int64_t failed, int64_t minutes)
{
    int64_t value;
    ok(fixture,
       sql_integer(fixture->queues->db,
                   fixture->path,
                   "SELECT failed FROM trigger WHERE last_run = '" RUN "'",
                   &value,
                   &fixture->error));
    assert_int_equal(value, failed);
    ok(fixture,
       sql_integer(fixture->queues->db,
                   fixture->path,
                   "SELECT ifnull(not_before_us, 0) FROM trigger",
                   &value,
                   &fixture->error));
    assert_true(value == (minutes < 0 ? 0 : NOW + minutes * 60000000));
}

static void what_succeeded_is_gone(void **state)
{
    struct fixture *fixture = *state;
    claim_some(fixture, 3);
    write_run(fixture, "succeeded", DONE(1) DONE(2) DONE(3));
    write_plan(fixture, 3);
    assert_int_equal(settle(fixture), 1);
    expect_settled(3, 0, 0);
    expect_list(fixture, "claimed", "");
    expect_list(fixture, "ready", "d");
    expect_firing(fixture, "succeeded");
    expect_trigger(fixture, 0, -1);
    assert_int_equal(settle(fixture), 0);
    expect_list(fixture, "ready", "d");
}

static void a_partial_run_gives_back_what_failed(void **state)
{
    struct fixture *fixture = *state;
    claim_some(fixture, 4);
    write_run(
        fixture, "partial", DONE(1) ROW(2, 1, "retried", "exit", 3) ROW(2, 2, "dead", "exit", 4));
    write_plan(fixture, 4);
    assert_int_equal(settle(fixture), 1);
    expect_settled(1, 3, 0); /* 3 and 4 were cancelled */
    expect_list(fixture, "ready", "b c d");
    assert_string_equal(list(fixture, "documents", "ready").cause, "exit 4");
    expect_trigger(fixture, 0, -1);
}

static void a_failed_run_blames_those_whose_subtask_failed(void **state)
{
    struct fixture *fixture = *state;
    claim_some(fixture, 3);
    write_run(fixture, "failed", DONE(1) ROW(2, 1, "failed", "input missing", 0) DONE(3));
    write_plan(fixture, 3);
    assert_int_equal(settle(fixture), 1);
    expect_settled(0, 1, 2);
    expect_list(fixture, "ready", "a b c d");
    assert_int_equal(list(fixture, "documents", "ready").failures, 0);
    expect_firing(fixture, "failed");
    expect_trigger(fixture, 3, 4);
}

static void what_failed_too_often_is_dead(void **state)
{
    struct fixture *fixture = *state;
    claim_some(fixture, 3);
    ok(fixture,
       sql_exec(
           fixture->queues->db, fixture->path, "UPDATE message SET failures = 1", &fixture->error));
    write_run(fixture, "failed", DONE(1) ROW(2, 1, "dead", "signal", 0) DONE(3));
    write_plan(fixture, 3);
    assert_int_equal(settle(fixture), 1);
    expect_list(fixture, "dead", "b");
    expect_list(fixture, "ready", "a c d");
    assert_string_equal(list(fixture, "documents", "dead").cause, "signal");
}

static void a_run_that_failed_by_itself_blames_all(void **state)
{
    struct fixture *fixture = *state;
    claim_some(fixture, 3);
    write_run(fixture, "failed", DONE(1) DONE(2) DONE(3));
    write_plan(fixture, 3);
    assert_int_equal(settle(fixture), 1);
    expect_settled(0, 3, 0);
    expect_list(fixture, "ready", "a b c d");
    assert_string_equal(list(fixture, "documents", "ready").cause, "for a reason");
    assert_int_equal(list(fixture, "documents", "ready").failures, 1);
}

/* Before there was a plan: prepare: failed. */
static void a_run_without_a_plan_blames_all(void **state)
{
    struct fixture *fixture = *state;
    claim_some(fixture, 3);
    write_run(fixture, "failed", "DELETE FROM worker; UPDATE run SET total = NULL");
    assert_int_equal(settle(fixture), 1);
    expect_settled(0, 3, 0);
}

static void nobody_is_blamed_when_the_run_could_not_be_carried_out(void **state)
{
    struct fixture *fixture = *state;
    claim_some(fixture, 3);
    write_run(fixture,
              "failed",
              "DELETE FROM worker; UPDATE run SET total = NULL;"
              "INSERT INTO event(wall_us, kind, text) VALUES(1, 'unable', 'no worker came')");
    write_plan(fixture, 3);
    assert_int_equal(settle(fixture), 1);
    expect_settled(0, 0, 3);
    assert_int_equal(list(fixture, "documents", "ready").failures, 0);
    expect_trigger(fixture, 3, 4);
}

static void a_cancelled_run_blames_nobody(void **state)
{
    struct fixture *fixture = *state;
    claim_some(fixture, 3);
    write_run(fixture, "cancelled", DONE(1) ROW(2, 1, "dead", "exit", 1));
    write_plan(fixture, 3);
    assert_int_equal(settle(fixture), 1);
    expect_settled(0, 0, 3);
    expect_list(fixture, "ready", "a b c d");
    expect_trigger(fixture, 2, 1);
}

static void a_run_that_goes_on_keeps_its_messages(void **state)
{
    struct fixture *fixture = *state;
    claim_some(fixture, 3);
    write_run(fixture, "running", DONE(1));
    write_plan(fixture, 3);
    assert_int_equal(settle(fixture), 0);
    expect_list(fixture, "claimed", "a b c");
    expect_firing(fixture, "open");
}

static void a_run_that_never_came_about_is_given_up(void **state)
{
    struct fixture *fixture = *state;
    struct settle_ending ending;
    claim_some(fixture, 3);
    assert_int_equal(settle(fixture), 0); /* there is no folder */
    settle_give_up(RUN, "the job file is gone", &ending);
    ok(fixture, settle_ending(fixture->queues, &ending, NOW, &settled, &fired, &fixture->error));
    settle_fini(&ending);
    expect_settled(0, 0, 3);
    expect_list(fixture, "ready", "a b c d");
    expect_firing(fixture, "given_up");
    expect_trigger(fixture, 3, 4);
}

static void a_job_that_waits_for_this_one_gets_its_event(void **state)
{
    struct fixture *fixture = *state;
    claim_some(fixture, 3);
    make_queue(fixture, "after.report", (struct queue_settings){.claims_max = 1});
    ok(fixture,
       sql_exec(fixture->queues->db,
                fixture->path,
                "INSERT INTO trigger(name, job_path, job_sha256, environment, kind, queue,"
                " settings, after_job, after_state, installed_us) SELECT 'report', '/none', '', '',"
                " 'after', id, '{}', 'pages', 'success', 1 FROM queue WHERE name = 'after.report'",
                &fixture->error));
    write_run(fixture, "succeeded", DONE(1) DONE(2) DONE(3));
    write_plan(fixture, 3);
    assert_int_equal(settle(fixture), 1);
    assert_int_equal(settle(fixture), 0);
    struct listing events = list(fixture, "after.report", "ready");
    assert_non_null(strstr(events.text, "\"run_id\":\"" RUN "\",\"job\":\"pages\""));
    assert_int_equal(info_of(fixture, "after.report").ready, 1);
}

/* It cannot be known then which messages have failed. */
static void a_damaged_plan_settles_nothing(void **state)
{
    struct fixture *fixture = *state;
    char path[160];
    claim_some(fixture, 3);
    write_run(fixture, "partial", DONE(1) DONE(2) ROW(3, 1, "dead", "exit", 1));
    write_plan(fixture, 3);
    run_path_of(fixture, "plan.seg", path);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 20, SEEK_SET), 0);
    assert_int_equal(fputs("damage", file), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(settle(fixture), -1);
    assert_int_equal(fixture->error.code, MF_EINPUT);
    expect_list(fixture, "claimed", "a b c");
    expect_firing(fixture, "open");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_succeeded_is_gone),
        CASE(a_partial_run_gives_back_what_failed),
        CASE(a_failed_run_blames_those_whose_subtask_failed),
        CASE(what_failed_too_often_is_dead),
        CASE(a_run_that_failed_by_itself_blames_all),
        CASE(a_run_without_a_plan_blames_all),
        CASE(nobody_is_blamed_when_the_run_could_not_be_carried_out),
        CASE(a_cancelled_run_blames_nobody),
        CASE(a_run_that_goes_on_keeps_its_messages),
        CASE(a_run_that_never_came_about_is_given_up),
        CASE(a_job_that_waits_for_this_one_gets_its_event),
        CASE(a_damaged_plan_settles_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
