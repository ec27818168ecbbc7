/* SPDX-License-Identifier: Apache-2.0 */
/* Elasticity: launches as work waits, idle workers that go, gaps, hosts that are used up. */
#include "harness.h"

static void elastic(uint32_t min, uint32_t max, uint64_t idle_us)
{
    h.config.workers_min = min;
    h.config.workers_max = max;
    h.config.idle_us = idle_us;
    create();
    for (uint32_t id = 1; id <= min; id++)
        queue((struct schedule_event){.kind = EVENT_WORKER_ADD, .worker = id, .slots = 1});
    collect();
}

static void come(uint32_t id)
{
    worker(EVENT_WORKER_LAUNCHED, id);
    apply((struct schedule_event){.kind = EVENT_WORKER_JOINED, .worker = id, .slots = 1});
    poll(id);
}

static void tick_at_deadline(void)
{
    int64_t deadline = schedule_deadline(h.schedule);
    assert_true(deadline > h.now_us && deadline < INT64_MAX);
    wait_us(deadline - h.now_us);
}

static void test_few_subtasks_bring_few_workers(void **state)
{
    (void)state;
    elastic(1, 8, 30 * SEC);
    plan_all(3);
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 2);
    assert_int_equal(nth(SCHEDULE_LAUNCH, 0)->worker, 2);
    assert_int_equal(nth(SCHEDULE_LAUNCH, 0)->replaces, 0);
    assert_int_equal(counts().workers_wanted, 3);
}

static void test_many_bring_all_at_once(void **state)
{
    (void)state;
    elastic(2, 8, 30 * SEC);
    plan_all(1000);
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 6);
    wait_us(10 * SEC);
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 0);
    assert_int_equal(counts().workers_wanted, 8);
}

static void test_slots_count(void **state)
{
    (void)state;
    h.config.worker_slots = 4;
    elastic(1, 8, 30 * SEC);
    plan_all(10);
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 3); /* the first one has a single slot */
    apply((struct schedule_event){.kind = EVENT_WORKER_JOINED, .worker = 1, .slots = 16});
    assert_int_equal(counts().workers_wanted, 1);
}

static void test_nobody_before_the_first_are_added(void **state)
{
    (void)state;
    h.config.workers_min = 1;
    h.config.workers_max = 4;
    create();
    plan_all(10);
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 0);
    add_worker(1, 1);
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 4);
}

/* What is over in no time brings nobody; but when it is not, the average was wrong. */
static void test_short_work_waits_for_a_second(void **state)
{
    (void)state;
    elastic(1, 4, 30 * SEC);
    come(1);
    queue((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 1});
    apply((struct schedule_event){.kind = EVENT_TICK});
    assert_int_equal(only(SCHEDULE_OFFER)->subtask, 1);
    done(1, 1, 1); /* in a tenth of a second */
    for (uint64_t id = 2; id <= 5; id++)
        queue((struct schedule_event){.kind = EVENT_PLANNED, .subtask = id});
    apply((struct schedule_event){.kind = EVENT_PLAN_ENDED});
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 0);
    wait_us(SEC - 1);
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 0);
    tick_at_deadline();
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 3);
}

/* Workers 1 to `count` with a long subtask each; the rest of them is done. */
static void all_busy(uint32_t count)
{
    elastic(1, count, SEC);
    plan_all(count);
    for (uint32_t id = 1; id <= count; id++) {
        worker(EVENT_WORKER_LAUNCHED, id);
        worker(EVENT_WORKER_JOINED, id);
    }
    for (uint32_t id = 1; id <= count; id++)
        queue((struct schedule_event){.kind = EVENT_WORKER_POLL, .worker = id});
    collect();
    for (uint32_t id = 1; id <= count; id++)
        started(id, id, 1);
}

static void test_idle_ones_go_one_by_one(void **state)
{
    (void)state;
    h.config.straggler_factor = 0;
    all_busy(4);
    done(4, 4, 1);
    done(3, 3, 1);
    recorded(2);
    assert_int_equal(count_of(SCHEDULE_DISMISS), 0);
    wait_us(SEC - 1);
    assert_int_equal(count_of(SCHEDULE_DISMISS), 0);
    wait_us(1);
    assert_int_equal(count_of(SCHEDULE_DISMISS), 2);
    assert_int_equal(nth(SCHEDULE_DISMISS, 0)->worker, 4); /* the longest idle one first */
    assert_true(nth(SCHEDULE_DISMISS, 0)->early);
    assert_worker(3, "draining");
    worker(EVENT_WORKER_DIED, 4);
    worker(EVENT_WORKER_GONE, 4);
    worker(EVENT_WORKER_GONE, 3);
    assert_int_equal(count_of(SCHEDULE_LOST) + count_of(SCHEDULE_LAUNCH), 0);
    assert_int_equal(counts().workers_let_go, 2);
    assert_int_equal(counts().workers_lost, 0);
    done(2, 2, 1);
    recorded(1);
    wait_us(SEC);
    assert_int_equal(only(SCHEDULE_DISMISS)->worker, 2);
    worker(EVENT_WORKER_GONE, 2);
    wait_us(10 * SEC); /* the last one stays: min is 1 */
    done(1, 1, 1);
    recorded(1);
    apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
    assert_false(only(SCHEDULE_DISMISS)->early);
    worker(EVENT_WORKER_GONE, 1);
    assert_int_equal(only(SCHEDULE_FINISH)->state, RUN_SUCCEEDED);
}

