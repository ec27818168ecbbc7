/* SPDX-License-Identifier: Apache-2.0 */
/* The executor's queue and its slots: order, handing ahead, taking back, cancelling, dying slots.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "stand.h"
#include "worker/place.h"

static struct mf_fence fence_of(uint64_t id)
{
    return (struct mf_fence){id, 1, 1};
}

static bool has_returned(struct stand *stand, uint64_t count)
{
    return stand->returned_count >= count;
}

/* Whether the job's folder has the file pid-<id>. */
static bool has_written_pid(struct stand *stand, uint64_t id)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/pid-%llu", stand->job, (unsigned long long)id);
    return stat(path, &st) == 0 && st.st_size > 0;
}

static pid_t read_pid(struct stand *stand, uint64_t id)
{
    char path[128];
    char line[32] = "";
    snprintf(path, sizeof path, "%s/pid-%llu", stand->job, (unsigned long long)id);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    return (pid_t)strtol(line, NULL, 10);
}

static const struct executed *end_of(const struct stand *stand, uint64_t id)
{
    for (unsigned i = 0; i < stand->ended_count; i++)
        if (stand->ended[i]->result.subtask == id)
            return stand->ended[i];
    return NULL;
}

/* For another master: what ended and is not acknowledged, what runs, what waits; not what is being
 * ended. */
static void what_is_held_is_told(void **state)
{
    struct stand *stand = *state;
    struct mf_held held[8];
    stand_shell(stand, "echo >begun-{}; [ {} = 1 ] || sleep 1000");
    stand_start(stand, 2);
    stand_submit_id(stand, 1);
    stand_until(stand, stand_has_ended, 1);
    for (uint64_t id = 2; id <= 5; id++)
        stand_submit_id(stand, id);
    stand_until(stand, stand_has_started, 3);
    assert_int_equal(executor_held(stand->executor, held, 8), 5);
    assert_int_equal(held[0].subtask, 1);
    assert_int_equal(held[0].state, MF_HELD_ENDED);
    unsigned running = 0, queued = 0;
    for (unsigned i = 1; i < 5; i++) {
        assert_int_equal(held[i].attempt, 1);
        assert_int_equal(held[i].epoch, 1);
        running += held[i].state == MF_HELD_RUNNING;
        queued += held[i].state == MF_HELD_QUEUED;
    }
    assert_int_equal(running, 2);
    assert_int_equal(queued, 2);
    /* Where there is no room, what waits goes back. */
    assert_int_equal(executor_held(stand->executor, held, 4), 4);
    stand_until(stand, has_returned, 1);
    struct mf_fence fence = fence_of(held[1].subtask);
    executor_cancel(stand->executor, &fence);
    assert_int_equal(executor_held(stand->executor, held, 8), 3);
    executor_cancel_all(stand->executor);
    stand_until(stand, stand_has_ended, 3);
}

static void many_run_each_once(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand, "echo {}");
    stand_start(stand, 2);
    assert_int_equal(executor_free_places(stand->executor), 2);
    for (uint64_t id = 1; id <= 100; id++)
        stand_submit_id(stand, id);
    assert_int_equal(executor_free_places(stand->executor), 0);
    assert_int_equal(executor_queued(stand->executor), 100);
    stand_until(stand, stand_has_ended, 100);
    assert_int_equal(executor_queued(stand->executor), 0);
    assert_int_equal(executor_free_places(stand->executor), 2);
    assert_int_equal(stand->started_count, 100);
    for (uint64_t id = 1; id <= 100; id++) {
        char expected[16];
        const struct executed *executed = end_of(stand, id);
        snprintf(expected, sizeof expected, "%d\n", (int)id);
        assert_non_null(executed);
        assert_inline(executed, expected);
    }
}

