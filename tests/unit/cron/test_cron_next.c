/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next times, at the clock changes of three zones above all. The table was made by hand, with
 * the dates of the changes of 2026; a reckoning minute by minute, which shares nothing with the
 * code but localtime, looks at more expressions and zones.
 */
#include <stdlib.h>

#include "master/cron/calendar.h"
#include "master/cron/zone.h"
#include "tests/unit/cron/stamps.h"

#define MINUTE 60000000LL

static const struct {
    const char *zone, *text, *after;
    const char *due[6];
} rows[] = {
    /* Vienna, 29 March: 02:00 CET is 03:00 CEST, at 01:00 UTC. */
    {"Europe/Vienna",
     "30 2 * * *",
     "2026-03-28T12:00Z",
     {"2026-03-29T01:00Z", "2026-03-30T00:30Z"}},
    {"Europe/Vienna",
     "0,30 2 * * *",
     "2026-03-28T12:00Z",
     {"2026-03-29T01:00Z", "2026-03-30T00:00Z", "2026-03-30T00:30Z"}},
    {"Europe/Vienna",
     "*/15 2 * * *",
     "2026-03-28T12:00Z",
     {"2026-03-29T01:00Z", "2026-03-30T00:00Z"}},
    {"Europe/Vienna", "0 3 * * *", "2026-03-28T12:00Z", {"2026-03-29T01:00Z", "2026-03-30T01:00Z"}},
    {"Europe/Vienna",
     "0 1-4 * * *",
     "2026-03-28T12:00Z",
     {"2026-03-29T00:00Z", "2026-03-29T01:00Z", "2026-03-29T02:00Z", "2026-03-29T23:00Z"}},
    {"Europe/Vienna",
     "30 2 29 3 *",
     "2026-03-28T12:00Z",
     {"2026-03-29T01:00Z", "2027-03-29T00:30Z"}},
    {"Europe/Vienna",
     "30 2 * * sun",
     "2026-03-28T12:00Z",
     {"2026-03-29T01:00Z", "2026-04-05T00:30Z"}},
    {"Europe/Vienna", "30 2 * * *", "2026-03-29T00:59:59Z", {"2026-03-29T01:00Z"}},
    {"Europe/Vienna", "30 2 * * *", "2026-03-29T01:00Z", {"2026-03-30T00:30Z"}},
    {"Europe/Vienna",
     "30 * * * *",
     "2026-03-29T00:00Z",
     {"2026-03-29T00:30Z", "2026-03-29T01:30Z", "2026-03-29T02:30Z"}},
    {"Europe/Vienna",
     "0 */2 * * *",
     "2026-03-28T22:30Z",
     {"2026-03-28T23:00Z", "2026-03-29T02:00Z", "2026-03-29T04:00Z"}},
    {"Europe/Vienna",
     "@every 90m",
     "2026-03-29T00:00Z",
     {"2026-03-29T01:30Z", "2026-03-29T03:00Z"}},
    /* Vienna, 25 October: 03:00 CEST is 02:00 CET, at 01:00 UTC. */
    {"Europe/Vienna",
     "30 2 * * *",
     "2026-10-24T12:00Z",
     {"2026-10-25T00:30Z", "2026-10-26T01:30Z"}},
    {"Europe/Vienna", "0 3 * * *", "2026-10-24T12:00Z", {"2026-10-25T02:00Z", "2026-10-26T02:00Z"}},
    {"Europe/Vienna",
     "*/30 2 * * *",
     "2026-10-24T12:00Z",
     {"2026-10-25T00:00Z", "2026-10-25T00:30Z", "2026-10-26T01:00Z"}},
    {"Europe/Vienna",
     "0 1-3 * * *",
     "2026-10-24T12:00Z",
     {"2026-10-24T23:00Z", "2026-10-25T00:00Z", "2026-10-25T02:00Z", "2026-10-26T00:00Z"}},
    {"Europe/Vienna", "45 2 * * *", "2026-10-25T01:10Z", {"2026-10-26T01:45Z"}},
    {"Europe/Vienna",
     "30 * * * *",
     "2026-10-24T23:45Z",
     {"2026-10-25T00:30Z", "2026-10-25T01:30Z", "2026-10-25T02:30Z"}},
    {"Europe/Vienna",
     "0 */2 * * *",
     "2026-10-24T22:30Z",
     {"2026-10-25T00:00Z", "2026-10-25T01:00Z", "2026-10-25T03:00Z"}},
    /* New York, 8 March: 02:00 EST is 03:00 EDT, at 07:00 UTC. */
    {"America/New_York",
     "30 2 * * *",
     "2026-03-07T12:00Z",
     {"2026-03-08T07:00Z", "2026-03-09T06:30Z"}},
    {"America/New_York",
     "59 1 * * *",
     "2026-03-07T12:00Z",
     {"2026-03-08T06:59Z", "2026-03-09T05:59Z"}},
    {"America/New_York",
     "15 * * * *",
     "2026-03-08T06:00Z",
     {"2026-03-08T06:15Z", "2026-03-08T07:15Z"}},
    {"America/New_York",
     "0 0 * * *",
     "2026-03-07T12:00Z",
     {"2026-03-08T05:00Z", "2026-03-09T04:00Z"}},
    /* New York, 1 November: 02:00 EDT is 01:00 EST, at 06:00 UTC. */
    {"America/New_York",
     "30 1 * * *",
     "2026-10-31T12:00Z",
     {"2026-11-01T05:30Z", "2026-11-02T06:30Z"}},
    {"America/New_York",
     "*/30 * * * *",
     "2026-11-01T04:59Z",
     {"2026-11-01T05:00Z",
      "2026-11-01T05:30Z",
      "2026-11-01T06:00Z",
      "2026-11-01T06:30Z",
      "2026-11-01T07:00Z"}},
    {"America/New_York", "@daily", "2026-10-31T12:00Z", {"2026-11-01T04:00Z", "2026-11-02T05:00Z"}},
    {"America/New_York",
     "0 2 1 * *",
     "2026-10-31T12:00Z",
     {"2026-11-01T07:00Z", "2026-12-01T07:00Z"}},
    /* Lord Howe changes by half an hour. 4 October: 02:00 is 02:30, at 15:30 UTC of the 3rd. */
    {"Australia/Lord_Howe",
     "15 2 * * *",
     "2026-10-03T00:00Z",
     {"2026-10-03T15:30Z", "2026-10-04T15:15Z"}},
    {"Australia/Lord_Howe",
     "0 2 * * *",
     "2026-10-03T00:00Z",
     {"2026-10-03T15:30Z", "2026-10-04T15:00Z"}},
    {"Australia/Lord_Howe",
     "45 2 * * *",
     "2026-10-03T00:00Z",
     {"2026-10-03T15:45Z", "2026-10-04T15:45Z"}},
    {"Australia/Lord_Howe",
     "*/15 * * * *",
     "2026-10-03T15:10Z",
     {"2026-10-03T15:15Z", "2026-10-03T15:30Z", "2026-10-03T15:45Z"}},
    {"Australia/Lord_Howe",
     "0 * * * *",
     "2026-10-03T14:00Z",
     {"2026-10-03T14:30Z", "2026-10-03T16:00Z", "2026-10-03T17:00Z"}},
    /* 5 April: 02:00 is 01:30, at 15:00 UTC of the 4th. */
    {"Australia/Lord_Howe",
     "45 1 * * *",
     "2026-04-04T00:00Z",
     {"2026-04-04T14:45Z", "2026-04-05T15:15Z"}},
    {"Australia/Lord_Howe",
     "15 1 * * *",
     "2026-04-04T00:00Z",
     {"2026-04-04T14:15Z", "2026-04-05T14:45Z"}},
    {"Australia/Lord_Howe",
     "0 2 * * *",
     "2026-04-04T00:00Z",
     {"2026-04-04T15:30Z", "2026-04-05T15:30Z"}},
    {"Australia/Lord_Howe",
     "*/15 * * * *",
     "2026-04-04T14:25Z",
     {"2026-04-04T14:30Z",
      "2026-04-04T14:45Z",
      "2026-04-04T15:00Z",
      "2026-04-04T15:15Z",
      "2026-04-04T15:30Z"}},
    /* Samoa had no 30 December 2011. */
    {"Pacific/Apia",
     "0 9 * * *",
     "2011-12-29T12:00Z",
     {"2011-12-29T19:00Z", "2011-12-30T10:00Z", "2011-12-30T19:00Z"}},
    {"Pacific/Apia",
     "0 9 30 12 *",
     "2011-12-29T12:00Z",
     {"2011-12-30T10:00Z", "2012-12-29T19:00Z"}},
    {"Pacific/Apia",
     "0 * 30 12 *",
     "2011-12-29T12:00Z",
     {"2012-12-29T10:00Z", "2012-12-29T11:00Z"}},
    /* And where nothing changes. */
    {"UTC", "0 12 29 2 *", "2096-03-01T00:00Z", {"2104-02-29T12:00Z", "2108-02-29T12:00Z"}},
    {"UTC",
     "0 0 L * *",
     "2024-01-31T00:00Z",
     {"2024-02-29T00:00Z", "2024-03-31T00:00Z", "2024-04-30T00:00Z"}},
    {"UTC",
     "0 22 * * 5L",
     "2026-01-01T00:00Z",
     {"2026-01-30T22:00Z", "2026-02-27T22:00Z", "2026-03-27T22:00Z"}},
    {"UTC", "0 0 * * mon#5", "2026-01-01T00:00Z", {"2026-03-30T00:00Z", "2026-06-29T00:00Z"}},
    {"UTC",
     "0 0 13 * fri",
     "2026-02-01T00:00Z",
     {"2026-02-06T00:00Z",
      "2026-02-13T00:00Z",
      "2026-02-20T00:00Z",
      "2026-02-27T00:00Z",
      "2026-03-06T00:00Z",
      "2026-03-13T00:00Z"}},
    {"UTC", "0 0 */10 * fri", "2026-01-01T00:00Z", {"2026-05-01T00:00Z", "2026-07-31T00:00Z"}},
};

