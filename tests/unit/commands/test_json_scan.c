/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as it stands: what is taken, what is refused and where, and the members of the outermost
 * object. */
#include "master/commands/json_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int note(void *arg, struct mf_bytes name, struct mf_bytes value, struct mf_error *error)
{
    char *seen = arg;
    size_t at = strlen(seen);
    (void)error;
    snprintf(seen + at,
             256 - at,
             "%.*s=%.*s;",
             (int)name.length,
             (const char *)name.data,
             (int)value.length,
             (const char *)value.data);
    return 0;
}

static void test_members_stand_as_they_are(void **state)
{
    (void)state;
    char seen[256] = "";
    static const char text[] =
        " {\"a\" : 1.10, \"b\":{\"a\":[1, {\"c\":2}]},\t\"a\":\"x\\\"y\" , \"\":null} \r\n";
    assert_int_equal(json_scan(mf_bytes_text(text), note, seen, NULL), 1);
    assert_string_equal(seen,
                        "\"a\"=1.10;\"b\"={\"a\":[1, {\"c\":2}]};\"a\"=\"x\\\"y\";\"\"=null;");
}

static void test_what_is_no_object_has_no_members(void **state)
{
    (void)state;
    static const char *const texts[] = {"1",
                                        "-0.5e+10",
                                        "123456789012345678901234567890",
                                        "1e9999",
                                        "\"\"",
                                        "\"\\u00e9\\n\xc3\xa9\xf0\x9f\x98\x80\"",
                                        "true",
                                        " false ",
                                        "null",
                                        "[]",
                                        "[ ]",
                                        "[{\"a\":1},[[]]]"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char seen[256] = "";
        struct mf_error error = {0};
        if (json_scan(mf_bytes_text(texts[i]), note, seen, &error) != 0)
            fail_msg("%s: %s", texts[i], error.text);
        assert_string_equal(seen, "");
    }
    assert_int_equal(json_scan(mf_bytes_text("{}"), NULL, NULL, NULL), 1);
}

static void test_what_is_wrong_is_named_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } wrong[] = {{"", "ends where a value"},
                 {" ", "ends where a value"},
                 {"{", "ends where a string"},
                 {"{\"a\"}", "byte 5 ':'"},
                 {"{\"a\":}", "byte 6 a value"},
                 {"{\"a\":1,}", "byte 8 a string"},
                 {"{\"a\":1 \"b\":2}", "byte 8 ',' or '}'"},
                 {"{a:1}", "byte 2 a string"},
                 {"[1,]", "byte 4 a value"},
                 {"[1", "ends where ',' or ']'"},
                 {"1 2", "byte 3 the end"},
                 {"{} x", "byte 4 the end"},
                 {"01", "byte 2 the end"},
                 {"-", "ends where a digit"},
                 {"1.", "ends where a digit"},
                 {"1e", "ends where a digit"},
                 {".5", "byte 1 a value"},
                 {"+1", "byte 1 a value"},
                 {"nul", "byte 1 null"},
                 {"True", "byte 1 a value"},
                 {"'a'", "byte 1 a value"},
                 {"\"a", "ends where the end of a string"},
                 {"\"a\tb\"", "byte 3 the end of a string"},
                 {"\"\\x\"", "byte 3 one of"},
                 {"\"\\u12g4\"", "byte 6 a hexadecimal"},
                 {"\"\\", "ends where one of"},
                 {"\"\xff\"", "byte 2 UTF-8"},
                 {"\"\xc0\x80\"", "byte 2 UTF-8"},
                 {"\"\xed\xa0\x80\"", "byte 2 UTF-8"},
                 {"\"\xf4\x90\x80\x80\"", "byte 2 UTF-8"},
                 {"\"\xe2\x82", "byte 2 UTF-8"},
                 {"\xef\xbb\xbf{}", "byte 1 a value"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct mf_error error = {0};
        assert_int_equal(json_scan(mf_bytes_text(wrong[i].text), NULL, NULL, &error), -1);
        assert_int_equal(error.code, MF_EUSAGE);
        if (strstr(error.text, wrong[i].says) == NULL)
            fail_msg("%s: %s", wrong[i].text, error.text);
    }
    /* A NUL is a byte like others, and belongs nowhere. */
    assert_int_equal(json_scan(mf_bytes_of("1\0", 2), NULL, NULL, NULL), -1);
    assert_int_equal(json_scan(mf_bytes_of("\"\0\"", 3), NULL, NULL, NULL), -1);
    assert_int_equal(json_scan(mf_bytes_of("\"\\\0\"", 4), NULL, NULL, NULL), -1);
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    char text[2 * (JSON_SCAN_DEPTH + 1) + 1];
    struct mf_error error;
    memset(text, '[', JSON_SCAN_DEPTH);
    memset(text + JSON_SCAN_DEPTH, ']', JSON_SCAN_DEPTH);
    assert_int_equal(json_scan(mf_bytes_of(text, (size_t)2 * JSON_SCAN_DEPTH), NULL, NULL, NULL),
                     0);
    memset(text, '[', JSON_SCAN_DEPTH + 1);
    assert_int_equal(json_scan(mf_bytes_of(text, JSON_SCAN_DEPTH + 1), NULL, NULL, &error), -1);
    assert_non_null(strstr(error.text, "200 arrays"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_stand_as_they_are),
        cmocka_unit_test(test_what_is_no_object_has_no_members),
        cmocka_unit_test(test_what_is_wrong_is_named_with_its_place),
        cmocka_unit_test(test_depth_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
