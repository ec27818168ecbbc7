/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory: when any one allocation fails, schedule_apply changes nothing, and the event can be
 * applied again. A whole run is driven with each of its allocations failing in turn.
 */
#include "harness.h"

static unsigned long failures;

/* Applies the event; after a failure nothing has changed, and the second time it goes through. */
static void try_apply(struct schedule_event event)
{
    struct mf_error error = {0};
    struct schedule_counts before = counts(), after;
    int64_t deadline = schedule_deadline(h.schedule);
    event.now_us = h.now_us;
    event.epoch = 1;
    if (schedule_apply(h.schedule, &event, &error) == -1) {
        assert_int_equal(error.code, MF_ENOMEM);
        after = counts();
        assert_memory_equal(&before, &after, sizeof before);
        assert_true(schedule_deadline(h.schedule) == deadline);
        failures++;
        assert_int_equal(schedule_apply(h.schedule, &event, &error), 0);
    }
}

/* 3,000 subtasks that all fail once, a hundred workers that are added in between. */
static void whole_run(void)
{
    for (uint64_t i = 1; i <= 3000; i++) {
        try_apply((struct schedule_event){.kind = EVENT_PLANNED, .subtask = i});
        if (i % 30 == 0)
            try_apply((struct schedule_event){
                .kind = EVENT_WORKER_ADD, .worker = (uint32_t)(i / 30), .slots = 30});
    }
    for (uint32_t id = 1; id <= 100; id++) {
        try_apply((struct schedule_event){.kind = EVENT_WORKER_JOINED, .worker = id, .slots = 30});
        try_apply((struct schedule_event){.kind = EVENT_WORKER_POLL, .worker = id});
    }
    collect();
    unsigned offers = count_of(SCHEDULE_OFFER);
    assert_int_equal(offers, 3000);
    for (unsigned i = 0; i < h.action_count; i++) {
        if (h.actions[i].kind == SCHEDULE_OFFER)
            try_apply((struct schedule_event){.kind = EVENT_ENDED,
                                              .worker = h.actions[i].worker,
                                              .subtask = h.actions[i].subtask,
                                              .attempt = 1,
                                              .cause = MF_CAUSE_EXIT,
                                              .exit_code = 1});
    }
    collect();
    assert_int_equal(count_of(SCHEDULE_RECORD), 3000);
    assert_int_equal(counts().waiting, 3000);
    for (uint32_t id = 1; id <= 100; id++)
        try_apply((struct schedule_event){.kind = EVENT_WORKER_DIED, .worker = id});
    collect();
    assert_int_equal(count_of(SCHEDULE_LAUNCH), 100); /* each is replaced */
    assert_int_equal(counts().planned, 3000);
}

static void test_each_allocation_fails(void **state)
{
    (void)state;
    h.config.retries_max = 1;
    create();
    collect();
    mf_alloc_fail_at(1000000);
    whole_run();
    unsigned long asked = mf_alloc_count();
    assert_int_equal(failures, 0);
    assert_true(asked > 10);
    for (unsigned long n = 1; n <= asked; n++) {
        mf_alloc_fail_at(0);
        schedule_destroy(h.schedule);
        create();
        collect();
        failures = 0;
        mf_alloc_fail_at(n);
        whole_run();
        assert_int_equal(failures, 1);
    }
}

/* A known worker that holds more than a batch makes the queue of actions grow. */
static void test_adopting_fails(void **state)
{
    (void)state;
    h.config.epoch = 2;
    h.config.batch_max = 1;
    create();
    queue((struct schedule_event){.kind = EVENT_WORKER_KNOWN, .worker = 1, .slots = 1});
    for (uint64_t i = 1; i <= 3000; i++)
        queue((struct schedule_event){.kind = EVENT_PLANNED, .subtask = i, .held = true});
    collect();
    failures = 0;
    for (uint64_t i = 1; i <= 3000; i++) {
        if (i == 300)
            mf_alloc_fail_at(1);
        try_apply((struct schedule_event){
            .kind = EVENT_ADOPTED, .worker = 1, .subtask = i, .attempt = 1, .ok = true});
    }
    assert_int_equal(failures, 1);
    assert_int_equal(counts().running, 3000);
    worker(EVENT_WORKER_DIED, 1);
    assert_int_equal(count_of(SCHEDULE_LOST_SUBTASK), 3000);
}

static void test_create_fails(void **state)
{
    (void)state;
    for (unsigned long n = 1; n <= 2; n++) {
        struct mf_error error = {0};
        mf_alloc_fail_at(n);
        assert_null(schedule_create(&h.config, &error));
        assert_int_equal(error.code, MF_ENOMEM);
    }
    schedule_destroy(NULL);
}

/* Ten thousand live subtasks in random order of ids and ends: the index finds each of them. */
static void test_index(void **state)
{
    (void)state;
    h.config.plan_ahead = 1;
    create();
    join_worker(1, 4096);
    uint64_t random = 1;
    for (uint64_t i = 0; i < 10000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        /* Ids that share their lower half collide in the index. */
        queue((struct schedule_event){.kind = EVENT_PLANNED,
                                      .subtask = (random >> 44 << 32) | (i + 1) % 700 | i << 12});
    }
    collect();
    for (unsigned round = 0; counts().done < 10000; round++) {
        poll(1);
        assert_true(round < 100);
        static struct schedule_action offers[ACTIONS_MAX];
        unsigned n = 0;
        for (unsigned i = 0; i < h.action_count; i++) {
            if (h.actions[i].kind == SCHEDULE_OFFER)
                offers[n++] = h.actions[i];
        }
        for (unsigned i = 0; i < n; i++) {
            unsigned pick = n % 7919 == 0 ? i : (i * 7919u) % n; /* a prime: each comes once */
            assert_state(offers[pick].subtask, "offered");
            queue((struct schedule_event){.kind = EVENT_ENDED,
                                          .worker = 1,
                                          .subtask = offers[pick].subtask,
                                          .attempt = offers[pick].attempt});
        }
        collect();
        for (unsigned i = 0; i < n; i++)
            assert_state(offers[i].subtask, "finished");
    }
    assert_int_equal(counts().fenced, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_each_allocation_fails),
                                       TEST(test_adopting_fails),
                                       TEST(test_create_fails),
                                       TEST(test_index)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
