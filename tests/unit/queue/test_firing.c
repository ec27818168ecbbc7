/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of firings: found with all they say, ended once, and whose process started them. */
#include "tests/unit/queue/queue_fixture.h"

#include <sys/wait.h>
#include <unistd.h>

static void insert(struct fixture *fixture, const char *run_id, const char *trigger, int64_t made)
{
    struct firing firing = {.run_id = run_id,
                            .trigger = trigger,
                            .cause = "count",
                            .made_us = made,
                            .starter = "1 2 boot",
                            .messages = 7};
    ok(fixture, firing_insert(fixture->queues, &firing, &fixture->error));
}

static void test_a_firing_is_found_as_it_was_made(void **state)
{
    struct fixture *fixture = *state;
    struct firing firing = {.run_id = "run-1",
                            .trigger = "pages",
                            .queue = 4,
                            .cause = "after",
                            .due_us = NOW + 1,
                            .input = "/runs/before",
                            .made_us = NOW,
                            .starter = "1 2 boot",
                            .messages = 12};
    struct firing found;
    ok(fixture, firing_insert(fixture->queues, &firing, &fixture->error));
    ok(fixture, firing_renew(fixture->queues, "run-1", NOW + 5, &fixture->error));
    assert_int_equal(firing_find(fixture->queues, "run-1", &found, &fixture->error), 1);
    assert_string_equal(found.run_id, "run-1");
    assert_string_equal(found.trigger, "pages");
    assert_int_equal(found.queue, 4);
    assert_string_equal(found.cause, "after");
    assert_int_equal(found.due_us, NOW + 1);
    assert_string_equal(found.input, "/runs/before");
    assert_int_equal(found.made_us, NOW);
    assert_string_equal(found.starter, "1 2 boot");
    assert_int_equal(found.lease_us, NOW + 5);
    assert_int_equal(found.messages, 12);
    assert_string_equal(found.state, "open");
    assert_int_equal(found.ended_us, 0);
    assert_null(found.text);
    assert_int_equal(firing_find(fixture->queues, "run-2", &found, &fixture->error), 0);
    assert_int_equal(firing_insert(fixture->queues, &firing, &fixture->error), -1);
}

static void test_a_run_by_hand_has_no_trigger(void **state)
{
    struct fixture *fixture = *state;
    struct firing found;
    insert(fixture, "run-1", NULL, NOW);
    assert_int_equal(firing_find(fixture->queues, "run-1", &found, &fixture->error), 1);
    assert_null(found.trigger);
    assert_null(found.input);
    assert_int_equal(found.queue, 0);
    assert_int_equal(found.lease_us, 0);
}

static void test_a_firing_ends_once(void **state)
{
    struct fixture *fixture = *state;
    struct firing found;
    uint64_t count = 99;
    insert(fixture, "run-1", "pages", NOW);
    insert(fixture, "run-2", "pages", NOW);
    insert(fixture, "run-3", "other", NOW);
    ok(fixture, firing_count_open(fixture->queues, "pages", &count, &fixture->error));
    assert_int_equal(count, 2);
    assert_int_equal(
        firing_end(fixture->queues, "run-1", "failed", NOW + 9, "disk", &fixture->error), 1);
    assert_int_equal(
        firing_end(fixture->queues, "run-1", "succeeded", NOW + 10, NULL, &fixture->error), 0);
    assert_int_equal(firing_end(fixture->queues, "none", "failed", NOW, NULL, &fixture->error), 0);
    ok(fixture, firing_count_open(fixture->queues, "pages", &count, &fixture->error));
    assert_int_equal(count, 1);
    ok(fixture, firing_renew(fixture->queues, "run-1", NOW + 99, &fixture->error));
    assert_int_equal(firing_find(fixture->queues, "run-1", &found, &fixture->error), 1);
    assert_string_equal(found.state, "failed");
    assert_string_equal(found.text, "disk");
    assert_int_equal(found.ended_us, NOW + 9);
    assert_int_equal(found.lease_us, 0);
}

struct seen {
    struct fixture *fixture;
    char ids[64];
    size_t most;
};

/* Ends each, in a transaction of its own, as a recovery does. */
static int end_it(void *arg, const struct firing *firing)
{
    struct seen *seen = arg;
    struct fixture *fixture = seen->fixture;
    char id[16];
    snprintf(id, sizeof id, "%s", firing->run_id);
    size_t at = strlen(seen->ids);
    snprintf(seen->ids + at, sizeof seen->ids - at, "%s ", id);
    assert_string_equal(firing->cause, "count");
    ok(fixture, queues_begin(fixture->queues, &fixture->error));
    assert_int_equal(firing_end(fixture->queues, id, "given_up", NOW, "it was", &fixture->error),
                     1);
    if (strcmp(id, "run-2") == 0) /* what is ended meanwhile is not shown any more */
        firing_end(fixture->queues, "run-1", "given_up", NOW, NULL, &fixture->error);
    ok(fixture, queues_commit(fixture->queues, &fixture->error));
    return --seen->most == 0;
}

