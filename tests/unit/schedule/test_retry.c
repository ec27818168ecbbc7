/* SPDX-License-Identifier: Apache-2.0 */
/* Failures: retries, backoff, jitter, final codes, tolerance, stop on failure. */
#include "harness.h"

/* One worker with one slot, `count` subtasks, all offered that it may hold. */
static void begin_one(uint64_t count)
{
    create();
    join_worker(1, 1);
    plan_all(count);
    poll(1);
}

static void test_backoff(void **state)
{
    (void)state;
    h.config.retries_max = 4;
    h.config.backoff_factor = 3;
    h.config.backoff_cap_us = 10 * SEC;
    begin_one(1);
    static const int64_t waits[] = {1 * SEC, 3 * SEC, 9 * SEC, 10 * SEC};
    for (uint32_t i = 0; i < 4; i++) {
        poll(1);
        ended(1, 1, i + 1, MF_CAUSE_EXIT, 1);
        assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_RETRIED);
        assert_int_equal(only(SCHEDULE_RECORD)->cause, MF_CAUSE_EXIT);
        assert_state(1, "waiting");
        assert_true(schedule_deadline(h.schedule) == h.now_us + waits[i]);
        poll(1);
        wait_us(waits[i] - 1);
        assert_int_equal(count_of(SCHEDULE_OFFER), 0);
        wait_us(1);
        assert_int_equal(only(SCHEDULE_OFFER)->attempt, i + 2);
    }
    ended(1, 1, 5, MF_CAUSE_TIMEOUT, 0);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_DEAD);
    assert_int_equal(only(SCHEDULE_RECORD)->attempt, 5);
    assert_state(1, "finished");
    assert_int_equal(counts().retried, 4);
    recorded(5);
    finish(1, RUN_FAILED, "more subtasks failed");
    assert_int_equal(counts().dead, 1);
}

static void test_jitter(void **state)
{
    (void)state;
    h.config.retries_max = 1000;
    h.config.backoff_factor = 1;
    h.config.jitter_full = true;
    h.config.seed = 5;
    create();
    plan_all(400);
    join_worker(1, 400);
    poll(1);
    assert_int_equal(count_of(SCHEDULE_OFFER), 400);
    int64_t least = INT64_MAX, most = 0;
    for (uint64_t i = 1; i <= 400; i++) {
        ended(1, i, 1, MF_CAUSE_SIGNAL, 0);
        int64_t wait = schedule_deadline(h.schedule) - h.now_us;
        least = wait < least ? wait : least;
        assert_true(wait >= 0 && wait <= SEC);
    }
    while (counts().waiting > 0) {
        int64_t wait = schedule_deadline(h.schedule) - h.now_us;
        assert_true(wait >= 0);
        most += wait;
        wait_us(wait);
    }
    assert_true(least < 50 * MS);
    assert_true(most > 900 * MS && most <= SEC);
    assert_int_equal(counts().pending + counts().offered, 400);
}

static void test_final_causes(void **state)
{
    (void)state;
    h.config.retries_max = 5;
    h.config.final_code_count = 2;
    h.config.final_codes[0] = 64;
    h.config.final_codes[1] = 65;
    h.config.tolerate_count = 10;
    create();
    join_worker(1, 8);
    plan_all(4);
    poll(1);
    ended(1, 1, 1, MF_CAUSE_EXIT, 65);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_FAILED);
    ended(1, 2, 1, MF_CAUSE_INPUT_MISSING, 0);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_FAILED);
    ended(1, 3, 1, MF_CAUSE_INPUT_CHANGED, 0);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_FAILED);
    ended(1, 4, 1, MF_CAUSE_SIGNAL, 64); /* not an exit code */
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_RETRIED);
    assert_int_equal(counts().failed, 3);
    assert_int_equal(counts().waiting, 1);
}

static void test_no_retry(void **state)
{
    (void)state;
    begin_one(1);
    ended(1, 1, 1, MF_CAUSE_WORKER_ERROR, 0);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_DEAD);
}

static void test_planned_attempts(void **state)
{
    (void)state;
    h.config.retries_max = 2;
    create();
    join_worker(1, 1);
    apply(
        (struct schedule_event){.kind = EVENT_PLANNED, .subtask = 7, .attempt = 3, .failures = 2});
    apply((struct schedule_event){.kind = EVENT_PLAN_ENDED});
    poll(1);
    assert_int_equal(only(SCHEDULE_OFFER)->attempt, 4);
    ended(1, 7, 4, MF_CAUSE_EXIT, 1);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_DEAD);
}