static void each_failing_allocation_is_reported(void **state)
{
    struct stand *stand = *state;
    struct executor_callbacks none = {0};
    struct mf_error error = {0};
    stand_shell(stand, "echo {}");
    stand->env[0] = "A={}";
    stand->env[1] = "B=b";
    stand->task.env_count = 2;
    unsigned long n = 0;
    struct executor *executor = NULL;
    while (executor == NULL) {
        assert_true(++n < 1000);
        mf_alloc_fail_at(n);
        executor = executor_create(
            stand->loop, &stand->task, "r", 1, stand->worker, SLOT_PROGRAM, 1, NULL, &none, &error);
        assert_true(executor != NULL || error.code == MF_ENOMEM);
        mf_alloc_fail_at(0);
    }
    assert_true(n > 10);
    executor_destroy(executor);
}

static void the_same_fence_twice_is_once(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand, "true");
    stand_start(stand, 1);
    stand_submit_id(stand, 1);
    stand_submit_id(stand, 1);
    stand_submit_id(stand, 2);
    stand_until(stand, stand_has_ended, 2);
    stand_submit_id(stand, 1); /* ended, but not released */
    assert_int_equal(executor_queued(stand->executor), 0);
    struct mf_subtask again = {.id = 1, .attempt = 2, .epoch = 1};
    stand_submit(stand, &again);
    stand_until(stand, stand_has_ended, 3);
    assert_int_equal(stand->started_count, 3);
}

static void running_ones_are_listed(void **state)
{
    struct stand *stand = *state;
    struct mf_fence fences[4];
    stand_shell(stand, "sleep 1000");
    stand_start(stand, 2);
    for (uint64_t id = 1; id <= 3; id++)
        stand_submit_id(stand, id);
    stand_until(stand, stand_has_started, 2);
    assert_int_equal(executor_running(stand->executor, fences, 4), 2);
    assert_int_equal(fences[0].subtask, 1);
    assert_int_equal(fences[1].subtask, 2);
    assert_int_equal(executor_running(stand->executor, fences, 1), 1);
}

static void queued_ones_are_taken_back(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand, "echo $$ > $MAYFLY_JOB/pid-{}; sleep 1000");
    stand_start(stand, 1);
    stand_submit_id(stand, 1);
    stand_submit_id(stand, 2);
    stand_until(stand, has_written_pid, 1);
    struct mf_fence first = fence_of(1), second = fence_of(2), unknown = fence_of(3);
    executor_take_back(stand->executor, &second);
    assert_int_equal(stand->returned_count, 1);
    assert_int_equal(stand->returned[0].subtask, 2);
    executor_take_back(stand->executor, &first);
    executor_take_back(stand->executor, &unknown);
    executor_cancel(stand->executor, &first);
    stand_until(stand, stand_has_ended, 1);
    assert_int_equal(stand->returned_count, 1);
    /* It is forgotten: the same fence may come again. */
    stand_submit_id(stand, 2);
    stand_until(stand, has_written_pid, 2);
}

static void cancelling_ends_the_tree(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand, "setsid sleep 1000 & echo $! > $MAYFLY_JOB/pid-{}; wait");
    stand_start(stand, 1);
    stand_submit_id(stand, 1);
    stand_submit_id(stand, 2);
    stand_until(stand, has_written_pid, 1);
    pid_t pid = read_pid(stand, 1);
    executor_cancel_all(stand->executor);
    assert_int_equal(stand->returned_count, 1);
    stand_until(stand, stand_has_ended, 1);
    assert_cause(stand->ended[0], MF_CAUSE_CANCELLED);
    assert_false(is_process(pid));
}

static void cancelling_at_once_leaves_nothing(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand, "sleep 1000");
    stand_start(stand, 1);
    stand_submit_id(stand, 1);
    executor_tick(stand->executor, 0); /* handed over, and not yet seen by the slot */
    struct mf_fence fence = fence_of(1);
    executor_cancel(stand->executor, &fence);
    stand_until(stand, stand_has_ended, 1);
    assert_cause(stand->ended[0], MF_CAUSE_CANCELLED);
}

