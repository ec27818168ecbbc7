/* SPDX-License-Identifier: Apache-2.0 */
/* Triggers are registered, again, and removed. */
#include "tests/unit/trigger/trigger_fixture.h"

#include "master/trigger/settings.h"

static void a_row_says_what_the_job_says(void **state)
{
    struct fixture *fixture = *state;
    struct trigger_row row;
    int64_t queue = make_queue(fixture, "q");
    assert_int_equal(install(fixture,
                             "j",
                             "trigger: {queue: q, when: {count: 7, bytes: 1k, age: 5s}, max_batch: "
                             "70, max_running: 2, redis: {list: l, password: {env: SECRET}}}",
                             ""),
                     0);
    assert_int_equal(trigger_row_find(fixture->queues, "j", &row, &fixture->error), 1);
    assert_int_equal(row.kind, TRIGGER_QUEUE);
    assert_int_equal(row.queue, queue);
    assert_int_equal(row.when_count, 7);
    assert_int_equal(row.when_bytes, 1000);
    assert_int_equal(row.when_age_us, 5 * SECOND);
    assert_int_equal(row.batch_max, 70);
    assert_int_equal(row.running_max, 2);
    assert_int_equal(row.installed_us, NOW);
    assert_string_equal(row.environment, "PATH=/bin\n");
    assert_null(row.last_error);
    trigger_row_fini(&row);
    assert_int_equal(
        ask(fixture, "SELECT json_extract(settings, '$.redis.list') = 'l' FROM trigger"), 1);
    assert_int_equal(ask(fixture, "SELECT settings LIKE '%SECRET%' FROM trigger"), 0);
    assert_int_equal(trigger_row_find(fixture->queues, "other", &row, &fixture->error), 0);
}

/* What the clock has settled stays so; another expression begins now. */
static void cron_rows(void **state)
{
    struct fixture *fixture = *state;
    struct trigger_row row;
    assert_int_equal(install(fixture,
                             "j",
                             "trigger: {cron: '0 2 * * *', zone: Europe/Vienna, overlap: queue, "
                             "catchup: all, jitter: 30s}",
                             ""),
                     0);
    assert_int_equal(trigger_row_find(fixture->queues, "j", &row, &fixture->error), 1);
    assert_int_equal(row.kind, TRIGGER_CRON);
    assert_string_equal(row.cron, "0 2 * * *");
    assert_string_equal(row.zone, "Europe/Vienna");
    assert_int_equal(row.overlap, OVERLAP_QUEUE);
    assert_int_equal(row.catchup, CATCHUP_ALL);
    assert_int_equal(row.jitter_us, 30 * SECOND);
    assert_int_equal(row.last_due_us, NOW);
    assert_int_equal(row.queue, 0);
    trigger_row_fini(&row);
    tell(fixture,
         "UPDATE trigger SET last_due_us = 5, failed = 3, last_error = 'x', last_run = 'r'");
    assert_int_equal(install(fixture, "j", "trigger: {cron: '0 2 * * *', zone: Europe/Vienna}", ""),
                     0);
    assert_int_equal(ask(fixture, "SELECT last_due_us FROM trigger"), 5);
    assert_int_equal(
        ask(fixture, "SELECT failed = 0 AND last_error IS NULL AND last_run = 'r' FROM trigger"),
        1);
    assert_int_equal(install(fixture, "j", "trigger: {cron: '0 3 * * *'}", ""), 0);
    assert_int_equal(ask(fixture, "SELECT last_due_us FROM trigger"), NOW);
}

/* Jobs that start each other, over however many others. */
static void cycles_are_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(install(fixture, "b", "trigger: {after: a}", ""), 0);
    assert_int_equal(install(fixture, "c", "trigger: {after: b, on: failure}", ""), 0);
    assert_int_equal(install(fixture, "a", "trigger: {after: c}", ""), -1);
    assert_int_equal(fixture->error.code, MF_EUSAGE);
    assert_non_null(strstr(fixture->error.text, "trigger.after: job 'c' itself starts after 'a'"));
    assert_int_equal(install(fixture, "d", "trigger: {after: c}", ""), 0);
    assert_int_equal(install(fixture, "a", "trigger: {after: e}", ""), 0);
}

