/* SPDX-License-Identifier: Apache-2.0 */
/* Second attempts near the end: when, where, and who wins. */
#include "harness.h"

/* Two workers; three subtasks took 100 ms (harness), the fourth runs on worker 1 from now on. */
static void all_but_one(void)
{
    h.config.straggler_factor = 3;
    h.config.straggler_min_us = 0;
    create();
    join_worker(1, 1);
    plan_all(4);
    for (uint64_t id = 1; id <= 3; id++) {
        poll(1);
        done(1, id, 1);
    }
    poll(1);
    started(1, 4, 1);
    recorded(3);
}

static void second_worker(void)
{
    join_worker(2, 1);
    poll(2);
}

static void test_second_attempt_wins(void **state)
{
    (void)state;
    all_but_one();
    second_worker();
    assert_int_equal(count_of(SCHEDULE_OFFER), 0);
    wait_us(300 * MS); /* three times the median, which is a fifth too large at most */
    assert_int_equal(count_of(SCHEDULE_OFFER), 0);
    wait_us(61 * MS);
    const struct schedule_action *offer = only(SCHEDULE_OFFER);
    assert_int_equal(offer->subtask, 4);
    assert_int_equal(offer->attempt, 2);
    assert_int_equal(offer->worker, 2);
    assert_int_equal(only(SCHEDULE_FLUSH)->worker, 2);
    assert_int_equal(counts().stragglers, 1);
    assert_state(4, "running");
    started(2, 4, 2);
    wait_us(10 * SEC); /* two are enough */
    assert_int_equal(count_of(SCHEDULE_OFFER), 0);
    poll(1);
    poll(2);
    done(2, 4, 2);
    assert_int_equal(only(SCHEDULE_RECORD)->attempt, 2);
    assert_int_equal(only(SCHEDULE_CANCEL)->worker, 1);
    recorded(1);
    assert_int_equal(counts().state, RUN_GATHERING);
    ended(1, 4, 1, MF_CAUSE_CANCELLED, 0);
    assert_int_equal(only(SCHEDULE_FENCED)->attempt, 1);
    assert_int_equal(counts().fenced, 0); /* it was ended by order */
}

static void test_first_attempt_wins(void **state)
{
    (void)state;
    all_but_one();
    second_worker();
    wait_us(400 * MS);
    assert_int_equal(count_of(SCHEDULE_OFFER), 1);
    done(1, 4, 1);
    assert_int_equal(only(SCHEDULE_RECORD)->attempt, 1);
    assert_int_equal(only(SCHEDULE_TAKE_BACK)->worker, 2); /* it was not said to run */
}

/* The deadline says when to look; with nobody to help there is none. */
static void test_nobody_to_help(void **state)
{
    (void)state;
    all_but_one();
    poll(1);
    wait_us(5 * SEC);
    assert_int_equal(count_of(SCHEDULE_OFFER), 0);
    second_worker(); /* it has run for long enough */
    wait_us(100 * MS);
    assert_int_equal(only(SCHEDULE_OFFER)->worker, 2);
}

static void test_never_on_its_own_worker(void **state)
{
    (void)state;
    h.config.straggler_min_us = 0;
    create();
    join_worker(1, 2);
    plan_all(4);
    poll(1);
    for (uint64_t id = 1; id <= 3; id++)
        done(1, id, 1);
    poll(1);
    started(1, 4, 1);
    wait_us(5 * SEC);
    poll(1);
    wait_us(5 * SEC);
    assert_int_equal(count_of(SCHEDULE_OFFER), 0);
    assert_int_equal(counts().stragglers, 0);
}

static void test_least_time_and_off(void **state)
{
    (void)state;
    for (unsigned off = 0; off < 2; off++) {
        h.config.straggler_factor = off ? 0 : 3;
        h.config.straggler_min_us = 5 * SEC;
        create();
        join_worker(1, 1);
        plan_all(4);
        for (uint64_t id = 1; id <= 3; id++) {
            poll(1);
            done(1, id, 1);
        }
        poll(1);
        started(1, 4, 1);
        second_worker();
        wait_us(4900 * MS);
        assert_int_equal(counts().stragglers, 0);
        wait_us(200 * MS);
        assert_int_equal(counts().stragglers, !off);
        schedule_destroy(h.schedule);
        h.schedule = NULL;
    }
}

