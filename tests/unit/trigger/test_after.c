/* SPDX-License-Identifier: Apache-2.0 */
/* Chains: which triggers the end of a run concerns, once each. */
#include "tests/unit/trigger/trigger_fixture.h"

#include "master/trigger/after.h"

static size_t
end_run(struct fixture *fixture, const char *run_id, const char *state, uint32_t epoch)
{
    const struct after_event event = {.run_id = run_id,
                                      .job = "first",
                                      .state = state,
                                      .folder = "/runs/1",
                                      .result = "/runs/1/result",
                                      .epoch = epoch};
    trigger_fired_fini(&fixture->fired);
    IN(fixture);
    OK(fixture, after_push(fixture->queues, &event, NOW, &fixture->fired, &fixture->error));
    OUT(fixture);
    return fixture->fired.count;
}

static void each_state_its_triggers(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(install(fixture, "s", "trigger: {after: first}", ""), 0);
    assert_int_equal(install(fixture, "f", "trigger: {after: first, on: failure}", ""), 0);
    assert_int_equal(
        install(fixture, "a", "trigger: {after: first, on: always, max_running: 9}", ""), 0);
    assert_int_equal(install(fixture, "o", "trigger: {after: other, on: always}", ""), 0);
    assert_int_equal(end_run(fixture, "r1", "succeeded", 1), 2);
    assert_string_equal(fixture->fired.runs[0].trigger, "a");
    assert_string_equal(fixture->fired.runs[1].trigger, "s");
    assert_int_equal(end_run(fixture, "r2", "failed", 1), 2);
    assert_string_equal(fixture->fired.runs[1].trigger, "f");
    assert_int_equal(ask(fixture, "SELECT count(*) FROM firing WHERE input = '/runs/1'"), 4);
    assert_int_equal(ask(fixture, "SELECT count(*) FROM firing WHERE cause = 'after'"), 4);
    assert_int_equal(
        ask(fixture,
            "SELECT count(*) FROM message WHERE json_extract(body, '$.result') = '/runs/1/result'"
            " AND json_extract(body, '$.job') = 'first'"),
        4);
    /* The run of before is open: this event waits. */
    assert_int_equal(end_run(fixture, "r3", "partial", 1), 1);
    assert_string_equal(fixture->fired.runs[0].trigger, "a");
    assert_int_equal(end_run(fixture, "r4", "cancelled", 1), 1);
}

/* An ending master and whoever settles the run again say the same: once. A retry is another end. */
static void an_event_counts_once(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(
        install(fixture, "a", "trigger: {after: first, on: always, max_running: 9}", ""), 0);
    assert_int_equal(end_run(fixture, "r1", "failed", 1), 1);
    assert_int_equal(end_run(fixture, "r1", "failed", 1), 0);
    assert_int_equal(end_run(fixture, "r1", "succeeded", 2), 1);
    assert_int_equal(ask(fixture, "SELECT count(*) FROM firing"), 2);
}

/* A run by hand has a row from its start when somebody waits for it, else none. */
static void a_run_that_is_awaited_has_a_row(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(install(fixture, "a", "trigger: {after: first}", ""), 0);
    IN(fixture);
    assert_int_equal(after_begin(fixture->queues, "r1", "first", NOW, &fixture->error), 1);
    assert_int_equal(after_begin(fixture->queues, "r2", "nobody", NOW, &fixture->error), 0);
    OUT(fixture);
    assert_int_equal(ask(fixture,
                         "SELECT count(*) FROM firing WHERE run_id = 'r1' AND trigger IS NULL AND "
                         "state = 'open' AND cause = 'hand'"),
                     1);
    assert_int_equal(ask(fixture, "SELECT count(*) FROM firing"), 1);
    tell(fixture, "UPDATE firing SET state = 'failed', ended_us = 1");
    IN(fixture);
    assert_int_equal(after_begin(fixture->queues, "r1", "first", NOW, &fixture->error), 1);
    OUT(fixture);
    assert_int_equal(ask(fixture, "SELECT count(*) FROM firing WHERE state = 'open'"), 1);
}

/* An event whose run has failed is a dead letter at once, and can be replayed. */
static void a_failed_event_is_dead(void **state)
{
    struct fixture *fixture = *state;
    uint64_t count;
    assert_int_equal(install(fixture, "a", "trigger: {after: first}", ""), 0);
    assert_int_equal(end_run(fixture, "r1", "succeeded", 1), 1);
    IN(fixture);
    OK(fixture,
       queue_give_back(fixture->queues,
                       fixture->fired.runs[0].run_id,
                       true,
                       "it failed",
                       &count,
                       &fixture->error));
    OUT(fixture);
    assert_int_equal(count, 1);
    assert_int_equal(ask(fixture, "SELECT dead FROM queue WHERE name = 'after.a'"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_state_its_triggers),
        TEST(an_event_counts_once),
        TEST(a_run_that_is_awaited_has_a_row),
        TEST(a_failed_event_is_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
