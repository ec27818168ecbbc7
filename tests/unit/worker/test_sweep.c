/* SPDX-License-Identifier: Apache-2.0 */
/* The sweep: it finds what left its tree, ends it, removes the run's folders, and says so. */
#include <fcntl.h>
#include <jansson.h>
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

#include "common/alloc.h"
#include "stand.h"
#include "worker/place.h"
#include "worker/sweep.h"

struct sweep_stand {
    char root[64];
    char run_id[64];
    char mark[96];
};

static int setup(void **state)
{
    struct sweep_stand *stand = calloc(1, sizeof *stand);
    char home[96], cache[96];
    assert_non_null(stand);
    strcpy(stand->root, "/tmp/mayfly-test-XXXXXX");
    assert_non_null(mkdtemp(stand->root));
    snprintf(stand->run_id, sizeof stand->run_id, "20261122-084512-sweep-%d", (int)getpid());
    snprintf(stand->mark, sizeof stand->mark, "MAYFLY_RUN=%s", stand->run_id);
    snprintf(home, sizeof home, "%s/home", stand->root);
    snprintf(cache, sizeof cache, "%s/cache", stand->root);
    setenv("HOME", home, 1);
    setenv("XDG_CACHE_HOME", cache, 1);
    *state = stand;
    return 0;
}

static int teardown(void **state)
{
    struct sweep_stand *stand = *state;
    struct mf_error error;
    int rc = place_remove(stand->root, NULL, &error);
    free(stand);
    return rc;
}

/* Starts `sh -c line` with the run's mark (or without); reads the pid that it prints. */
static pid_t start(const char *line, const char *mark)
{
    int ends[2];
    char text[32] = "";
    pid_t child;
    posix_spawn_file_actions_t actions;
    char *argv[] = {
        (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)line, NULL};
    char *env[] = {(char *)(uintptr_t) "PATH=/usr/bin:/bin", (char *)(uintptr_t)mark, NULL};
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    assert_int_equal(posix_spawn(&child, "/bin/sh", &actions, NULL, argv, env), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    assert_true(n > 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    return (pid_t)strtol(text, NULL, 10);
}

static json_t *sweep(const struct sweep_stand *stand, int *code)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char *argv[] = {(char *)(uintptr_t) "mayfly-worker",
                        (char *)(uintptr_t) "sweep",
                        (char *)(uintptr_t)stand->run_id,
                        NULL};
        dup2(ends[1], 1);
        _exit(sweep_main(3, argv));
    }
    close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    json_error_t error;
    json_t *report = json_loadf(out, 0, &error);
    fclose(out);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    *code = WEXITSTATUS(status);
    assert_non_null(report);
    assert_string_equal(json_string_value(json_object_get(report, "run")), stand->run_id);
    assert_int_equal(json_integer_value(json_object_get(report, "version")), 1);
    return report;
}

static int number(const json_t *report, const char *key)
{
    return (int)json_integer_value(json_object_get(report, key));
}

static void nothing_to_sweep_is_verified(void **state)
{
    int code;
    json_t *report = sweep(*state, &code);
    assert_int_equal(code, 0);
    assert_true(json_is_true(json_object_get(report, "verified")));
    assert_int_equal(number(report, "processes_ended"), 0);
    assert_int_equal(number(report, "files_removed"), 0);
    assert_int_equal(json_array_size(json_object_get(report, "left")), 0);
    json_decref(report);
}

static void what_left_its_tree_is_ended(void **state)
{
    struct sweep_stand *stand = *state;
    int code;
    pid_t ours = start("setsid sleep 1000 > /dev/null 2>&1 & echo $!", stand->mark);
    pid_t other = start("setsid sleep 1000 > /dev/null 2>&1 & echo $!", "MAYFLY_RUN=another");
    assert_true(is_process(ours));
    json_t *report = sweep(stand, &code);
    assert_int_equal(code, 0);
    assert_int_equal(number(report, "processes_ended"), 1);
    assert_false(is_process(ours));
    assert_true(is_process(other));
    kill(other, SIGKILL);
    json_decref(report);
}

static void the_sweeper_spares_itself_and_its_own(void **state)
{
    struct sweep_stand *stand = *state;
    int code;
    /* As if the sweep were started from within the run: the mark is in this very process's
     * environment block for a process that is started with it. */
    char line[512], test[256];
    ssize_t n = readlink("/proc/self/exe", test, sizeof test - 1);
    assert_true(n > 0);
    test[n] = '\0';
    snprintf(line, sizeof line, "'%s' sweep %s > /dev/null; echo $?; :", test, stand->run_id);
    code = (int)start(line, stand->mark);
    assert_int_equal(code, 0);
}

static void folders_are_removed(void **state)
{
    struct sweep_stand *stand = *state;
    struct mf_error error;
    int code;
    char *path = place_make(stand->run_id, 1, &error);
    char inside[256];
    assert_non_null(path);
    snprintf(inside, sizeof inside, "%s/attempts", path);
    assert_int_equal(mkdir(inside, 0700), 0);
    json_t *report = sweep(stand, &code);
    assert_int_equal(code, 0);
    assert_int_equal(number(report, "files_removed"), 3);
    assert_int_equal(access(path, F_OK), -1);
    json_decref(report);
    mf_free(path);
}

static void wrong_usage_is_refused(void **state)
{
    (void)state;
    char *argv[] = {(char *)(uintptr_t) "mayfly-worker",
                    (char *)(uintptr_t) "sweep",
                    (char *)(uintptr_t) "../x",
                    NULL};
    assert_int_equal(sweep_main(2, argv), 2);
    assert_int_equal(sweep_main(3, argv), 2);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "sweep") == 0)
        return sweep_main(argc, argv);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(nothing_to_sweep_is_verified),
        CASE(what_left_its_tree_is_ended),
        CASE(the_sweeper_spares_itself_and_its_own),
        CASE(folders_are_removed),
        CASE(wrong_usage_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
