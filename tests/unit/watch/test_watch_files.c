/* SPDX-License-Identifier: Apache-2.0 */
/* The job files of a folder: which count, what is noticed, and when it has settled. */
#include "master/watch/files.h"

#include <fcntl.h>
#include <poll.h>
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
#include "common/clock.h"
#include "master/record/tree.h"

struct world {
    char base[64], folder[128], path[512];
    struct files *files;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    *state = world;
    snprintf(world->base, sizeof world->base, "/tmp/mayfly-files-XXXXXX");
    if (mkdtemp(world->base) == NULL)
        return -1;
    snprintf(world->folder, sizeof world->folder, "%s/jobs", world->base);
    if (mkdir(world->folder, 0700) < 0)
        return -1;
    world->files = files_open(world->folder, NULL);
    return world->files == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    files_close(world->files);
    tree_remove(world->base, NULL);
    free(world);
    return 0;
}

static const char *in(struct world *world, const char *name)
{
    snprintf(world->path, sizeof world->path, "%s/%s", world->folder, name);
    return world->path;
}

static void write_text(struct world *world, const char *name, const char *text)
{
    FILE *file = fopen(in(world, name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void make(struct world *world, const char *name)
{
    assert_int_equal(mkdir(in(world, name), 0700), 0);
}

/* The names that a look finds, one after the other. */
static void assert_found(struct world *world, const char *wanted)
{
    struct mf_error error;
    size_t count;
    char found[1024] = "";
    size_t at = 0;
    struct job_file *list = files_list(world->files, &count, &error);
    assert_non_null(list);
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(
            found + at, sizeof found - at, "%s ", list[i].path + strlen(world->folder) + 1);
    files_free_list(list, count);
    assert_string_equal(found, wanted);
    assert_int_equal(files_due_us(world->files), MF_NEVER);
}

static bool has_happened(struct world *world)
{
    struct pollfd fd = {.fd = files_fd(world->files), .events = POLLIN};
    if (poll(&fd, 1, 0) == 1)
        files_take(world->files, mf_monotonic_us());
    return files_due_us(world->files) != MF_NEVER;
}

static void test_which_files_count(void **state)
{
    struct world *world = *state;
    write_text(world, "b.yaml", "b");
    write_text(world, "a.yaml", "a");
    write_text(world, ".hidden.yaml", "");
    write_text(world, "a.yaml.bak", "");
    write_text(world, "notes.txt", "");
    make(world, "folder.yaml");
    make(world, "one");
    write_text(world, "one/job.yaml", "");
    write_text(world, "one/other.yaml", "");
    make(world, "one/deeper");
    write_text(world, "one/deeper/job.yaml", "");
    make(world, ".hidden");
    write_text(world, ".hidden/job.yaml", "");
    assert_int_equal(symlink("one", in(world, "two")), 0);
    assert_int_equal(symlink("a.yaml", in(world, "c.yaml")), 0);
    assert_int_equal(symlink("nowhere", in(world, "dangling.yaml")), 0);
    assert_int_equal(mkfifo(in(world, "pipe.yaml"), 0600), 0);
    assert_found(world, "a.yaml b.yaml c.yaml one/job.yaml two/job.yaml ");
}

static void test_what_is_noticed(void **state)
{
    struct world *world = *state;
    make(world, "one");
    assert_found(world, "");
    write_text(world, "a.yaml", "a");
    assert_true(has_happened(world));
    assert_found(world, "a.yaml ");
    write_text(world, "one/job.yaml", "a"); /* in a sub-folder */
    assert_true(has_happened(world));
    assert_found(world, "a.yaml one/job.yaml ");
    make(world, "two"); /* a new one; what is in it counts, too */
    assert_true(has_happened(world));
    write_text(world, "two/job.yaml", "a");
    assert_found(world, "a.yaml one/job.yaml two/job.yaml ");
    assert_false(has_happened(world));
    write_text(world, "two/job.yaml", "b");
    assert_true(has_happened(world));
    assert_found(world, "a.yaml one/job.yaml two/job.yaml ");
    assert_int_equal(unlink(in(world, "a.yaml")), 0);
    assert_true(has_happened(world));
    assert_found(world, "one/job.yaml two/job.yaml ");
    char out[512];
    snprintf(out, sizeof out, "%s/away", world->base);
    assert_int_equal(rename(in(world, "one"), out), 0);
    assert_true(has_happened(world));
    assert_found(world, "two/job.yaml ");
}

static void test_what_does_not_matter_is_no_reason_to_look(void **state)
{
    struct world *world = *state;
    make(world, "incoming");
    assert_found(world, "");
    write_text(world, "incoming/document.pdf", "");
    write_text(world, "notes.txt", "");
    write_text(world, ".a.yaml.swp", "");
    make(world, ".git");
    assert_false(has_happened(world));
}

static void test_it_settles(void **state)
{
    struct world *world = *state;
    assert_found(world, "");
    write_text(world, "a.yaml", "a");
    files_take(world->files, 1000000);
    assert_int_equal(files_due_us(world->files), 1000000 + FILES_SETTLE_US);
    write_text(world, "a.yaml", "b");
    files_take(world->files, 1100000);
    assert_int_equal(files_due_us(world->files), 1100000 + FILES_SETTLE_US);
    write_text(world, "a.yaml", "c"); /* on and on: not for ever */
    files_take(world->files, 2900000);
    assert_int_equal(files_due_us(world->files), 1000000 + FILES_SETTLE_MOST_US);
}

static struct file_version version_of(struct world *world)
{
    size_t count;
    struct job_file *list = files_list(world->files, &count, NULL);
    assert_non_null(list);
    assert_int_equal(count, 1);
    struct file_version version = list[0].version;
    files_free_list(list, count);
    return version;
}

static void test_versions(void **state)
{
    struct world *world = *state;
    static const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    write_text(world, "a.yaml", "a");
    struct file_version first = version_of(world), same = version_of(world);
    assert_true(file_version_equal(&first, &same));
    write_text(world, ".new", "b"); /* of the same size and time */
    assert_int_equal(utimensat(AT_FDCWD, in(world, ".new"), old, 0), 0);
    char from[512];
    snprintf(from, sizeof from, "%s", in(world, ".new"));
    assert_int_equal(rename(from, in(world, "a.yaml")), 0);
    struct file_version second = version_of(world);
    assert_false(file_version_equal(&first, &second));
}

static void test_a_folder_that_is_gone_and_comes_back(void **state)
{
    struct world *world = *state;
    struct mf_error error;
    size_t count;
    write_text(world, "a.yaml", "a");
    assert_found(world, "a.yaml ");
    char out[512];
    snprintf(out, sizeof out, "%s/away", world->base);
    assert_int_equal(rename(world->folder, out), 0);
    assert_true(has_happened(world));
    assert_null(files_list(world->files, &count, &error));
    assert_int_equal(error.code, MF_ESETUP);
    assert_non_null(strstr(error.text, world->folder));
    assert_int_equal(mkdir(world->folder, 0700), 0);
    assert_found(world, "");
    write_text(world, "b.yaml", "a"); /* the new one is watched from that look on */
    assert_true(has_happened(world));
    assert_found(world, "b.yaml ");
}

static void test_exhausted_memory(void **state)
{
    struct world *world = *state;
    struct mf_error error;
    size_t count;
    make(world, "one");
    write_text(world, "one/job.yaml", "a");
    write_text(world, "a.yaml", "a");
    for (unsigned long n = 1;; n++) {
        mf_alloc_fail_at(n);
        struct job_file *list = files_list(world->files, &count, &error);
        mf_alloc_fail_at(0);
        if (list != NULL) {
            files_free_list(list, count);
            assert_true(n > 4);
            return;
        }
        assert_int_equal(error.code, MF_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_which_files_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_what_does_not_matter_is_no_reason_to_look, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_settles, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_a_folder_that_is_gone_and_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_exhausted_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
