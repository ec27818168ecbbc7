/* SPDX-License-Identifier: Apache-2.0 */
/* The folder that master and workers share. */
#include "master/launch/shared_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/launch/slurm_notes.h"

static char base[32];
static char folder[64];

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void append(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "a");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static mode_t mode_of(const char *path)
{
    struct stat facts;
    assert_int_equal(lstat(path, &facts), 0);
    return facts.st_mode & 07777;
}

static int make_folder(void **state)
{
    struct mf_error error;
    (void)state;
    snprintf(base, sizeof base, "/tmp/mayfly-shared-XXXXXX");
    assert_non_null(mkdtemp(base));
    snprintf(folder, sizeof folder, "%s/mayfly-RUN", base);
    umask(0);
    return shared_folder_make(folder, "/bin/sh", "workers.slurm.folder", &error);
}

static int remove_folder(void **state)
{
    uint32_t removed;
    struct mf_error error;
    (void)state;
    int rc = shared_folder_remove(folder, &removed, &error);
    return rc < 0 ? -1 : rmdir(base);
}

/* For its user alone, whatever the umask; a second master finds it there. */
static void test_made(void **state)
{
    struct mf_error error;
    (void)state;
    assert_int_equal(mode_of(folder), 0700);
    assert_int_equal(mode_of(path_of("mayfly-worker")), 0700);
    assert_int_equal(shared_folder_make(folder, "/bin/sh", "workers.slurm.folder", &error), 0);
    assert_int_equal(access(path_of("mayfly-worker.new"), F_OK), -1);
    assert_int_equal(shared_folder_put_input(folder, 7, "secret", &error), 0);
    assert_int_equal(mode_of(path_of("input.7")), 0600);
    assert_true(shared_folder_has_input(folder, 7));
    shared_folder_drop_input(folder, 7);
    assert_false(shared_folder_has_input(folder, 7));
    shared_folder_drop_input(folder, 7);
}

/* Somebody else's folder, or one that others can look into, or a way elsewhere. */
static void test_not_made(void **state)
{
    struct mf_error error;
    char other[100], wanted[300];
    (void)state;
    snprintf(other, sizeof other, "%s/other", base);
    assert_int_equal(mkdir(other, 0755), 0);
    assert_int_equal(shared_folder_make(other, "/bin/sh", "workers.slurm.folder", &error), -1);
    snprintf(wanted,
             sizeof wanted,
             "%s is not a folder of yours alone: remove it, or name another place by "
             "workers.slurm.folder",
             other);
    assert_string_equal(error.text, wanted);
    assert_int_equal(rmdir(other), 0);
    assert_int_equal(symlink(folder, other), 0);
    assert_int_equal(shared_folder_make(other, "/bin/sh", "workers.slurm.folder", &error), -1);
    assert_int_equal(unlink(other), 0);
    snprintf(other, sizeof other, "%s/no/such", base);
    assert_int_equal(shared_folder_make(other, "/bin/sh", "workers.slurm.folder", &error), -1);
    assert_non_null(strstr(error.text, "(workers.slurm.folder)"));
    assert_int_equal(shared_folder_make(folder, "/no/such/program", "workers.slurm.folder", &error),
                     -1);
    assert_non_null(strstr(error.text, "the worker's program /no/such/program cannot be read"));
    assert_int_equal(access(path_of("mayfly-worker.new"), F_OK), -1);
}

/* An input is never written to where a link leads. */
static void test_links_are_not_followed(void **state)
{
    struct mf_error error;
    char text[32];
    (void)state;
    assert_int_equal(symlink("/tmp/elsewhere", path_of("input.3")), 0);
    assert_int_equal(shared_folder_put_input(folder, 3, "secret", &error), -1);
    assert_int_equal(symlink("/etc/passwd", path_of("out.3")), 0);
    assert_false(shared_folder_read_output(folder, 3, text, sizeof text));
    assert_string_equal(text, "");
}

static void test_jobs_are_noted(void **state)
{
    const uint32_t first[] = {1, 2, 5}, second[] = {6};
    struct mf_error error;
    uint32_t job = 0, index = 9;
    (void)state;
    assert_false(slurm_find_job(folder, 1, &job, &index));
    assert_int_equal(slurm_note_job(folder, 17, first, 3, &error), 0);
    assert_int_equal(mode_of(path_of("jobs")), 0600);
    assert_true(slurm_find_job(folder, 5, &job, &index));
    assert_int_equal(job, 17);
    assert_int_equal(index, 2);
    assert_false(slurm_find_job(folder, 3, &job, &index));
    /* A note that was torn by a crash is none, and does not spoil the next one. */
    append("jobs", "8 99 1");
    assert_false(slurm_find_job(folder, 8, &job, &index));
    assert_int_equal(slurm_note_job(folder, 18, second, 1, &error), 0);
    assert_false(slurm_find_job(folder, 8, &job, &index));
    assert_true(slurm_find_job(folder, 6, &job, &index));
    assert_int_equal(job, 18);
    assert_int_equal(index, 0);
    assert_true(slurm_find_job(folder, 1, &job, &index));
    assert_int_equal(job, 17);
}

