/* SPDX-License-Identifier: Apache-2.0 */
/* The run: its states in order, drain, cancel, stop, a plan or a gather that fails. */
#include "harness.h"

static void begin_run(uint64_t subtasks)
{
    create();
    collect();
    assert_int_equal(only(SCHEDULE_RUN_STATE)->state, RUN_PLANNING);
    add_worker(1, 2);
    assert_int_equal(only(SCHEDULE_LAUNCH)->worker, 1);
    worker(EVENT_WORKER_LAUNCHED, 1);
    worker(EVENT_WORKER_JOINED, 1);
    plan_all(subtasks);
    assert_int_equal(nth(SCHEDULE_RUN_STATE, 0)->state, RUN_RUNNING);
    poll(1);
}

static void test_success(void **state)
{
    (void)state;
    begin_run(2);
    done(1, 1, 1);
    done(1, 2, 1);
    assert_int_equal(counts().state, RUN_RUNNING);
    recorded(2);
    assert_int_equal(only(SCHEDULE_RUN_STATE)->state, RUN_GATHERING);
    assert_false(only(SCHEDULE_GATHER)->partial);
    apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
    assert_int_equal(only(SCHEDULE_RUN_STATE)->state, RUN_DISMISSING);
    assert_int_equal(only(SCHEDULE_DISMISS)->worker, 1);
    finish(1, RUN_SUCCEEDED, NULL);
    assert_int_equal(counts().done, 2);
    assert_int_equal(counts().workers_gone, 1);
}

static void test_empty_plan(void **state)
{
    (void)state;
    begin_run(0);
    assert_int_equal(counts().state, RUN_GATHERING);
    apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
    finish(1, RUN_SUCCEEDED, NULL);
}

static void test_gather_fails(void **state)
{
    (void)state;
    begin_run(0);
    apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = false});
    finish(1, RUN_FAILED, "could not be gathered");
}

static void test_plan_fails(void **state)
{
    (void)state;
    create();
    join_worker(1, 1);
    apply((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 1});
    apply((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 2});
    poll(1);
    started(1, 1, 1);
    apply((struct schedule_event){.kind = EVENT_PLAN_FAILED});
    assert_int_equal(only(SCHEDULE_CANCEL)->subtask, 1);
    assert_int_equal(count_of(SCHEDULE_TAKE_BACK), 1);
    ended(1, 1, 1, MF_CAUSE_CANCELLED, 0);
    returned(1, 2, 1);
    finish(1, RUN_FAILED, "plan");
    assert_int_equal(counts().cancelled, 2);
}

/* Two run, two are offered, one waits, the rest is pending; and not all is planned. */
static void busy(void)
{
    h.config.retries_max = 1;
    create();
    join_worker(1, 2);
    for (uint64_t i = 1; i <= 10; i++)
        queue((struct schedule_event){.kind = EVENT_PLANNED, .subtask = i});
    collect();
    poll(1);
    assert_int_equal(count_of(SCHEDULE_OFFER), 4);
    started(1, 1, 1);
    ended(1, 1, 1, MF_CAUSE_EXIT, 1);
    started(1, 2, 1);
    started(1, 3, 1);
    assert_int_equal(counts().waiting, 1);
    assert_int_equal(counts().running, 2);
    assert_int_equal(counts().offered, 1);
    assert_int_equal(counts().pending, 6);
}

static void test_cancel(void **state)
{
    (void)state;
    busy();
    apply((struct schedule_event){.kind = EVENT_CANCEL});
    assert_int_equal(count_of(SCHEDULE_CANCEL), 2);
    assert_int_equal(only(SCHEDULE_TAKE_BACK)->subtask, 4);
    assert_int_equal(only(SCHEDULE_FLUSH)->worker, 1);
    assert_int_equal(counts().cancelled, 7);
    done(1, 2, 1); /* its result was on the way: it counts */
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_DONE);
    ended(1, 3, 1, MF_CAUSE_CANCELLED, 0);
    started(1, 4, 1); /* the order came too late */
    assert_int_equal(only(SCHEDULE_CANCEL)->subtask, 4);
    /* What had been asked of the plan may still come. */
    apply((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 11});
    ended(1, 4, 1, MF_CAUSE_CANCELLED, 0);
    assert_int_equal(counts().state, RUN_RUNNING); /* two records are not committed */
    recorded(2);
    finish(1, RUN_CANCELLED, "cancelled");
    assert_int_equal(counts().done, 1);
    assert_int_equal(counts().cancelled, 10);
    assert_int_equal(counts().planned, 11);
}

static void test_cancel_has_a_deadline(void **state)
{
    (void)state;
    busy();
    h.config.dismiss_us = 30 * SEC;
    apply((struct schedule_event){.kind = EVENT_CANCEL});
    recorded(1);
    wait_us(20 * SEC);
    poll(1); /* alive, but its subtasks don't end */
    assert_int_equal(counts().running, 2);
    wait_us(10 * SEC);
    assert_int_equal(counts().cancelled, 10);
    done(1, 2, 1);
    only(SCHEDULE_FENCED);
    assert_int_equal(counts().state, RUN_DISMISSING);
    finish(1, RUN_CANCELLED, "cancelled");
}