static void test_not_before_its_results_are_committed(void **state)
{
    (void)state;
    all_busy(2);
    done(2, 2, 1);
    wait_us(5 * SEC);
    assert_int_equal(count_of(SCHEDULE_DISMISS), 0);
    assert_true(schedule_deadline(h.schedule) > h.now_us);
    recorded(1);
    assert_int_equal(only(SCHEDULE_DISMISS)->worker, 2);
}

/* It fails, waits, and comes again: so do workers. */
static void test_work_that_comes_again_brings_workers(void **state)
{
    (void)state;
    h.config.retries_max = 3;
    h.config.backoff_us = 20 * SEC;
    all_busy(3);
    ended(2, 2, 1, MF_CAUSE_EXIT, 1);
    ended(3, 3, 1, MF_CAUSE_EXIT, 1);
    recorded(2);
    wait_us(SEC);
    assert_int_equal(count_of(SCHEDULE_DISMISS), 2);
    worker(EVENT_WORKER_GONE, 2);
    wait_us(19 * SEC); /* due: but worker 3 has not gone, and two are enough of three */
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 0);
    wait_us(SEC); /* the average of an attempt is short, so for a second it waits */
    assert_int_equal(only(SCHEDULE_LAUNCH)->worker, 4);
    worker(EVENT_WORKER_GONE, 3);
    assert_int_equal(only(SCHEDULE_LAUNCH)->worker, 5);
    come(4);
    assert_int_equal(only(SCHEDULE_OFFER)->attempt, 2);
}

static void test_who_is_needed_soon_stays(void **state)
{
    (void)state;
    h.config.retries_max = 3;
    h.config.backoff_us = 1500 * MS;
    all_busy(3);
    ended(2, 2, 1, MF_CAUSE_EXIT, 1);
    done(3, 3, 1);
    poll(2);
    poll(3);
    recorded(2);
    wait_us(SEC); /* subtask 2 is ready again half a second later */
    assert_int_equal(only(SCHEDULE_DISMISS)->worker, 2);
    wait_us(SEC / 2);
    assert_int_equal(only(SCHEDULE_OFFER)->worker, 3);
}

static void test_a_paused_run_gives_workers_back(void **state)
{
    (void)state;
    elastic(1, 3, SEC);
    plan_all(1000);
    apply((struct schedule_event){.kind = EVENT_PAUSE, .ok = true});
    for (uint32_t id = 1; id <= 3; id++)
        come(id);
    wait_us(SEC);
    assert_int_equal(count_of(SCHEDULE_DISMISS), 2);
    worker(EVENT_WORKER_GONE, 1);
    worker(EVENT_WORKER_GONE, 2);
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 0);
    apply((struct schedule_event){.kind = EVENT_PAUSE, .ok = false});
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 2);
}

static void test_a_lost_worker_leaves_a_gap(void **state)
{
    (void)state;
    h.config.straggler_factor = 0;
    all_busy(2);
    worker(EVENT_WORKER_DIED, 2); /* with subtask 2 */
    assert_int_equal(only(SCHEDULE_LAUNCH)->worker, 3);
    assert_int_equal(only(SCHEDULE_LAUNCH)->replaces, 0);
    come(3);
    started(3, 2, 2);
    done(1, 1, 1);
    worker(EVENT_WORKER_DIED, 1); /* with nothing: nobody is missed */
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 0);
    worker(EVENT_WORKER_DIED, 3); /* min is 1, and there is subtask 2 */
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 1);
}

static void test_losses_are_counted(void **state)
{
    (void)state;
    h.config.relaunch_max = 2;
    elastic(1, 1, SEC);
    plan_all(1);
    worker(EVENT_WORKER_DIED, 1);
    for (uint32_t id = 2; id <= 3; id++) {
        if (count_of(SCHEDULE_LAUNCH) == 0)
            tick_at_deadline(); /* its pace */
        assert_int_equal(only(SCHEDULE_LAUNCH)->worker, id);
        worker(EVENT_WORKER_DIED, id);
    }
    for (uint32_t id = 1; id <= 3 && count_of(SCHEDULE_FINISH) == 0; id++)
        worker(EVENT_WORKER_GONE, id);
    assert_int_equal(counts().state, RUN_FAILED);
}

