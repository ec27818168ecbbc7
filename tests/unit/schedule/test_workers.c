/* SPDX-License-Identifier: Apache-2.0 */
/* Workers: deadlines, loss, poison, second issues, return, replacement. */
#include "harness.h"

static void two_workers(uint64_t subtasks)
{
    create();
    add_worker(1, 1);
    add_worker(2, 1);
    for (uint32_t id = 1; id <= 2; id++) {
        worker(EVENT_WORKER_LAUNCHED, id);
        worker(EVENT_WORKER_JOINED, id);
    }
    plan_all(subtasks);
}

static void test_lease(void **state)
{
    (void)state;
    two_workers(2);
    poll(1);
    started(1, 1, 1);
    h.now_us += 20 * SEC;
    poll(2);
    wait_us(10 * SEC - 1);
    assert_worker(1, "ready");
    wait_us(1);
    assert_worker(1, "lost");
    assert_int_equal(only(SCHEDULE_LOST)->worker, 1);
    assert_int_equal(only(SCHEDULE_LOST_SUBTASK)->subtask, 1);
    assert_int_equal(only(SCHEDULE_LAUNCH)->replaces, 1);
    assert_int_equal(only(SCHEDULE_LAUNCH)->worker, 3);
    assert_int_equal(count_of(SCHEDULE_RECORD), 0); /* not a failure */
    done(2, 2, 1);
    poll(2);
    assert_int_equal(only(SCHEDULE_OFFER)->subtask, 1);
    assert_int_equal(only(SCHEDULE_OFFER)->attempt, 2);
    /* The lost one comes back with its result: void, and it is told to go. */
    done(1, 1, 1);
    assert_int_equal(only(SCHEDULE_FENCED)->worker, 1);
    poll(1);
    assert_int_equal(only(SCHEDULE_DISMISS)->worker, 1);
    worker(EVENT_WORKER_JOINED, 1);
    assert_int_equal(only(SCHEDULE_DISMISS)->worker, 1);
    assert_int_equal(count_of(SCHEDULE_OFFER), 0);
    done(2, 1, 2);
    only(SCHEDULE_RECORD);
    assert_int_equal(counts().workers_lost, 1);
    assert_int_equal(counts().fenced, 1);
}

static void test_poll_renews_lease(void **state)
{
    (void)state;
    two_workers(1);
    for (int i = 0; i < 10; i++) {
        h.now_us += 29 * SEC;
        poll(1);
        poll(2);
        apply((struct schedule_event){.kind = EVENT_TICK});
    }
    assert_int_equal(counts().workers_lost, 0);
}

static void test_died(void **state)
{
    (void)state;
    two_workers(3);
    poll(1);
    worker(EVENT_WORKER_DIED, 1);
    assert_int_equal(only(SCHEDULE_LOST)->worker, 1);
    assert_int_equal(only(SCHEDULE_LOST_SUBTASK)->attempt, 1);
    assert_int_equal(counts().pending, 3);
    poll(2);
    assert_true(count_of(SCHEDULE_OFFER) >= 1);
}

static void test_poison(void **state)
{
    (void)state;
    h.config.poison_losses = 2;
    h.config.relaunch_max = 0;
    two_workers(1);
    poll(1);
    started(1, 1, 1);
    worker(EVENT_WORKER_DIED, 1);
    assert_state(1, "pending");
    poll(2);
    started(2, 1, 2);
    worker(EVENT_WORKER_DIED, 2);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_DEAD);
    assert_int_equal(only(SCHEDULE_RECORD)->cause, MF_CAUSE_POISON);
    assert_int_equal(only(SCHEDULE_RECORD)->worker, 2);
    assert_int_equal(counts().dead, 1);
}

static void test_offered_is_no_poison(void **state)
{
    (void)state;
    h.config.poison_losses = 1;
    two_workers(1);
    poll(1);
    worker(EVENT_WORKER_DIED, 1); /* it had not started */
    assert_int_equal(count_of(SCHEDULE_RECORD), 0);
    assert_state(1, "pending");
}

/* Worker 1 runs subtask 1, is cut off for longer than the grace, and worker 2 gets it too. */
static void second_issue(void)
{
    two_workers(1);
    poll(1);
    started(1, 1, 1);
    poll(2);
    worker(EVENT_WORKER_DISCONNECTED, 1);
    assert_int_equal(count_of(SCHEDULE_OFFER), 0);
    wait_us(500 * MS - 1);
    assert_state(1, "running");
    wait_us(1);
    assert_int_equal(only(SCHEDULE_OFFER)->worker, 2);
    assert_int_equal(only(SCHEDULE_OFFER)->attempt, 2);
    assert_int_equal(only(SCHEDULE_FLUSH)->worker, 2);
}