static void test_drain(void **state)
{
    (void)state;
    busy();
    apply((struct schedule_event){.kind = EVENT_DRAIN});
    assert_int_equal(count_of(SCHEDULE_CANCEL), 0);
    assert_int_equal(only(SCHEDULE_TAKE_BACK)->subtask, 4);
    returned(1, 4, 1);
    done(1, 2, 1);
    poll(1);
    assert_int_equal(count_of(SCHEDULE_OFFER) + count_of(SCHEDULE_PLAN), 0);
    wait_us(5 * SEC); /* the backoff of subtask 1 is over: it is not begun */
    assert_int_equal(counts().waiting, 1);
    done(1, 3, 1);
    recorded(3);
    finish(1, RUN_INTERRUPTED, "drained");
    assert_int_equal(counts().done, 2);
    assert_int_equal(counts().cancelled, 0);
    assert_int_equal(counts().pending + counts().waiting, 8);
}

static void test_drain_then_cancel(void **state)
{
    (void)state;
    busy();
    apply((struct schedule_event){.kind = EVENT_DRAIN});
    apply((struct schedule_event){.kind = EVENT_CANCEL});
    assert_int_equal(count_of(SCHEDULE_CANCEL), 2);
    assert_int_equal(count_of(SCHEDULE_TAKE_BACK), 0);   /* asked before */
    apply((struct schedule_event){.kind = EVENT_DRAIN}); /* changes nothing */
    worker(EVENT_WORKER_DIED, 1);
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 0);
    recorded(1);
    assert_int_equal(only(SCHEDULE_FINISH)->state, RUN_CANCELLED);
    assert_int_equal(counts().cancelled, 10);
}

static void test_stop(void **state)
{
    (void)state;
    busy();
    apply((struct schedule_event){.kind = EVENT_STOP});
    assert_int_equal(counts().state, RUN_DISMISSING); /* the record is not waited for */
    done(1, 2, 1);
    only(SCHEDULE_FENCED);
    finish(1, RUN_INTERRUPTED, "stopped");
    assert_int_equal(counts().pending + counts().waiting, 10);
}

static void test_cancel_while_gathering(void **state)
{
    (void)state;
    begin_run(0);
    apply((struct schedule_event){.kind = EVENT_DRAIN}); /* what runs finishes */
    assert_int_equal(counts().state, RUN_GATHERING);
    apply((struct schedule_event){.kind = EVENT_CANCEL});
    only(SCHEDULE_DISMISS);
    apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true}); /* too late */
    finish(1, RUN_CANCELLED, "gathered");
}

static void test_stop_while_gathering(void **state)
{
    (void)state;
    begin_run(0);
    apply((struct schedule_event){.kind = EVENT_STOP});
    finish(1, RUN_INTERRUPTED, "gathered");
}

static void test_cancel_before_anything(void **state)
{
    (void)state;
    create();
    apply((struct schedule_event){.kind = EVENT_CANCEL});
    assert_int_equal(only(SCHEDULE_FINISH)->state, RUN_CANCELLED);
}

static void test_late_things_after_the_end(void **state)
{
    (void)state;
    begin_run(1);
    apply((struct schedule_event){.kind = EVENT_CANCEL});
    returned(1, 1, 1);
    finish(1, RUN_CANCELLED, "cancelled");
    poll(1);
    assert_int_equal(only(SCHEDULE_DISMISS)->worker, 1);
    done(1, 1, 1);
    only(SCHEDULE_FENCED);
    wait_us(100 * SEC);
    assert_int_equal(h.action_count, 0);
}

/* The whole run has a limit: what runs is ended, what is left is cancelled, the reason says so. */
static void test_timeout(void **state)
{
    (void)state;
    h.config.run_timeout_us = 5 * SEC;
    create();
    join_worker(1, 1);
    plan_all(3);
    poll(1);
    started(1, 1, 1);
    assert_true(schedule_deadline(h.schedule) == h.now_us + 5 * SEC);
    wait_us(5 * SEC - 1);
    assert_int_equal(counts().cancelled, 0);
    wait_us(1);
    assert_int_equal(only(SCHEDULE_CANCEL)->subtask, 1);
    returned(1, 2, 1);
    ended(1, 1, 1, MF_CAUSE_CANCELLED, 0);
    assert_int_equal(counts().cancelled, 3);
    finish(1, RUN_FAILED, "timeout");
}

/* Even while the results are gathered, but not after that. */
static void test_timeout_while_gathering(void **state)
{
    (void)state;
    for (unsigned late = 0; late < 2; late++) {
        h.config.run_timeout_us = 5 * SEC;
        create();
        join_worker(1, 1);
        plan_all(0);
        assert_int_equal(counts().state, RUN_GATHERING);
        if (late)
            apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
        h.now_us += 4 * SEC;
        poll(1);
        wait_us(SEC);
        assert_int_equal(counts().state, RUN_DISMISSING);
        if (!late)
            apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
        finish(1, late ? RUN_SUCCEEDED : RUN_FAILED, late ? NULL : "timeout");
        schedule_destroy(h.schedule);
        h.schedule = NULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_success),
                                       TEST(test_empty_plan),
                                       TEST(test_gather_fails),
                                       TEST(test_plan_fails),
                                       TEST(test_cancel),
                                       TEST(test_cancel_has_a_deadline),
                                       TEST(test_drain),
                                       TEST(test_drain_then_cancel),
                                       TEST(test_stop),
                                       TEST(test_cancel_while_gathering),
                                       TEST(test_stop_while_gathering),
                                       TEST(test_cancel_before_anything),
                                       TEST(test_late_things_after_the_end),
                                       TEST(test_timeout),
                                       TEST(test_timeout_while_gathering)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
