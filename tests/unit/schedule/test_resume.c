/* SPDX-License-Identifier: Apache-2.0 */
/* A master that goes on: held subtasks, known workers, attempts of earlier epochs. */
#include "harness.h"

static void known(uint32_t id, uint32_t slots)
{
    queue((struct schedule_event){.kind = EVENT_WORKER_KNOWN, .worker = id, .slots = slots});
}

/* Subtasks 1..held may have been issued before, those up to count not. */
static void plan_held(uint64_t held, uint64_t count)
{
    for (uint64_t i = 1; i <= count; i++)
        queue((struct schedule_event){.kind = EVENT_PLANNED, .subtask = i, .held = i <= held});
    apply((struct schedule_event){.kind = EVENT_PLAN_ENDED});
}

static void adopted(uint32_t id, uint64_t subtask, uint32_t attempt, uint32_t epoch, bool runs)
{
    queue((struct schedule_event){.kind = EVENT_ADOPTED,
                                  .worker = id,
                                  .subtask = subtask,
                                  .attempt = attempt,
                                  .epoch = epoch,
                                  .ok = runs});
}

static void join(uint32_t id, uint32_t slots)
{
    apply((struct schedule_event){.kind = EVENT_WORKER_JOINED, .worker = id, .slots = slots});
}

static void ended_of(uint32_t id, uint64_t subtask, uint32_t attempt, uint32_t epoch, int code)
{
    apply((struct schedule_event){.kind = EVENT_ENDED,
                                  .worker = id,
                                  .subtask = subtask,
                                  .attempt = attempt,
                                  .epoch = epoch,
                                  .cause = code == 0 ? MF_CAUSE_NONE : MF_CAUSE_EXIT,
                                  .exit_code = code});
}

static void create_epoch(uint32_t epoch)
{
    h.config.epoch = epoch;
    h.config.lease_us = 30 * SEC;
    create();
    collect();
}

/* What lies above the mark goes out at once, what lies below it after the last known worker. */
static void test_held_until_known_have_joined(void **state)
{
    (void)state;
    create_epoch(2);
    known(1, 1);
    known(2, 1);
    collect();
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 0);
    assert_worker(1, "joining");
    plan_held(4, 6);
    assert_int_equal(counts().held, 4);
    assert_int_equal(counts().pending, 2);
    assert_state(1, "held");
    join(1, 1);
    poll(1);
    const struct schedule_action *first = nth(SCHEDULE_OFFER, 0);
    assert_true(first->subtask >= 5);
    for (unsigned i = 0; i < count_of(SCHEDULE_OFFER); i++)
        assert_true(nth(SCHEDULE_OFFER, i)->subtask >= 5);
    assert_int_equal(counts().held, 4);
    join(2, 1);
    assert_int_equal(counts().held, 0);
    poll(2);
    assert_int_equal(nth(SCHEDULE_OFFER, 0)->subtask, 1); /* in order of ids, before the others */
}

static void test_held_until_deadline(void **state)
{
    (void)state;
    h.config.resume_us = 7 * SEC;
    create_epoch(2);
    known(1, 1);
    collect();
    plan_held(2, 2);
    assert_true(schedule_deadline(h.schedule) == h.now_us + 7 * SEC);
    wait_us(7 * SEC - 1);
    assert_int_equal(counts().held, 2);
    wait_us(1);
    assert_int_equal(counts().held, 0);
    assert_int_equal(counts().pending, 2);
    assert_worker(1, "lost");
    assert_int_equal(only(SCHEDULE_LOST)->worker, 1);
    assert_int_equal(only(SCHEDULE_LAUNCH)->replaces, 1); /* at once: it is no failed launch */
    /* Too late: it is told to go, and what it held is void. */
    adopted(1, 1, 1, 1, true);
    join(1, 1);
    assert_int_equal(only(SCHEDULE_DISMISS)->worker, 1);
    ended_of(1, 1, 1, 1, 0);
    assert_int_equal(only(SCHEDULE_FENCED)->epoch, 1);
}

static void test_resume_us_is_a_lease_by_default(void **state)
{
    (void)state;
    create_epoch(2);
    known(1, 1);
    collect();
    assert_true(schedule_deadline(h.schedule) == h.now_us + 30 * SEC);
}

