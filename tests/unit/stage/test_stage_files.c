/* SPDX-License-Identifier: Apache-2.0 */
/* The job's own files as they travel: what is listed, in which order, and what is refused. */
#include "master/stage/files.h"

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

struct state {
    char folder[80];
    struct stage_files files;
    struct mf_error error;
};

static int set_up(void **place)
{
    struct state *state = calloc(1, sizeof *state);
    const char *base = getenv("TMPDIR");
    assert_non_null(state);
    snprintf(state->folder,
             sizeof state->folder,
             "%.50s/mayfly-files-XXXXXX",
             base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(state->folder));
    assert_int_equal(chdir(state->folder), 0);
    *place = state;
    return 0;
}

static int tear_down(void **place)
{
    struct state *state = *place;
    char command[128];
    stage_files_fini(&state->files);
    assert_int_equal(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf '%s'", state->folder);
    int rc = system(command);
    free(state);
    return rc;
}

static int list(struct state *state, char **names, size_t count)
{
    char path[] = "job.yaml";
    struct job job = {.path = path, .folder = state->folder, .files = {count, names}};
    return stage_files_list(&state->files, &job, &state->error);
}

static int run(const char *line)
{
    return system(line);
}

static const struct mf_task_file *find(const struct state *state, const char *path)
{
    for (uint32_t i = 0; i < state->files.count; i++)
        if (mf_bytes_equal(state->files.items[i].path, mf_bytes_text(path)))
            return &state->files.items[i];
    return NULL;
}

static void files_and_all_that_is_in_folders(void **place)
{
    struct state *state = *place;
    char *names[] = {(char *)(uintptr_t) "./lib//",
                     (char *)(uintptr_t) "run.sh",
                     (char *)(uintptr_t) "lib/a",
                     (char *)(uintptr_t) "./lib/./deep"};
    assert_int_equal(run("mkdir -p lib/deep/empty && echo a >lib/a && printf 12345 >lib/deep/b && "
                         "ln -s ../run.sh lib/link && touch run.sh && chmod 4751 run.sh"),
                     0);
    assert_int_equal(list(state, names, 4), 0);
    assert_int_equal(state->files.count, 7);
    assert_true(mf_bytes_equal(state->files.items[0].path, mf_bytes_text("lib")));
    assert_true(find(state, "lib")->is_folder);
    assert_true(find(state, "lib/deep") < find(state, "lib/deep/empty"));
    assert_true(find(state, "lib/deep/empty")->is_folder);
    assert_int_equal(find(state, "lib/deep/b")->size, 5);
    assert_int_equal(find(state, "run.sh")->mode, 0751);
    /* A link is the file that it leads to. */
    assert_false(find(state, "lib/link")->is_folder);
    assert_int_equal(find(state, "lib/link")->inode, find(state, "run.sh")->inode);
    struct stat st;
    assert_int_equal(stat("lib/a", &st), 0);
    assert_int_equal(find(state, "lib/a")->inode, st.st_ino);
    assert_true(find(state, "lib/a")->mtime_ns ==
                (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
}

static void assert_refused(struct state *state, const char *name, const char *why)
{
    char *names[] = {(char *)(uintptr_t)name};
    stage_files_fini(&state->files);
    assert_int_equal(list(state, names, 1), -1);
    assert_int_equal(state->error.code, MF_EUSAGE);
    if (strstr(state->error.text, why) == NULL)
        fail_msg("\"%s\" does not say: %s", state->error.text, why);
}

static void what_cannot_travel_is_refused(void **place)
{
    struct state *state = *place;
    assert_int_equal(run("mkdir -p a/b many && mkfifo pipe && ln -s .. a/b/up && ln -s nowhere "
                         "dangling && cd many && seq 4096 | xargs touch"),
                     0);
    assert_refused(state, "pipe", "'pipe' cannot travel to the workers: it is neither");
    assert_refused(state, "a", "'a/b/up' cannot travel to the workers: it is a link to a folder");
    assert_refused(state, "dangling", "'dangling' cannot travel to the workers: No such file");
    assert_refused(state, "many", "more than 4,096 files and folders");
    assert_refused(state, "./", "it is the job's folder itself");
    assert_int_equal(run("d=deep; for i in $(seq 70); do d=$d/d; done; mkdir -p $d"), 0);
    assert_refused(state, "deep", "it is nested too deep");
}

static void exhausted_memory_is_reported(void **place)
{
    struct state *state = *place;
    char *names[] = {(char *)(uintptr_t) "lib"};
    int rc = -1;
    assert_int_equal(run("mkdir lib && cd lib && seq 40 | xargs touch"), 0);
    for (unsigned long n = 1; rc < 0; n++) {
        stage_files_fini(&state->files);
        mf_alloc_fail_at(n);
        rc = list(state, names, 1);
        mf_alloc_fail_at(0);
        assert_true(rc == 0 || state->error.code == MF_ENOMEM);
        assert_true(n < 1000);
    }
    assert_int_equal(state->files.count, 41);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(files_and_all_that_is_in_folders),
        CASE(what_cannot_travel_is_refused),
        CASE(exhausted_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