static void test_first_wins(void **state)
{
    (void)state;
    second_issue();
    started(2, 1, 2);
    poll(1); /* back */
    done(1, 1, 1);
    assert_int_equal(only(SCHEDULE_RECORD)->attempt, 1);
    assert_int_equal(only(SCHEDULE_CANCEL)->worker, 2);
    assert_int_equal(only(SCHEDULE_CANCEL)->attempt, 2);
    assert_int_equal(only(SCHEDULE_FLUSH)->worker, 2);
    done(2, 1, 2);
    only(SCHEDULE_FENCED);
    assert_int_equal(counts().done, 1);
}

static void test_second_wins(void **state)
{
    (void)state;
    second_issue();
    done(2, 1, 2);
    assert_int_equal(only(SCHEDULE_RECORD)->attempt, 2);
    assert_int_equal(only(SCHEDULE_CANCEL)->worker, 1); /* waits in its outbox */
    started(1, 1, 1); /* it is back, and still says that it runs */
    assert_int_equal(only(SCHEDULE_CANCEL)->worker, 1);
    done(1, 1, 1);
    only(SCHEDULE_FENCED);
}

static void test_one_fails_while_the_other_runs(void **state)
{
    (void)state;
    second_issue();
    ended(2, 1, 2, MF_CAUSE_EXIT, 1); /* no retries: but the other may do it */
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_RETRIED);
    poll(1);
    ended(1, 1, 1, MF_CAUSE_EXIT, 1);
    assert_int_equal(only(SCHEDULE_RECORD)->record, RECORD_DEAD);
}

static void test_back_within_grace(void **state)
{
    (void)state;
    two_workers(1);
    poll(1);
    started(1, 1, 1);
    poll(2);
    worker(EVENT_WORKER_DISCONNECTED, 1);
    wait_us(400 * MS);
    worker(EVENT_WORKER_JOINED, 1);
    wait_us(SEC);
    assert_int_equal(count_of(SCHEDULE_OFFER), 0);
    assert_state(1, "running");
}

static void test_back_before_second_issue(void **state)
{
    (void)state;
    two_workers(1);
    poll(1);
    started(1, 1, 1);
    worker(EVENT_WORKER_DISCONNECTED, 1);
    wait_us(SEC); /* worker 2 has not polled yet: it stays pending */
    assert_state(1, "pending");
    assert_int_equal(counts().pending, 1);
    poll(1);
    assert_state(1, "running");
    poll(2);
    assert_int_equal(count_of(SCHEDULE_OFFER), 0);
    done(1, 1, 1);
    only(SCHEDULE_RECORD);
}

static void test_result_of_a_pending_one(void **state)
{
    (void)state;
    two_workers(1);
    poll(1);
    started(1, 1, 1);
    worker(EVENT_WORKER_DISCONNECTED, 1);
    wait_us(SEC);
    assert_state(1, "pending");
    done(1, 1, 1); /* before its poll */
    only(SCHEDULE_RECORD);
    assert_int_equal(counts().pending, 0);
    recorded(1);
    assert_false(only(SCHEDULE_GATHER)->partial);
}

static void test_launch_deadline(void **state)
{
    (void)state;
    h.config.relaunch_max = 1;
    create();
    add_worker(1, 1);
    plan_all(1);
    wait_us(30 * SEC);
    worker(EVENT_WORKER_LAUNCHED, 1);
    wait_us(30 * SEC); /* launch and join together have a minute */
    assert_worker(1, "lost");
    only(SCHEDULE_LOST);
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 0); /* not at once after a failed launch */
    wait_us(schedule_deadline(h.schedule) - h.now_us);
    assert_int_equal(only(SCHEDULE_LAUNCH)->replaces, 1);
    worker(EVENT_WORKER_LAUNCH_FAILED, 2);
    assert_worker(2, "gone");
    assert_int_equal(counts().cancelled, 1); /* none may be launched any more */
    worker(EVENT_WORKER_GONE, 1);
    assert_non_null(strstr(only(SCHEDULE_FINISH)->reason, "no worker is left"));
    assert_int_equal(only(SCHEDULE_FINISH)->state, RUN_FAILED);
}

static void test_failed_launch_without_replacement(void **state)
{
    (void)state;
    create();
    plan_all(1);
    add_worker(1, 1);
    add_worker(2, 1);
    apply((struct schedule_event){.kind = EVENT_WORKER_LAUNCH_FAILED, .worker = 1, .ok = false});
    apply((struct schedule_event){.kind = EVENT_WORKER_LAUNCH_FAILED, .worker = 2, .ok = true});
    wait_us(SEC);
    assert_int_equal(only(SCHEDULE_LAUNCH)->replaces, 2); /* the first one's host is of no use */
    apply((struct schedule_event){.kind = EVENT_WORKER_LAUNCH_FAILED, .worker = 3, .ok = false});
    assert_int_equal(only(SCHEDULE_FINISH)->state, RUN_FAILED); /* at once: nothing to hope for */
    assert_true(only(SCHEDULE_FINISH)->no_worker);
}

