/* SPDX-License-Identifier: Apache-2.0 */
/* Gather none, concat, jsonl and csv. */
#include "tests/unit/gather/gather_fixture.h"

static void concat_is_in_plan_order(void **state)
{
    struct gather_test *test = *state;
    fixture_result(&test->run, 3, "three\n");
    fixture_result(&test->run, 1, "one\n");
    fixture_result(&test->run, 2, "");
    fixture_result(&test->run, 10, "ten, no end");
    expect_result(test, GATHER_CONCAT, "one\nthree\nten, no end");
}

static void only_done_attempts_that_count(void **state)
{
    struct gather_test *test = *state;
    struct record_row rows[] = {fixture_row(1, 1, RECORD_RETRIED),
                                fixture_row(2, 1, RECORD_DEAD),
                                fixture_row(3, 1, RECORD_FAILED)};
    for (int i = 0; i < 3; i++) {
        rows[i].has_result = true;
        rows[i].result = mf_bytes_text("bad");
        rows[i].result_bytes = 3;
    }
    assert_int_equal(fixture_record(&test->run, rows, 3), 0);
    fixture_result(&test->run, 4, "good");
    expect_result(test, GATHER_CONCAT, "good");
}

static void large_results_are_files(void **state)
{
    struct gather_test *test = *state;
    size_t length = 300000;
    char *text = malloc(length + 1);
    memset(text, 'x', length);
    text[length] = '\0';
    fixture_result(&test->run, 1000, "a");
    gather_file(test, 1001, text, length);
    test->job.gather = GATHER_CONCAT;
    assert_int_equal(gather_run(&test->job, test->run.folder, &test->bytes, NULL, &test->error), 0);
    assert_int_equal(test->bytes, length + 1);
    assert_string_equal(gather_read(test) + 1, text);
    free(text);
}

static void a_file_that_vanished_or_changed(void **state)
{
    struct gather_test *test = *state;
    char path[4096];
    gather_file(test, 7, "abcdef", 6);
    gather_result_path(test->run.folder, 7, path);
    assert_int_equal(truncate(path, 3), 0);
    expect_failure(test, GATHER_CONCAT, MF_EINPUT, TEXTS("subtask 7", "6 bytes"));
    assert_int_equal(truncate(path, 100), 0);
    expect_failure(test, GATHER_CONCAT, MF_EINPUT, TEXTS("subtask 7", "6 bytes"));
    assert_int_equal(unlink(path), 0);
    expect_failure(test, GATHER_CONCAT, MF_EINPUT, TEXTS("subtask 7", path));
}

static void none_makes_no_result_and_removes_an_old_one(void **state)
{
    struct gather_test *test = *state;
    fixture_result(&test->run, 1, "one\n");
    expect_result(test, GATHER_CONCAT, "one\n");
    test->job.gather = GATHER_NONE;
    assert_int_equal(gather_run(&test->job, test->run.folder, &test->bytes, NULL, &test->error), 0);
    assert_int_equal(test->bytes, 0);
    assert_null(gather_read(test));
}

static void a_run_without_results(void **state)
{
    struct gather_test *test = *state;
    expect_result(test, GATHER_CONCAT, "");
    expect_result(test, GATHER_CSV, "");
    expect_result(test, GATHER_JSONL, "");
}

static void stopping_leaves_nothing(void **state)
{
    struct gather_test *test = *state;
    const volatile int stop = 1;
    fixture_result(&test->run, 1, "one\n");
    test->job.gather = GATHER_CONCAT;
    assert_int_equal(gather_run(&test->job, test->run.folder, &test->bytes, &stop, &test->error),
                     -1);
    assert_non_null(strstr(test->error.text, "stopped"));
    assert_null(gather_read(test));
}

static void jsonl_adds_line_ends(void **state)
{
    struct gather_test *test = *state;
    gather_results(test, TEXTS("{\"a\": 1}\n[2]", "", "\"x\"\n12345678901234567890123\r\n"));
    expect_result(test, GATHER_JSONL, "{\"a\": 1}\n[2]\n\"x\"\n12345678901234567890123\r\n");
}