static void note(uint32_t worker, const char *text)
{
    struct mf_buffer notes = {0};
    struct mf_error error;
    assert_int_equal(shared_note_add(&notes, worker, text, &error), 0);
    assert_int_equal(shared_folder_note(folder, mf_buffer_view(&notes), &error), 0);
    mf_buffer_fini(&notes);
}

static void add_note(void *arg, uint32_t worker, const char *text)
{
    char *all = arg;
    size_t n = strlen(all);
    snprintf(all + n, 100 - n, "%u=%s;", worker, text);
}

/* The last one of a worker counts; one without its end would be an id that is somebody else's. */
static void test_texts_are_noted(void **state)
{
    char text[32], all[100] = "";
    (void)state;
    assert_false(shared_folder_has_notes(folder));
    assert_false(shared_folder_read_notes(folder, add_note, all));
    note(2, "?");
    assert_true(shared_folder_has_notes(folder));
    note(3, "?");
    note(2, "? 4711");
    append("jobs", "2 p12");
    assert_true(shared_folder_find(folder, 2, text, sizeof text));
    assert_string_equal(text, "? 4711");
    note(2, "p1234 .");
    append("jobs", "2 .\n99999999999 x .\n2\n.\n 2 x .\n2x .\n");
    assert_true(shared_folder_find(folder, 2, text, sizeof text));
    assert_string_equal(text, "p1234 .");
    assert_true(shared_folder_find(folder, 2, text, 4));
    assert_string_equal(text, "p12");
    assert_false(shared_folder_find(folder, 4, text, sizeof text));
    assert_true(shared_folder_read_notes(folder, add_note, all));
    assert_string_equal(all, "2=?;3=?;2=? 4711;2=p1234 .;");
}

static void test_folders_that_scripts_cannot_name(void **state)
{
    struct mf_error error;
    (void)state;
    assert_int_equal(shared_folder_make("/tmp/it's", NULL, "workers.command.folder", &error), -1);
    assert_string_equal(error.text,
                        "the folder /tmp/it's has a quote or a line end in its name: name another "
                        "one by workers.command.folder");
}

/* What was submitted and never noted is known from what the job says when it begins. */
static void test_a_job_that_was_not_noted(void **state)
{
    uint32_t job, index;
    (void)state;
    append("out.4", "mayfly 1 job 21 3\nmayfly 1 address 10.0.0.1 \n");
    assert_true(slurm_find_job(folder, 4, &job, &index));
    assert_int_equal(job, 21);
    assert_int_equal(index, 3);
    append("out.5", "sh: mayfly-worker: not found\n");
    assert_false(slurm_find_job(folder, 5, &job, &index));
}

static void test_output_is_cut(void **state)
{
    char text[8];
    (void)state;
    assert_false(shared_folder_read_output(folder, 1, text, sizeof text));
    append("out.1", "0123456789");
    assert_true(shared_folder_read_output(folder, 1, text, sizeof text));
    assert_string_equal(text, "0123456");
}

static void test_removed(void **state)
{
    uint32_t removed;
    struct mf_error error;
    (void)state;
    append("input.1", "x");
    append("out.1", "x");
    assert_int_equal(shared_folder_remove(folder, &removed, &error), 0);
    assert_int_equal(removed, 3);
    assert_int_equal(access(folder, F_OK), -1);
    assert_int_equal(shared_folder_remove(folder, &removed, &error), 0);
    assert_int_equal(removed, 0);
    /* What stands there may be a way elsewhere: nothing behind it is touched. */
    assert_int_equal(symlink(base, folder), 0);
    assert_int_equal(shared_folder_remove(folder, &removed, &error), -1);
    assert_int_equal(unlink(folder), 0);
    /* Something is in it that cannot go: it is said, and all else goes. */
    assert_int_equal(shared_folder_make(folder, "/bin/sh", "workers.slurm.folder", &error), 0);
    assert_int_equal(mkdir(path_of("made by hand"), 0700), 0);
    assert_int_equal(shared_folder_remove(folder, &removed, &error), -1);
    assert_non_null(strstr(error.text, "made by hand"));
    assert_int_equal(removed, 1);
    assert_int_equal(rmdir(path_of("made by hand")), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(test_made),
        TEST(test_not_made),
        TEST(test_links_are_not_followed),
        TEST(test_jobs_are_noted),
        TEST(test_texts_are_noted),
        TEST(test_folders_that_scripts_cannot_name),
        TEST(test_a_job_that_was_not_noted),
        TEST(test_output_is_cut),
        TEST(test_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