/* Two durations are no ground for a judgement, nor is a plan that goes on, nor are pending ones. */
static void test_not_before_the_end(void **state)
{
    (void)state;
    h.config.straggler_min_us = 0;
    create();
    join_worker(1, 1);
    for (uint64_t i = 1; i <= 4; i++)
        queue((struct schedule_event){.kind = EVENT_PLANNED, .subtask = i});
    for (uint64_t id = 1; id <= 3; id++) {
        poll(1);
        done(1, id, 1);
    }
    poll(1);
    started(1, 4, 1);
    second_worker();
    wait_us(5 * SEC);
    assert_int_equal(counts().stragglers, 0);
    apply((struct schedule_event){.kind = EVENT_PAUSE, .ok = true});
    apply((struct schedule_event){.kind = EVENT_PLAN_ENDED});
    assert_int_equal(counts().stragglers, 0);
    apply((struct schedule_event){.kind = EVENT_PAUSE, .ok = false});
    assert_int_equal(counts().stragglers, 1);
}

static void test_too_few_samples(void **state)
{
    (void)state;
    h.config.straggler_min_us = 0;
    create();
    join_worker(1, 1);
    plan_all(3);
    for (uint64_t id = 1; id <= 2; id++) {
        poll(1);
        done(1, id, 1);
    }
    poll(1);
    started(1, 3, 1);
    second_worker();
    wait_us(5 * SEC);
    assert_int_equal(counts().stragglers, 0);
}

/* Second attempts that fail: not more of them than re-tries, and not one right after another. */
static void test_helper_fails(void **state)
{
    (void)state;
    h.config.retries_max = 1;
    all_but_one();
    second_worker();
    wait_us(400 * MS);
    ended(2, 4, 2, MF_CAUSE_EXIT, 1);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_RETRIED);
    assert_state(4, "running");
    poll(2);
    assert_int_equal(counts().stragglers, 1);
    wait_us(400 * MS);
    assert_int_equal(counts().stragglers, 2);
    ended(2, 4, 3, MF_CAUSE_EXIT, 1);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_RETRIED);
    poll(2);
    wait_us(5 * SEC);
    assert_int_equal(counts().stragglers, 2);
    done(1, 4, 1);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_DONE);
}

/* The helper is lost: another one is asked. The first is lost: the helper's attempt goes on. */
static void test_lost(void **state)
{
    (void)state;
    all_but_one();
    second_worker();
    wait_us(400 * MS);
    started(2, 4, 2);
    worker(EVENT_WORKER_DIED, 1);
    assert_state(4, "running");
    assert_int_equal(count_of(SCHEDULE_RECORD), 0);
    done(2, 4, 2);
    assert_int_equal(only(SCHEDULE_RECORD)->attempt, 2);
}

/* The longest running ones come first, as many as there are places. */
static void test_the_longest_first(void **state)
{
    (void)state;
    h.config.straggler_min_us = 0;
    create();
    join_worker(1, 6);
    plan_all(6);
    poll(1);
    for (uint64_t id = 1; id <= 3; id++)
        done(1, id, 1);
    started(1, 5, 1);
    wait_us(SEC);
    started(1, 4, 1);
    started(1, 6, 1);
    wait_us(SEC);
    join_worker(2, 2);
    poll(2);
    wait_us(100 * MS);
    assert_int_equal(count_of(SCHEDULE_OFFER), 2);
    assert_int_equal(nth(SCHEDULE_OFFER, 0)->subtask, 5);
    assert_int_equal(nth(SCHEDULE_OFFER, 1)->subtask, 4);
}

/* More of them than the queue of actions would hold at once. */
static void test_many_at_once(void **state)
{
    (void)state;
    enum { MANY = 1500 };
    h.config.straggler_min_us = 0;
    h.config.batch_max = 1;
    create();
    for (uint32_t id = 1; id <= MANY; id++)
        join_worker(id, 1);
    plan_all(MANY + 3);
    for (uint32_t id = 1; id <= 3; id++) {
        poll(id);
        done(id, id, 1);
    }
    for (uint32_t id = 1; id <= MANY; id++) {
        poll(id);
        started(id, id + 3, 1);
    }
    assert_int_equal(counts().running, MANY);
    for (uint32_t id = MANY + 1; id <= 2 * MANY; id++) {
        join_worker(id, 1);
        poll(id);
    }
    wait_us(SEC);
    assert_int_equal(count_of(SCHEDULE_OFFER), MANY);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(nth(SCHEDULE_OFFER, i)->subtask, i + 4);
    assert_int_equal(counts().attempts, 2 * MANY + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_second_attempt_wins),
                                       TEST(test_first_attempt_wins),
                                       TEST(test_nobody_to_help),
                                       TEST(test_never_on_its_own_worker),
                                       TEST(test_least_time_and_off),
                                       TEST(test_not_before_the_end),
                                       TEST(test_too_few_samples),
                                       TEST(test_helper_fails),
                                       TEST(test_lost),
                                       TEST(test_the_longest_first),
                                       TEST(test_many_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
