/* SPDX-License-Identifier: Apache-2.0 */
/* The state tables: every state times every event, in the tables and through schedule_apply. */
#include "harness.h"

typedef int edge_f(int from, int event);

static int subtask(int from, int event)
{
    return subtask_edge((enum subtask_state)from, (enum subtask_event)event);
}

static int worker_of(int from, int event)
{
    return worker_edge((enum worker_state)from, (enum worker_event)event);
}

static int run_of(int from, int event)
{
    return run_edge((enum run_state)from, (enum run_event)event);
}

/* Each pair is in the list once with that end, or not at all and then is no edge. */
static void
walk(const struct schedule_edge *edges, unsigned count, edge_f *edge, int states, int events)
{
    for (int from = 0; from < states; from++) {
        for (int event = 0; event < events; event++) {
            unsigned found = 0;
            for (unsigned i = 0; i < count; i++) {
                if (edges[i].from == from && edges[i].event == event) {
                    assert_int_equal(edge(from, event), edges[i].to);
                    found++;
                }
            }
            assert_true(found <= 1);
            if (found == 0)
                assert_int_equal(edge(from, event), -1);
        }
    }
}

static void test_tables(void **state)
{
    (void)state;
    walk(subtask_edges, subtask_edge_count, subtask, SUBTASK_STATE_COUNT, SUBTASK_EVENT_COUNT);
    walk(worker_edges, worker_edge_count, worker_of, WORKER_STATE_COUNT, WORKER_EVENT_COUNT);
    walk(run_edges, run_edge_count, run_of, RUN_STATE_COUNT, RUN_EVENT_COUNT);
}

/* From each start, every state can be reached; what is final stays so. */
static void test_reachable(void **state)
{
    (void)state;
    bool reached[RUN_STATE_COUNT] = {[RUN_PLANNING] = true};
    for (unsigned round = 0; round < RUN_STATE_COUNT; round++) {
        for (unsigned i = 0; i < run_edge_count; i++)
            reached[run_edges[i].to] |= reached[run_edges[i].from];
    }
    for (int s = 0; s < RUN_STATE_COUNT; s++)
        assert_true(reached[s]);
    for (unsigned i = 0; i < run_edge_count; i++) {
        if (run_edges[i].from > RUN_DISMISSING)
            assert_int_equal(run_edges[i].to, run_edges[i].from);
    }
    for (unsigned i = 0; i < worker_edge_count; i++) {
        if (worker_edges[i].from == WORKER_GONE)
            assert_int_equal(worker_edges[i].to, WORKER_GONE);
        if (worker_edges[i].from == WORKER_LOST)
            assert_true(worker_edges[i].to >= WORKER_LOST);
    }
    for (unsigned i = 0; i < subtask_edge_count; i++)
        assert_true(subtask_edges[i].from < SUBTASK_DONE ||
                    subtask_edges[i].event == SUBTASK_REDRIVE);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(run_state_name(RUN_INTERRUPTED), "interrupted");
    assert_string_equal(subtask_state_name(SUBTASK_WAITING), "waiting");
    assert_string_equal(worker_event_name(WORKER_ENDED), "gone");
    assert_string_equal(subtask_event_name(SUBTASK_REDRIVE), "re-drive");
    assert_string_equal(run_event_name(RUN_COMPLETE), "complete");
    assert_string_equal(run_state_name((enum run_state)99), "unknown");
}

/* Brings worker 1 of a new scheduler into a state. */
static void worker_into(enum worker_state target)
{
    create();
    apply((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 1});
    add_worker(1, 1);
    if (target == WORKER_LAUNCHING)
        return;
    worker(EVENT_WORKER_LAUNCHED, 1);
    if (target == WORKER_JOINING)
        return;
    worker(EVENT_WORKER_JOINED, 1);
    if (target == WORKER_DRAINING)
        apply((struct schedule_event){.kind = EVENT_CANCEL});
    if (target == WORKER_LOST)
        worker(EVENT_WORKER_DIED, 1);
    if (target == WORKER_GONE)
        worker(EVENT_WORKER_GONE, 1);
}

static void test_workers_by_apply(void **state)
{
    (void)state;
    static const struct {
        enum schedule_event_kind kind;
        enum worker_event event;
    } events[] = {{EVENT_WORKER_LAUNCHED, WORKER_LAUNCHED},
                  {EVENT_WORKER_LAUNCH_FAILED, WORKER_LAUNCH_FAILED},
                  {EVENT_ADOPTED, WORKER_ADOPT},
                  {EVENT_WORKER_JOINED, WORKER_JOINED},
                  {EVENT_WORKER_POLL, WORKER_POLL},
                  {EVENT_STARTED, WORKER_MESSAGE},
                  {EVENT_ENDED, WORKER_MESSAGE},
                  {EVENT_RETURNED, WORKER_MESSAGE},
                  {EVENT_WORKER_DISCONNECTED, WORKER_DISCONNECTED},
                  {EVENT_WORKER_DIED, WORKER_DIED},
                  {EVENT_WORKER_GONE, WORKER_ENDED}};
    for (int from = 0; from < WORKER_STATE_COUNT; from++) {
        for (unsigned i = 0; i < sizeof events / sizeof *events; i++) {
            worker_into((enum worker_state)from);
            assert_worker(1, worker_state_name((enum worker_state)from));
            int to = worker_edge((enum worker_state)from, events[i].event);
            struct schedule_event event = {
                .kind = events[i].kind, .worker = 1, .subtask = 9, .attempt = 1, .epoch = 1};
            if (to < 0) {
                struct schedule_counts before = counts(), after;
                assert_true(refused(event));
                after = counts();
                assert_memory_equal(&before, &after, sizeof before);
                assert_worker(1, worker_state_name((enum worker_state)from));
            } else {
                apply(event);
                assert_worker(1, worker_state_name((enum worker_state)to));
            }
            schedule_destroy(h.schedule);
            h.schedule = NULL;
        }
    }
}