static void test_no_worker_added(void **state)
{
    (void)state;
    create();
    plan_all(1);
    assert_true(schedule_deadline(h.schedule) == h.now_us + 60 * SEC);
    wait_us(60 * SEC);
    assert_int_equal(only(SCHEDULE_FINISH)->state, RUN_FAILED);
    assert_non_null(strstr(only(SCHEDULE_FINISH)->reason, "no worker was added"));
}

/* A lost worker of whose end nobody knows is waited for, but not for ever. */
static void test_lost_is_given_up(void **state)
{
    (void)state;
    two_workers(1);
    poll(2);
    wait_us(20 * SEC);
    poll(2);
    wait_us(10 * SEC);
    assert_worker(1, "lost");
    done(2, 1, 1);
    recorded(1);
    apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
    assert_int_equal(count_of(SCHEDULE_DISMISS), 2); /* worker 2 and the replacement */
    worker(EVENT_WORKER_GONE, 2);
    worker(EVENT_WORKER_LAUNCH_FAILED, 3); /* its launch was still under way */
    assert_int_equal(count_of(SCHEDULE_FINISH), 0);
    wait_us(30 * SEC);
    assert_worker(1, "gone");
    assert_int_equal(only(SCHEDULE_FINISH)->state, RUN_SUCCEEDED);
}

static void test_dismissal_deadline(void **state)
{
    (void)state;
    two_workers(0);
    apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
    assert_int_equal(count_of(SCHEDULE_DISMISS), 2);
    worker(EVENT_WORKER_DIED, 1); /* as it was told: still to be verified */
    assert_worker(1, "draining");
    worker(EVENT_WORKER_GONE, 1);
    assert_int_equal(count_of(SCHEDULE_FINISH), 0);
    wait_us(30 * SEC);
    assert_int_equal(only(SCHEDULE_LOST)->worker, 2);
    assert_int_equal(only(SCHEDULE_FINISH)->state, RUN_SUCCEEDED);
}

static void test_other_epoch_is_void(void **state)
{
    (void)state;
    h.config.epoch = 4;
    two_workers(1);
    poll(1);
    assert_int_equal(only(SCHEDULE_OFFER)->epoch, 4);
    apply((struct schedule_event){
        .kind = EVENT_ENDED, .worker = 1, .subtask = 1, .attempt = 1, .epoch = 3});
    assert_int_equal(only(SCHEDULE_FENCED)->epoch, 3);
    done(1, 1, 2); /* an attempt that is not issued */
    only(SCHEDULE_FENCED);
    done(2, 1, 1); /* another worker */
    only(SCHEDULE_FENCED);
    done(1, 1, 1);
    only(SCHEDULE_RECORD);
    done(1, 1, 1); /* twice */
    only(SCHEDULE_FENCED);
    assert_int_equal(counts().fenced, 4);
}

/* The loss is not told yet, but what the worker held is void from that moment. */
static void test_void_before_the_loss_is_told(void **state)
{
    (void)state;
    two_workers(2);
    poll(1);
    queue((struct schedule_event){.kind = EVENT_WORKER_DIED, .worker = 1});
    queue((struct schedule_event){.kind = EVENT_ENDED, .worker = 1, .subtask = 1, .attempt = 1});
    queue((struct schedule_event){.kind = EVENT_STARTED, .worker = 1, .subtask = 2, .attempt = 1});
    collect();
    assert_int_equal(h.actions[0].kind, SCHEDULE_FENCED);
    assert_int_equal(h.actions[1].kind, SCHEDULE_LOST);
    assert_int_equal(counts().done, 0);
    assert_int_equal(counts().pending, 2);
}

static void test_time_runs_backwards(void **state)
{
    (void)state;
    two_workers(1);
    h.now_us -= 100 * SEC;
    poll(1);
    assert_true(schedule_deadline(h.schedule) == h.now_us + 130 * SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_lease),
                                       TEST(test_poll_renews_lease),
                                       TEST(test_died),
                                       TEST(test_poison),
                                       TEST(test_offered_is_no_poison),
                                       TEST(test_first_wins),
                                       TEST(test_second_wins),
                                       TEST(test_one_fails_while_the_other_runs),
                                       TEST(test_back_within_grace),
                                       TEST(test_back_before_second_issue),
                                       TEST(test_result_of_a_pending_one),
                                       TEST(test_launch_deadline),
                                       TEST(test_failed_launch_without_replacement),
                                       TEST(test_no_worker_added),
                                       TEST(test_lost_is_given_up),
                                       TEST(test_dismissal_deadline),
                                       TEST(test_other_epoch_is_void),
                                       TEST(test_void_before_the_loss_is_told),
                                       TEST(test_time_runs_backwards)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
