/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions as text: what they mean, and what is said of those that mean nothing. */
#include "tests/unit/cron/stamps.h"

#define ALL_MINUTES ((1ull << 60) - 1)
#define ALL_HOURS ((1u << 24) - 1)
#define ALL_DAYS (0xffffffffu & ~1u)
#define ALL_MONTHS 0x1ffeu
#define ALL_WEEKDAYS 0x7fu

static void each_field_has_its_values(void **state)
{
    (void)state;
    struct cron cron = parsed("0 2 * * mon-fri");
    assert_int_equal(cron.minutes, 1);
    assert_int_equal(cron.hours, 1u << 2);
    assert_int_equal(cron.days, ALL_DAYS);
    assert_int_equal(cron.months, ALL_MONTHS);
    assert_int_equal(cron.weekdays, 0x3e);
    assert_false(cron.is_wild);
    assert_false(cron.is_either);
    cron = parsed("  */20,59 10-14/2\t1,15-17 JAN,Dec 7 ");
    assert_int_equal(cron.minutes, 1 | 1ull << 20 | 1ull << 40 | 1ull << 59);
    assert_int_equal(cron.hours, 1u << 10 | 1u << 12 | 1u << 14);
    assert_int_equal(cron.days, 1u << 1 | 7u << 15);
    assert_int_equal(cron.months, 1u << 1 | 1u << 12);
    assert_int_equal(cron.weekdays, 1);
    assert_true(cron.is_either);
}

static void weekdays_go_over_the_end_of_the_week(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned weekdays;
    } cases[] = {{"fri-mon", 0x63},
                 {"sat-sun", 0x41},
                 {"fri-sun", 0x61},
                 {"5-7", 0x61},
                 {"0-7", ALL_WEEKDAYS},
                 {"7-2", 0x07},
                 {"sun-sat", ALL_WEEKDAYS},
                 {"*/2", 0x55},
                 {"1/2", 0x2b},
                 {"7", 0x01}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        snprintf(text, sizeof text, "0 0 * * %s", cases[i].text);
        assert_int_equal(parsed(text).weekdays, cases[i].weekdays);
    }
}

static void days_can_be_counted_from_the_end(void **state)
{
    (void)state;
    struct cron cron = parsed("0 0 15,L * *");
    assert_true(cron.has_last_day);
    assert_int_equal(cron.days, 1u << 15);
    cron = parsed("0 0 * * mon#2,Fri#1,friL,5l,7L");
    assert_int_equal(cron.weekdays, 0);
    assert_int_equal(cron.nth[0], 1);
    assert_int_equal(cron.nth[1], 1u << 2);
    assert_int_equal(cron.nth[5], 1 | 1u << 1);
}

/* As in crontab(5): a field of days that begins with a star restricts nothing by itself. */
static void restricted_days_are_alternatives(void **state)
{
    (void)state;
    assert_true(parsed("0 0 13 * 5").is_either);
    assert_true(parsed("0 0 1-31 * 5").is_either);
    assert_false(parsed("0 0 */2 * 5").is_either);
    assert_false(parsed("0 0 ? * 5").is_either);
    assert_false(parsed("0 0 13 * ?").is_either);
    assert_int_equal(parsed("0 0 13 * ?").weekdays, ALL_WEEKDAYS);
}

static void hours_that_are_all_there_follow_time(void **state)
{
    (void)state;
    assert_true(parsed("0 * * * *").is_wild);
    assert_true(parsed("0 */2 * * *").is_wild);
    assert_true(parsed("0 0-23 * * *").is_wild);
    assert_true(parsed("@hourly").is_wild);
    assert_true(parsed("@every 1d").is_wild);
    assert_false(parsed("*/5 2 * * *").is_wild);
    assert_false(parsed("@daily").is_wild);
}

static void words_stand_for_fields(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"@yearly", "0 0 1 1 *"},
                                           {"@annually", "0 0 1 1 *"},
                                           {"@monthly", "0 0 1 * *"},
                                           {" @Weekly ", "0 0 * * sun"},
                                           {"@daily", "0 0 * * *"},
                                           {"@midnight", "0 0 * * *"},
                                           {"@hourly", "0 * * * *"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct cron a = parsed(pairs[i][0]), b = parsed(pairs[i][1]);
        assert_memory_equal(&a, &b, sizeof a);
    }
    assert_int_equal(parsed("@every 90s").every_us, 90000000);
    assert_int_equal(parsed("@every  1h30m ").every_us, 5400000000);
    assert_int_equal(parsed("@every 366d").every_us, 366 * 86400000000);
}