static void run_into(enum run_state target)
{
    create();
    if (target == RUN_PLANNING)
        return;
    add_worker(1, 1);
    if (target == RUN_RUNNING) {
        apply((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 1});
        return;
    }
    if (target == RUN_CANCELLED)
        apply((struct schedule_event){.kind = EVENT_CANCEL});
    else if (target == RUN_INTERRUPTED)
        apply((struct schedule_event){.kind = EVENT_DRAIN});
    else if (target == RUN_FAILED)
        apply((struct schedule_event){.kind = EVENT_PLAN_FAILED});
    else
        plan_all(0);
    if (target == RUN_GATHERING)
        return;
    if (target == RUN_DISMISSING || target == RUN_SUCCEEDED)
        apply((struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
    if (target != RUN_DISMISSING)
        worker(EVENT_WORKER_GONE, 1);
}

static void test_run_by_apply(void **state)
{
    (void)state;
    static const enum run_state states[] = {RUN_PLANNING,
                                            RUN_RUNNING,
                                            RUN_GATHERING,
                                            RUN_DISMISSING,
                                            RUN_SUCCEEDED,
                                            RUN_FAILED,
                                            RUN_CANCELLED,
                                            RUN_INTERRUPTED};
    static const struct {
        enum schedule_event_kind kind;
        enum run_event event;
    } events[] = {{EVENT_WORKER_ADD, RUN_WORKER_ADD},
                  {EVENT_WORKER_KNOWN, RUN_WORKER_ADD},
                  {EVENT_RECORDED, RUN_RECORDED},
                  {EVENT_GATHERED, RUN_GATHERED},
                  {EVENT_DRAIN, RUN_DRAIN},
                  {EVENT_CANCEL, RUN_CANCEL},
                  {EVENT_STOP, RUN_STOP},
                  {EVENT_PAUSE, RUN_PAUSE},
                  {EVENT_TICK, RUN_TICK}};
    for (unsigned s = 0; s < sizeof states / sizeof *states; s++) {
        for (unsigned i = 0; i < sizeof events / sizeof *events; i++) {
            run_into(states[s]);
            assert_int_equal(counts().state, states[s]);
            struct schedule_event event = {.kind = events[i].kind, .worker = 7, .slots = 1};
            assert_int_equal(refused(event), run_edge(states[s], events[i].event) < 0);
            schedule_destroy(h.schedule);
            h.schedule = NULL;
        }
    }
}

static void test_bad_events(void **state)
{
    (void)state;
    create();
    assert_true(refused((struct schedule_event){.kind = (enum schedule_event_kind)99}));
    assert_true(refused((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 0}));
    assert_true(
        refused((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 1, .attempt = 65535}));
    assert_true(refused((struct schedule_event){.kind = EVENT_WORKER_ADD, .worker = 0}));
    assert_true(
        refused((struct schedule_event){.kind = EVENT_WORKER_ADD, .worker = SCHEDULE_WORKER_MAX}));
    assert_true(refused((struct schedule_event){.kind = EVENT_WORKER_POLL, .worker = 3}));
    apply((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 1});
    assert_true(refused((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 1}));
    add_worker(1, 1);
    assert_true(refused((struct schedule_event){.kind = EVENT_WORKER_ADD, .worker = 1}));
    assert_true(refused((struct schedule_event){.kind = EVENT_WORKER_KNOWN, .worker = 1}));
    assert_true(refused((struct schedule_event){.kind = EVENT_ADOPTED, .worker = 3}));
    assert_true(refused((struct schedule_event){.kind = EVENT_RECORDED, .count = 1}));
    apply((struct schedule_event){.kind = EVENT_PLAN_ENDED});
    assert_true(refused((struct schedule_event){.kind = EVENT_PLANNED, .subtask = 2}));
    assert_true(refused((struct schedule_event){.kind = EVENT_PLAN_ENDED}));
    assert_string_equal(schedule_worker_state(h.schedule, 2), "unknown");
    assert_state(2, "finished");
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_tables),
                                       TEST(test_reachable),
                                       TEST(test_names),
                                       TEST(test_workers_by_apply),
                                       TEST(test_run_by_apply),
                                       TEST(test_bad_events)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
