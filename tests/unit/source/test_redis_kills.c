/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bridge and server are killed at any moment, over and over, while messages keep coming: at the end
 * each is in the queue, once. BROKER_KILLS rounds (8), drawn from SEED (1); .ci/long does more.
 */
#include "tests/unit/source/redis_fixture.h"

#define A_ROUND 100

static unsigned number_from(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : (unsigned)strtoul(text, NULL, 10);
}

static uint64_t draws;

static unsigned draw(unsigned below)
{
    draws = draws * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(draws >> 33) % below;
}

/* Numbers from `first` on. */
static void send_round(const char *command, unsigned first)
{
    char text[160];
    snprintf(text,
             sizeof text,
             "for i = %u, %u do redis.call(%s, i) end",
             first,
             first + A_ROUND - 1,
             command);
    redis("EVAL", text, "0");
}

/* The bridge, until it is killed. */
static pid_t start_bridge(const struct fixture *fixture, const struct feed_settings *settings)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    struct fixture own = *fixture;
    if (queues_open(own.path, false, &own.queues, NULL) != 1)
        _exit(1);
    for (;;) {
        struct feed_report report;
        struct feed *feed = feed_open(settings, "q", false, NULL);
        while (feed != NULL && feed_poll(feed, own.queues, 30, &report, NULL) == 0)
            continue;
        feed_close(feed);
    }
}

static void kill_one(pid_t *bridge)
{
    if (draw(2) == 0) {
        redis_stop(SIGKILL);
        redis_start();
    } else {
        kill(*bridge, SIGKILL);
        waitpid(*bridge, NULL, 0);
        *bridge = 0;
    }
}

static int64_t count_of(struct fixture *fixture, const char *what)
{
    char sql[64];
    int64_t count = -1;
    snprintf(sql, sizeof sql, "SELECT count(%s) FROM message", what);
    ok(fixture, sql_integer(fixture->queues->db, fixture->path, sql, &count, &fixture->error));
    return count;
}

static void
kill_all_the_time(struct fixture *fixture, struct feed_settings settings, const char *command)
{
    unsigned rounds = number_from("BROKER_KILLS", 8);
    pid_t bridge = 0;
    draws = number_from("SEED", 1);
    for (unsigned i = 0; i < rounds; i++) {
        if (bridge == 0)
            bridge = start_bridge(fixture, &settings);
        send_round(command, i * A_ROUND);
        usleep(draw(20000)); /* so that it happens anywhere */
        kill_one(&bridge);
    }
    if (bridge != 0) {
        kill(bridge, SIGKILL);
        waitpid(bridge, NULL, 0);
    }
    struct feed *feed = open_feed(fixture, &settings, false);
    poll_to_end(fixture, feed);
    feed_close(feed);
    assert_int_equal(count_of(fixture, "DISTINCT body"), rounds * A_ROUND);
    assert_int_equal(count_of(fixture, "*"), rounds * A_ROUND);
    check_invariants(fixture);
}

static void test_list(void **state)
{
    kill_all_the_time(*state, list_settings(), "'RPUSH', 'work'");
    assert_int_equal(redis_keys(), 0);
}

static void test_stream(void **state)
{
    kill_all_the_time(*state, stream_settings(), "'XADD', 'events', '*', 'body'");
}

#define test(name) cmocka_unit_test_setup_teardown(name, redis_begin, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {test(test_list), test(test_stream)};
    return cmocka_run_group_tests(tests, redis_begin_all, redis_end_all);
}
