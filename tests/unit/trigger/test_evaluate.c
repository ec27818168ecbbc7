/* SPDX-License-Identifier: Apache-2.0 */
/* When a queue's trigger fires, with how much, and when it does not. */
#include "tests/unit/trigger/trigger_fixture.h"

static void below_the_threshold_nothing_happens(void **state)
{
    struct fixture *fixture = *state;
    make_queue(fixture, "q");
    assert_int_equal(install(fixture, "j", "trigger: {queue: q, when: {count: 100}}", ""), 0);
    assert_int_equal(evaluate(fixture, NOW), 0);
    push(fixture, "q", 99, NOW);
    assert_int_equal(evaluate(fixture, NOW + 86400 * SECOND), 0);
    assert_int_equal(ask(fixture, "SELECT count(*) FROM firing"), 0);
    assert_int_equal(ask(fixture, "SELECT ready FROM queue"), 99);
}

/* One firing with all that is there, bound to one run id; the next one waits for its end. */
static void a_crossing_fires_once(void **state)
{
    struct fixture *fixture = *state;
    make_queue(fixture, "q");
    assert_int_equal(install(fixture, "j", "trigger: {queue: q, when: {count: 100}}", ""), 0);
    push(fixture, "q", 130, NOW);
    assert_int_equal(evaluate(fixture, NOW), 1);
    assert_string_equal(fixture->fired.runs[0].trigger, "j");
    assert_int_equal(ask(fixture, "SELECT messages FROM firing WHERE cause = 'count'"), 130);
    assert_int_equal(ask(fixture,
                         "SELECT count(*) FROM message, firing WHERE message.run_id = firing.run_id"
                         " AND message.state = 'claimed'"),
                     130);
    assert_int_equal(ask(fixture, "SELECT last_run = run_id FROM trigger, firing"), 1);
    push(fixture, "q", 150, NOW);
    assert_int_equal(evaluate(fixture, NOW), 0);
    tell(fixture, "UPDATE firing SET state = 'succeeded'");
    assert_int_equal(evaluate(fixture, NOW), 1);
    assert_int_equal(ask(fixture, "SELECT messages FROM firing WHERE state = 'open'"), 150);
}

/* With room for several, one evaluation makes several; what is left is below the threshold. */
static void batches_and_runs_are_limited(void **state)
{
    struct fixture *fixture = *state;
    make_queue(fixture, "q");
    assert_int_equal(install(fixture,
                             "j",
                             "trigger: {queue: q, when: {count: 10}, max_batch: 20, "
                             "max_running: 3}",
                             ""),
                     0);
    push(fixture, "q", 49, NOW);
    assert_int_equal(evaluate(fixture, NOW), 2);
    assert_int_equal(ask(fixture, "SELECT count(*) FROM firing WHERE messages = 20"), 2);
    assert_int_equal(ask(fixture, "SELECT ready FROM queue"), 9);
    push(fixture, "q", 100, NOW);
    assert_int_equal(evaluate(fixture, NOW), 1);
    assert_int_equal(ask(fixture, "SELECT ready FROM queue"), 89);
    /* Ids of triggers are odd, so that no run by hand has one of them. */
    for (size_t i = 0; i < fixture->fired.count; i++) {
        const char *id = fixture->fired.runs[i].run_id;
        assert_non_null(strchr("13579bdf", id[strlen(id) - 1]));
    }
}

static void bytes_and_age(void **state)
{
    struct fixture *fixture = *state;
    make_queue(fixture, "q");
    assert_int_equal(install(fixture, "j", "trigger: {queue: q, when: {bytes: 80, age: 10m}}", ""),
                     0);
    push(fixture, "q", 9, NOW);
    assert_int_equal(evaluate(fixture, NOW + 599 * SECOND), 0);
    assert_int_equal(evaluate(fixture, NOW + 600 * SECOND), 1);
    assert_int_equal(ask(fixture, "SELECT messages FROM firing WHERE cause = 'age'"), 9);
    tell(fixture, "UPDATE firing SET state = 'succeeded'");
    push(fixture, "q", 10, NOW + 600 * SECOND);
    assert_int_equal(evaluate(fixture, NOW + 600 * SECOND), 1);
    assert_int_equal(ask(fixture, "SELECT messages FROM firing WHERE cause = 'bytes'"), 10);
}

