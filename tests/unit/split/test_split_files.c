/* SPDX-License-Identifier: Apache-2.0 */
/* Globs: names of every kind, order, duplicates, folders, what is missing; groups. */
#include "tests/unit/split/split_fixture.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, split_setup, split_teardown)

static void make_folder(const struct split_test *test, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", test->folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void names_are_bytes(void **state)
{
    struct split_test *test = *state;
    make_folder(test, "d");
    put(test, "d/a b", "1");
    put(test, "d/new\nline", "1");
    put(test, "d/'q\"", "1");
    put(test, "d/-rf", "1");
    put(test, "d/\xff\xfe", "1");
    put(test, "d/Z", "1");
    put(test, "d/[x]*?\\", "1");
    put(test, "d/.hidden", "1");
    expect_items(
        test, "{files: 'd/*'}", "d/'q\"\nd/-rf\nd/Z\nd/[x]*?\\\nd/a b\nd/new\nline\nd/\xff\xfe\n");
    expect_items(test, "{files: 'd/\\[x]\\*\\?\\\\'}", "d/[x]*?\\\n");
    expect_items(test, "{files: [d/Z, 'd/[YZ]', 'd/.h*']}", "d/.hidden\nd/Z\n");
    expect_plan(test, "{files: 'd/Z'}", "d/Z@0+1(0)\n");
}

static void the_folder_may_look_like_a_glob(void **state)
{
    struct split_test *test = *state;
    make_folder(test, "[a]*?\\");
    put(test, "[a]*?\\/x y", "1");
    char whole[96];
    snprintf(whole, sizeof whole, "%s/[a]*?\\", test->folder);
    assert_true(strlen(whole) < sizeof test->folder);
    memcpy(test->folder, whole, strlen(whole) + 1);
    expect_items(test, "{files: '*'}", "x y\n");
    expect_items(test, "{files: 'x y'}", "x y\n");
    *strrchr(test->folder, '/') = '\0';
}

static void paths_outside_the_folder_are_absolute(void **state)
{
    struct split_test *test = *state;
    char split[200], wanted[200];
    put(test, "a", "1");
    make_folder(test, "job");
    snprintf(split, sizeof split, "{files: %s/a}", test->folder);
    snprintf(wanted, sizeof wanted, "%s/a\n", test->folder);
    expect_items(test, split, wanted);
    snprintf(wanted, sizeof wanted, "%s/a\n", test->folder);
    expect_items(test, "{files: $MAYFLY_PREPARED/a}", wanted);
    expect_items(test, "{files: '${MAYFLY_PREPARED}/[a]'}", wanted);
    snprintf(wanted, sizeof wanted, "%s/job/../a\n", test->folder);
    expect_items(test, "{files: job/../a}", wanted);
}

static void what_matches_nothing(void **state)
{
    struct split_test *test = *state;
    char wanted[200];
    make_folder(test, "d");
    snprintf(wanted,
             sizeof wanted,
             "j.yaml: split: the glob '*.txt' matches no file in %s",
             test->folder);
    expect_items(test, "{files: '*.txt'}", wanted);
    assert_int_equal(test->error.code, MF_EUSAGE);
    snprintf(wanted,
             sizeof wanted,
             "j.yaml: split: the glob '*' matches no file, only folders, in %s",
             test->folder);
    expect_items(test, "{files: '*'}", wanted);
    expect_items(test, "{files: '*', allow_empty: true}", "");
}

static void what_cannot_be_read(void **state)
{
    struct split_test *test = *state;
    char path[128], wanted[200];
    snprintf(path, sizeof path, "%s/pipe", test->folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(
        wanted, sizeof wanted, "the input '%s' is not a regular file; a file is expected", path);
    expect_items(test, "{files: pipe}", wanted);
    assert_int_equal(test->error.code, MF_EINPUT);
    snprintf(path, sizeof path, "%s/dangling", test->folder);
    assert_int_equal(symlink("nowhere", path), 0);
    snprintf(
        wanted, sizeof wanted, "the input '%s' cannot be used: No such file or directory", path);
    expect_items(test, "{files: dangling}", wanted);
    if (geteuid() != 0) {
        put(test, "secret", "1");
        snprintf(path, sizeof path, "%s/secret", test->folder);
        assert_int_equal(chmod(path, 0), 0);
        snprintf(wanted, sizeof wanted, "the input '%s' cannot be read: Permission denied", path);
        expect_items(test, "{files: secret}", wanted);
    }
}

static void an_input_that_vanishes(void **state)
{
    struct split_test *test = *state;
    char path[128];
    struct mf_subtask piece;
    put(test, "a", "1");
    struct job *job = split_job(test, "{files: a}");
    struct split *split = split_create(job, NULL, &test->error);
    assert_non_null(split);
    snprintf(path, sizeof path, "%s/a", test->folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(split_next(split, &piece, &test->error), -1);
    assert_int_equal(test->error.code, MF_EINPUT);
    assert_string_equal(
        test->error.text,
        "the input 'a' was there when the run began and cannot be used now: No such "
        "file or directory; bring it back and start a new run");
    split_destroy(split);
    job_destroy(job);
}

static void groups(void **state)
{
    struct split_test *test = *state;
    put(test, "a", "123");
    put(test, "b", "1234");
    put(test, "c", "123456789012");
    put(test, "d", "");
    put(test, "e", "1");
    struct job *job = split_job(test, "{files: '*', group: 8}");
    struct split *split = split_create(job, NULL, &test->error);
    struct mf_subtask piece;
    static const struct {
        size_t files, bytes;
    } wanted[] = {{2, 7}, {1, 12}, {2, 1}};
    assert_non_null(split);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(split_next(split, &piece, &test->error), 1);
        size_t files = 0;
        for (size_t k = 0; k < piece.item.length; k++)
            files += piece.item.data[k] == '\0' ? 1 : 0;
        assert_int_equal(files, wanted[i].files);
        assert_int_equal(piece.length, wanted[i].bytes);
        assert_int_equal(piece.path.length, 0);
        assert_memory_equal(piece.item.data, test->folder, strlen(test->folder));
        assert_int_equal(piece.item.data[piece.item.length - 1], '\0');
    }
    assert_int_equal(split_next(split, &piece, &test->error), 0);
    split_destroy(split);
    job_destroy(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(names_are_bytes),
        CASE(the_folder_may_look_like_a_glob),
        CASE(paths_outside_the_folder_are_absolute),
        CASE(what_matches_nothing),
        CASE(what_cannot_be_read),
        CASE(an_input_that_vanishes),
        CASE(groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
