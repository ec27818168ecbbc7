/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scheduler under test with a clock, and the actions that came out. Each call applies one event
 * and collects its actions; a test that expects an error calls schedule_apply itself.
 */
#ifndef MAYFLY_TESTS_UNIT_SCHEDULE_HARNESS_H
#define MAYFLY_TESTS_UNIT_SCHEDULE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/schedule/schedule.h"
#include "master/schedule/states.h"

#define MS ((int64_t)1000)
#define SEC ((int64_t)1000000)
#define ACTIONS_MAX 65536u

struct harness {
    struct schedule_config config;
    struct schedule *schedule;
    int64_t now_us;
    struct schedule_action actions[ACTIONS_MAX]; /* of the last event */
    unsigned action_count;
};

/* Static, since it is large; each test starts it again. */
static struct harness h;

static inline void begin(void)
{
    memset(&h, 0, sizeof h);
    schedule_config_default(&h.config);
    h.config.backoff_us = SEC;
    h.config.jitter_full = false;
    h.now_us = 1000 * SEC;
}

static inline void collect(void)
{
    h.action_count = 0;
    while (schedule_next(h.schedule, &h.actions[h.action_count])) {
        h.action_count++;
        assert_true(h.action_count < ACTIONS_MAX);
    }
}

static inline void create(void)
{
    struct mf_error error = {0};
    h.schedule = schedule_create(&h.config, &error);
    assert_non_null(h.schedule);
}

static inline void queue(struct schedule_event event)
{
    struct mf_error error = {0};
    event.now_us = h.now_us;
    if (event.epoch == 0)
        event.epoch = h.config.epoch;
    if (schedule_apply(h.schedule, &event, &error) != 0)
        fail_msg("refused: %s", error.text);
}

static inline void apply(struct schedule_event event)
{
    queue(event);
    collect();
}

static inline int refused(struct schedule_event event)
{
    struct mf_error error = {0};
    event.now_us = h.now_us;
    if (schedule_apply(h.schedule, &event, &error) == 0)
        return 0;
    assert_int_equal(error.code, MF_EPROTOCOL);
    assert_true(error.text[0] != '\0');
    return 1;
}

static inline void worker(enum schedule_event_kind kind, uint32_t id)
{
    apply((struct schedule_event){.kind = kind, .worker = id});
}

static inline void add_worker(uint32_t id, uint32_t slots)
{
    apply((struct schedule_event){.kind = EVENT_WORKER_ADD, .worker = id, .slots = slots});
}

/* Launched and joined; it has not polled yet. */
static inline void join_worker(uint32_t id, uint32_t slots)
{
    add_worker(id, slots);
    worker(EVENT_WORKER_LAUNCHED, id);
    apply((struct schedule_event){.kind = EVENT_WORKER_JOINED, .worker = id, .slots = slots});
}

static inline void poll(uint32_t id)
{
    worker(EVENT_WORKER_POLL, id);
}

/* Subtasks 1..count, and the end of the plan. */
static inline void plan_all(uint64_t count)
{
    for (uint64_t i = 1; i <= count; i++)
        queue((struct schedule_event){.kind = EVENT_PLANNED, .subtask = i});
    apply((struct schedule_event){.kind = EVENT_PLAN_ENDED});
}

static inline void started(uint32_t id, uint64_t subtask, uint32_t attempt)
{
    apply((struct schedule_event){
        .kind = EVENT_STARTED, .worker = id, .subtask = subtask, .attempt = attempt});
}

static inline void returned(uint32_t id, uint64_t subtask, uint32_t attempt)
{
    apply((struct schedule_event){
        .kind = EVENT_RETURNED, .worker = id, .subtask = subtask, .attempt = attempt});
}

static inline void ended(uint32_t id, uint64_t subtask, uint32_t attempt, uint32_t cause, int code)
{
    apply((struct schedule_event){.kind = EVENT_ENDED,
                                  .worker = id,
                                  .subtask = subtask,
                                  .attempt = attempt,
                                  .cause = cause,
                                  .exit_code = code,
                                  .duration_us = 100000});
}

static inline void done(uint32_t id, uint64_t subtask, uint32_t attempt)
{
    ended(id, subtask, attempt, MF_CAUSE_NONE, 0);
}

static inline void recorded(uint64_t count)
{
    apply((struct schedule_event){.kind = EVENT_RECORDED, .count = count});
}

static inline void wait_us(int64_t us)
{
    h.now_us += us;
    apply((struct schedule_event){.kind = EVENT_TICK});
}

static inline unsigned count_of(enum schedule_action_kind kind)
{
    unsigned n = 0;
    for (unsigned i = 0; i < h.action_count; i++)
        n += h.actions[i].kind == kind;
    return n;
}

static inline const struct schedule_action *nth(enum schedule_action_kind kind, unsigned n)
{
    for (unsigned i = 0; i < h.action_count; i++) {
        if (h.actions[i].kind == kind && n-- == 0)
            return &h.actions[i];
    }
    fail_msg("there is no such action of kind %d", (int)kind);
    return NULL;
}

static inline const struct schedule_action *only(enum schedule_action_kind kind)
{
    assert_int_equal(count_of(kind), 1);
    return nth(kind, 0);
}

static inline struct schedule_counts counts(void)
{
    struct schedule_counts c;
    schedule_counts(h.schedule, &c);
    return c;
}

static inline void assert_state(uint64_t subtask, const char *state)
{
    assert_string_equal(schedule_subtask_state(h.schedule, subtask), state);
}

static inline void assert_worker(uint32_t id, const char *state)
{
    assert_string_equal(schedule_worker_state(h.schedule, id), state);
}

/* Reports the workers 1..n gone and expects the run to end like this. */
static inline void finish(uint32_t workers, enum run_state state, const char *reason_part)
{
    assert_int_equal(counts().state, RUN_DISMISSING);
    for (uint32_t id = 1; id <= workers; id++)
        worker(EVENT_WORKER_GONE, id);
    const struct schedule_action *end = only(SCHEDULE_FINISH);
    assert_int_equal(end->state, state);
    if (reason_part == NULL)
        assert_null(end->reason);
    else
        assert_non_null(strstr(end->reason, reason_part));
    assert_int_equal(counts().state, state);
    assert_true(schedule_deadline(h.schedule) == INT64_MAX);
}

static inline int setup(void **state)
{
    (void)state;
    begin();
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    schedule_destroy(h.schedule);
    h.schedule = NULL;
    mf_alloc_fail_at(0);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
