/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, durations, sizes, ranges: what is taken, and that everything else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "master/job/value.h"

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t us;
    } good[] = {{"0", 0},
                {"500ms", 500000},
                {"1s", 1000000},
                {"15m", 900000000},
                {"1h", 3600000000},
                {"1h30m", 5400000000},
                {"1.5s", 1500000},
                {"2d", 172800000000},
                {"7us", 7},
                {"0.000001s", 1}};
    static const char *const bad[] = {"",
                                      "5",
                                      "s",
                                      "-1s",
                                      "1 s",
                                      "1x",
                                      "1sm",
                                      "1.s",
                                      ".5s",
                                      "1S",
                                      "1e3s",
                                      "99999999999999999999s",
                                      "200000000000h",
                                      "1ss"};
    uint64_t us = 42;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(value_duration(good[i].text, &us), 0);
        assert_int_equal(us, good[i].us);
    }
    us = 42;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(value_duration(bad[i], &us), -1);
    assert_int_equal(us, 42);
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"4096", 4096},
                {"100k", 100000},
                {"64MiB", 64u << 20},
                {"16MB", 16000000},
                {"1.5KiB", 1536},
                {"2Gi", UINT64_C(2) << 30},
                {"7B", 7},
                {"1T", 1000000000000},
                {"9223372036854775807", INT64_MAX}};
    static const char *const bad[] = {
        "", "k", "-1", "1 MB", "1x", "1MiBB", "1MMB", "9223372036854775808", "9999999P"};
    uint64_t bytes = 42;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(value_size(good[i].text, &bytes), 0);
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(value_size(bad[i], &bytes), -1);
}

static void numbers(void **state)
{
    (void)state;
    int64_t integer;
    double number;
    bool flag;
    assert_int_equal(value_integer("-9223372036854775808", &integer), 0);
    assert_true(integer == INT64_MIN);
    assert_int_equal(value_integer("9223372036854775807", &integer), 0);
    assert_true(integer == INT64_MAX);
    assert_int_equal(value_integer("9223372036854775808", &integer), -1);
    assert_int_equal(value_integer("-9223372036854775809", &integer), -1);
    assert_int_equal(value_integer("", &integer), -1);
    assert_int_equal(value_integer("1.0", &integer), -1);
    assert_int_equal(value_number("1.25", &number), 0);
    assert_true(number > 1.2499 && number < 1.2501);
    assert_int_equal(value_number("nan", &number), -1);
    assert_int_equal(value_number("1e5", &number), -1);
    assert_int_equal(value_share("12.5%", &number), 0);
    assert_true(number > 0.1249 && number < 0.1251);
    assert_int_equal(value_share("101%", &number), -1);
    assert_int_equal(value_share("%", &number), -1);
    assert_int_equal(value_share("5", &number), -1);
    assert_int_equal(value_bool("Yes", &flag), 0);
    assert_true(flag);
    assert_int_equal(value_bool("off", &flag), 0);
    assert_false(flag);
    assert_int_equal(value_bool("1", &flag), -1);
}

static void ranges(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t first, last, step;
    } good[] = {{"1-1000000", 1, 1000000, 1},
                {"0-10:2", 0, 10, 2},
                {"-5-5", -5, 5, 1},
                {"-5--1", -5, -1, 1},
                {"10-1:-3", 10, 1, -3},
                {"-9223372036854775808-9223372036854775807", INT64_MIN, INT64_MAX, 1}};
    static const char *const bad[] = {
        "", "1", "1-", "-", "1-2:", "1-2:0", "1-2:x", "1..2", "1-9223372036854775808", "1-2-3"};
    int64_t first, last, step;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(value_range(good[i].text, &first, &last, &step), 0);
        assert_true(first == good[i].first && last == good[i].last && step == good[i].step);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(value_range(bad[i], &first, &last, &step), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(sizes),
        cmocka_unit_test(numbers),
        cmocka_unit_test(ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