static void test_held_without_known_workers(void **state)
{
    (void)state;
    create_epoch(2);
    plan_held(3, 3);
    assert_int_equal(counts().held, 0);
    assert_int_equal(counts().pending, 3);
}

static void test_known_worker_dies_or_is_gone(void **state)
{
    (void)state;
    create_epoch(2);
    known(1, 1);
    known(2, 1);
    collect();
    plan_held(1, 1);
    worker(EVENT_WORKER_DIED, 1);
    assert_int_equal(counts().held, 1);
    worker(EVENT_WORKER_GONE, 2);
    assert_int_equal(counts().held, 0);
}

/* Running, queued, ended: each keeps its fence, and its record carries its own epoch. */
static void test_adopted(void **state)
{
    (void)state;
    create_epoch(5);
    known(1, 2);
    collect();
    plan_held(4, 4);
    adopted(1, 1, 3, 4, true);
    adopted(1, 2, 1, 2, false);
    adopted(1, 3, 1, 4, true);
    join(1, 2);
    assert_state(1, "running");
    assert_state(2, "offered");
    assert_state(4, "pending");
    ended_of(1, 3, 1, 4, 0);
    assert_int_equal(only(SCHEDULE_RECORD)->epoch, 4);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_DONE);
    ended_of(1, 1, 3, 5, 0); /* the right attempt of the wrong epoch */
    assert_int_equal(only(SCHEDULE_FENCED)->epoch, 5);
    ended_of(1, 1, 3, 4, 0);
    assert_int_equal(only(SCHEDULE_RECORD)->attempt, 3);
    ended_of(1, 2, 1, 2, 0);
    assert_int_equal(only(SCHEDULE_RECORD)->epoch, 2);
    assert_int_equal(counts().done, 3);
    assert_int_equal(counts().attempts, 3);
}

/* Attempts are numbered on from the highest that is known. */
static void test_numbers_go_on(void **state)
{
    (void)state;
    h.config.retries_max = 3;
    h.config.backoff_us = 0;
    create_epoch(2);
    known(1, 1);
    collect();
    plan_held(1, 1);
    adopted(1, 1, 7, 1, true);
    join(1, 1);
    ended_of(1, 1, 7, 1, 1);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_RETRIED);
    assert_int_equal(only(SCHEDULE_RECORD)->epoch, 1);
    poll(1);
    wait_us(0);
    assert_int_equal(only(SCHEDULE_OFFER)->attempt, 8);
    assert_int_equal(only(SCHEDULE_OFFER)->epoch, 2);
}

/* What is final or not planned, too old, from the future, or comes again later, is void. */
static void test_void_adoptions(void **state)
{
    (void)state;
    create_epoch(300);
    known(1, 4);
    known(2, 4);
    collect();
    plan_held(3, 3);
    adopted(1, 9, 1, 299, true);
    collect();
    assert_int_equal(only(SCHEDULE_CANCEL)->epoch, 299);
    assert_int_equal(only(SCHEDULE_FLUSH)->worker, 1);
    adopted(1, 9, 1, 299, false);
    collect();
    assert_int_equal(only(SCHEDULE_TAKE_BACK)->epoch, 299);
    adopted(1, 1, 1, 44, true); /* 256 epochs ago */
    adopted(1, 1, 1, 301, true);
    adopted(1, 1, 0, 299, true);
    collect();
    assert_int_equal(count_of(SCHEDULE_CANCEL), 3);
    assert_state(1, "held");
    adopted(1, 1, 1, 45, true); /* 255 */
    collect();
    assert_state(1, "running");
    join(1, 4);
    adopted(1, 2, 1, 299, true); /* a second hello */
    adopted(1, 1, 1, 45, true);
    collect();
    assert_int_equal(only(SCHEDULE_CANCEL)->subtask, 2);
    assert_state(2, "held");
    assert_state(1, "running");
}