static void the_table_holds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cron cron = parsed(rows[i].text);
        int64_t at = stamp(rows[i].after);
        for (size_t j = 0; j < 6 && rows[i].due[j] != NULL; j++) {
            char text[32];
            assert_int_equal(cron_next(&cron, rows[i].zone, at, &at, NULL), 1);
            if (at != stamp(rows[i].due[j]))
                fail_msg("%s in %s: %s instead of %s",
                         rows[i].text,
                         rows[i].zone,
                         shown(at, text),
                         rows[i].due[j]);
        }
    }
}

static int64_t wall_of(int64_t at)
{
    time_t time = at / 1000000;
    struct tm tm;
    localtime_r(&time, &tm);
    return timegm(&tm);
}

/* Whether the calendar has something in (from, to], seconds of the clock on the wall. */
static bool fits_between(const struct cron *cron, int64_t from, int64_t to)
{
    return calendar_after(cron, from) <= to;
}

/* All that is due in (from, to], by looking at the clock each minute. */
static size_t by_minutes(const struct cron *cron, int64_t from, int64_t to, int64_t *due)
{
    size_t count = 0;
    int64_t highest = wall_of(from);
    for (int64_t at = from + MINUTE; at <= to; at += MINUTE) {
        int64_t wall = wall_of(at);
        if (cron->is_wild ? fits_between(cron, wall - 1, wall)
                          : wall > highest && fits_between(cron, highest, wall))
            due[count++] = at;
        highest = wall > highest ? wall : highest;
    }
    return count;
}

