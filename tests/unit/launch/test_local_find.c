/* SPDX-License-Identifier: Apache-2.0 */
/* Which process is taken for a worker of an earlier master, and which is not. */
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/launch/local_find.h"

/* Its own: copies of this test may run at once, and all of /proc is looked at. */
static char run_id[64];

struct place {
    char root[64], folder[256];
    pid_t pid;
};

/* A folder .../runs/<run>/3 with a FIFO called "start", so that `cat start <run>` stands there,
 * waiting, with the command line of a worker. */
static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    char path[300];
    snprintf(run_id, sizeof run_id, "20261124-000000-find%d-abcd", (int)getpid());
    strcpy(place->root, "/tmp/mayfly-find-XXXXXX");
    assert_non_null(mkdtemp(place->root));
    snprintf(path, sizeof path, "%s/runs", place->root);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/runs/%s", place->root, run_id);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(place->folder, sizeof place->folder, "%s/runs/%s/3", place->root, run_id);
    assert_int_equal(mkdir(place->folder, 0700), 0);
    snprintf(path, sizeof path, "%s/start", place->folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    char path[300];
    if (place->pid > 0) {
        kill(place->pid, SIGKILL);
        waitpid(place->pid, NULL, 0);
    }
    snprintf(path, sizeof path, "%s/start", place->folder);
    unlink(path);
    rmdir(place->folder);
    snprintf(path, sizeof path, "%s/runs/%s", place->root, run_id);
    rmdir(path);
    snprintf(path, sizeof path, "%s/runs", place->root);
    rmdir(path);
    int rc = rmdir(place->root);
    free(place);
    return rc;
}

/* posix_spawn comes back when the old program is gone, a moment before /proc shows the new one's
 * environment. */
static bool shows_environment(pid_t pid)
{
    char path[64], byte;
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    FILE *file = fopen(path, "r");
    bool shows = file != NULL && fread(&byte, 1, 1, file) == 1;
    if (file != NULL)
        fclose(file);
    return shows;
}

/* In the environment the run is this one, with `suffix` behind it. */
static void stand_there(struct place *place, const char *suffix)
{
    char cat[] = "cat", start[] = "start", variable[128];
    char *argv[] = {cat, start, run_id, NULL}, *env[] = {variable, NULL};
    posix_spawn_file_actions_t actions;
    snprintf(variable, sizeof variable, "MAYFLY_RUN=%s%s", run_id, suffix);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, place->folder);
    assert_int_equal(posix_spawn(&place->pid, "/bin/cat", &actions, NULL, argv, env), 0);
    posix_spawn_file_actions_destroy(&actions);
    for (int ms = 0; ms < 10000 && !shows_environment(place->pid); ms++)
        usleep(1000);
    assert_true(shows_environment(place->pid));
}

static void a_worker_is_found(void **state)
{
    struct place *place = *state;
    stand_there(place, "");
    uint32_t pid = (uint32_t)place->pid;
    assert_true(local_is_worker(pid, run_id, 3));
    assert_int_equal(local_find_worker(pid, run_id, 3), pid);
    assert_int_equal(local_find_worker(0, run_id, 3), pid);
    assert_int_equal(local_find_worker((uint32_t)getpid(), run_id, 3), pid);
    assert_int_equal(local_find_worker(pid, run_id, 4), 0);
    assert_int_equal(local_find_worker(pid, "20261124-000000-other-abcd", 3), 0);
}

static void one_of_another_run_is_not(void **state)
{
    struct place *place = *state;
    stand_there(place, "0");
    assert_int_equal(local_find_worker((uint32_t)place->pid, run_id, 3), 0);
}

static void one_that_is_dead_is_not(void **state)
{
    struct place *place = *state;
    stand_there(place, "");
    uint32_t pid = (uint32_t)place->pid;
    assert_int_equal(kill(place->pid, SIGKILL), 0);
    waitpid(place->pid, NULL, 0);
    place->pid = 0;
    assert_int_equal(local_find_worker(pid, run_id, 3), 0);
    assert_false(local_is_worker((uint32_t)getpid(), run_id, 3));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_worker_is_found), CASE(one_of_another_run_is_not), CASE(one_that_is_dead_is_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