/* One that was issued twice may be adopted twice; who ends first is recorded, the other ended. */
static void test_adopted_twice(void **state)
{
    (void)state;
    create_epoch(3);
    for (uint32_t id = 1; id <= 4; id++)
        known(id, 1);
    collect();
    plan_held(1, 1);
    adopted(1, 1, 1, 2, true);
    join(1, 1);
    adopted(2, 1, 2, 2, false); /* not begun: taken back */
    join(2, 1);
    assert_int_equal(only(SCHEDULE_TAKE_BACK)->worker, 2);
    adopted(3, 1, 3, 2, true);
    join(3, 1);
    assert_int_equal(count_of(SCHEDULE_CANCEL), 0);
    adopted(4, 1, 4, 2, true); /* one too many */
    join(4, 1);
    assert_int_equal(only(SCHEDULE_CANCEL)->worker, 4);
    ended_of(3, 1, 3, 2, 0);
    assert_int_equal(only(SCHEDULE_RECORD)->attempt, 3);
    assert_int_equal(only(SCHEDULE_CANCEL)->worker, 1);
    assert_int_equal(only(SCHEDULE_CANCEL)->epoch, 2);
}

/* A number has one row: what two masters numbered alike is not adopted a second time, nor what
 * would take the number of a row that is there. */
static void test_number_is_taken(void **state)
{
    (void)state;
    create_epoch(3);
    known(1, 1);
    known(2, 1);
    collect();
    queue((struct schedule_event){
        .kind = EVENT_PLANNED, .subtask = 1, .attempt = 2, .failures = 1, .held = true});
    apply((struct schedule_event){.kind = EVENT_PLAN_ENDED});
    adopted(1, 1, 2, 1, true);
    collect();
    assert_int_equal(only(SCHEDULE_CANCEL)->epoch, 1);
    assert_state(1, "held");
    adopted(1, 1, 3, 2, true);
    join(1, 1);
    assert_state(1, "running");
    adopted(2, 1, 3, 1, true);
    join(2, 1);
    assert_int_equal(only(SCHEDULE_CANCEL)->worker, 2);
    ended_of(1, 1, 3, 2, 0);
    assert_int_equal(only(SCHEDULE_RECORD)->epoch, 2);
}

/*
 * A worker may hold two attempts of a subtask: the result of a failed one, whose record was lost
 * with an earlier master, and a later one that runs. When the number of the later one is taken the
 * other is adopted all the same, and counts.
 */
static void test_two_of_one_worker(void **state)
{
    (void)state;
    create_epoch(2);
    known(1, 2);
    known(2, 1);
    collect();
    plan_held(1, 1);
    adopted(1, 1, 3, 1, true);
    join(1, 2);
    adopted(2, 1, 3, 1, true); /* the number lives on worker 1 */
    adopted(2, 1, 1, 1, true);
    join(2, 1);
    assert_int_equal(only(SCHEDULE_CANCEL)->attempt, 3);
    assert_int_equal(only(SCHEDULE_CANCEL)->worker, 2);
    assert_true(only(SCHEDULE_CANCEL)->not_adopted);
    assert_int_equal(counts().attempts, 2);
    ended_of(2, 1, 1, 1, 1);
    assert_int_equal(only(SCHEDULE_RECORD)->attempt, 1);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_RETRIED);
    assert_state(1, "running");
    ended_of(2, 1, 3, 1, 0);
    assert_int_equal(only(SCHEDULE_FENCED)->worker, 2);
    ended_of(1, 1, 3, 1, 0);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_DONE);
}

/* An attempt of this master took the number meanwhile, or a void one has it: neither is used twice.
 */
static void test_number_is_used_meanwhile(void **state)
{
    (void)state;
    h.config.retries_max = 5;
    h.config.backoff_us = 0;
    create_epoch(3);
    for (uint32_t id = 1; id <= 3; id++)
        known(id, 1);
    collect();
    plan_held(1, 1);
    adopted(1, 1, 3, 2, true);
    join(1, 1);
    ended_of(1, 1, 3, 2, 1); /* attempt 3 has a row now */
    wait_us(0);
    adopted(2, 1, 3, 1, true);
    join(2, 1);
    assert_int_equal(only(SCHEDULE_CANCEL)->worker, 2);
    assert_true(only(SCHEDULE_CANCEL)->not_adopted);
    adopted(3, 1, 6, 2, false);
    adopted(3, 1, 9, 1, false); /* one is queued there already */
    join(3, 1);
    assert_int_equal(only(SCHEDULE_TAKE_BACK)->attempt, 9);
    returned(3, 1, 6);
    apply((struct schedule_event){
        .kind = EVENT_RETURNED, .worker = 3, .subtask = 1, .attempt = 6, .epoch = 2});
    poll(1);
    assert_int_equal(only(SCHEDULE_OFFER)->attempt, 10);
}

