/* SPDX-License-Identifier: Apache-2.0 */
/* A list of a real Redis server becomes messages: each once, in order, whoever is killed. */
#include "tests/unit/source/redis_fixture.h"

static void test_elements_become_messages(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    redis("RPUSH", "work", "one", "two", "three");
    assert_int_equal(poll_once(fixture, &settings).pushed, 3);
    assert_string_equal(list(fixture, "q", "ready").text, "one two three");
    assert_int_equal(redis_keys(), 0);
    redis("RPUSH", "work", "one");
    assert_int_equal(poll_once(fixture, &settings).pushed, 1); /* the same again is another one */
    assert_string_equal(list(fixture, "q", "ready").text, "one two three one");
    assert_int_equal(poll_once(fixture, &settings).pushed, 0);
    assert_int_equal(redis_keys(), 0);
}

static void push_many(int count)
{
    char text[128];
    snprintf(text, sizeof text, "for i = 0, %d do redis.call('RPUSH', 'work', i) end", count - 1);
    redis("EVAL", text, "0");
}

static void test_many_in_parts(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    struct feed *feed = open_feed(fixture, &settings, false);
    push_many(5000);
    struct feed_report report = poll_some(fixture, feed, 700);
    assert_in_range(report.pushed, 1, 700);
    assert_true(report.more);
    poll_to_end(fixture, feed);
    feed_close(feed);
    assert_int_equal(info_of(fixture, "q").ready, 5000);
    int64_t wrong = -1;
    ok(fixture,
       sql_integer(fixture->queues->db,
                   fixture->path,
                   "SELECT count(*) FROM (SELECT body, row_number() OVER (ORDER BY id) - 1 AS n "
                   "FROM message) WHERE CAST(body AS TEXT) <> n",
                   &wrong,
                   &fixture->error));
    assert_int_equal(wrong, 0);
    assert_int_equal(redis_keys(), 0);
}

static void test_any_bytes(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    redis("EVAL", "redis.call('RPUSH', 'work', 'a\\0b\\255', '')", "0");
    assert_int_equal(poll_once(fixture, &settings).pushed, 2);
    int64_t found = 0;
    ok(fixture,
       sql_integer(fixture->queues->db,
                   fixture->path,
                   "SELECT count(*) FROM message WHERE body IN (x'610062ff', x'')",
                   &found,
                   &fixture->error));
    assert_int_equal(found, 2);
}

static void test_over_the_limit_is_set_aside(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    uint64_t count;
    redis("EVAL", "redis.call('RPUSH', 'work', 'a', string.rep('x', 3000000), 'b')", "0");
    struct feed_report report = poll_once(fixture, &settings);
    assert_int_equal(report.pushed, 2);
    assert_int_equal(report.aside, 1);
    assert_string_equal(list(fixture, "q", "ready").text, "a b");
    assert_says(list(fixture, "q", "dead").cause, "a body of 3000000 bytes is larger");
    assert_int_equal(redis_keys(), 0);
    check_invariants(fixture);
    /* Replayed, it would be an item that no subtask can have. */
    struct queue_info info = info_of(fixture, "q");
    ok(fixture, queue_replay(fixture->queues, info.id, 0, NOW, &count, &fixture->error));
    assert_int_equal(count, 0);
    assert_int_equal(info_of(fixture, "q").dead, 1);
    check_invariants(fixture);
}

/* --- Killed in between. --- */

static void test_killed_before_commit(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    redis("RPUSH", "work", "one", "two");
    killed_at(fixture, "source.after-take", poll_in_child, &settings);
    assert_int_equal(redis_number("EXISTS", "work"), 0);
    assert_int_equal(info_of(fixture, "q").ready, 0);
    redis("RPUSH", "work", "three");
    assert_int_equal(poll_once(fixture, &settings).pushed, 3);
    assert_string_equal(list(fixture, "q", "ready").text, "one two three");
    assert_int_equal(redis_keys(), 0);
}

static void test_killed_after_commit(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    redis("RPUSH", "work", "one", "two");
    killed_at(fixture, "source.after-commit", poll_in_child, &settings);
    assert_int_equal(info_of(fixture, "q").ready, 2);
    redis("RPUSH", "work", "two");
    struct feed_report report = poll_once(fixture, &settings);
    assert_int_equal(report.known, 2);
    assert_int_equal(report.pushed, 1);
    assert_string_equal(list(fixture, "q", "ready").text, "one two two");
    assert_int_equal(redis_keys(), 0);
}

/* In the middle of a list that takes several transactions, over and over. */
static void test_killed_again_and_again(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    push_many(1000);
    killed_at(fixture, "source.after-commit:2", poll_in_child, &settings);
    killed_at(fixture, "source.after-take:3", poll_in_child, &settings);
    killed_at(fixture, "source.after-commit", poll_in_child, &settings);
    struct feed *feed = open_feed(fixture, &settings, false);
    poll_to_end(fixture, feed);
    feed_close(feed);
    assert_int_equal(info_of(fixture, "q").ready, 1000);
    assert_int_equal(redis_keys(), 0);
}