static void jsonl_refuses_what_is_no_json(void **state)
{
    struct gather_test *test = *state;
    gather_results(test, TEXTS("{}\n", "{}\n{\"a\": }\n"));
    expect_failure(test, GATHER_JSONL, MF_EINPUT, TEXTS("subtask 2", "line 2", "JSON"));
}

static void jsonl_refuses_two_values_and_empty_lines(void **state)
{
    struct gather_test *test = *state;
    gather_results(test, TEXTS("{} {}\n"));
    expect_failure(test, GATHER_JSONL, MF_EINPUT, TEXTS("subtask 1", "line 1"));
}

static void jsonl_refuses_an_empty_line(void **state)
{
    struct gather_test *test = *state;
    gather_results(test, TEXTS("\n{}\n"));
    expect_failure(test, GATHER_JSONL, MF_EINPUT, TEXTS("subtask 1", "line 1"));
}

static void csv_has_one_header(void **state)
{
    struct gather_test *test = *state;
    gather_results(test,
                   TEXTS("a,b\n1,2",
                         "",
                         "a,b",
                         "a,b\n",
                         "\xef\xbb\xbf"
                         "a,b\r\n3,\"x\ny\"\r\n"));
    expect_result(test, GATHER_CSV, "a,b\n1,2\n3,\"x\ny\"\r\n");
}

static void csv_keeps_the_line_ends_of_the_first(void **state)
{
    struct gather_test *test = *state;
    gather_results(test, TEXTS("\"a\nA\",b\r\n1,2", "\"a\nA\",b\n3,4\n"));
    expect_result(test, GATHER_CSV, "\"a\nA\",b\r\n1,2\r\n3,4\n");
}

static void csv_headers_must_agree(void **state)
{
    struct gather_test *test = *state;
    gather_results(test, TEXTS("a,b\n1,2\n", "a,c\n1,2\n"));
    expect_failure(test, GATHER_CSV, MF_EINPUT, TEXTS("subtask 2", "'a,c'", "'a,b'"));
}

static void csv_quotes_must_end(void **state)
{
    struct gather_test *test = *state;
    gather_results(test, TEXTS("a,b\n1,2\n", "a,b\n1,\"2\n3,4\n"));
    expect_failure(test, GATHER_CSV, MF_EINPUT, TEXTS("subtask 2", "line 2", "quote"));
}

static void tsv_has_no_quotes(void **state)
{
    struct gather_test *test = *state;
    test->job.output.format = OUTPUT_TSV;
    gather_results(test, TEXTS("a\tb\n1\t\"2\n", "a\tb\n\"\t4"));
    expect_result(test, GATHER_CSV, "a\tb\n1\t\"2\n\"\t4\n");
}

static void a_full_disk_is_named(void **state)
{
    struct gather_test *test = *state;
    char *text = calloc(1, 400001);
    memset(text, 'y', 400000);
    gather_file(test, 1, text, 400000);
    free(text);
    /* /dev/full stands for the disk: the temporary file is a link to it. */
    char path[4096];
    snprintf(path, sizeof path, "%s/result.tmp", test->run.folder);
    assert_int_equal(symlink("/dev/full", path), 0);
    expect_failure(test, GATHER_CONCAT, MF_EFULL, TEXTS("full", "free space"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gather_setup, gather_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(concat_is_in_plan_order),
        TEST(only_done_attempts_that_count),
        TEST(large_results_are_files),
        TEST(a_file_that_vanished_or_changed),
        TEST(none_makes_no_result_and_removes_an_old_one),
        TEST(a_run_without_results),
        TEST(stopping_leaves_nothing),
        TEST(jsonl_adds_line_ends),
        TEST(jsonl_refuses_what_is_no_json),
        TEST(jsonl_refuses_two_values_and_empty_lines),
        TEST(jsonl_refuses_an_empty_line),
        TEST(csv_has_one_header),
        TEST(csv_keeps_the_line_ends_of_the_first),
        TEST(csv_headers_must_agree),
        TEST(csv_quotes_must_end),
        TEST(tsv_has_no_quotes),
        TEST(a_full_disk_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