/* Replacements get ids beyond all that were used by earlier masters. */
static void test_worker_ids_go_on(void **state)
{
    (void)state;
    h.config.worker_last = 70;
    create_epoch(2);
    known(3, 1);
    collect();
    plan_held(1, 1);
    wait_us(30 * SEC);
    assert_int_equal(only(SCHEDULE_LAUNCH)->worker, 71);
}

/* Its worker is lost again: what it ran is named with its epoch, and issued anew. */
static void test_adopted_and_lost(void **state)
{
    (void)state;
    create_epoch(2);
    known(1, 1);
    collect();
    plan_held(2, 2);
    adopted(1, 1, 4, 1, true);
    adopted(1, 2, 1, 1, false);
    join(1, 1);
    worker(EVENT_WORKER_DIED, 1);
    assert_int_equal(count_of(SCHEDULE_LOST_SUBTASK), 2);
    assert_int_equal(nth(SCHEDULE_LOST_SUBTASK, 0)->epoch, 1);
    assert_state(1, "pending");
    assert_state(2, "pending");
}

/* More than a batch: the queue of actions has room for all of them. */
static void test_adopts_more_than_a_batch(void **state)
{
    (void)state;
    h.config.batch_max = 1;
    create_epoch(2);
    known(1, 1);
    collect();
    plan_held(3000, 3000);
    for (uint64_t id = 1; id <= 3000; id++)
        adopted(1, id, 1, 1, id % 2 == 0);
    join(1, 1);
    worker(EVENT_WORKER_DIED, 1);
    assert_int_equal(count_of(SCHEDULE_LOST_SUBTASK), 3000);
    assert_int_equal(counts().pending, 3000);
}

static void test_cancel_and_drain(void **state)
{
    (void)state;
    for (unsigned drain = 0; drain < 2; drain++) {
        create_epoch(2);
        known(1, 1);
        known(2, 1);
        collect();
        plan_held(3, 3);
        adopted(1, 1, 1, 1, true);
        join(1, 1);
        apply((struct schedule_event){.kind = drain ? EVENT_DRAIN : EVENT_CANCEL});
        assert_int_equal(count_of(SCHEDULE_CANCEL), !drain);
        assert_int_equal(counts().cancelled, drain ? 0 : 2);
        adopted(2, 2, 1, 1, true); /* drained: what runs may end */
        join(2, 1);
        assert_state(2, drain ? "running" : "finished");
        assert_int_equal(count_of(SCHEDULE_CANCEL), !drain);
        schedule_destroy(h.schedule);
        h.schedule = NULL;
    }
}

/* Nothing is left to do: known workers that have not come are not waited for. */
static void test_complete_without_known(void **state)
{
    (void)state;
    create_epoch(2);
    known(1, 1);
    collect();
    plan_all(0);
    assert_int_equal(counts().state, RUN_GATHERING);
    adopted(1, 1, 1, 1, true);
    join(1, 1);
    assert_int_equal(only(SCHEDULE_CANCEL)->subtask, 1);
    apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
    assert_int_equal(only(SCHEDULE_DISMISS)->worker, 1);
    finish(1, RUN_SUCCEEDED, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_held_until_known_have_joined),
                                       TEST(test_held_until_deadline),
                                       TEST(test_resume_us_is_a_lease_by_default),
                                       TEST(test_held_without_known_workers),
                                       TEST(test_known_worker_dies_or_is_gone),
                                       TEST(test_adopted),
                                       TEST(test_numbers_go_on),
                                       TEST(test_void_adoptions),
                                       TEST(test_adopted_twice),
                                       TEST(test_number_is_taken),
                                       TEST(test_two_of_one_worker),
                                       TEST(test_number_is_used_meanwhile),
                                       TEST(test_worker_ids_go_on),
                                       TEST(test_adopted_and_lost),
                                       TEST(test_adopts_more_than_a_batch),
                                       TEST(test_cancel_and_drain),
                                       TEST(test_complete_without_known)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
