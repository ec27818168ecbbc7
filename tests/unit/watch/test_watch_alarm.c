/* SPDX-License-Identifier: Apache-2.0 */
/* The timer of the wall clock: due, past, never. (A clock that is set:
 * tests/system/trigger_watch.sh.) */
#include "master/watch/alarm.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"

static bool is_ready(int fd, int wait_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, wait_ms) == 1;
}

static void test_due_once(void **state)
{
    (void)state;
    struct mf_error error;
    int fd = alarm_open(&error);
    assert_true(fd >= 0);
    int64_t due_us = mf_wall_us() + 20000;
    assert_int_equal(alarm_set(fd, due_us, &error), 0);
    assert_true(is_ready(fd, 60000));
    assert_true(mf_wall_us() >= due_us);
    assert_false(alarm_take(fd));
    assert_false(is_ready(fd, 0));
    close(fd);
}

static void test_what_is_past_is_due_at_once(void **state)
{
    (void)state;
    struct mf_error error;
    static const int64_t past[] = {0, -1, 1, 1000000};
    int fd = alarm_open(&error);
    for (size_t i = 0; i < sizeof past / sizeof *past; i++) {
        assert_int_equal(alarm_set(fd, past[i], &error), 0);
        assert_true(is_ready(fd, 60000));
        assert_false(alarm_take(fd));
    }
    close(fd);
}

static void test_never_and_far(void **state)
{
    (void)state;
    struct mf_error error;
    int fd = alarm_open(&error);
    assert_int_equal(alarm_set(fd, 0, &error), 0);
    assert_true(is_ready(fd, 60000));
    assert_int_equal(alarm_set(fd, MF_NEVER, &error), 0); /* replaces what was due */
    assert_false(is_ready(fd, 0));
    assert_int_equal(alarm_set(fd, MF_NEVER - 1, &error), 0);
    assert_false(is_ready(fd, 0));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_due_once),
        cmocka_unit_test(test_what_is_past_is_due_at_once),
        cmocka_unit_test(test_never_and_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
