/* SPDX-License-Identifier: Apache-2.0 */
/* What is due when somebody looks: in time, late, after a clock that jumped. */
#include "master/cron/due.h"

#include "tests/unit/cron/stamps.h"

#define SECOND 1000000LL
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

static struct cron_question
question(const struct cron *cron, const char *last, const char *now, enum cron_catchup catchup)
{
    return (struct cron_question){.cron = cron,
                                  .zone = "UTC",
                                  .last_due_us = stamp(last),
                                  .now_us = stamp(now),
                                  .catchup = catchup,
                                  .tick_us = CRON_TICK_US};
}

static struct cron_answer asked(const struct cron_question *question)
{
    struct cron_answer answer;
    assert_int_equal(cron_due(question, &answer, NULL), 0);
    return answer;
}

static void what_comes_in_time_is_fired_once(void **state)
{
    (void)state;
    struct cron cron = parsed("0 2 * * *");
    struct cron_question q =
        question(&cron, "2026-05-01T02:00Z", "2026-05-02T01:59:59Z", CRON_CATCHUP_NONE);
    struct cron_answer a = asked(&q);
    assert_int_equal(a.count, 0);
    assert_int_equal(a.last_due_us, q.last_due_us);
    assert_int_equal(a.next_us, stamp("2026-05-02T02:00Z"));
    q.now_us = stamp("2026-05-02T02:00:01Z");
    a = asked(&q);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.due_us[0], stamp("2026-05-02T02:00Z"));
    assert_int_equal(a.last_due_us, stamp("2026-05-02T02:00Z"));
    assert_int_equal(a.missed, 0);
    assert_int_equal(a.next_us, stamp("2026-05-03T02:00Z"));
    q.last_due_us = a.last_due_us;
    assert_int_equal(asked(&q).count, 0);
}

static void what_was_missed_is_dropped_or_stood_for_or_made_up(void **state)
{
    (void)state;
    char note[CRON_NOTE_SIZE];
    struct cron cron = parsed("0 * * * *");
    struct cron_question q =
        question(&cron, "2026-05-01T02:00Z", "2026-05-01T06:30Z", CRON_CATCHUP_NONE);
    struct cron_answer a = asked(&q);
    assert_int_equal(a.count, 0);
    assert_int_equal(a.missed, 4);
    assert_int_equal(a.first_missed_us, stamp("2026-05-01T03:00Z"));
    assert_int_equal(a.last_missed_us, stamp("2026-05-01T06:00Z"));
    assert_int_equal(a.last_due_us, stamp("2026-05-01T06:00Z"));
    assert_non_null(strstr(cron_note(&a, CRON_CATCHUP_NONE, note),
                           "4 times were missed, 2026-05-01T03:00 to 2026-05-01T06:00 UTC"));
    assert_non_null(strstr(note, "dropped"));
    q.catchup = CRON_CATCHUP_LAST;
    a = asked(&q);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.due_us[0], stamp("2026-05-01T06:00Z"));
    assert_int_equal(a.missed, 4);
    assert_int_equal(a.last_due_us, stamp("2026-05-01T06:00Z"));
    q.catchup = CRON_CATCHUP_ALL;
    a = asked(&q);
    assert_int_equal(a.count, 4);
    assert_int_equal(a.due_us[0], stamp("2026-05-01T03:00Z"));
    assert_int_equal(a.due_us[3], stamp("2026-05-01T06:00Z"));
    assert_int_equal(a.missed, 0);
    assert_string_equal(cron_note(&a, CRON_CATCHUP_ALL, note), "");
}

/* One that comes in time stands for those that were missed: not two runs at once. */
static void one_in_time_stands_for_the_missed(void **state)
{
    (void)state;
    struct cron cron = parsed("0 * * * *");
    struct cron_question q =
        question(&cron, "2026-05-01T02:00Z", "2026-05-01T06:00:20Z", CRON_CATCHUP_LAST);
    struct cron_answer a = asked(&q);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.due_us[0], stamp("2026-05-01T06:00Z"));
    assert_int_equal(a.missed, 3);
    q.catchup = CRON_CATCHUP_NONE;
    a = asked(&q);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.missed, 3);
}

static void two_ticks_late_is_in_time(void **state)
{
    (void)state;
    struct cron cron = parsed("0 2 * * *");
    struct cron_question q =
        question(&cron, "2026-05-01T02:00Z", "2026-05-02T02:02Z", CRON_CATCHUP_NONE);
    assert_int_equal(asked(&q).count, 1);
    q.now_us = stamp("2026-05-02T02:02:01Z");
    struct cron_answer a = asked(&q);
    assert_int_equal(a.count, 0);
    assert_int_equal(a.missed, 1);
}

