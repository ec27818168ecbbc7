/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: the ramp, the horizon, even shares, the end of the plan, taking back, the plan itself.
 */
#include "harness.h"

static void plan_some(uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        queue((struct schedule_event){.kind = EVENT_PLANNED, .subtask = first + i});
}

/* Ends what the last actions offered to worker 1, each after duration_us, and polls. */
static unsigned round_trip(uint64_t duration_us)
{
    static struct schedule_action offers[ACTIONS_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < h.action_count; i++) {
        if (h.actions[i].kind == SCHEDULE_OFFER)
            offers[n++] = h.actions[i];
    }
    for (unsigned i = 0; i < n; i++)
        queue((struct schedule_event){.kind = EVENT_ENDED,
                                      .worker = 1,
                                      .subtask = offers[i].subtask,
                                      .attempt = offers[i].attempt,
                                      .duration_us = duration_us});
    poll(1);
    return count_of(SCHEDULE_OFFER);
}

static void test_ramp(void **state)
{
    (void)state;
    h.config.plan_ahead = 20000;
    h.config.batch_max = 100;
    create();
    join_worker(1, 2);
    plan_some(1, 10000);
    poll(1);
    assert_int_equal(count_of(SCHEDULE_OFFER), 4);
    assert_int_equal(count_of(SCHEDULE_FLUSH), 1);
    assert_int_equal(h.actions[h.action_count - 1].kind, SCHEDULE_FLUSH);
    assert_int_equal(round_trip(0), 8);
    assert_int_equal(round_trip(0), 16);
    assert_int_equal(round_trip(0), 32);
    assert_int_equal(round_trip(0), 64);
    assert_int_equal(round_trip(0), 100); /* batch_max */
    assert_int_equal(round_trip(0), 100);
}

static void test_horizon(void **state)
{
    (void)state;
    h.config.plan_ahead = 20000;
    create();
    join_worker(1, 2);
    plan_some(1, 10000);
    poll(1);
    for (int i = 0; i < 10; i++)
        round_trip(10 * 1000); /* 10 ms each: 20 in 200 ms, for each of two slots */
    unsigned n = round_trip(10 * 1000);
    assert_in_range(n, 40, 44);
    for (int i = 0; i < 40; i++)
        n = round_trip(3600u * 1000000);
    assert_int_equal(n, 4); /* one runs and one waits, for each slot */
}

static void test_even_shares(void **state)
{
    (void)state;
    create();
    for (uint32_t id = 1; id <= 4; id++) {
        join_worker(id, 4);
        poll(id); /* hungry */
    }
    plan_all(8);
    unsigned offers[5] = {0};
    for (unsigned i = 0; i < h.action_count; i++) {
        if (h.actions[i].kind == SCHEDULE_OFFER)
            offers[h.actions[i].worker]++;
    }
    for (uint32_t id = 1; id <= 4; id++)
        assert_int_equal(offers[id], 2);
    assert_int_equal(count_of(SCHEDULE_FLUSH), 4); /* one message each */
}

static void test_hungry_is_fed_later(void **state)
{
    (void)state;
    create();
    join_worker(1, 1);
    poll(1);
    assert_int_equal(count_of(SCHEDULE_OFFER), 0);
    apply((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 1});
    assert_int_equal(only(SCHEDULE_OFFER)->worker, 1);
    assert_int_equal(only(SCHEDULE_FLUSH)->worker, 1);
}

/* Fills worker 1 with a batch of quick ones, then ends the plan; worker 2 comes with nothing. */
static unsigned load_one(void)
{
    h.config.plan_ahead = 200;
    create();
    add_worker(1, 1);
    add_worker(2, 1);
    worker(EVENT_WORKER_JOINED, 1);
    plan_some(1, 200);
    poll(1);
    while (counts().pending > 0)
        round_trip(1);
    apply((struct schedule_event){.kind = EVENT_PLAN_ENDED});
    unsigned held = (unsigned)counts().offered;
    assert_int_equal(count_of(SCHEDULE_TAKE_BACK), 0);
    worker(EVENT_WORKER_JOINED, 2);
    return held;
}