/* Two processes of one queue take turns at the same list, in the middle of each other's steps. */
static void test_several_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    pid_t pids[3];
    push_many(3000);
    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        if (pids[i] != 0)
            continue;
        struct fixture own = *fixture;
        struct feed_report report = {.more = true};
        struct feed *feed = feed_open(&settings, "q", false, NULL);
        if (feed == NULL || queues_open(own.path, false, &own.queues, NULL) != 1)
            _exit(1);
        while (report.more)
            if (feed_poll(feed, own.queues, 50, &report, NULL) < 0)
                _exit(2);
        feed_close(feed);
        _exit(0);
    }
    for (int i = 0; i < 3; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    poll_once(fixture, &settings);
    assert_int_equal(info_of(fixture, "q").ready, 3000);
    assert_int_equal(redis_keys(), 0);
}

/* What is lost of the hash makes no element lost. */
static void test_hash_that_was_evicted(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    redis("RPUSH", "work", "one", "two");
    killed_at(fixture, "source.after-take", poll_in_child, &settings);
    redis("EVAL",
          "for _, key in ipairs(redis.call('KEYS', '*:batch')) do redis.call('DEL', key) end",
          "0");
    assert_int_equal(poll_once(fixture, &settings).pushed, 2);
    assert_int_equal(redis_keys(), 0);
}

/* --- Servers that go away. --- */

static void test_server_goes_away_in_mid_batch(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    struct feed *feed = open_feed(fixture, &settings, false);
    push_many(1000);
    assert_in_range(poll_some(fixture, feed, 300).pushed, 1, 300);
    redis_stop(SIGKILL);
    struct feed_report report;
    assert_int_equal(feed_poll(feed, fixture->queues, 0, &report, &fixture->error), -1);
    assert_int_equal(fixture->error.code, MF_ESETUP);
    assert_says(fixture->error.text, "it is tried again");
    assert_true(feed_next_us(feed) > mf_monotonic_us());
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 0); /* not so soon */
    redis_start();
    await_backoff(feed);
    poll_to_end(fixture, feed);
    feed_close(feed);
    assert_int_equal(info_of(fixture, "q").ready, 1000);
    assert_int_equal(redis_keys(), 0);
}

/* It stands still between the commit to the queue and the end of the batch: time limit. */
static void test_server_hangs(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    settings.limit_us = 200000;
    redis("RPUSH", "work", "one");
    kill(redis_pid, SIGSTOP);
    int64_t begun_us = mf_monotonic_us();
    const char *text = poll_fails(fixture, &settings, MF_ESETUP);
    int64_t took_us = mf_monotonic_us() - begun_us;
    kill(redis_pid, SIGCONT);
    assert_says(text, "does not answer (timeout)");
    assert_true(took_us < REDIS_LIMIT_US);
    settings.limit_us = 0;
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
}

static void test_watcher_is_woken(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    struct feed *feed = open_feed(fixture, &settings, true);
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 0);
    assert_true(feed_next_us(feed) > mf_monotonic_us() + 10000000);
    struct pollfd quiet = {.fd = feed_fd(feed), .events = POLLIN};
    assert_int_equal(poll(&quiet, 1, 0), 0);
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 0); /* for no reason: still waits */
    redis("RPUSH", "work", "one", "two");
    await_readable(feed);
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 2);
    assert_string_equal(list(fixture, "q", "ready").text, "one two");
    redis("RPUSH", "work", "three");
    await_readable(feed);
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 1);
    redis_stop(SIGTERM);
    await_readable(feed); /* that is noticed, too */
    struct feed_report report;
    assert_int_equal(feed_poll(feed, fixture->queues, 0, &report, &fixture->error), -1);
    assert_int_equal(feed_fd(feed), -1);
    redis_start();
    redis("RPUSH", "work", "four");
    await_backoff(feed);
    poll_to_end(fixture, feed);
    assert_string_equal(list(fixture, "q", "ready").text, "one two three four");
    feed_close(feed);
    assert_int_equal(redis_keys(), 0);
}

/* --- What a server refuses. --- */

static void test_wrong_type_of_key(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    redis("SET", "work", "text");
    assert_says(poll_fails(fixture, &settings, MF_ESETUP), "the key work of the Redis server");
    assert_says(fixture->error.text, "is not a list");
    redis("DEL", "work");
    redis("XADD", "work", "*", "a", "b");
    assert_says(poll_fails(fixture, &settings, MF_ESETUP), "say `stream` if it is one");
    assert_int_equal(redis_number("XLEN", "work"), 1);
}

static void test_queue_that_takes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    redis("RPUSH", "work", "one");
    sql_exec(fixture->queues->db,
             fixture->path,
             "CREATE TRIGGER full BEFORE INSERT ON message BEGIN SELECT raise(ABORT, 'full'); END",
             NULL);
    poll_fails(fixture, &settings, MF_ESYSTEM);
    sql_exec(fixture->queues->db, fixture->path, "DROP TRIGGER full", NULL);
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
}

static void test_without_memory(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    redis("RPUSH", "work", "one", "two");
    poll_without_memory(fixture, &settings);
    assert_int_equal(info_of(fixture, "q").ready, 2);
    assert_int_equal(redis_keys(), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, redis_begin, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_elements_become_messages),
        test(test_many_in_parts),
        test(test_any_bytes),
        test(test_over_the_limit_is_set_aside),
        test(test_killed_before_commit),
        test(test_killed_after_commit),
        test(test_killed_again_and_again),
        test(test_several_at_once),
        test(test_hash_that_was_evicted),
        test(test_server_goes_away_in_mid_batch),
        test(test_server_hangs),
        test(test_watcher_is_woken),
        test(test_without_memory),
        test(test_wrong_type_of_key),
        test(test_queue_that_takes_nothing),
    };
    return cmocka_run_group_tests(tests, redis_begin_all, redis_end_all);
}
