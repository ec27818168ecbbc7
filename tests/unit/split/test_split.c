/* SPDX-License-Identifier: Apache-2.0 */
/* Plans of range and list, of lines and records in files, and what ends a split with an error. */
#include "tests/unit/split/split_fixture.h"

#include "common/alloc.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, split_setup, split_teardown)

static void ranges(void **state)
{
    struct split_test *test = *state;
    expect_items(test, "{range: 1-3}", "1\n2\n3\n");
    expect_items(test, "{range: '0-10:4'}", "0\n4\n8\n");
    expect_items(test, "{range: '3--3:-2'}", "3\n1\n-1\n-3\n");
    expect_items(test, "{range: 7-7}", "7\n");
    expect_items(test,
                 "{range: {from: 9223372036854775805, to: 9223372036854775807, step: 2}}",
                 "9223372036854775805\n9223372036854775807\n");
    expect_items(test,
                 "{range: {from: -9223372036854775807, to: -9223372036854775808, step: -1}}",
                 "-9223372036854775807\n-9223372036854775808\n");
    expect_items(test,
                 "{range: 3-1}",
                 "j.yaml: split: the plan is empty: the range holds no number; 'allow_empty: true' "
                 "allows that");
    expect_items(test, "{range: 3-1, allow_empty: true}", "");
}

static void lists(void **state)
{
    struct split_test *test = *state;
    expect_items(test, "{list: [a, 'b c', '', 7, -x]}", "a\nb c\n\n7\n-x\n");
    expect_items(test,
                 "{list: []}",
                 "j.yaml: split: the plan is empty: the list holds no value; 'allow_empty: true' "
                 "allows that");
}

static void lines(void **state)
{
    struct split_test *test = *state;
    put(test, "a", "one\ntwo\r\n\nfour");
    put(test, "b", "");
    put(test, "c", "x\n");
    expect_plan(test, "{lines: [c, a, b], count: 2}", "a@0+9(0)\na@9+5(0)\nc@0+2(0)\n");
    expect_plan(test, "{lines: a, count: 1}", "a@0+4(0)\na@4+5(0)\na@9+1(0)\na@10+4(0)\n");
    expect_plan(test, "{lines: a, bytes: 4}", "a@0+4(0)\na@4+5(0)\na@9+5(0)\n");
    expect_plan(test, "{lines: a, bytes: 1}", "a@0+4(0)\na@4+5(0)\na@9+1(0)\na@10+4(0)\n");
    expect_plan(test, "{lines: a}", "a@0+14(0)\n");
    expect_plan(test,
                "{lines: b}",
                "j.yaml: split: the plan is empty: the inputs hold nothing to do; 'allow_empty: "
                "true' allows that");
    expect_plan(test, "{lines: b, allow_empty: true}", "");
    expect_plan(test, "{records: a, format: jsonl, count: 3}", "a@0+10(0)\na@10+4(0)\n");
}

static void a_line_of_100_megabytes(void **state)
{
    struct split_test *test = *state;
    char path[128], wanted[160];
    snprintf(path, sizeof path, "%s/long", test->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs("first\n", file) < 0, 0);
    assert_int_equal(fseek(file, 100000000, SEEK_CUR), 0); /* a hole of NUL bytes is a line too */
    assert_int_equal(fputs("\nlast", file) < 0, 0);
    assert_int_equal(fclose(file), 0);
    snprintf(wanted, sizeof wanted, "long@0+6(0)\nlong@6+100000001(0)\nlong@100000007+4(0)\n");
    expect_plan(test, "{lines: long, count: 1}", wanted);
    expect_plan(test, "{lines: long, bytes: 2}", wanted);
}

static void csv(void **state)
{
    struct split_test *test = *state;
    put(test, "a.csv", "\xef\xbb\xbf\"n\",\"a\nb\"\r\n1,\"x\r\n\"\"y,\"\r\n2,\r\n\r\n3,z");
    expect_plan(test,
                "{records: a.csv, format: csv, count: 1}",
                "a.csv@14+13(14)\na.csv@27+6(14)\na.csv@33+3(14)\n");
    expect_plan(
        test, "{records: a.csv, format: csv, count: 2}", "a.csv@14+19(14)\na.csv@33+3(14)\n");
    put(test, "b.tsv", "n\ta,b\n1\t2\n");
    expect_plan(test, "{records: b.tsv, format: tsv}", "b.tsv@6+4(6)\n");
    put(test, "header.csv", "only,a,header\n");
    expect_plan(test, "{records: [header.csv], format: csv, allow_empty: true}", "");
}

