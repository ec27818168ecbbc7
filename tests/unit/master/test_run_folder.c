/* SPDX-License-Identifier: Apache-2.0 */
/* Run folders: unique, found by id, prefix and `last`, owned by one master. */
#include "master/run_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/record/tree.h"

static int make_state(void **state)
{
    char *folder = strdup("/tmp/mayfly-state-XXXXXX");
    *state = folder;
    return mkdtemp(folder) == NULL || setenv("XDG_STATE_HOME", folder, 1) < 0 ? -1 : 0;
}

static int remove_state(void **state)
{
    tree_remove(*state, NULL);
    free(*state);
    return 0;
}

static void test_folder_is_private_and_unique(void **state)
{
    (void)state;
    struct mf_error error;
    struct stat stat_of;
    char a[RUN_ID_SIZE], b[RUN_ID_SIZE];
    char *first = run_folder_create("words", a, &error),
         *second = run_folder_create("words", b, &error);
    assert_non_null(first);
    assert_non_null(second);
    assert_string_not_equal(a, b);
    assert_int_equal(stat(first, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 0777, 0700);
    mf_free(first);
    mf_free(second);
}

static void test_found_by_id_prefix_and_last(void **state)
{
    struct mf_error error;
    char id[RUN_ID_SIZE], path[512];
    assert_null(run_folder_find("last", id, &error));
    assert_non_null(strstr(error.text, "no runs yet"));
    static const char *const names[] = {
        "20260101-000000-a-0001", "20260101-000000-b-0002", "20270101-000000-c-0003"};
    snprintf(path, sizeof path, "%s/mayfly", (char *)*state);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/mayfly/runs", (char *)*state);
    mkdir(path, 0700);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/mayfly/runs/%s", (char *)*state, names[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    char *folder = run_folder_find("last", id, &error);
    assert_string_equal(id, names[2]);
    mf_free(folder);
    folder = run_folder_find("20260101-000000-b", id, &error);
    assert_string_equal(id, names[1]);
    mf_free(folder);
    assert_null(run_folder_find("20260101", id, &error));
    assert_non_null(strstr(error.text, "several runs"));
    assert_null(run_folder_find("x", id, &error));
    assert_non_null(strstr(error.text, names[2]));
    assert_null(run_folder_find("", id, &error));
}

static void test_one_master_a_run(void **state)
{
    struct mf_error error;
    int first = run_folder_lock(*state, &error);
    assert_true(first >= 0);
    assert_true(run_folder_is_live(*state));
    assert_int_equal(run_folder_lock(*state, &error), -1);
    assert_non_null(strstr(error.text, "another master"));
    close(first);
    assert_false(run_folder_is_live(*state));
}

static void test_no_place_for_runs(void **state)
{
    (void)state;
    struct mf_error error;
    char id[RUN_ID_SIZE];
    setenv("XDG_STATE_HOME", "/proc/nowhere", 1);
    assert_null(run_folder_create("x", id, &error));
    assert_int_equal(error.code, MF_ESETUP);
    assert_non_null(strstr(error.text, "/proc/nowhere"));
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    assert_null(run_folder_create("x", id, &error));
    assert_non_null(strstr(error.text, "HOME"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_folder_is_private_and_unique, make_state, remove_state),
        cmocka_unit_test_setup_teardown(test_found_by_id_prefix_and_last, make_state, remove_state),
        cmocka_unit_test_setup_teardown(test_one_master_a_run, make_state, remove_state),
        cmocka_unit_test_setup_teardown(test_no_place_for_runs, make_state, remove_state)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