static void all_of_many_come_in_portions(void **state)
{
    (void)state;
    struct cron cron = parsed("* * * * *");
    struct cron_question q =
        question(&cron, "2026-05-01T02:00Z", "2026-05-01T03:30Z", CRON_CATCHUP_ALL);
    int64_t wanted = q.last_due_us;
    size_t total = 0;
    for (;;) {
        struct cron_answer a = asked(&q);
        for (size_t i = 0; i < a.count; i++)
            assert_int_equal(a.due_us[i], wanted += MINUTE);
        total += a.count;
        q.last_due_us = a.last_due_us;
        assert_int_equal(a.has_more, total < 90);
        if (!a.has_more)
            break;
        assert_int_equal(a.next_us, q.now_us);
    }
    assert_int_equal(total, 90);
}

static void a_clock_that_is_set_back_a_little_repeats_nothing(void **state)
{
    (void)state;
    struct cron daily = parsed("0 2 * * *"), wild = parsed("* * * * *");
    struct cron_question q =
        question(&daily, "2026-05-02T02:00Z", "2026-05-02T00:30Z", CRON_CATCHUP_LAST);
    struct cron_answer a = asked(&q);
    assert_int_equal(a.count, 0);
    assert_false(a.is_back);
    assert_int_equal(a.last_due_us, q.last_due_us);
    assert_int_equal(a.next_us, stamp("2026-05-03T02:00Z"));
    q.cron = &wild;
    q.now_us = stamp("2026-05-02T01:59Z");
    a = asked(&q);
    assert_false(a.is_back);
    assert_int_equal(a.next_us, stamp("2026-05-02T02:01Z"));
}

static void a_clock_that_is_set_back_by_hours_begins_anew(void **state)
{
    (void)state;
    char note[CRON_NOTE_SIZE];
    struct cron daily = parsed("0 2 * * *"), wild = parsed("*/10 * * * *");
    struct cron_question q =
        question(&daily, "2026-05-02T02:00Z", "2026-05-01T22:00Z", CRON_CATCHUP_LAST);
    struct cron_answer a = asked(&q);
    assert_int_equal(a.count, 0);
    assert_true(a.is_back);
    assert_int_equal(a.last_due_us, q.now_us);
    assert_int_equal(a.next_us, stamp("2026-05-02T02:00Z"));
    assert_non_null(strstr(cron_note(&a, CRON_CATCHUP_LAST, note), "set back"));
    q.cron = &wild;
    q.now_us = stamp("2026-05-02T01:31Z");
    a = asked(&q);
    assert_true(a.is_back);
    assert_int_equal(a.next_us, stamp("2026-05-02T01:40Z"));
}

static void a_clock_that_is_not_set_fires_nothing(void **state)
{
    (void)state;
    char note[CRON_NOTE_SIZE];
    struct cron cron = parsed("* * * * *");
    struct cron_question q =
        question(&cron, "2026-05-02T02:00Z", "1970-01-01T00:05Z", CRON_CATCHUP_ALL);
    struct cron_answer a = asked(&q);
    assert_int_equal(a.count, 0);
    assert_true(a.is_unset);
    assert_int_equal(a.last_due_us, q.last_due_us);
    assert_non_null(strstr(cron_note(&a, CRON_CATCHUP_ALL, note), "not set"));
}

/* Twelve years of minutes: the last one, at once, and the rest is only counted so far. */
static void a_clock_that_jumps_by_years_is_answered_at_once(void **state)
{
    (void)state;
    char note[CRON_NOTE_SIZE];
    static const char *const texts[] = {"* * * * *", "@every 1s", "@every 90s", "0 * * * *"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct cron cron = parsed(texts[i]);
        struct cron_question q =
            question(&cron, "2026-05-02T02:00Z", "2038-01-01T00:30:30Z", CRON_CATCHUP_LAST);
        q.tick_us = 5 * SECOND; /* as who looks every second must */
        struct cron_answer a = asked(&q);
        assert_true(a.count >= 1);
        assert_true(a.count <= CRON_DUE_MAX);
        assert_int_equal(a.missed, CRON_COUNT_MAX);
        assert_true(a.last_due_us <= q.now_us && a.next_us > q.now_us);
        int64_t next;
        assert_int_equal(cron_next(&cron, "UTC", a.last_due_us, &next, NULL), 1);
        assert_true(next > q.now_us);
        assert_int_equal(a.due_us[a.count - 1], a.last_due_us);
        assert_non_null(strstr(cron_note(&a, q.catchup, note), "more than 10000"));
    }
}