static void test_no_host_is_left(void **state)
{
    (void)state;
    elastic(1, 4, 30 * SEC);
    plan_all(100);
    assert_int_equal(counts().workers_launched, 4);
    come(1);
    apply((struct schedule_event){.kind = EVENT_WORKER_LAUNCH_FAILED, .worker = 4, .ok = false});
    assert_int_equal(counts().workers_wanted, 3);
    wait_us(10 * SEC);
    assert_int_equal(counts().workers_launched, 4);
    worker(EVENT_WORKER_DIED, 1); /* its host is free */
    wait_us(7 * SEC);
    assert_int_equal(counts().workers_launched, 5);
    apply((struct schedule_event){.kind = EVENT_WORKER_LAUNCH_FAILED, .worker = 2, .ok = false});
    apply((struct schedule_event){.kind = EVENT_WORKER_LAUNCH_FAILED, .worker = 3, .ok = false});
    assert_int_not_equal(counts().state, RUN_FAILED);
    apply((struct schedule_event){.kind = EVENT_WORKER_LAUNCH_FAILED, .worker = 5, .ok = false});
    assert_int_equal(only(SCHEDULE_FINISH)->state, RUN_FAILED);
    assert_true(only(SCHEDULE_FINISH)->no_worker);
}

/* Its host carries no other worker before it is gone. */
static void test_who_is_leaving_takes_room(void **state)
{
    (void)state;
    h.config.retries_max = 1;
    h.config.backoff_us = 3 * SEC;
    all_busy(2);
    ended(2, 2, 1, MF_CAUSE_EXIT, 1);
    recorded(1);
    wait_us(SEC);
    assert_int_equal(only(SCHEDULE_DISMISS)->worker, 2);
    wait_us(4 * SEC);
    assert_state(2, "pending");
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 0);
    worker(EVENT_WORKER_GONE, 2);
    wait_us(SEC);
    assert_int_equal(counts().workers_launched, 3);
}

static void test_a_straggler_brings_a_helper(void **state)
{
    (void)state;
    h.config.straggler_min_us = SEC;
    all_busy(4);
    for (uint32_t id = 2; id <= 4; id++)
        done(id, id, 1);
    recorded(3);
    apply((struct schedule_event){.kind = EVENT_TICK});
    wait_us(SEC - 1); /* not slow enough for a copy yet */
    assert_int_equal(count_of(SCHEDULE_OFFER), 0);
    h.now_us += 1;
    for (uint32_t id = 2; id <= 4; id++)
        worker(EVENT_WORKER_DIED, id); /* nobody is there to help */
    for (int i = 0; i < 4 && counts().workers_launched < 5; i++)
        tick_at_deadline();
    assert_int_equal(counts().workers_launched, 5);
    come(5);
    if (count_of(SCHEDULE_OFFER) == 0)
        tick_at_deadline();
    assert_true(only(SCHEDULE_OFFER)->straggler);
    assert_int_equal(only(SCHEDULE_OFFER)->worker, 5);
}

static void test_all_may_go_while_results_are_gathered(void **state)
{
    (void)state;
    all_busy(2);
    done(1, 1, 1);
    done(2, 2, 1);
    recorded(2);
    only(SCHEDULE_GATHER);
    wait_us(SEC);
    assert_int_equal(count_of(SCHEDULE_DISMISS), 2);
    worker(EVENT_WORKER_GONE, 1);
    worker(EVENT_WORKER_GONE, 2);
    apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
    assert_int_equal(only(SCHEDULE_FINISH)->state, RUN_SUCCEEDED);
}

static void test_a_drain_lets_nobody_go_early(void **state)
{
    (void)state;
    all_busy(2);
    done(2, 2, 1);
    recorded(1);
    worker(EVENT_DRAIN, 0);
    wait_us(5 * SEC);
    assert_int_equal(count_of(SCHEDULE_DISMISS), 0);
    done(1, 1, 1);
    recorded(1);
    assert_int_equal(count_of(SCHEDULE_DISMISS), 2);
}

/* With known workers of an earlier master there may be more than max: no more come. */
static void test_known_ones_count(void **state)
{
    (void)state;
    h.config.workers_min = 1;
    h.config.workers_max = 2;
    create();
    for (uint32_t id = 1; id <= 3; id++)
        queue((struct schedule_event){.kind = EVENT_WORKER_KNOWN, .worker = id, .slots = 1});
    plan_all(100);
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 0);
    wait_us(31 * SEC);
    assert_int_equal(count_of(SCHEDULE_LOST), 3);
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_few_subtasks_bring_few_workers),
                                       TEST(test_many_bring_all_at_once),
                                       TEST(test_slots_count),
                                       TEST(test_nobody_before_the_first_are_added),
                                       TEST(test_short_work_waits_for_a_second),
                                       TEST(test_idle_ones_go_one_by_one),
                                       TEST(test_not_before_its_results_are_committed),
                                       TEST(test_work_that_comes_again_brings_workers),
                                       TEST(test_who_is_needed_soon_stays),
                                       TEST(test_a_paused_run_gives_workers_back),
                                       TEST(test_a_lost_worker_leaves_a_gap),
                                       TEST(test_losses_are_counted),
                                       TEST(test_no_host_is_left),
                                       TEST(test_who_is_leaving_takes_room),
                                       TEST(test_a_straggler_brings_a_helper),
                                       TEST(test_all_may_go_while_results_are_gathered),
                                       TEST(test_a_drain_lets_nobody_go_early),
                                       TEST(test_known_ones_count)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