static void test_take_back(void **state)
{
    (void)state;
    unsigned held = load_one();
    assert_true(held > 20);
    unsigned asked = count_of(SCHEDULE_TAKE_BACK);
    assert_int_equal(asked, (held - 1 + 1) / 2);
    assert_int_equal(nth(SCHEDULE_TAKE_BACK, 0)->worker, 1);
    assert_int_equal(nth(SCHEDULE_TAKE_BACK, 0)->subtask, 200); /* from the end of its queue */
    assert_int_equal(only(SCHEDULE_FLUSH)->worker, 1);
    poll(2);
    assert_int_equal(count_of(SCHEDULE_TAKE_BACK), 0); /* not while these are under way */
    for (unsigned i = 0; i < asked; i++)
        queue((struct schedule_event){
            .kind = EVENT_RETURNED, .worker = 1, .subtask = 200 - i, .attempt = 1, .epoch = 1});
    collect();
    assert_true(count_of(SCHEDULE_OFFER) > 0);
    assert_int_equal(nth(SCHEDULE_OFFER, 0)->worker, 2);
    assert_int_equal(nth(SCHEDULE_OFFER, 0)->attempt, 2);
    assert_int_equal(counts().taken_back, asked);
    done(1, 200, 1); /* void now */
    only(SCHEDULE_FENCED);
}

static void test_take_back_came_too_late(void **state)
{
    (void)state;
    load_one();
    assert_int_equal(nth(SCHEDULE_TAKE_BACK, 0)->subtask, 200);
    done(1, 200, 1); /* it had started it */
    only(SCHEDULE_RECORD);
    returned(1, 200, 1);
    assert_int_equal(count_of(SCHEDULE_OFFER) + count_of(SCHEDULE_FENCED), 0);
}

static void test_last_ones_in_small_batches(void **state)
{
    (void)state;
    create();
    for (uint32_t id = 1; id <= 4; id++)
        join_worker(id, 1);
    plan_some(1, 40);
    poll(1);
    for (int i = 0; i < 3; i++)
        round_trip(1);
    assert_true(counts().offered > 10);
    apply((struct schedule_event){.kind = EVENT_PLAN_ENDED});
    /* 24 or so are left, 4 slots: at most three a worker, although it does thousands in 200 ms. */
    poll(2);
    assert_in_range(counts().pending + count_of(SCHEDULE_OFFER), 1, 40);
    assert_in_range(count_of(SCHEDULE_OFFER), 1, 5);
}

static void test_plan_is_asked_in_steps(void **state)
{
    (void)state;
    h.config.plan_ahead = 100;
    create();
    collect();
    assert_int_equal(only(SCHEDULE_PLAN)->count, 100);
    plan_some(1, 60);
    collect();
    assert_int_equal(count_of(SCHEDULE_PLAN), 0);
    plan_some(61, 40);
    collect();
    assert_int_equal(count_of(SCHEDULE_PLAN), 0); /* enough are pending */
    join_worker(1, 30);
    poll(1);
    assert_int_equal(count_of(SCHEDULE_OFFER), 60);
    assert_int_equal(only(SCHEDULE_PLAN)->count, 60);
}

static void test_pause(void **state)
{
    (void)state;
    create();
    join_worker(1, 1);
    plan_all(2);
    apply((struct schedule_event){.kind = EVENT_PAUSE, .ok = true});
    poll(1);
    assert_int_equal(count_of(SCHEDULE_OFFER), 0);
    assert_true(counts().paused);
    apply((struct schedule_event){.kind = EVENT_PAUSE, .ok = false});
    assert_true(count_of(SCHEDULE_OFFER) >= 1);
}

static void test_memory_of_finished(void **state)
{
    (void)state;
    h.config.plan_ahead = 1000;
    create();
    join_worker(1, 10);
    uint64_t next = 1;
    poll(1);
    for (int i = 0; i < 50; i++) {
        plan_some(next, 100);
        next += 100;
        collect();
        while (counts().pending + counts().offered > 0)
            round_trip(1);
    }
    uint64_t bytes = schedule_memory(h.schedule);
    for (int i = 0; i < 500; i++) {
        plan_some(next, 100);
        next += 100;
        collect();
        while (counts().pending + counts().offered > 0)
            round_trip(1);
    }
    assert_int_equal(counts().done, 55000);
    assert_true(schedule_memory(h.schedule) == bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_ramp),
                                       TEST(test_horizon),
                                       TEST(test_even_shares),
                                       TEST(test_hungry_is_fed_later),
                                       TEST(test_take_back),
                                       TEST(test_take_back_came_too_late),
                                       TEST(test_last_ones_in_small_batches),
                                       TEST(test_plan_is_asked_in_steps),
                                       TEST(test_pause),
                                       TEST(test_memory_of_finished)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
