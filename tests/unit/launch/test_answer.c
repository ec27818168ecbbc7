/* SPDX-License-Identifier: Apache-2.0 */
/* What comes back from a host is read with suspicion: banners, half lines, lies. */
#include "master/launch/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static bool started(const char *output, struct launch_report *report)
{
    *report = (struct launch_report){0};
    return answer_started(output, 7, report);
}

static void test_started(void **state)
{
    (void)state;
    struct launch_report report;
    assert_true(started("mayfly 1 started 7 4711 0\n", &report));
    assert_int_equal(report.pid, 4711);
    assert_int_equal(report.port, 0);
    assert_true(started("Welcome!\n\nmayfly 1 system Linux\nmayfly 1 started 7 1 65535", &report));
    assert_int_equal(report.port, 65535);
    assert_true(started("mayfly 1 started 8 1 1\nmayfly 1 started 7 2 3\n", &report));
    assert_int_equal(report.pid, 2);
    /* A banner comes before, whatever it says. */
    assert_true(started("mayfly 1 started 7 1 1\nmayfly 1 started 7 5 6\n", &report));
    assert_int_equal(report.pid, 5);
}

static void test_not_started(void **state)
{
    (void)state;
    static const char *const outputs[] = {"",
                                          "\n\n",
                                          "mayfly 1 started",
                                          "mayfly 1 started 7",
                                          "mayfly 1 started 7 12",
                                          "mayfly 1 started 7 12 65536\n",
                                          "mayfly 1 started 7 -1 0\n",
                                          "mayfly 1 started 7 99999999999 0\n",
                                          "mayfly 1 started 70 1 0\n",
                                          " mayfly 1 started 7 1 0\n",
                                          "mayfly 2 started 7 1 0\n"};
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        struct launch_report report;
        assert_false(started(outputs[i], &report));
    }
}

static void test_line(void **state)
{
    (void)state;
    char text[16];
    assert_true(answer_line("x\nmayfly 1 place 12 /tmp\n", "place", text, sizeof text));
    assert_string_equal(text, "12 /tmp");
    assert_true(answer_line("mayfly 1 place 0123456789abcdefgh", "place", text, sizeof text));
    assert_string_equal(text, "0123456789abcde");
    assert_true(
        answer_line("mayfly 1 place 1 /\nmayfly 1 place 2 /x\nend\n", "place", text, sizeof text));
    assert_string_equal(text, "2 /x");
    assert_false(answer_line("mayfly 1 places 12\n", "place", text, sizeof text));
}

static void test_swept(void **state)
{
    (void)state;
    char left[64];
    struct sweep_report report = {0};
    answer_swept(
        "banner {\n{\"verified\":true,\"processes_ended\":2,\"files_removed\":3,\"left\":[]}\n",
        "",
        0,
        left,
        sizeof left,
        &report);
    assert_true(report.verified);
    assert_string_equal(report.verified_by, "sweep");
    assert_int_equal(report.processes_ended, 2);
    assert_int_equal(report.files_removed, 3);
    assert_null(report.left);
    answer_swept(
        "{\"other\":1}\n{\"verified\":false,\"left\":[\"process 5 (x)\",7,\"/tmp/y\"]}\nlast\n",
        "",
        1,
        left,
        sizeof left,
        &report);
    assert_false(report.verified);
    assert_string_equal(report.left, "process 5 (x), ?, /tmp/y");
    answer_swept("{\"verified\":false}\n{\"verified\":true,\"left\":[]}\n",
                 "",
                 0,
                 left,
                 sizeof left,
                 &report);
    assert_true(report.verified);
    answer_swept("", "\nsh: not found\n\n", 127, left, sizeof left, &report);
    assert_false(report.verified);
    assert_string_equal(report.verified_by, "none");
    assert_string_equal(report.left, "the sweep failed (exit code 127): sh: not found");
}

static void test_checked(void **state)
{
    (void)state;
    struct check_report report = {0};
    answer_checked("mayfly 1 system Linux 6.1.0 x86_64\nmayfly 1 facts 4 8000000 1\n"
                   "mayfly 1 user etl\nmayfly 1 passed /x is full; /y too\n"
                   "mayfly 1 program yes\nmayfly 1 place 77 /home/a b/.cache/mayfly\n",
                   &report);
    assert_string_equal(report.system, "Linux 6.1.0 x86_64");
    assert_int_equal(report.cores, 4);
    assert_int_equal(report.memory_kib, 8000000);
    assert_true(report.clock_offset_s < -1000000000);
    assert_true(report.has_program);
    assert_int_equal(report.free_kib, 77);
    assert_string_equal(report.user, "etl");
    assert_string_equal(report.passed, "/x is full; /y too");
    assert_string_equal(report.folder, "/home/a b/.cache/mayfly");
    report = (struct check_report){0};
    answer_checked("mayfly 1 facts 4 -1 1\nmayfly 1 place x\nmayfly 1 program no\n", &report);
    assert_int_equal(report.cores, 0);
    assert_string_equal(report.folder, "");
    assert_false(report.has_program);
}

static void test_problem(void **state)
{
    (void)state;
    char text[8];
    answer_problem("first\nlast words\n\r\n", text, sizeof text);
    assert_string_equal(text, "last wo");
    answer_problem("\n \n", text, sizeof text);
    assert_string_equal(text, "it said");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_started),
                                       cmocka_unit_test(test_not_started),
                                       cmocka_unit_test(test_line),
                                       cmocka_unit_test(test_swept),
                                       cmocka_unit_test(test_checked),
                                       cmocka_unit_test(test_problem)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