static void bad_csv(void **state)
{
    struct split_test *test = *state;
    put(test, "r.csv", "a,b\n1,\"2\n\"\n3\n4,5\n");
    expect_plan(test,
                "{records: r.csv, format: csv, count: 1}",
                "r.csv@4+7(4)\nthe input 'r.csv' has 1 column in line 4, its header has 2; mend "
                "the line, or quote what it "
                "holds");
    assert_int_equal(test->error.code, MF_EINPUT);
    put(test, "last.csv", "a,b\n1,2,3");
    expect_plan(test,
                "{records: last.csv, format: csv}",
                "the input 'last.csv' has 3 columns in line 2, its header has 2; mend the line, or "
                "quote what it holds");
    put(test, "q.csv", "a,b\n1,2\n3,\"4\n5,6\n");
    expect_plan(test,
                "{records: q.csv, format: csv}",
                "the input 'q.csv' has a quote in the record of line 3 that never ends; a quote "
                "within a field is doubled");
}

static void paragraphs(void **state)
{
    struct split_test *test = *state;
    put(test, "p", "\n\nA: 1\nB: 2\n\nA: 3\n\n\n\nA: 5\r\n\r\nA: 6");
    expect_plan(test,
                "{records: p, format: paragraphs, count: 1}",
                "p@0+13(0)\np@13+8(0)\np@21+8(0)\np@29+4(0)\n");
    expect_plan(test, "{records: p, format: paragraphs, bytes: 14}", "p@0+21(0)\np@21+12(0)\n");
    put(test, "blank", "\n\r\n\n");
    expect_plan(test, "{records: blank, format: paragraphs, allow_empty: true}", "");
}

static void only_some(void **state)
{
    struct split_test *test = *state;
    expect_items(test, "{range: '10-100:10', only: [9, 2-3]}", "20\n30\n90\n");
    expect_items(test, "{range: 1-1000000000000, only: '1,4'}", "1\n4\n");
    expect_items(test, "{list: [a, b, c], only: 3}", "c\n");
    expect_items(test,
                 "{list: [a, b, c], only: [2, 7]}",
                 "b\nj.yaml: split.only names piece 7, but there are only 3; have the inputs "
                 "changed?");
    put(test, "a", "1\n2\n3\n");
    put(test, "b", "4\n5\n");
    expect_plan(test, "{lines: [a, b], count: 1, only: [2, 4]}", "a@2+2(0)\nb@0+2(0)\n");
}

static void an_input_that_changes_while_it_is_split(void **state)
{
    struct split_test *test = *state;
    put(test, "a", "1\n2\n3\n");
    struct job *job = split_job(test, "{lines: a, count: 1}");
    struct split *split = split_create(job, NULL, &test->error);
    struct mf_subtask piece;
    assert_non_null(split);
    assert_int_equal(split_next(split, &piece, &test->error), 1);
    put(test, "a", "1\n2\n3\n4\n");
    int rc;
    while ((rc = split_next(split, &piece, &test->error)) == 1)
        ;
    assert_int_equal(rc, -1);
    assert_int_equal(test->error.code, MF_EINPUT);
    assert_string_equal(
        test->error.text,
        "the input 'a' changed while it was split; start a new run when it is complete");
    split_destroy(split);
    job_destroy(job);
}

static void pieces_say_what_the_input_was(void **state)
{
    struct split_test *test = *state;
    char path[128];
    struct stat status;
    struct mf_subtask piece;
    put(test, "a", "1\n2\n");
    snprintf(path, sizeof path, "%s/a", test->folder);
    assert_int_equal(stat(path, &status), 0);
    struct job *job = split_job(test, "{lines: a}");
    struct split *split = split_create(job, NULL, &test->error);
    assert_non_null(split);
    assert_int_equal(split_next(split, &piece, &test->error), 1);
    assert_int_equal(piece.input_size, 4);
    assert_int_equal(piece.input_inode, status.st_ino);
    assert_true(piece.input_mtime_ns ==
                status.st_mtim.tv_sec * 1000000000LL + status.st_mtim.tv_nsec);
    assert_true(mf_bytes_equal(piece.path, mf_bytes_text("a")));
    assert_int_equal(piece.attempt, 0);
    split_destroy(split);
    job_destroy(job);
}

static void every_failing_allocation_is_reported(void **state)
{
    struct split_test *test = *state;
    put(test, "a", "1\n2\n");
    struct job *job = split_job(test, "{files: a, group: 10}");
    for (unsigned long n = 1;; n++) {
        struct mf_subtask piece;
        int rc = -1;
        test->error = (struct mf_error){0};
        mf_alloc_fail_at(n);
        struct split *split = split_create(job, NULL, &test->error);
        while (split != NULL && (rc = split_next(split, &piece, &test->error)) == 1)
            ;
        bool has_failed = mf_alloc_count() >= n;
        mf_alloc_fail_at(0);
        split_destroy(split);
        if (!has_failed)
            break;
        assert_int_equal(rc, -1);
        assert_int_equal(test->error.code, MF_ENOMEM);
    }
    job_destroy(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(ranges),
        CASE(lists),
        CASE(lines),
        CASE(a_line_of_100_megabytes),
        CASE(csv),
        CASE(bad_csv),
        CASE(paragraphs),
        CASE(only_some),
        CASE(an_input_that_changes_while_it_is_split),
        CASE(pieces_say_what_the_input_was),
        CASE(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