static void what_waits_behind_a_long_one_goes_elsewhere(void **state)
{
    struct stand *stand = *state;
    /* 1 is short, so that 3 is handed ahead behind 2 or the like; whoever hangs must not hold up
     * another. */
    stand_shell(stand, "[ {} != 2 ] || sleep 1000");
    stand_start(stand, 2);
    for (uint64_t id = 1; id <= 40; id++)
        stand_submit_id(stand, id);
    stand_until(stand, stand_has_ended, 39);
    assert_null(end_of(stand, 2));
    struct mf_fence fence = fence_of(2);
    executor_cancel(stand->executor, &fence);
    stand_until(stand, stand_has_ended, 40);
}

static void what_was_handed_ahead_is_taken_back(void **state)
{
    struct stand *stand = *state;
    struct mf_fence fences[4];
    stand_shell(stand, "[ {} = 1 ] || { echo $$ > $MAYFLY_JOB/pid-{}; sleep 1000; }");
    stand_start(stand, 1);
    stand_submit_id(stand, 1);
    stand_until(stand, stand_has_ended, 1); /* short: the slot gets one ahead from now on */
    stand_submit_id(stand, 2);
    stand_submit_id(stand, 3);
    stand_until(stand, stand_has_started, 2);
    struct mf_fence third = fence_of(3);
    executor_take_back(stand->executor, &third);
    stand_until(stand, has_returned, 1);
    assert_int_equal(stand->returned[0].subtask, 3);
    assert_int_equal(executor_running(stand->executor, fences, 4), 1);
    assert_false(has_written_pid(stand, 3));
}

static void cancelling_what_was_handed_ahead_returns_it(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand, "[ {} = 1 ] || { echo $$ > $MAYFLY_JOB/pid-{}; sleep 1000; }");
    stand_start(stand, 1);
    stand_submit_id(stand, 1);
    stand_until(stand, stand_has_ended, 1);
    stand_submit_id(stand, 2);
    stand_submit_id(stand, 3);
    stand_until(stand, stand_has_started, 2);
    executor_cancel_all(stand->executor);
    stand_until(stand, stand_has_ended, 2);
    stand_until(stand, has_returned, 1);
    assert_cause(end_of(stand, 2), MF_CAUSE_CANCELLED);
    assert_int_equal(stand->returned[0].subtask, 3);
    assert_int_equal(executor_queued(stand->executor), 0);
}

static void a_killed_slot_is_replaced(void **state)
{
    struct stand *stand = *state;
    stand_shell(
        stand,
        "[ {} != 1 ] || { setsid sleep 1000 & echo $! > $MAYFLY_JOB/pid-1; kill -KILL $PPID;"
        "sleep 1000; }; echo {}");
    stand_start(stand, 2);
    for (uint64_t id = 1; id <= 10; id++)
        stand_submit_id(stand, id);
    stand_until(stand, stand_has_ended, 10);
    const struct executed *executed = end_of(stand, 1);
    assert_cause(executed, MF_CAUSE_LOST);
    assert_detail(executed, "killed by signal 9");
    assert_false(is_process(read_pid(stand, 1)));
    for (uint64_t id = 2; id <= 10; id++)
        assert_cause(end_of(stand, id), MF_CAUSE_NONE);
    assert_int_equal(executor_free_places(stand->executor), 2);
    assert_int_equal(child_count(), 2);
}

static void slots_killed_again_and_again_are_replaced(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand, "kill -KILL $PPID; sleep 1000");
    stand_start(stand, 1);
    for (uint64_t id = 1; id <= 8; id++)
        stand_submit_id(stand, id);
    stand_until(stand, stand_has_ended, 8);
    for (uint64_t id = 1; id <= 8; id++)
        assert_cause(end_of(stand, id), MF_CAUSE_LOST);
}