static void test_open_ones_come_oldest_first(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {.fixture = fixture, .most = 2};
    insert(fixture, "run-1", "pages", NOW + 3);
    insert(fixture, "run-2", NULL, NOW + 2);
    insert(fixture, "run-3", "pages", NOW + 1);
    insert(fixture, "run-4", "pages", NOW + 4);
    ok(fixture, firing_each_open(fixture->queues, end_it, &seen, &fixture->error));
    assert_string_equal(seen.ids, "run-3 run-2 ");
    seen.most = 10;
    ok(fixture, firing_each_open(fixture->queues, end_it, &seen, &fixture->error));
    assert_string_equal(seen.ids, "run-3 run-2 run-4 ");
}

static void test_whether_the_starter_lives(void **state)
{
    (void)state;
    char *own = firing_starter();
    assert_non_null(own);
    assert_true(firing_starter_lives(own));
    char *boot = strrchr(own, ' '), other[128];
    snprintf(other, sizeof other, "%d 1%s", (int)getpid(), boot);
    assert_false(firing_starter_lives(other)); /* the number is used again */
    *boot = '\0';
    snprintf(other, sizeof other, "%s 00000000-0000-0000-0000-000000000000", own);
    assert_false(firing_starter_lives(other));
    static const char *const wrong[] = {"", "x", "1", "0 0 x", "-1 5 x", "999999999 1 x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(firing_starter_lives(wrong[i]));
    mf_free(own);
}

static void test_a_starter_that_has_ended_is_dead_before_it_is_waited_for(void **state)
{
    (void)state;
    int pipe_fds[2], hold[2];
    char starter[128] = "";
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(pipe(hold), 0);
    pid_t child = fork();
    if (child == 0) {
        char *own = firing_starter(), byte;
        close(hold[1]);
        bool said = own != NULL && write(pipe_fds[1], own, strlen(own)) > 0;
        _exit(said && read(hold[0], &byte, 1) == 0 ? 0 : 1);
    }
    assert_true(read(pipe_fds[0], starter, sizeof starter - 1) > 0);
    assert_true(firing_starter_lives(starter));
    close(hold[0]);
    close(hold[1]);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_false(firing_starter_lives(starter));
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_false(firing_starter_lives(starter));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void release(struct fixture *fixture, int64_t now_us)
{
    ok(fixture, firing_release(fixture->queues, "run-1", "me", now_us, &fixture->error));
}

static int take(struct fixture *fixture, const char *before)
{
    return firing_take(fixture->queues, "run-1", before, "me", &fixture->error);
}

/* Of two that find it, one carries it on; after the eighth start it rests in between. */
static void test_one_takes_it(void **state)
{
    struct fixture *fixture = *state;
    struct firing found;
    insert(fixture, "run-1", "pages", NOW);
    assert_int_equal(take(fixture, "1 2 boot"), 1);
    assert_int_equal(take(fixture, "1 2 boot"), 0);
    for (int i = 1; i <= 7; i++) {
        release(fixture, NOW);
        assert_int_equal(firing_find(fixture->queues, "run-1", &found, &fixture->error), 1);
        assert_string_equal(found.starter, "");
        assert_int_equal(found.tries, i);
        assert_int_equal(found.not_before_us, 0);
        assert_int_equal(take(fixture, ""), 1);
    }
    release(fixture, NOW);
    assert_int_equal(firing_find(fixture->queues, "run-1", &found, &fixture->error), 1);
    assert_int_equal(found.not_before_us, NOW + 60000000);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(take(fixture, ""), 1);
        release(fixture, NOW);
    }
    assert_int_equal(firing_find(fixture->queues, "run-1", &found, &fixture->error), 1);
    assert_int_equal(found.not_before_us, NOW + INT64_C(3600000000));
    ok(fixture, firing_end(fixture->queues, "run-1", "failed", NOW, NULL, &fixture->error));
    assert_int_equal(take(fixture, ""), 0);
}

/* Open ones are never forgotten. */
static void test_old_ones_are_forgotten(void **state)
{
    struct fixture *fixture = *state;
    struct firing found;
    insert(fixture, "run-1", "pages", NOW - 10);
    insert(fixture, "run-2", "pages", NOW - 10);
    insert(fixture, "run-3", "pages", NOW - 10);
    ok(fixture, firing_end(fixture->queues, "run-1", "failed", NOW - 2, NULL, &fixture->error));
    ok(fixture, firing_end(fixture->queues, "run-2", "failed", NOW, NULL, &fixture->error));
    ok(fixture, firing_forget(fixture->queues, NOW, &fixture->error));
    assert_int_equal(firing_find(fixture->queues, "run-1", &found, &fixture->error), 0);
    assert_int_equal(firing_find(fixture->queues, "run-2", &found, &fixture->error), 1);
    assert_int_equal(firing_find(fixture->queues, "run-3", &found, &fixture->error), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_begin, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_firing_is_found_as_it_was_made),
        T(test_a_run_by_hand_has_no_trigger),
        T(test_a_firing_ends_once),
        T(test_open_ones_come_oldest_first),
        T(test_one_takes_it),
        T(test_old_ones_are_forgotten),
        cmocka_unit_test(test_whether_the_starter_lives),
        cmocka_unit_test(test_a_starter_that_has_ended_is_dead_before_it_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
