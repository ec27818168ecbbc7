/* SPDX-License-Identifier: Apache-2.0 */
/* What the clock fires: once each, however many ask, and whatever the clock does. */
#include "tests/unit/trigger/trigger_fixture.h"

#include "common/clock.h"
#include "master/trigger/due.h"

#define HOUR (3600 * SECOND)

/* NOW is 08:00 in UTC on 15 January 2027. */
static size_t ask_clock(struct fixture *fixture, int64_t now_us)
{
    trigger_fired_fini(&fixture->fired);
    OK(fixture,
       due_fire_all(fixture->queues, now_us, NULL, NULL, &fixture->fired, &fixture->error));
    return fixture->fired.count;
}

static void hourly(struct fixture *fixture, const char *more)
{
    char trigger[200];
    snprintf(trigger, sizeof trigger, "trigger: {cron: '0 * * * *', zone: UTC%s}", more);
    assert_int_equal(install(fixture, "j", trigger, ""), 0);
}

static void end_all_runs(struct fixture *fixture)
{
    tell(fixture, "UPDATE firing SET state = 'succeeded'");
}

static void each_time_fires_once(void **state)
{
    struct fixture *fixture = *state;
    hourly(fixture, "");
    assert_int_equal(ask_clock(fixture, NOW + HOUR - SECOND), 0);
    assert_int_equal(ask_clock(fixture, NOW + HOUR), 1);
    assert_int_equal(ask(fixture, "SELECT due_us FROM firing WHERE cause = 'cron'"), NOW + HOUR);
    end_all_runs(fixture);
    assert_int_equal(ask_clock(fixture, NOW + HOUR), 0);
    assert_int_equal(ask_clock(fixture, NOW + HOUR + 59 * SECOND), 0);
    assert_int_equal(ask_clock(fixture, NOW + 2 * HOUR + 30 * SECOND), 1);
}

/* Two ticks read the rows before either has fired: the transaction of the second one finds it done.
 */
static void two_ticks_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct queues *other;
    struct trigger_row early;
    hourly(fixture, ", overlap: allow");
    assert_int_equal(trigger_row_find(fixture->queues, "j", &early, &fixture->error), 1);
    trigger_row_fini(&early);
    OK(fixture, queues_open(fixture->queues->path, false, &other, &fixture->error));
    struct trigger_fired fired = {0};
    OK(fixture, due_fire_all(other, NOW + HOUR, NULL, NULL, &fired, &fixture->error));
    assert_int_equal(fired.count, 1);
    assert_int_equal(ask_clock(fixture, NOW + HOUR), 0);
    trigger_fired_fini(&fired);
    queues_close(other);
    assert_int_equal(ask(fixture, "SELECT count(*) FROM firing"), 1);
}

static void overlap_skip(void **state)
{
    struct fixture *fixture = *state;
    hourly(fixture, "");
    assert_int_equal(ask_clock(fixture, NOW + HOUR), 1);
    assert_int_equal(ask_clock(fixture, NOW + 2 * HOUR), 0);
    end_all_runs(fixture);
    assert_int_equal(ask_clock(fixture, NOW + 2 * HOUR), 0);
    assert_int_equal(evaluate(fixture, NOW + 2 * HOUR), 0);
    assert_int_equal(ask_clock(fixture, NOW + 3 * HOUR), 1);
}

static void overlap_queue(void **state)
{
    struct fixture *fixture = *state;
    hourly(fixture, ", overlap: queue");
    assert_int_equal(ask_clock(fixture, NOW + HOUR), 1);
    assert_int_equal(ask_clock(fixture, NOW + 2 * HOUR), 0);
    assert_int_equal(ask_clock(fixture, NOW + 3 * HOUR), 0);
    assert_int_equal(ask(fixture, "SELECT waiting FROM trigger"), 2);
    assert_int_equal(evaluate(fixture, NOW + 3 * HOUR), 0);
    end_all_runs(fixture);
    assert_int_equal(evaluate(fixture, NOW + 3 * HOUR), 1);
    assert_int_equal(evaluate(fixture, NOW + 3 * HOUR), 0);
    end_all_runs(fixture);
    assert_int_equal(evaluate(fixture, NOW + 3 * HOUR), 1);
    end_all_runs(fixture);
    assert_int_equal(evaluate(fixture, NOW + 3 * HOUR), 0);
    assert_int_equal(ask(fixture, "SELECT count(*) FROM firing"), 3);
}

static void overlap_allow(void **state)
{
    struct fixture *fixture = *state;
    hourly(fixture, ", overlap: allow");
    assert_int_equal(ask_clock(fixture, NOW + HOUR), 1);
    assert_int_equal(ask_clock(fixture, NOW + 2 * HOUR), 1);
    assert_int_equal(ask(fixture, "SELECT count(*) FROM firing WHERE state = 'open'"), 2);
}

