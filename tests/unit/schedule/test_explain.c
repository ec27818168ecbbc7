/* SPDX-License-Identifier: Apache-2.0 */
/* Why something is not running. */
#include "harness.h"

#include "master/schedule/explain.h"

static struct schedule_explanation explain(void)
{
    struct schedule_explanation e;
    schedule_explain(h.schedule, &e);
    return e;
}

static struct schedule_subtask about(uint64_t id)
{
    struct schedule_subtask subtask;
    schedule_explain_subtask(h.schedule, id, &subtask);
    return subtask;
}

static void test_whys(void **state)
{
    (void)state;
    create();
    assert_int_equal(explain().why, WHY_NONE_PENDING);
    assert_false(explain().plan_ended);
    plan_all(5);
    assert_int_equal(explain().why, WHY_NO_WORKERS);
    assert_true(explain().plan_ended);
    add_worker(1, 1);
    assert_int_equal(explain().why, WHY_WORKERS_TO_COME);
    assert_int_equal(explain().launching, 1);
    worker(EVENT_WORKER_LAUNCHED, 1);
    assert_int_equal(explain().joining, 1);
    worker(EVENT_WORKER_JOINED, 1);
    assert_int_equal(explain().why, WHY_NEXT_POLL);
    assert_int_equal(explain().idle, 1);
    poll(1);
    assert_int_equal(explain().why, WHY_NO_PLACE);
    assert_int_equal(about(5).why, WHY_NO_PLACE);
    assert_int_equal(explain().pending, counts().pending);
    assert_int_equal(explain().offered, counts().offered);
    worker(EVENT_WORKER_DISCONNECTED, 1);
    assert_int_equal(explain().why, WHY_WORKERS_AWAY);
    assert_int_equal(explain().away, 1);
    poll(1);
    apply((struct schedule_event){.kind = EVENT_PAUSE, .ok = true});
    assert_int_equal(explain().why, WHY_PAUSED);
    assert_true(explain().paused);
    assert_null(explain().winding_down);
    apply((struct schedule_event){.kind = EVENT_DRAIN});
    assert_int_equal(explain().why, WHY_WINDING_DOWN);
    assert_non_null(strstr(explain().winding_down, "drained"));
    assert_string_equal(schedule_why_text(WHY_PAUSED), "paused");
    assert_string_equal(schedule_why_text((enum schedule_why)99), "unknown");
}

static void test_relaunch(void **state)
{
    (void)state;
    create();
    plan_all(1);
    add_worker(1, 1);
    apply((struct schedule_event){.kind = EVENT_WORKER_LAUNCH_FAILED, .worker = 1, .ok = true});
    assert_int_equal(explain().why, WHY_RELAUNCH);
    assert_int_equal(explain().wanted, 1);
    assert_true(explain().relaunch_us == h.now_us + 100 * MS);
}

static void test_backoff(void **state)
{
    (void)state;
    h.config.retries_max = 2;
    create();
    join_worker(1, 2);
    plan_all(2);
    poll(1);
    ended(1, 1, 1, MF_CAUSE_EXIT, 1);
    int64_t first = h.now_us + SEC;
    h.now_us += 400 * MS;
    ended(1, 2, 1, MF_CAUSE_EXIT, 1);
    assert_int_equal(explain().waiting, 2);
    assert_true(explain().waiting_until_us == first);
    assert_true(about(1).until_us == first);
    assert_true(about(2).until_us == first + 400 * MS);
    assert_int_equal(about(2).failures, 1);
    assert_int_equal(about(2).attempt, 1);
    assert_string_equal(about(2).state, "waiting");
    assert_int_equal(explain().unrecorded, 2);
    recorded(2);
    assert_int_equal(explain().unrecorded, 0);
}

static void test_held(void **state)
{
    (void)state;
    h.config.epoch = 2;
    h.config.resume_us = 9 * SEC;
    create();
    queue((struct schedule_event){.kind = EVENT_WORKER_KNOWN, .worker = 1, .slots = 1});
    queue((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 1, .held = true});
    collect();
    assert_int_equal(explain().held, 1);
    assert_int_equal(explain().known_workers, 1);
    assert_true(explain().held_until_us == h.now_us + 9 * SEC);
    assert_true(about(1).until_us == h.now_us + 9 * SEC);
    assert_int_equal(explain().why, WHY_NONE_PENDING);
    wait_us(9 * SEC);
    assert_int_equal(explain().held, 0);
    assert_true(explain().held_until_us == INT64_MAX);
}

static void test_holders(void **state)
{
    (void)state;
    h.config.run_timeout_us = 3600 * SEC;
    create();
    join_worker(1, 1);
    join_worker(2, 1);
    plan_all(1);
    assert_true(explain().timeout_us == h.now_us + 3600 * SEC);
    poll(1);
    started(1, 1, 1);
    struct schedule_subtask subtask = about(1);
    assert_true(subtask.found);
    assert_int_equal(subtask.holder_count, 1);
    assert_int_equal(subtask.holder[0].worker, 1);
    assert_int_equal(subtask.holder[0].epoch, 1);
    assert_true(subtask.holder[0].running);
    assert_true(subtask.since_us == h.now_us);
    worker(EVENT_WORKER_DISCONNECTED, 1);
    wait_us(500 * MS);
    poll(2);
    subtask = about(1);
    assert_int_equal(subtask.holder_count, 2);
    assert_true(subtask.holder[0].away);
    assert_false(subtask.holder[1].running);
    assert_int_equal(subtask.holder[1].attempt, 2);
    done(2, 1, 2);
    subtask = about(1);
    assert_false(subtask.found);
    assert_false(subtask.ahead);
    assert_string_equal(subtask.state, "finished");
    assert_true(about(2).ahead);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_whys),
                                       TEST(test_relaunch),
                                       TEST(test_backoff),
                                       TEST(test_held),
                                       TEST(test_holders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
