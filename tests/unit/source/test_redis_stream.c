/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of a real Redis server, read as a consumer of a group: each entry becomes one message.
 */
#include "tests/unit/source/redis_fixture.h"

static long long pending(void)
{
    redisReply *reply = redis_do((const char *const[]){"XPENDING", "events", "mayfly", NULL});
    long long count = reply->element[0]->integer;
    redis_free(reply);
    return count;
}

static void test_entries_become_messages(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = stream_settings();
    redis("XADD", "events", "*", "body", "one");
    redis("XADD", "events", "*", "name", "t\"wo", "size", "2");
    redis("XADD", "events", "*", "body", "a", "size", "3");
    assert_int_equal(poll_once(fixture, &settings).pushed, 3);
    assert_string_equal(
        list(fixture, "q", "ready").text,
        "one {\"name\":\"t\\\"wo\",\"size\":\"2\"} {\"body\":\"a\",\"size\":\"3\"}");
    assert_int_equal(pending(), 0);
    assert_int_equal(redis_number("XLEN", "events"), 3); /* trimming is the sender's */
    assert_int_equal(poll_once(fixture, &settings).pushed, 0);
}

static void add_many(int count)
{
    char text[128];
    snprintf(text,
             sizeof text,
             "for i = 1, %d do redis.call('XADD', 'events', '*', 'body', i) end",
             count);
    redis("EVAL", text, "0");
}

static void test_many_in_parts(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = stream_settings();
    struct feed *feed = open_feed(fixture, &settings, false);
    add_many(5000);
    struct feed_report report = poll_some(fixture, feed, 700);
    assert_int_equal(report.pushed, 700);
    assert_true(report.more);
    poll_to_end(fixture, feed);
    feed_close(feed);
    assert_int_equal(info_of(fixture, "q").ready, 5000);
    assert_int_equal(pending(), 0);
}

static void test_group_that_is_there(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = stream_settings();
    settings.group = "etl";
    redis("XADD", "events", "1-1", "body", "before");
    redis("XGROUP", "CREATE", "events", "etl", "$");
    redis("XADD", "events", "1-2", "body", "after");
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    assert_string_equal(list(fixture, "q", "ready").text, "after");
}

static void test_what_cannot_be_a_message(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = stream_settings();
    redis("EVAL", "redis.call('XADD', 'events', '*', 'name', '\\255')", "0");
    redis("EVAL", "redis.call('XADD', 'events', '*', 'body', string.rep('x', 2000000))", "0");
    redis("EVAL", "redis.call('XADD', 'events', '*', 'body', '\\255\\0')", "0"); /* that can */
    struct feed_report report = poll_once(fixture, &settings);
    assert_int_equal(report.aside, 2);
    assert_int_equal(report.pushed, 1);
    struct listing dead = list(fixture, "q", "dead");
    assert_says(dead.cause, "is not text in UTF-8");
    assert_memory_equal(dead.text, "name=\xff\n", 7);
    assert_int_equal(pending(), 0);
    check_invariants(fixture);
}

/* --- Killed in between. --- */

static void test_killed_before_commit(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = stream_settings();
    add_many(10);
    killed_at(fixture, "source.after-take", poll_in_child, &settings);
    assert_int_equal(pending(), 10);
    assert_int_equal(info_of(fixture, "q").ready, 0);
    assert_int_equal(poll_once(fixture, &settings).pushed, 10);
    assert_int_equal(pending(), 0);
}

static void test_killed_after_commit(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = stream_settings();
    add_many(10);
    killed_at(fixture, "source.after-commit", poll_in_child, &settings);
    assert_int_equal(info_of(fixture, "q").ready, 10);
    assert_int_equal(pending(), 10);
    add_many(1);
    struct feed_report report = poll_once(fixture, &settings);
    assert_int_equal(report.known, 10);
    assert_int_equal(report.pushed, 1);
    assert_int_equal(pending(), 0);
}