/* The machine was off for half a day: catchup decides, and nothing comes twice afterwards. */
static void times_that_were_missed(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *more;
        size_t fired;
    } cases[] = {{", overlap: allow, catchup: none", 0},
                 {", overlap: allow, catchup: last", 1},
                 {", overlap: allow, catchup: all", 12}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tell(fixture, "DELETE FROM trigger");
        hourly(fixture, cases[i].more);
        assert_int_equal(ask_clock(fixture, NOW + 12 * HOUR + 600 * SECOND), cases[i].fired);
        assert_int_equal(ask_clock(fixture, NOW + 12 * HOUR + 660 * SECOND), 0);
        assert_int_equal(ask_clock(fixture, NOW + 13 * HOUR), 1);
    }
}

/* With `catchup: all` they come one after the other, although those that are in time are skipped.
 */
static void times_that_were_missed_do_not_skip_each_other(void **state)
{
    struct fixture *fixture = *state;
    hourly(fixture, ", catchup: all");
    assert_int_equal(ask_clock(fixture, NOW + 3 * HOUR), 1);
    assert_int_equal(ask(fixture, "SELECT waiting FROM trigger"), 1);
    for (int i = 0; i < 2; i++) {
        end_all_runs(fixture);
        assert_int_equal(evaluate(fixture, NOW + 3 * HOUR), i == 0);
    }
    assert_int_equal(ask(fixture, "SELECT count(*) FROM firing"), 2);
}

/* Set back by a minute: the time that has fired does not fire again. Set back by far more: it
 * begins anew from there. Set forward: what lies in between was missed. */
static void a_clock_that_jumps(void **state)
{
    struct fixture *fixture = *state;
    hourly(fixture, ", overlap: allow");
    assert_int_equal(ask_clock(fixture, NOW + 2 * HOUR), 1);
    assert_int_equal(ask_clock(fixture, NOW + 2 * HOUR - 60 * SECOND), 0);
    assert_int_equal(ask_clock(fixture, NOW + 2 * HOUR), 0);
    assert_int_equal(ask_clock(fixture, NOW + 500 * HOUR), 1);
    assert_int_equal(ask_clock(fixture, NOW - 1000 * HOUR), 0);
    assert_int_equal(ask_clock(fixture, NOW - 999 * HOUR), 1);
}

/* Its times stay due until it is installed again; an edit of anything else changes nothing. */
static void a_job_that_changed(void **state)
{
    struct fixture *fixture = *state;
    hourly(fixture, "");
    const char *as_before = "trigger: {cron: '0 * * * *', zone: UTC}";
    mf_free(write_job(fixture, "j", "trigger: {cron: '0 * * * *', zone: Asia/Kathmandu}", ""));
    assert_int_equal(ask_clock(fixture, NOW + HOUR), 0);
    assert_int_equal(ask(fixture, "SELECT last_error LIKE '%''trigger'' now%' FROM trigger"), 1);
    assert_int_equal(install(fixture, "j", as_before, ""), 0);
    assert_int_equal(ask_clock(fixture, NOW + HOUR + SECOND), 1);
    end_all_runs(fixture);
    mf_free(write_job(fixture, "j", as_before, "timeout: 3s\n"));
    assert_int_equal(ask_clock(fixture, NOW + 2 * HOUR + SECOND), 1);
}

static bool is_left(void *arg, const struct trigger_row *row)
{
    return strcmp(row->name, arg) == 0;
}

static void some_are_left_to_others(void **state)
{
    struct fixture *fixture = *state;
    char name[] = "j";
    hourly(fixture, "");
    OK(fixture,
       due_fire_all(fixture->queues, NOW + HOUR, is_left, name, &fixture->fired, &fixture->error));
    assert_int_equal(fixture->fired.count, 0);
    assert_int_equal(ask_clock(fixture, NOW + HOUR), 1);
}

static void when_it_fires_next(void **state)
{
    struct fixture *fixture = *state;
    struct trigger_row row;
    int64_t next_us = 0;
    hourly(fixture, "");
    assert_int_equal(trigger_row_find(fixture->queues, "j", &row, &fixture->error), 1);
    assert_int_equal(due_next(&row, NOW + 1, &next_us, &fixture->error), 1);
    assert_int_equal(next_us, NOW + HOUR);
    trigger_row_fini(&row);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_time_fires_once),
        TEST(two_ticks_at_once),
        TEST(overlap_skip),
        TEST(overlap_queue),
        TEST(overlap_allow),
        TEST(times_that_were_missed),
        TEST(times_that_were_missed_do_not_skip_each_other),
        TEST(a_clock_that_jumps),
        TEST(a_job_that_changed),
        TEST(some_are_left_to_others),
        TEST(when_it_fires_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
