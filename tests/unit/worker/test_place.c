/* SPDX-License-Identifier: Apache-2.0 */
/* Places of workers: which are taken, and how trees are removed. */
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
#include "worker/place.h"

static int setup(void **state)
{
    char *root = strdup("/tmp/mayfly-test-XXXXXX");
    assert_non_null(mkdtemp(root));
    *state = root;
    return 0;
}

static int teardown(void **state)
{
    struct mf_error error;
    int rc = place_remove(*state, NULL, &error);
    free(*state);
    return rc;
}

static char *path_in(const char *root, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void make(const char *root, const char *name)
{
    assert_int_equal(mkdir(path_in(root, name), 0700), 0);
}

static void write_file(const char *root, const char *name)
{
    FILE *file = fopen(path_in(root, name), "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

static void candidates_are_in_order(void **state)
{
    (void)state;
    unsigned count = 0;
    char expected[64];
    setenv("XDG_CACHE_HOME", "/x/cache", 1);
    setenv("HOME", "/x/home", 1);
    char **places = place_candidates(&count);
    assert_int_equal(count, 4);
    assert_string_equal(places[0], "/x/cache/mayfly");
    assert_string_equal(places[1], "/x/home/.cache/mayfly");
    snprintf(expected, sizeof expected, "/var/tmp/mayfly-%u", (unsigned)geteuid());
    assert_string_equal(places[2], expected);
    snprintf(expected, sizeof expected, "/tmp/mayfly-%u", (unsigned)geteuid());
    assert_string_equal(places[3], expected);
    place_candidates_free(places, count);
}

static void relative_variables_do_not_count(void **state)
{
    (void)state;
    unsigned count = 0;
    setenv("XDG_CACHE_HOME", "cache", 1);
    unsetenv("HOME");
    char **places = place_candidates(&count);
    assert_int_equal(count, 2);
    place_candidates_free(places, count);
}

static void the_first_usable_place_is_taken(void **state)
{
    const char *root = *state;
    struct mf_error error;
    struct stat st;
    setenv("XDG_CACHE_HOME", path_in(root, "a/b"), 1);
    setenv("HOME", path_in(root, "home"), 1);
    char *path = place_make("run-1", 7, &error);
    assert_non_null(path);
    assert_string_equal(path, path_in(root, "a/b/mayfly/runs/run-1/7"));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    mf_free(path);
    /* A worker's id is never used again: what is there belongs to another. */
    path = place_make("run-1", 7, &error);
    assert_non_null(path);
    assert_string_equal(path, path_in(root, "home/.cache/mayfly/runs/run-1/7"));
    mf_free(path);
}

static void an_unusable_place_is_passed_over(void **state)
{
    const char *root = *state;
    struct mf_error error;
    write_file(root, "file");
    make(root, "shared");
    make(root, "shared/mayfly");
    assert_int_equal(chmod(path_in(root, "shared/mayfly"), 0777), 0);
    setenv("HOME", path_in(root, "home"), 1);
    const char *const unusable[] = {"file", "shared"};
    for (unsigned i = 0; i < 2; i++) {
        setenv("XDG_CACHE_HOME", path_in(root, unusable[i]), 1);
        char *path = place_make("run-1", 7 + i, &error);
        assert_non_null(path);
        assert_non_null(strstr(path, "/home/.cache/"));
        mf_free(path);
    }
}

static void a_run_id_that_is_a_path_is_refused(void **state)
{
    (void)state;
    struct mf_error error;
    const char *const bad[] = {"", ".", "..", "a/b", "../x"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(place_make(bad[i], 1, &error));
}

static void a_tree_is_removed_without_following_links(void **state)
{
    const char *root = *state;
    struct mf_error error;
    uint32_t removed = 0;
    make(root, "outside");
    write_file(root, "outside/kept");
    make(root, "tree");
    make(root, "tree/a");
    make(root, "tree/a/locked");
    write_file(root, "tree/a/locked/file");
    char target[256];
    snprintf(target, sizeof target, "%s/outside", root);
    assert_int_equal(symlink(target, path_in(root, "tree/link")), 0);
    assert_int_equal(chmod(path_in(root, "tree/a/locked"), 0), 0);
    assert_int_equal(place_remove(path_in(root, "tree"), &removed, &error), 0);
    assert_int_equal(removed, 5);
    assert_int_equal(access(path_in(root, "tree"), F_OK), -1);
    assert_int_equal(access(path_in(root, "outside/kept"), F_OK), 0);
}

static void a_link_itself_is_removed(void **state)
{
    const char *root = *state;
    struct mf_error error;
    char target[256];
    make(root, "outside");
    snprintf(target, sizeof target, "%s/outside", root);
    assert_int_equal(symlink(target, path_in(root, "link")), 0);
    assert_int_equal(place_remove(path_in(root, "link"), NULL, &error), 0);
    assert_int_equal(access(target, F_OK), 0);
}

static void a_missing_tree_is_fine(void **state)
{
    struct mf_error error;
    uint32_t removed = 9;
    assert_int_equal(place_remove(path_in(*state, "none"), &removed, &error), 0);
    assert_int_equal(removed, 0);
}

static void a_very_deep_tree_is_removed(void **state)
{
    const char *root = *state;
    struct mf_error error;
    char *here = getcwd(NULL, 0);
    make(root, "deep");
    assert_int_equal(chdir(path_in(root, "deep")), 0);
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(mkdir("d", 0700), 0);
        assert_int_equal(chdir("d"), 0);
    }
    assert_int_equal(chdir(here), 0);
    free(here);
    uint32_t removed = 0;
    assert_int_equal(place_remove(path_in(root, "deep"), &removed, &error), 0);
    assert_int_equal(removed, 3001);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(candidates_are_in_order),
        CASE(relative_variables_do_not_count),
        CASE(the_first_usable_place_is_taken),
        CASE(an_unusable_place_is_passed_over),
        CASE(a_run_id_that_is_a_path_is_refused),
        CASE(a_tree_is_removed_without_following_links),
        CASE(a_link_itself_is_removed),
        CASE(a_missing_tree_is_fine),
        CASE(a_very_deep_tree_is_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