/* A clock that is set back keeps no message waiting, and no rest going on. */
static void a_clock_that_is_set_back(void **state)
{
    struct fixture *fixture = *state;
    make_queue(fixture, "q");
    assert_int_equal(install(fixture, "j", "trigger: {queue: q, when: {count: 100, age: 10m}}", ""),
                     0);
    push(fixture, "q", 3, NOW);
    assert_int_equal(evaluate(fixture, NOW - 1 * SECOND), 0);
    assert_int_equal(evaluate(fixture, NOW - 86400 * SECOND), 1);
    tell(fixture, "UPDATE firing SET state = 'failed'");
    push(fixture, "q", 100, NOW - 86400 * SECOND);
    tell(fixture, "UPDATE trigger SET not_before_us = 1800000000000000");
    assert_int_equal(evaluate(fixture, NOW - 1800 * SECOND), 0);
    assert_int_equal(evaluate(fixture, NOW - 86400 * SECOND), 1);
}

static void it_rests_after_a_failure(void **state)
{
    struct fixture *fixture = *state;
    make_queue(fixture, "q");
    assert_int_equal(install(fixture, "j", "trigger: {queue: q}", ""), 0);
    push(fixture, "q", 1, NOW);
    tell(fixture, "UPDATE trigger SET not_before_us = 1800000060000000, failed = 1");
    assert_int_equal(evaluate(fixture, NOW + 59 * SECOND), 0);
    assert_int_equal(evaluate(fixture, NOW + 60 * SECOND), 1);
}

/* A job file that was edited fires as it is now, as long as it asks for the same. */
static void a_job_that_was_edited(void **state)
{
    struct fixture *fixture = *state;
    make_queue(fixture, "q");
    assert_int_equal(install(fixture, "j", "trigger: {queue: q}", ""), 0);
    mf_free(write_job(fixture, "j", "trigger: {queue: q}", "timeout: 3s\n"));
    push(fixture, "q", 1, NOW);
    assert_int_equal(evaluate(fixture, NOW), 1);
}

/* When it is broken, or asks for something else, its messages stay where they are, and it says why.
 */
