/* SPDX-License-Identifier: Apache-2.0 */
/* The small things of common/: errors, buffers, stamps, the log. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/buffer.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/process.h"
#include "common/utf8.h"

static void test_errors_read_as_sentences(void **state)
{
    (void)state;
    struct mf_error error;
    assert_int_equal(mf_raise(&error, MF_EUSAGE, "no %s", "job"), -1);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_string_equal(error.text, "no job");
    assert_int_equal(mf_error_prefix(&error, "job.yaml:%d", 3), -1);
    assert_string_equal(error.text, "job.yaml:3: no job");
    errno = ENOENT;
    assert_int_equal(mf_raise_errno(&error, "cannot open %s", "x"), -1);
    assert_string_equal(error.text, "cannot open x: No such file or directory");
    assert_int_equal(mf_raise(NULL, MF_ENOMEM, "unread"), -1);
}

static void test_program_is_found(void **state)
{
    (void)state;
    struct mf_error error;
    char *path = mf_process_program(&error);
    assert_non_null(path);
    assert_int_equal(path[0], '/');
    assert_string_equal(strrchr(path, '/'), "/test_small");
    assert_int_equal(access(path, X_OK), 0);
    mf_free(path);
}

static void test_long_errors_are_cut_not_overrun(void **state)
{
    (void)state;
    struct mf_error error;
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    mf_raise(&error, MF_ESYSTEM, "%s", text);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    mf_error_prefix(&error, "prefix");
    assert_memory_equal(error.text, "prefix: x", 9);
    errno = EIO;
    mf_raise_errno(&error, "%s", text);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
}

static void test_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(mf_error_exit_code(MF_OK), 0);
    assert_int_equal(mf_error_exit_code(MF_EUSAGE), 2);
    assert_int_equal(mf_error_exit_code(MF_ESETUP), 3);
    assert_int_equal(mf_error_exit_code(MF_ENOMEM), 3);
    assert_int_equal(mf_error_exit_code(MF_EINPUT), 1);
}

static void test_buffer_grows_and_keeps(void **state)
{
    (void)state;
    struct mf_error error;
    struct mf_buffer buffer = {0};
    for (int i = 0; i < 1000; i++)
        assert_int_equal(mf_buffer_printf(&buffer, &error, "%d,", i), 0);
    assert_memory_equal(mf_buffer_text(&buffer), "0,1,2,", 6);
    size_t length = buffer.length;
    mf_alloc_fail_at(1);
    assert_int_equal(mf_buffer_reserve(&buffer, buffer.capacity, &error), -1);
    mf_alloc_fail_at(0);
    assert_int_equal(error.code, MF_ENOMEM);
    assert_int_equal(buffer.length, length);
    assert_int_equal(mf_buffer_reserve(&buffer, SIZE_MAX, &error), -1);
    mf_buffer_fini(&buffer);
    assert_true(mf_bytes_equal(mf_bytes_text(NULL), mf_bytes_of("", 0)));
}

static void test_stamp(void **state)
{
    (void)state;
    char text[MF_STAMP_SIZE];
    assert_string_equal(mf_stamp(0, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(mf_stamp(1795415630123456, text), "2026-11-23T06:33:50.123Z");
}

/* A peer's words must not be able to forge a line of the log. */
static void test_log_escapes_control_characters(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    char line[512] = "";
    mf_log_to(fileno(file), MF_INFO);
    mf_log(MF_DEBUG, "not shown");
    mf_log(MF_WARNING, "evil\n2026-01-01 error forged\x1b[31m");
    mf_log_to(-1, MF_INFO);
    mf_log(MF_ERROR, "not shown either");
    rewind(file);
    assert_non_null(fgets(line, sizeof line, file));
    assert_non_null(strstr(line, " warning evil\\x0a2026-01-01 error forged\\x1b[31m\n"));
    assert_null(fgets(line, sizeof line, file));
    fclose(file);
}

/* Only when the descriptor is the journal's stream itself: standard error may be a file by then. */
static void test_log_lines_for_the_journal(void **state)
{
    (void)state;
    FILE *file = tmpfile(), *other = tmpfile();
    struct stat facts;
    char stream[64], line[512] = "";
    assert_int_equal(fstat(fileno(file), &facts), 0);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)facts.st_dev, (uintmax_t)facts.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    mf_log_to(fileno(file), MF_INFO);
    mf_log_for_journal(fileno(file));
    mf_log(MF_WARNING, "a\nb");
    mf_log_for_journal(fileno(other));
    mf_log(MF_INFO, "c");
    unsetenv("JOURNAL_STREAM");
    mf_log_for_journal(fileno(file));
    mf_log(MF_ERROR, "d");
    mf_log_to(-1, MF_INFO);
    rewind(file);
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, "<4>a\\x0ab\n");
    assert_non_null(fgets(line, sizeof line, file));
    assert_non_null(strstr(line, "Z info c\n"));
    assert_non_null(fgets(line, sizeof line, file));
    assert_non_null(strstr(line, "Z error d\n"));
    fclose(file);
    fclose(other);
}

static void test_what_is_no_utf8_is_mended(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"", ""},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x99\x82", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x99\x82"},
        {"caf\xe9 is away", "caf? is away"},
        {"cut \xe2\x82", "cut ??"},
        {"\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80", "?? ??? ????"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        snprintf(text, sizeof text, "%s", cases[i].from);
        mf_utf8_mend(text);
        assert_string_equal(text, cases[i].to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_errors_read_as_sentences),
                                       cmocka_unit_test(test_program_is_found),
                                       cmocka_unit_test(test_long_errors_are_cut_not_overrun),
                                       cmocka_unit_test(test_exit_codes),
                                       cmocka_unit_test(test_buffer_grows_and_keeps),
                                       cmocka_unit_test(test_stamp),
                                       cmocka_unit_test(test_log_escapes_control_characters),
                                       cmocka_unit_test(test_log_lines_for_the_journal),
                                       cmocka_unit_test(test_what_is_no_utf8_is_mended)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