static void every_keeps_its_step(void **state)
{
    (void)state;
    struct cron cron = parsed("@every 90s");
    struct cron_question q =
        question(&cron, "2026-05-01T02:00:10Z", "2026-05-01T02:03:05Z", CRON_CATCHUP_NONE);
    struct cron_answer a = asked(&q);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.due_us[0], stamp("2026-05-01T02:01:40Z"));
    q.now_us = stamp("2026-05-01T04:00:00Z");
    a = asked(&q);
    assert_int_equal(a.last_due_us, stamp("2026-05-01T03:58:40Z"));
    assert_int_equal(a.next_us, stamp("2026-05-01T04:00:10Z"));
}

static void jitter_is_late_by_as_much_each_time_it_is_asked(void **state)
{
    (void)state;
    uint64_t seed = cron_seed("etl");
    int64_t sum = 0, least = INT64_MAX, most = 0;
    for (int64_t due = 0; due < 1000; due++) {
        int64_t jitter = cron_jitter(seed, due * HOUR, 30 * SECOND);
        assert_int_equal(jitter, cron_jitter(seed, due * HOUR, 30 * SECOND));
        assert_true(jitter >= 0 && jitter <= 30 * SECOND);
        sum += jitter;
        least = jitter < least ? jitter : least;
        most = jitter > most ? jitter : most;
    }
    assert_in_range(sum / 1000, 14 * SECOND, 16 * SECOND);
    assert_true(least < SECOND && most > 29 * SECOND);
    assert_int_not_equal(cron_seed("etl"), cron_seed("lte"));
    assert_int_equal(cron_jitter(seed, HOUR, 0), 0);
}

static void jitter_makes_it_due_later(void **state)
{
    (void)state;
    struct cron cron = parsed("0 2 * * *");
    struct cron_question q =
        question(&cron, "2026-05-01T02:00Z", "2026-05-02T02:00Z", CRON_CATCHUP_NONE);
    q.jitter_us = 2 * HOUR;
    q.seed = cron_seed("x");
    int64_t due = stamp("2026-05-02T02:00Z"), comes = due + cron_jitter(q.seed, due, q.jitter_us);
    q.now_us = comes - 1;
    struct cron_answer a = asked(&q);
    assert_int_equal(a.count, 0);
    assert_int_equal(a.next_us, comes);
    q.now_us = comes;
    a = asked(&q);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.due_us[0], due);
}

/* A day of ticks, some of them left out or twice: each minute is fired once, with jitter, too. */
static void ticks_fire_each_time_once(void **state)
{
    (void)state;
    struct cron cron = parsed("*/5 * * * *");
    struct cron_question q =
        question(&cron, "2026-05-01T00:00Z", "2026-05-01T00:00Z", CRON_CATCHUP_ALL);
    q.jitter_us = 90 * SECOND;
    q.seed = 7;
    int64_t wanted = q.now_us, end = q.now_us + 24 * HOUR;
    for (uint64_t tick = 0; q.now_us < end + 10 * MINUTE; tick++) {
        struct cron_answer a = asked(&q);
        for (size_t i = 0; i < a.count; i++)
            assert_int_equal(a.due_us[i], wanted += 5 * MINUTE);
        q.last_due_us = a.last_due_us;
        q.now_us += tick % 7 == 3 ? 0 : tick % 50 == 20 ? 25 * MINUTE : MINUTE;
    }
    assert_true(wanted >= end);
}

static void an_unknown_zone_is_an_error(void **state)
{
    (void)state;
    struct cron cron = parsed("@daily");
    struct cron_question q =
        question(&cron, "2026-05-01T00:00Z", "2026-05-01T00:00Z", CRON_CATCHUP_ALL);
    struct cron_answer a;
    struct mf_error error;
    q.zone = "Mars/Olympus";
    assert_int_equal(cron_due(&q, &a, &error), -1);
    assert_non_null(strstr(error.text, "\"Mars/Olympus\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_in_time_is_fired_once),
        cmocka_unit_test(what_was_missed_is_dropped_or_stood_for_or_made_up),
        cmocka_unit_test(one_in_time_stands_for_the_missed),
        cmocka_unit_test(two_ticks_late_is_in_time),
        cmocka_unit_test(all_of_many_come_in_portions),
        cmocka_unit_test(a_clock_that_is_set_back_a_little_repeats_nothing),
        cmocka_unit_test(a_clock_that_is_set_back_by_hours_begins_anew),
        cmocka_unit_test(a_clock_that_is_not_set_fires_nothing),
        cmocka_unit_test(a_clock_that_jumps_by_years_is_answered_at_once),
        cmocka_unit_test(every_keeps_its_step),
        cmocka_unit_test(jitter_is_late_by_as_much_each_time_it_is_asked),
        cmocka_unit_test(jitter_makes_it_due_later),
        cmocka_unit_test(ticks_fire_each_time_once),
        cmocka_unit_test(an_unknown_zone_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