static void compare(const char *zone, const char *text, int64_t from, int64_t to)
{
    static int64_t due[20000];
    struct cron cron = parsed(text);
    char tz[64];
    snprintf(tz, sizeof tz, ":%s", zone);
    setenv("TZ", tz, 1);
    tzset();
    size_t count = by_minutes(&cron, from, to, due);
    int64_t at = from;
    for (size_t i = 0; i <= count; i++) {
        char ours[32], wanted[32];
        int64_t want = i < count ? due[i] : INT64_MAX;
        assert_int_equal(cron_next(&cron, zone, at, &at, NULL), 1);
        if (i == count ? at <= to : at != want)
            fail_msg("%s in %s: %s instead of %s",
                     text,
                     zone,
                     shown(at, ours),
                     i == count ? "nothing" : shown(want, wanted));
    }
}

static void a_walk_by_minutes_says_the_same(void **state)
{
    (void)state;
    static const char *const texts[] = {"30 2 * * *",
                                        "*/20 1-3 * * *",
                                        "17 * * * *",
                                        "*/25 */3 * * *",
                                        "59 0,1,2,3,23 * * sun",
                                        "0 0 1,8,28,29 * *",
                                        "30 1,2 L * 7L"};
    static const struct {
        const char *zone, *from, *to;
    } spans[] = {{"Europe/Vienna", "2026-03-26T00:00Z", "2026-03-31T00:00Z"},
                 {"Europe/Vienna", "2026-10-23T00:00Z", "2026-10-27T00:00Z"},
                 {"America/New_York", "2026-03-06T00:00Z", "2026-03-10T00:00Z"},
                 {"America/New_York", "2026-10-30T00:00Z", "2026-11-03T00:00Z"},
                 {"Australia/Lord_Howe", "2026-04-02T00:00Z", "2026-04-07T00:00Z"},
                 {"Australia/Lord_Howe", "2026-10-01T00:00Z", "2026-10-06T00:00Z"},
                 {"Africa/Casablanca", "2026-02-13T00:00Z", "2026-02-17T00:00Z"},
                 {"Africa/Casablanca", "2026-03-20T00:00Z", "2026-03-24T00:00Z"},
                 {"Antarctica/Troll", "2026-03-27T00:00Z", "2026-03-31T00:00Z"},
                 {"Pacific/Apia", "2011-12-28T00:00Z", "2012-01-02T00:00Z"},
                 {"America/Santiago", "2026-04-03T00:00Z", "2026-04-07T00:00Z"},
                 {"Africa/Cairo", "2026-04-22T00:00Z", "2026-04-26T00:00Z"}};
    const char *tz = getenv("TZ");
    char *before = tz == NULL ? NULL : strdup(tz);
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++)
        for (size_t j = 0; j < sizeof texts / sizeof *texts; j++)
            compare(spans[i].zone, texts[j], stamp(spans[i].from), stamp(spans[i].to));
    if (before != NULL)
        setenv("TZ", before, 1);
    else
        unsetenv("TZ");
    free(before);
}

