/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's primitive: argv and standard input in; streams and code out, once, when all of it
 * is over. */
#include "master/launch/child.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"

struct seen {
    unsigned calls;
    int code;
    bool is_cut;
    size_t length;
    char output[4096];
    char problem[4096];
};

static void note(void *arg, const struct child_result *result)
{
    struct seen *seen = arg;
    seen->calls++;
    seen->code = result->code;
    seen->is_cut = result->is_cut;
    seen->length = strlen(result->output);
    snprintf(seen->output, sizeof seen->output, "%s", result->output);
    snprintf(seen->problem, sizeof seen->problem, "%s", result->problem);
}

static void run(const char *script, const char *input, struct seen *seen)
{
    struct mf_error error;
    struct mf_loop *loop = mf_loop_create(&error);
    char path[] = "PATH=/usr/bin:/bin";
    char *env[] = {path, NULL};
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    *seen = (struct seen){0};
    assert_non_null(child_start(loop, argv, env, mf_bytes_text(input), note, seen, &error));
    while (seen->calls == 0)
        assert_int_equal(mf_loop_step(loop, MF_NEVER, &error), 0);
    mf_loop_destroy(loop);
}

static void test_streams_and_code(void **state)
{
    (void)state;
    struct seen seen;
    run("cat; echo oops >&2; exit 7", "hello\n", &seen);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.code, 7);
    assert_string_equal(seen.output, "hello\n");
    assert_string_equal(seen.problem, "oops\n");
}

static void test_signal(void **state)
{
    (void)state;
    struct seen seen;
    run("kill -9 $$", "", &seen);
    assert_int_equal(seen.code, 128 + 9);
}

/* More output than is kept must not stop the child. */
static void test_flood(void **state)
{
    (void)state;
    struct seen seen;
    run("head -c 2000000 /dev/zero | tr '\\0' x; echo end >&2", "", &seen);
    assert_int_equal(seen.code, 0);
    assert_string_equal(seen.problem, "end\n");
    assert_true(seen.is_cut);
    assert_in_range(seen.length, 1 << 20, 1100000);
    run("head -c 1000000 /dev/zero | tr '\\0' x", "", &seen);
    assert_false(seen.is_cut);
    assert_int_equal(seen.length, 1000000);
}

static void test_environment_is_what_was_given(void **state)
{
    (void)state;
    struct seen seen;
    setenv("MAYFLY_TEST_SECRET", "x", 1);
    run("echo ${MAYFLY_TEST_SECRET:-unset}", "", &seen);
    assert_string_equal(seen.output, "unset\n");
}

static void test_missing_program(void **state)
{
    (void)state;
    struct mf_error error;
    struct mf_loop *loop = mf_loop_create(&error);
    char *env[] = {NULL};
    const char *argv[] = {"/nonexistent/program", NULL};
    assert_null(child_start(loop, argv, env, mf_bytes_text(""), note, NULL, &error));
    assert_non_null(strstr(error.text, "/nonexistent/program"));
    mf_loop_destroy(loop);
}

static void test_abandoned_child_is_ended(void **state)
{
    (void)state;
    struct mf_error error;
    struct seen seen = {0};
    struct mf_loop *loop = mf_loop_create(&error);
    char *env[] = {NULL};
    const char *argv[] = {"/bin/sleep", "1000", NULL};
    struct child *child = child_start(loop, argv, env, mf_bytes_text(""), note, &seen, &error);
    assert_non_null(child);
    child_abandon(child); /* returns only when it has been reaped */
    assert_int_equal(seen.calls, 0);
    mf_loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_streams_and_code),
                                       cmocka_unit_test(test_signal),
                                       cmocka_unit_test(test_flood),
                                       cmocka_unit_test(test_environment_is_what_was_given),
                                       cmocka_unit_test(test_missing_program),
                                       cmocka_unit_test(test_abandoned_child_is_ended)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
