/* SPDX-License-Identifier: Apache-2.0 */
/* Values as the commands print them, and the subtasks that a command line names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/commands/overview.h"
#include "master/commands/selection.h"
#include "master/commands/text.h"

static void test_durations(void **state)
{
    char out[TEXT_SIZE];
    (void)state;
    assert_string_equal(text_duration(0, out), "0.0 ms");
    assert_string_equal(text_duration(9949, out), "9.9 ms");
    assert_string_equal(text_duration(250000, out), "0.25 s");
    assert_string_equal(text_duration(59000000, out), "59.0 s");
    assert_string_equal(text_duration(125000000, out), "2m05s");
    assert_string_equal(text_duration(11220000000, out), "3h07m");
    assert_string_equal(text_duration(187200000000, out), "2d04h");
}

static void test_sizes(void **state)
{
    char out[TEXT_SIZE];
    (void)state;
    assert_string_equal(text_size(0, out), "0 B");
    assert_string_equal(text_size(1023, out), "1023 B");
    assert_string_equal(text_size(1536, out), "1.5 KiB");
    assert_string_equal(text_size(UINT64_MAX, out), "16384.0 PiB");
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "0x1", "11", "0", "1e1", "99999999999999999999"};
    uint64_t value = 42;
    (void)state;
    assert_int_equal(text_number("10", 1, 10, &value), 0);
    assert_int_equal(value, 10);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(text_number(bad[i], 1, 10, &value), -1);
    assert_int_equal(value, 10);
}

static void test_printable_escapes_control_characters(void **state)
{
    struct mf_buffer out = {0};
    (void)state;
    assert_int_equal(text_printable(&out, mf_bytes_of("a\tb\n\x1b[0m\0z\x7f\xc3\xa4", 13), NULL),
                     0);
    assert_string_equal(mf_buffer_text(&out), "a\\tb\\n\\x1b[0m\\x00z\\x7f\xc3\xa4");
    mf_buffer_fini(&out);
}

static void test_json_of_bytes(void **state)
{
    json_t *object = json_object();
    (void)state;
    assert_int_equal(text_json_bytes(object, "text", mf_bytes_of("\xc3\xa4\n", 3)), 0);
    assert_int_equal(text_json_bytes(object, "bytes", mf_bytes_of("\x00\xff", 2)), 0);
    assert_int_equal(text_json_bytes(object, "none", mf_bytes_of(NULL, 0)), 0);
    assert_string_equal(json_string_value(json_object_get(object, "text")), "\xc3\xa4\n");
    assert_string_equal(json_string_value(json_object_get(object, "bytes_base64")), "AP8=");
    assert_null(json_object_get(object, "bytes"));
    assert_string_equal(json_string_value(json_object_get(object, "none")), "");
    json_decref(object);
}

static void add(struct selection *selection, const char *text)
{
    struct mf_error error;
    assert_int_equal(selection_add(selection, text, &error), 0);
}

static void test_selection_is_sorted_and_joined(void **state)
{
    struct selection selection = {0};
    (void)state;
    assert_true(selection_has(&selection, 7)); /* none named: all */
    add(&selection, "9");
    add(&selection, "3-5");
    add(&selection, "4");
    add(&selection, "6-6");
    add(&selection, "1");
    selection_close(&selection);
    assert_int_equal(selection.count, 3);
    assert_int_equal(selection.ranges[0].first, 1);
    assert_int_equal(selection.ranges[0].last, 1);
    assert_int_equal(selection.ranges[1].first, 3);
    assert_int_equal(selection.ranges[1].last, 6);
    assert_int_equal(selection.ranges[2].first, 9);
    assert_true(selection_has(&selection, 6));
    assert_false(selection_has(&selection, 2));
    assert_false(selection_has(&selection, 10));
    selection_fini(&selection);
}

static void test_bad_selection_is_refused(void **state)
{
    static const char *const bad[] = {
        "", "0", "x", "5-3", "1-", "-1", "1-2-3", "140737488355328", "0-3"};
    struct selection selection = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mf_error error;
        assert_int_equal(selection_add(&selection, bad[i], &error), -1);
        assert_int_equal(error.code, MF_EUSAGE);
        assert_non_null(strstr(error.text, "is no subtask"));
    }
    assert_int_equal(selection.count, 0);
    selection_fini(&selection);
}

static void test_exit_codes_of_states(void **state)
{
    (void)state;
    assert_int_equal(overview_exit_code("succeeded"), 0);
    assert_int_equal(overview_exit_code("partial"), 0);
    assert_int_equal(overview_exit_code("failed"), 1);
    assert_int_equal(overview_exit_code("cancelled"), 4);
    assert_int_equal(overview_exit_code("interrupted"), 130);
    assert_int_equal(overview_exit_code("running"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_printable_escapes_control_characters),
        cmocka_unit_test(test_json_of_bytes),
        cmocka_unit_test(test_selection_is_sorted_and_joined),
        cmocka_unit_test(test_bad_selection_is_refused),
        cmocka_unit_test(test_exit_codes_of_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