static void test_deleted_while_it_was_pending(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = stream_settings();
    redis("XADD", "events", "1-1", "body", "one");
    redis("XADD", "events", "1-2", "body", "two");
    killed_at(fixture, "source.after-take", poll_in_child, &settings);
    redis("XDEL", "events", "1-1");
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    assert_string_equal(list(fixture, "q", "ready").text, "two");
    assert_int_equal(pending(), 0);
}

/* Another consumer was given three entries, and has said nothing of two of them for long. */
static void test_what_a_dead_consumer_left(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = stream_settings();
    add_many(3);
    redis("XGROUP", "CREATE", "events", "mayfly", "0");
    redis("XREADGROUP", "GROUP", "mayfly", "other", "STREAMS", "events", ">");
    assert_int_equal(poll_once(fixture, &settings).pushed, 0);
    redis("EVAL",
          "local p = redis.call('XPENDING', 'events', 'mayfly', '-', '+', 2) for _, e in ipairs(p) "
          "do redis.call('XCLAIM', 'events', 'mayfly', 'other', 0, e[1], 'IDLE', 300001) end",
          "0");
    assert_int_equal(poll_once(fixture, &settings).pushed, 2);
    assert_string_equal(list(fixture, "q", "ready").text, "1 2");
    assert_int_equal(pending(), 1);
}

/* --- Servers that go away. --- */

static void test_server_goes_away_in_mid_batch(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = stream_settings();
    struct feed *feed = open_feed(fixture, &settings, false);
    struct feed_report report;
    add_many(1000);
    assert_int_equal(poll_some(fixture, feed, 300).pushed, 300);
    redis_stop(SIGKILL);
    assert_int_equal(feed_poll(feed, fixture->queues, 0, &report, &fixture->error), -1);
    redis_start();
    await_backoff(feed);
    poll_to_end(fixture, feed);
    feed_close(feed);
    assert_int_equal(info_of(fixture, "q").ready, 1000);
    assert_int_equal(pending(), 0);
}

static void test_watcher_is_woken(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = stream_settings();
    struct feed *feed = open_feed(fixture, &settings, true);
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 0);
    assert_true(feed_next_us(feed) > mf_monotonic_us() + 10000000);
    for (int i = 0; i < 3; i++) {
        redis("XADD", "events", "*", "body", "again");
        await_readable(feed);
        assert_int_equal(poll_some(fixture, feed, 0).pushed, 1);
    }
    assert_int_equal(pending(), 0);
    /* The stream is removed, with its group: it is made anew. */
    redis("DEL", "events");
    await_readable(feed);
    struct feed_report report;
    assert_int_equal(feed_poll(feed, fixture->queues, 0, &report, &fixture->error), -1);
    /* Not "*": within the same millisecond the new stream would give the id of an entry again. */
    redis("XADD", "events", "9999999999999-1", "body", "new");
    await_backoff(feed);
    poll_to_end(fixture, feed);
    assert_string_equal(list(fixture, "q", "ready").text, "again again again new");
    feed_close(feed);
}

static void test_wrong_type_of_key(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = stream_settings();
    redis("RPUSH", "events", "one");
    assert_says(poll_fails(fixture, &settings, MF_ESETUP), "the key events of the Redis server");
    assert_says(fixture->error.text, "say `list` if it is one");
}

static void test_without_memory(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = stream_settings();
    redis("XADD", "events", "*", "body", "one");
    redis("XADD", "events", "*", "a", "b");
    poll_without_memory(fixture, &settings);
    assert_int_equal(info_of(fixture, "q").ready, 2);
    assert_int_equal(pending(), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, redis_begin, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_entries_become_messages),
        test(test_many_in_parts),
        test(test_group_that_is_there),
        test(test_what_cannot_be_a_message),
        test(test_killed_before_commit),
        test(test_killed_after_commit),
        test(test_deleted_while_it_was_pending),
        test(test_what_a_dead_consumer_left),
        test(test_server_goes_away_in_mid_batch),
        test(test_watcher_is_woken),
        test(test_without_memory),
        test(test_wrong_type_of_key),
    };
    return cmocka_run_group_tests(tests, redis_begin_all, redis_end_all);
}