static void refused(void **state)
{
    struct fixture *fixture = *state;
    make_queue(fixture, "docs");
    assert_int_equal(install(fixture, "j", "", ""), -1);
    assert_non_null(strstr(fixture->error.text, "trigger: this key is missing"));
    assert_int_equal(install(fixture, "j", "trigger: {queue: dox}", ""), -1);
    assert_int_equal(fixture->error.code, MF_EUSAGE);
    assert_non_null(strstr(fixture->error.text, "docs"));
    assert_int_equal(ask(fixture, "SELECT count(*) FROM trigger"), 0);
    assert_int_equal(install(fixture, "j", "trigger: {queue: docs}", ""), 0);
    char *path = write_job(fixture, "k", "trigger: {queue: docs}", "");
    struct job *job = job_load(path, (const char *const[]){"name=j"}, 1, &fixture->error);
    const struct trigger_place place = {.job_path = path, .environment = ""};
    assert_int_equal(trigger_row_install(fixture->queues, job, &place, NOW, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "a job of the name 'j' is installed from"));
    job_destroy(job);
    mf_free(path);
}

static int remove_trigger(struct fixture *fixture, const char *name, uint64_t *events)
{
    IN(fixture);
    int rc = trigger_row_remove(fixture->queues, name, events, &fixture->error);
    OUT(fixture);
    return rc;
}

/* The hidden queue of a chain goes with it, and a kind that changes leaves none behind. */
static void removed(void **state)
{
    struct fixture *fixture = *state;
    uint64_t events;
    make_queue(fixture, "q");
    assert_int_equal(install(fixture, "j", "trigger: {queue: q}", ""), 0);
    push(fixture, "q", 3, NOW);
    assert_int_equal(remove_trigger(fixture, "j", NULL), 1);
    assert_int_equal(remove_trigger(fixture, "j", NULL), 0);
    assert_int_equal(ask(fixture, "SELECT ready FROM queue WHERE name = 'q'"), 3);
    assert_int_equal(install(fixture, "a", "trigger: {after: j}", ""), 0);
    push(fixture, "after.a", 2, NOW);
    assert_int_equal(remove_trigger(fixture, "a", &events), 1);
    assert_int_equal(events, 2);
    assert_int_equal(ask(fixture, "SELECT count(*) FROM queue"), 1);
    assert_int_equal(install(fixture, "a", "trigger: {after: j}", ""), 0);
    assert_int_equal(install(fixture, "a", "trigger: {cron: '@daily'}", ""), 0);
    assert_int_equal(ask(fixture, "SELECT count(*) FROM queue"), 1);
}

/* What a command line has, and nothing else: no secret gets into the file. */
static void the_environment(void **state)
{
    struct fixture *fixture = *state;
    setenv("MY_PASSWORD", "sesame", 1);
    setenv("LC_ALL", "C.UTF-8", 1);
    setenv("XDG_STATE_HOME", "/state", 1);
    char *text = trigger_environment(&fixture->error);
    assert_non_null(strstr(text, "PATH="));
    assert_non_null(strstr(text, "LC_ALL=C.UTF-8\n"));
    assert_non_null(strstr(text, "XDG_STATE_HOME=/state\n"));
    assert_null(strstr(text, "sesame"));
    mf_free(text);
    unsetenv("XDG_STATE_HOME");
}

static void a_note_is_written_once(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(install(fixture, "j", "trigger: {cron: '@daily'}", ""), 0);
    int64_t before = sqlite3_total_changes64(fixture->queues->db);
    OK(fixture, trigger_row_note(fixture->queues, "j", "why", &fixture->error));
    OK(fixture, trigger_row_note(fixture->queues, "j", "why", &fixture->error));
    assert_int_equal(sqlite3_total_changes64(fixture->queues->db) - before, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_row_says_what_the_job_says),
        TEST(cron_rows),
        TEST(cycles_are_refused),
        TEST(refused),
        TEST(removed),
        TEST(the_environment),
        TEST(a_note_is_written_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