static void a_large_request_arrives_whole(void **state)
{
    struct stand *stand = *state;
    size_t size = 1000000; /* more than a socket holds */
    char *item = malloc(size);
    assert_non_null(item);
    memset(item, 'x', size);
    stand->task.stdin_mode = MF_STDIN_ITEM;
    stand_shell(stand, "wc -c");
    stand_start(stand, 2);
    for (uint64_t id = 1; id <= 10; id++) {
        struct mf_subtask subtask = {
            .id = id, .attempt = 1, .epoch = 1, .item = mf_bytes_of(item, size)};
        stand_submit(stand, &subtask);
    }
    free(item);
    stand_until(stand, stand_has_ended, 10);
    for (uint64_t id = 1; id <= 10; id++)
        assert_inline(end_of(stand, id), "1000000\n");
}

static void destroying_ends_what_runs(void **state)
{
    struct stand *stand = *state;
    stand->task.kill_after_us = 100000;
    stand_shell(stand,
                "trap '' TERM; setsid sleep 1000 & echo $! > $MAYFLY_JOB/pid-{}; wait; wait");
    stand_start(stand, 2);
    for (uint64_t id = 1; id <= 4; id++)
        stand_submit_id(stand, id);
    stand_until(stand, has_written_pid, 1);
    stand_until(stand, has_written_pid, 2);
    executor_destroy(stand->executor);
    stand->executor = NULL;
    assert_false(is_process(read_pid(stand, 1)));
    assert_false(is_process(read_pid(stand, 2)));
    assert_int_equal(child_count(), 0);
}

/* Looks again and again, for a minute at most. */
static void wait_for(struct stand *stand, bool (*condition)(struct stand *, uint64_t), uint64_t arg)
{
    for (int i = 0; !condition(stand, arg); i++) {
        assert_true(i < 6000);
        usleep(10000);
    }
}

static bool is_gone(struct stand *stand, uint64_t pid)
{
    (void)stand;
    return !is_process((pid_t)pid);
}

static void a_killed_worker_leaves_no_process(void **state)
{
    struct stand *stand = *state;
    struct mf_error error;
    stand_shell(stand,
                "echo $PPID > $MAYFLY_JOB/pid-9; setsid sleep 1000 & echo $! > $MAYFLY_JOB/pid-{};"
                "wait");
    pid_t worker = fork();
    assert_true(worker >= 0);
    if (worker == 0) {
        stand_start(stand, 1);
        stand_submit_id(stand, 1);
        stand_until(stand, stand_has_ended, 1);
        _exit(0);
    }
    wait_for(stand, has_written_pid, 1);
    assert_int_equal(kill(worker, SIGKILL), 0);
    assert_int_equal(waitpid(worker, NULL, 0), worker);
    wait_for(stand, is_gone, (uint64_t)read_pid(stand, 1));
    wait_for(stand, is_gone, (uint64_t)read_pid(stand, 9));
    while (waitpid(-1, NULL, WNOHANG) > 0) /* this process became their reaper */
        continue;
    char path[128];
    snprintf(path, sizeof path, "%s/attempts/1-1-1", stand->worker);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(place_remove(stand->worker, NULL, &error), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_is_held_is_told),
        CASE(many_run_each_once),
        CASE(each_failing_allocation_is_reported),
        CASE(the_same_fence_twice_is_once),
        CASE(running_ones_are_listed),
        CASE(queued_ones_are_taken_back),
        CASE(cancelling_ends_the_tree),
        CASE(cancelling_at_once_leaves_nothing),
        CASE(what_waits_behind_a_long_one_goes_elsewhere),
        CASE(what_was_handed_ahead_is_taken_back),
        CASE(cancelling_what_was_handed_ahead_returns_it),
        CASE(a_killed_slot_is_replaced),
        CASE(slots_killed_again_and_again_are_replaced),
        CASE(a_large_request_arrives_whole),
        CASE(destroying_ends_what_runs),
        CASE(a_killed_worker_leaves_no_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