static void a_job_that_changed_does_not_fire(void **state)
{
    struct fixture *fixture = *state;
    make_queue(fixture, "q");
    assert_int_equal(install(fixture, "j", "trigger: {queue: q}", ""), 0);
    mf_free(write_job(fixture, "j", "trigger: {queue: q}", "timeout: soon\n"));
    push(fixture, "q", 5, NOW);
    assert_int_equal(evaluate(fixture, NOW), 0);
    assert_int_equal(
        ask(fixture, "SELECT last_error LIKE '/tmp/%/j.yaml:%: timeout: %' FROM trigger"), 1);
    mf_free(write_job(fixture, "j", "trigger: {queue: q, max_running: 2}", ""));
    assert_int_equal(evaluate(fixture, NOW), 0);
    assert_int_equal(ask(fixture, "SELECT ready FROM queue"), 5);
    assert_int_equal(ask(fixture,
                         "SELECT last_error LIKE 'the job file /tmp/%/j.yaml has another name or "
                         "''trigger'' now than when it was installed, so it starts nothing until "
                         "that is said again: mayfly trigger install /tmp/%/j.yaml' FROM trigger"),
                     1);
    char path[96];
    snprintf(path, sizeof path, "%s/j.yaml", fixture->folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(evaluate(fixture, NOW), 0);
    assert_int_equal(
        ask(fixture,
            "SELECT last_error LIKE '%j.yaml cannot be opened: No such file%' FROM trigger"),
        1);
    assert_int_equal(trigger_fire(fixture->queues, "j", NOW, &fixture->fired, &fixture->error), -1);
    assert_int_equal(fixture->error.code, MF_EUSAGE);
    assert_int_equal(install(fixture, "j", "trigger: {queue: q}", "timeout: 3s\n"), 0);
    assert_int_equal(ask(fixture, "SELECT last_error IS NULL FROM trigger"), 1);
    assert_int_equal(evaluate(fixture, NOW), 1);
}

static void groups_go_one_at_a_time(void **state)
{
    struct fixture *fixture = *state;
    make_queue(fixture, "q");
    assert_int_equal(install(fixture, "j", "trigger: {queue: q, max_running: 9}", ""), 0);
    struct queue_info info;
    const struct queue_message message = {.body = mf_bytes_text("1"), .group = "g"};
    IN(fixture);
    OK(fixture, queue_find(fixture->queues, "q", &info, &fixture->error));
    for (int i = 0; i < 3; i++)
        OK(fixture, queue_push(fixture->queues, &info, &message, NOW, &fixture->error));
    OUT(fixture);
    assert_int_equal(evaluate(fixture, NOW), 1);
    assert_int_equal(ask(fixture, "SELECT messages FROM firing"), 1);
    assert_int_equal(ask(fixture, "SELECT count(*) FROM firing"), 1);
}

/* By hand: no threshold, no rest, no limit of runs; but something to do. */
static void by_hand(void **state)
{
    struct fixture *fixture = *state;
    struct trigger_fired *fired = &fixture->fired;
    make_queue(fixture, "q");
    assert_int_equal(install(fixture, "j", "trigger: {queue: q, when: 100}", ""), 0);
    IN(fixture);
    assert_int_equal(trigger_fire(fixture->queues, "j", NOW, fired, &fixture->error), 0);
    OUT(fixture);
    push(fixture, "q", 2, NOW);
    tell(fixture, "UPDATE trigger SET not_before_us = 1800000060000000");
    IN(fixture);
    assert_int_equal(trigger_fire(fixture->queues, "j", NOW, fired, &fixture->error), 1);
    OUT(fixture);
    assert_int_equal(ask(fixture, "SELECT messages FROM firing WHERE cause = 'hand'"), 2);
    IN(fixture);
    assert_int_equal(trigger_fire(fixture->queues, "x", NOW, fired, &fixture->error), -1);
    OUT(fixture);
    assert_string_equal(fixture->error.text,
                        "there is no trigger of a job 'x': mayfly trigger list shows those that "
                        "are installed");
}

/* A push to a queue with a fan-out asks the triggers of its targets, too. */
static void a_fan_out_reaches_all(void **state)
{
    struct fixture *fixture = *state;
    struct queue_info source, target;
    make_queue(fixture, "s");
    make_queue(fixture, "t");
    IN(fixture);
    OK(fixture, queue_find(fixture->queues, "s", &source, &fixture->error));
    OK(fixture, queue_find(fixture->queues, "t", &target, &fixture->error));
    OK(fixture, queue_add_fan_out(fixture->queues, &source, &target, &fixture->error));
    OUT(fixture);
    assert_int_equal(install(fixture, "a", "trigger: {queue: s}", ""), 0);
    assert_int_equal(install(fixture, "b", "trigger: {queue: t}", ""), 0);
    push(fixture, "s", 4, NOW);
    IN(fixture);
    OK(fixture,
       trigger_evaluate_queue(fixture->queues, source.id, NOW, &fixture->fired, &fixture->error));
    OUT(fixture);
    assert_int_equal(fixture->fired.count, 2);
    assert_int_equal(ask(fixture, "SELECT sum(messages) FROM firing"), 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(below_the_threshold_nothing_happens),
        TEST(a_crossing_fires_once),
        TEST(batches_and_runs_are_limited),
        TEST(bytes_and_age),
        TEST(a_clock_that_is_set_back),
        TEST(it_rests_after_a_failure),
        TEST(a_job_that_was_edited),
        TEST(a_job_that_changed_does_not_fire),
        TEST(groups_go_one_at_a_time),
        TEST(by_hand),
        TEST(a_fan_out_reaches_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
