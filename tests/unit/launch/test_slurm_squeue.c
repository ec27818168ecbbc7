/* SPDX-License-Identifier: Apache-2.0 */
/* Lines as squeue of Slurm 22.05 prints them, and others. */
#include "master/launch/slurm_squeue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_states(void **state)
{
    static const struct {
        const char *state;
        bool is_there, is_live;
    } cases[] = {
        {"PENDING", true, true},
        {"RUNNING", true, true},
        {"SUSPENDED", true, true},
        {"CONFIGURING", true, true},
        {"REQUEUED", true, true},
        {"COMPLETING", true, false},
        {"COMPLETED", false, false},
        {"FAILED", false, false},
        {"CANCELLED", false, false},
        {"TIMEOUT", false, false},
        {"DEADLINE", false, false},
        {"NODE_FAIL", false, false},
        {"OUT_OF_MEMORY", false, false},
        {"PREEMPTED", false, false},
        {"BOOT_FAIL", false, false},
        {"SOMETHING_NEW", true, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[100];
        struct slurm_line line;
        snprintf(
            text, sizeof text, "7|3|%s|0:05|n1|None\n8|0|RUNNING|0:01|n2|None\n", cases[i].state);
        assert_true(slurm_line_read(text, &line));
        assert_string_equal(line.state, cases[i].state);
        assert_int_equal(line.is_there, cases[i].is_there);
        assert_int_equal(line.is_live, cases[i].is_live);
    }
}

static void test_fields(void **state)
{
    struct slurm_line line;
    (void)state;
    assert_true(slurm_line_read("4294967295|999|RUNNING|1-02:03:04|n[1-2]|None", &line));
    assert_int_equal(line.job, UINT32_MAX);
    assert_true(line.is_array);
    assert_int_equal(line.index, 999);
    assert_true(line.is_running);
    assert_int_equal(line.used_us, (86400 + 2 * 3600 + 3 * 60 + 4) * 1000000LL);
    assert_string_equal(line.node, "n[1-2]");
    /* Not begun, no node yet; not an array. */
    assert_true(slurm_line_read("12|N/A|PENDING|0:00||Job's account not permitted\n", &line));
    assert_false(line.is_array);
    assert_true(line.is_pending);
    assert_int_equal(line.used_us, 0);
    assert_string_equal(line.node, "");
    assert_string_equal(line.why, "Job's account not permitted");
}

static void test_what_is_no_line(void **state)
{
    static const char *const texts[] = {"",
                                        "\n",
                                        "slurm_load_jobs error: Unable to contact slurm controller",
                                        "|||||",
                                        "x|1|RUNNING|0:01|n1|None",
                                        "-1|1|RUNNING|0:01|n1|None",
                                        "4294967296|1|RUNNING|0:01|n1|None",
                                        "5|1||0:01|n1|None",
                                        "5"};
    struct slurm_line line;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(slurm_line_read(texts[i], &line));
    /* Fields of another length than ever seen are cut. */
    char text[700] = "5|1|RUNNING|0:01|";
    memset(text + strlen(text), 'n', 300);
    strcat(text, "|None\n");
    assert_true(slurm_line_read(text, &line));
    assert_int_equal(strlen(line.node), sizeof line.node - 1);
    assert_string_equal(line.why, "None");
}

static void test_times(void **state)
{
    (void)state;
    assert_int_equal(slurm_time_us("0:07"), 7000000);
    assert_int_equal(slurm_time_us("12:07"), 727000000);
    assert_int_equal(slurm_time_us("1:00:00"), 3600000000LL);
    assert_int_equal(slurm_time_us("2-00:00:01"), 172801000000LL);
    assert_int_equal(slurm_time_us("INVALID"), 0);
    assert_int_equal(slurm_time_us(""), 0);
    assert_int_equal(slurm_time_us("1:"), 0);
    assert_int_equal(slurm_time_us("1:2:3:4:5"), 0);
    assert_int_equal(slurm_time_us("99999999999:00"), 0);
}

static void test_endings(void **state)
{
    struct slurm_line line;
    char text[160];
    (void)state;
    assert_true(slurm_line_read("7|3|TIMEOUT|1:05|n1|TimeLimit", &line));
    assert_true(slurm_line_ending(&line, text, sizeof text));
    assert_string_equal(text, "its time was over (workers.slurm.time, or the partition's limit)");
    assert_true(slurm_line_read("7|3|FAILED|1:05|n1|NonZeroExitCode", &line));
    assert_false(slurm_line_ending(&line, text, sizeof text));
    assert_string_equal(text, "Slurm says FAILED (NonZeroExitCode)");
    assert_true(slurm_line_read("7|3|COMPLETED|1:05|n1|None", &line));
    assert_false(slurm_line_ending(&line, text, sizeof text));
    assert_string_equal(text, "Slurm says COMPLETED");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_what_is_no_line),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_endings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