static void wrong_zones_are_errors(void **state)
{
    (void)state;
    static const char *const wrong[] = {"Europe/Wien",
                                        "europe/vienna",
                                        "../../etc/passwd",
                                        "/etc/localtime",
                                        "CET-1CEST",
                                        "right/UTC",
                                        "Europe",
                                        "tzdata.zi",
                                        "Europe/Vienna\n"};
    struct cron cron = parsed("@daily");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct mf_error error = {0};
        int64_t at;
        assert_int_equal(cron_next(&cron, wrong[i], 0, &at, &error), -1);
        assert_int_equal(error.code, MF_EUSAGE);
        assert_non_null(strstr(error.text, "is unknown"));
        assert_non_null(strstr(error.text, "Europe/Vienna or UTC"));
    }
}

static void the_process_keeps_its_zone(void **state)
{
    (void)state;
    struct cron cron = parsed("@daily");
    int64_t at;
    setenv("TZ", "Asia/Tokyo", 1);
    tzset();
    assert_int_equal(cron_next(&cron, "America/New_York", 0, &at, NULL), 1);
    assert_string_equal(getenv("TZ"), "Asia/Tokyo");
    time_t zero = 0;
    assert_int_equal(localtime(&zero)->tm_hour, 9);
    unsetenv("TZ");
    tzset();
    assert_int_equal(cron_next(&cron, "America/New_York", 0, &at, NULL), 1);
    assert_null(getenv("TZ"));
}

/* Whatever a shell has in TZ: the machine's own zone is meant. */
static void the_own_zone_is_the_machines(void **state)
{
    (void)state;
    struct cron cron = parsed("0 2 * * *");
    int64_t plain, other;
    unsetenv("TZ");
    tzset();
    assert_int_equal(cron_next(&cron, NULL, 0, &plain, NULL), 1);
    setenv("TZ", "Asia/Tokyo", 1);
    assert_int_equal(cron_next(&cron, "", 0, &other, NULL), 1);
    assert_int_equal(plain, other);
    unsetenv("TZ");
    char name[ZONE_NAME_SIZE];
    assert_true(strlen(zone_own_name(name)) > 0);
}

static void there_is_an_end_of_time(void **state)
{
    (void)state;
    struct cron cron = parsed("0 0 1 1 *"), every = parsed("@every 1s");
    int64_t at;
    assert_int_equal(cron_next(&cron, "UTC", stamp("9999-06-01T00:00Z"), &at, NULL), 0);
    assert_int_equal(cron_next(&cron, "Europe/Vienna", INT64_MAX, &at, NULL), 0);
    assert_int_equal(cron_next(&every, "UTC", INT64_MAX, &at, NULL), 0);
    assert_int_equal(cron_next(&cron, "UTC", -1, &at, NULL), 1);
    assert_int_equal(at, 0);
    assert_int_equal(cron_next(&cron, "UTC", 0, &at, NULL), 1);
    assert_int_equal(at, stamp("1971-01-01T00:00Z"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_holds),
        cmocka_unit_test(a_walk_by_minutes_says_the_same),
        cmocka_unit_test(wrong_zones_are_errors),
        cmocka_unit_test(the_process_keeps_its_zone),
        cmocka_unit_test(the_own_zone_is_the_machines),
        cmocka_unit_test(there_is_an_end_of_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