static void errors_name_field_position_and_what_was_expected(void **state)
{
    (void)state;
    static const char *const cases[][4] = {
        {"60 * * * *", "minute (field 1), position 1: \"60\"", "out of range", "0 to 59"},
        {"0 24 * * *", "hour (field 2), position 3: \"24\"", "out of range", "0 to 23"},
        {"0 2 32 * *", "day of month (field 3), position 5: \"32\"", "out of range", "1 to 31"},
        {"0 2 0 * *", "day of month (field 3), position 5: \"0\"", "out of range", "1 to 31"},
        {"0 2 * 13 *", "month (field 4), position 7: \"13\"", "out of range", "jan to dec"},
        {"0 2 * * mon-xyz", "weekday (field 5), position 13: \"xyz\"", "no value", "sun to sat"},
        {"0 2 * * 8", "weekday (field 5), position 9: \"8\"", "out of range", "0 and 7 are Sunday"},
        {"0 2 * * monday", "weekday (field 5), position 12: \"day\"", "belong", "a comma"},
        {"0 2 * jan#2 *", "month (field 4), position 10: \"#2\"", "belong", "a comma"},
        {"0,,5 * * * *", "minute (field 1), position 3: \",\"", "no value", "0 to 59"},
        {"0, * * * *", "minute (field 1), position 3: it ends here", "", "0 to 59"},
        {"*/0 * * * *", "minute (field 1), position 3: \"0\"", "no step", "1 to 60"},
        {"*/90 * * * *", "minute (field 1), position 3: \"90\"", "no step", "@every 90m"},
        {"*/x * * * *", "minute (field 1), position 3: \"x\"", "no step", "1 to 60"},
        {"* 22-4 * * *", "hour (field 2), position 3: \"22-4\"", "backwards", "22-23,0-4"},
        {"* ? * * *", "hour (field 2), position 3: \"?\"", "days only", "0 to 23"},
        {"* * * * mon#6", "weekday (field 5), position 13: \"6\"", "no number", "1 to 5"},
        {"* * * * mon#", "weekday (field 5), position 13: it ends here", "", "1 to 5"},
        {"* * * *", "weekday (field 5), position 8: it ends here", "", "five fields"},
        {"", "minute (field 1), position 1: it ends here", "", "five fields"},
        {"* * * * * *", "position 11: \"*\"", "sixth field", "@every 30s"},
        {"99999999999999999999 * * * *", "minute (field 1), position 1", "out of range", "59"},
        {"\x01\x1b[31m * * * *", "position 1: \"??[31m\"", "no value", "0 to 59"},
        {"@dayly", "position 1: \"@dayly\"", "unknown", "@daily"},
        {"@daily5", "position 1: \"@daily5\"", "unknown", "@daily"},
        {"@reboot", "position 1: \"@reboot\"", "not a time", "@hourly"},
        {"@daily 5", "position 8: \"5\"", "too much", "nothing more"},
        {"@every", "position 7: it ends here", "", "90s"},
        {"@every 1.5s", "position 8: \"1.5s\"", "no duration", "whole seconds"},
        {"@every 0s", "position 8: \"0s\"", "no time", "90s"},
        {"@every 367d", "position 8: \"367d\"", "too long", "366 days"},
        {"@every 5x", "position 8: \"5x\"", "no duration", "90s"},
        {"@every 5m 5s", "position 11: \"5s\"", "too much", "nothing more"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mf_error error = {0};
        struct cron cron, before;
        memset(&cron, 0x5a, sizeof cron);
        before = cron;
        assert_int_equal(cron_parse(cases[i][0], &cron, &error), -1);
        assert_int_equal(error.code, MF_EUSAGE);
        for (size_t j = 1; j < 4; j++)
            if (strstr(error.text, cases[i][j]) == NULL)
                fail_msg("\"%s\": \"%s\" does not say: %s", cases[i][0], error.text, cases[i][j]);
        assert_memory_equal(&cron, &before, sizeof cron);
    }
}

static void too_long_a_text_is_refused(void **state)
{
    (void)state;
    char text[2000];
    struct mf_error error;
    struct cron cron;
    memset(text, '1', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(cron_parse(text, &cron, &error), -1);
    assert_non_null(strstr(error.text, "1999 bytes"));
}

static void what_never_comes_is_refused(void **state)
{
    (void)state;
    static const char *const never[] = {
        "0 2 30 2 *", "0 2 31 4,6,9,11 *", "0 0 31 feb,apr ?", "0 0 30,31 2 */1"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        struct mf_error error;
        struct cron cron;
        assert_int_equal(cron_parse(never[i], &cron, &error), -1);
        assert_non_null(strstr(error.text, "never fires"));
    }
    /* These come, if rarely: the last one every 28 or 40 years. */
    parsed("0 2 29 2 *");
    parsed("0 2 30 2 mon");
    parsed("0 0 L 2 *");
    parsed("0 0 */2 2 mon#5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_field_has_its_values),
        cmocka_unit_test(weekdays_go_over_the_end_of_the_week),
        cmocka_unit_test(days_can_be_counted_from_the_end),
        cmocka_unit_test(restricted_days_are_alternatives),
        cmocka_unit_test(hours_that_are_all_there_follow_time),
        cmocka_unit_test(words_stand_for_fields),
        cmocka_unit_test(errors_name_field_position_and_what_was_expected),
        cmocka_unit_test(too_long_a_text_is_refused),
        cmocka_unit_test(what_never_comes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