static void test_tolerate(void **state)
{
    (void)state;
    h.config.tolerate_share = 0.1;
    create();
    join_worker(1, 20);
    plan_all(20);
    poll(1);
    for (uint64_t i = 1; i <= 20; i++)
        ended(1, i, 1, i <= 2 ? MF_CAUSE_EXIT : MF_CAUSE_NONE, i <= 2);
    recorded(19);
    assert_int_equal(count_of(SCHEDULE_GATHER), 0); /* one is not committed */
    recorded(1);
    assert_true(only(SCHEDULE_GATHER)->partial);
    apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
    finish(1, RUN_PARTIAL, "within the tolerance");
    assert_int_equal(counts().dead, 2);
    assert_int_equal(counts().done, 18);
}

static void test_tolerate_exceeded(void **state)
{
    (void)state;
    h.config.tolerate_count = 1;
    create();
    join_worker(1, 3);
    plan_all(3);
    poll(1);
    for (uint64_t i = 1; i <= 3; i++)
        ended(1, i, 1, i <= 2 ? MF_CAUSE_EXIT : MF_CAUSE_NONE, 1);
    recorded(3);
    assert_int_equal(count_of(SCHEDULE_GATHER), 0);
    finish(1, RUN_FAILED, "tolerated");
    assert_int_equal(counts().cancelled, 0);
}

/* A re-driven run: what failed for good before still counts. */
static void test_base(void **state)
{
    (void)state;
    h.config.base_total = 100;
    h.config.base_failures = 5;
    h.config.tolerate_share = 0.05;
    begin_one(1);
    done(1, 1, 1);
    recorded(1);
    assert_true(only(SCHEDULE_GATHER)->partial);
    apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
    finish(1, RUN_PARTIAL, "tolerance");
}

static void test_stop_on_failure(void **state)
{
    (void)state;
    h.config.stop_on_failure = true;
    h.config.tolerate_count = 1;
    create();
    join_worker(1, 2);
    plan_all(10);
    poll(1);
    assert_int_equal(count_of(SCHEDULE_OFFER), 4);
    started(1, 1, 1);
    started(1, 2, 1);
    ended(1, 1, 1, MF_CAUSE_EXIT, 1);
    assert_int_equal(counts().cancelled, 0);
    started(1, 3, 1);
    ended(1, 2, 1, MF_CAUSE_EXIT, 1);
    assert_int_equal(only(SCHEDULE_CANCEL)->subtask, 3);
    assert_int_equal(only(SCHEDULE_TAKE_BACK)->subtask, 4);
    assert_int_equal(counts().cancelled, 6);
    assert_int_equal(counts().running, 1);
    returned(1, 4, 1);
    ended(1, 3, 1, MF_CAUSE_CANCELLED, 0);
    only(SCHEDULE_FENCED);
    assert_int_equal(counts().fenced, 0); /* not a void fence, but our own order */
    recorded(2);
    finish(1, RUN_FAILED, "tolerated");
    assert_int_equal(counts().cancelled, 8);
    assert_int_equal(counts().dead, 2);
}

static void test_unordered_cancel_is_a_loss(void **state)
{
    (void)state;
    begin_one(1);
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        poll(1);
        started(1, 1, attempt);
        ended(1, 1, attempt, MF_CAUSE_CANCELLED, 0);
        only(SCHEDULE_FENCED);
    }
    assert_int_equal(only(SCHEDULE_RECORD)->cause, MF_CAUSE_POISON);
    assert_int_equal(counts().dead, 1);
}

static void test_attempts_run_out(void **state)
{
    (void)state;
    h.config.retries_max = UINT32_MAX;
    create();
    join_worker(1, 1);
    apply((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 1, .attempt = 65534});
    apply((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 2, .attempt = 65534});
    apply((struct schedule_event){.kind = EVENT_PLAN_ENDED});
    poll(1);
    assert_int_equal(nth(SCHEDULE_OFFER, 0)->attempt, 65535);
    ended(1, 1, 65535, MF_CAUSE_EXIT, 1);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_DEAD);
    poll(1);
    returned(1, 2, 65535);
    assert_int_equal(only(SCHEDULE_RECORD)->cause, MF_CAUSE_LOST);
    assert_int_equal(counts().dead, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_backoff),
                                       TEST(test_jitter),
                                       TEST(test_final_causes),
                                       TEST(test_no_retry),
                                       TEST(test_planned_attempts),
                                       TEST(test_tolerate),
                                       TEST(test_tolerate_exceeded),
                                       TEST(test_base),
                                       TEST(test_stop_on_failure),
                                       TEST(test_unordered_cancel_is_a_loss),
                                       TEST(test_attempts_run_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
