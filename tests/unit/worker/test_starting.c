/* SPDX-License-Identifier: Apache-2.0 */
/* How commands start: looked up, with what environment, folder, descriptors and arguments. */
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

#include "stand.h"

static const struct mf_subtask plain = {.id = 12, .attempt = 3, .epoch = 2};

static struct executed *execute(struct stand *stand, const char *const *argv)
{
    stand_command(stand, argv);
    return stand_execute(stand, &plain);
}

static void a_name_is_searched_in_path(void **state)
{
    const char *argv[] = {"true", NULL};
    assert_cause(execute(*state, argv), MF_CAUSE_NONE);
}

static void the_path_of_env_counts(void **state)
{
    struct stand *stand = *state;
    char path[128];
    snprintf(path, sizeof path, "PATH=/nowhere:%s:/bin", stand->job);
    stand->env[0] = path;
    stand->task.env_count = 1;
    stand_write_mode(stand, "mine", "#!/bin/sh\necho mine\n", 0700);
    const char *argv[] = {"mine", NULL};
    assert_inline(execute(stand, argv), "mine\n");
}

static void not_found_is_said(void **state)
{
    const char *argv[] = {"no-such-command-anywhere", NULL};
    struct executed *executed = execute(*state, argv);
    assert_cause(executed, MF_CAUSE_NOT_STARTED);
    assert_detail(executed, "\"no-such-command-anywhere\": No such file or directory");
    assert_int_equal(executed->result.exit_code, -1);
}

static void not_found_with_a_slash_is_said(void **state)
{
    const char *argv[] = {"./missing.sh", NULL};
    struct executed *executed = execute(*state, argv);
    assert_cause(executed, MF_CAUSE_NOT_STARTED);
    assert_detail(executed, "\"./missing.sh\": No such file or directory");
}

static void not_executable_is_said(void **state)
{
    struct stand *stand = *state;
    stand_write_mode(stand, "count.sh", "#!/bin/sh\n", 0600);
    stand->files[0] = "count.sh";
    stand->task.file_count = 1;
    const char *argv[] = {"./count.sh", NULL};
    struct executed *executed = execute(stand, argv);
    assert_cause(executed, MF_CAUSE_NOT_STARTED);
    assert_detail(executed, "Permission denied; is it an executable file");
}

static void a_folder_is_not_executable(void **state)
{
    const char *argv[] = {"/tmp", NULL};
    assert_cause(execute(*state, argv), MF_CAUSE_NOT_STARTED);
}

static void a_missing_interpreter_is_said(void **state)
{
    struct stand *stand = *state;
    stand_write_mode(stand, "count.sh", "#!/no/such/interpreter\n", 0700);
    stand->files[0] = "count.sh";
    stand->task.file_count = 1;
    const char *argv[] = {"./count.sh", NULL};
    struct executed *executed = execute(stand, argv);
    assert_cause(executed, MF_CAUSE_NOT_STARTED);
    assert_detail(executed, "the interpreter");
}

static void a_script_without_first_line_is_said(void **state)
{
    struct stand *stand = *state;
    stand_write_mode(stand, "count.sh", "echo 1\n", 0700);
    stand->files[0] = "count.sh";
    stand->task.file_count = 1;
    const char *argv[] = {"./count.sh", NULL};
    struct executed *executed = execute(stand, argv);
    assert_cause(executed, MF_CAUSE_NOT_STARTED);
    assert_detail(executed, "#!/bin/sh");
}

static void too_long_an_argument_is_said(void **state)
{
    struct stand *stand = *state;
    char *item = malloc(200000);
    assert_non_null(item);
    memset(item, 'x', 200000);
    const char *argv[] = {"true", "{}", NULL};
    stand_command(stand, argv);
    struct mf_subtask subtask = {
        .id = 1, .attempt = 1, .epoch = 1, .item = mf_bytes_of(item, 200000)};
    struct executed *executed = stand_execute(stand, &subtask);
    free(item);
    assert_cause(executed, MF_CAUSE_NOT_STARTED);
    assert_detail(executed, "Argument list too long");
    assert_cause(stand_execute(stand, &plain), MF_CAUSE_NONE);
}

static void an_item_with_nul_is_refused(void **state)
{
    struct stand *stand = *state;
    const char *argv[] = {"true", "{}", NULL};
    stand_command(stand, argv);
    struct mf_subtask subtask = {.id = 1, .attempt = 1, .epoch = 1, .item = mf_bytes_of("a\0b", 3)};
    struct executed *executed = stand_execute(stand, &subtask);
    assert_cause(executed, MF_CAUSE_NOT_STARTED);
    assert_detail(executed, "NUL");
}

static void a_script_of_the_job_runs_in_its_folder(void **state)
{
    struct stand *stand = *state;
    stand_write_mode(stand, "count.sh", "#!/bin/sh\npwd\nls\n", 0700);
    stand->files[0] = "count.sh";
    stand->task.file_count = 1;
    const char *argv[] = {"./count.sh", NULL};
    char expected[320], real[256];
    assert_non_null(realpath(stand->worker, real));
    snprintf(expected, sizeof expected, "%s/attempts/12-3-2\ncount.sh\n", real);
    assert_inline(execute(stand, argv), expected);
}

static void every_attempt_has_a_fresh_folder(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand, "ls -A; mkdir -p .a/b; echo x > .a/b/c; chmod 0 .a/b; touch $TMPDIR/t");
    for (uint64_t id = 1; id <= 3; id++) {
        struct mf_subtask subtask = {.id = id, .attempt = 1, .epoch = 1};
        assert_inline(stand_execute(stand, &subtask), "");
    }
    char path[128];
    for (int id = 1; id <= 3; id++) {
        snprintf(path, sizeof path, "%s/attempts/%d-1-1", stand->worker, id);
        assert_int_equal(access(path, F_OK), -1);
    }
}

static void a_changed_mode_is_not_handed_on(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand, "stat -c %a .; chmod 755 .");
    for (uint64_t id = 1; id <= 3; id++) {
        struct mf_subtask subtask = {.id = id, .attempt = 1, .epoch = 1};
        assert_inline(stand_execute(stand, &subtask), "700\n");
    }
}

static void cwd_is_below_the_folder(void **state)
{
    struct stand *stand = *state;
    stand->task.cwd = "a/b";
    const char *argv[] = {"sh", "-c", "basename $PWD; [ $PWD = $TMPDIR/a/b ]", NULL};
    assert_inline(execute(stand, argv), "b\n");
}

static void a_cwd_that_is_a_file_is_said(void **state)
{
    struct stand *stand = *state;
    stand_write_mode(stand, "file", "x", 0600);
    stand->files[0] = "file";
    stand->task.file_count = 1;
    stand->task.cwd = "file";
    const char *argv[] = {"true", NULL};
    struct executed *executed = execute(stand, argv);
    assert_cause(executed, MF_CAUSE_NOT_STARTED);
    assert_detail(executed, "cwd: \"file\"");
}

static void the_environment_is_exact(void **state)
{
    struct stand *stand = *state;
    stand->env[0] = "LC_ALL=C";
    stand->env[1] = "LANG=de_DE.UTF-8";
    stand->env[2] = "WHICH=number {id} of {{id}}";
    stand->task.env_count = 3;
    stand->task.prepared_folder = "/prepared here";
    const char *argv[] = {"env", "-0", NULL};
    struct executed *executed = execute(stand, argv);
    assert_cause(executed, MF_CAUSE_NONE);
    char real[256], expected[2048];
    assert_non_null(realpath(stand->worker, real));
    int n =
        snprintf(expected,
                 sizeof expected,
                 "PATH=/usr/local/bin:/usr/bin:/bin%cHOME=%s%cMAYFLY_RUN=20261122-084512-test-"
                 "7f3a%cMAYFLY_WORKER=7%cMAYFLY_JOB=%s%cMAYFLY_PREPARED=/prepared here%cLC_ALL=C%c"
                 "LANG=de_DE.UTF-8%cTMPDIR=%s/attempts/12-3-2%cMAYFLY_SUBTASK=12%cMAYFLY_ATTEMPT="
                 "3%cMAYFLY_EPOCH=2%cMAYFLY_SLOT=1%cWHICH=number 12 of {id}%c",
                 0,
                 getenv("HOME") == NULL ? "/" : getenv("HOME"),
                 0,
                 0,
                 0,
                 stand->job,
                 0,
                 0,
                 0,
                 0,
                 real,
                 0,
                 0,
                 0,
                 0,
                 0,
                 0);
    assert_int_equal(executed->result.inline_result.length, n);
    assert_memory_equal(executed->result.inline_result.data, expected, (size_t)n);
}

static void our_variables_cannot_be_overridden(void **state)
{
    struct stand *stand = *state;
    struct executor_callbacks none = {0};
    struct mf_error error = {0};
    const char *argv[] = {"true", NULL};
    stand_command(stand, argv);
    stand->env[0] = "MAYFLY_RUN=another";
    stand->task.env_count = 1;
    assert_null(executor_create(
        stand->loop, &stand->task, "r", 1, stand->worker, "/bin/false", 1, NULL, &none, &error));
    assert_int_equal(error.code, MF_EUSAGE);
    assert_non_null(strstr(error.text, "MAYFLY_RUN"));
}

static void no_descriptor_leaks_into_it(void **state)
{
    const char *argv[] = {"sh", "-c", "ls /proc/$$/fd; :", NULL};
    struct stand *stand = *state;
    assert_inline(execute(stand, argv), "0\n1\n2\n");
    /* And from the second attempt on, with a descriptor for standard input. */
    executor_destroy(stand->executor);
    stand->executor = NULL;
    stand->ended_count = 0;
    stand->task.stdin_mode = MF_STDIN_ITEM;
    assert_inline(execute(stand, argv), "0\n1\n2\n");
}

/* Signals 32 and 33 are the C library's own: its posix_spawn leaves them ignored. */
static void signals_and_session_are_its_own(void **state)
{
    const char *argv[] = {
        "sh",
        "-c",
        "while read name mask; do case $name in SigBlk:|SigIgn:) echo $((0x$mask & 0x7fffffff));;"
        "esac; done < /proc/$$/status; set -- $(cat /proc/$$/stat);"
        "[ $5 = $$ ] && [ $6 = $$ ] && echo leader",
        NULL};
    assert_inline(execute(*state, argv), "0\n0\nleader\n");
}

static void arguments_stay_whole(void **state)
{
    struct stand *stand = *state;
    const char *argv[] = {"printf", "%s|", "{}", "a {value} b", "-x", "${}", NULL};
    stand_command(stand, argv);
    struct mf_subtask subtask = {
        .id = 1, .attempt = 1, .epoch = 1, .item = mf_bytes_text("two words; 'quoted' $(rm)")};
    struct executed *executed = stand_execute(stand, &subtask);
    assert_inline(executed, "two words; 'quoted' $(rm)|a two words; 'quoted' $(rm) b|-x|${}|");
}

static void a_shell_line_gets_quoted_values(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand, "printf '%s|' {} --x={value}");
    struct mf_subtask subtask = {
        .id = 1, .attempt = 1, .epoch = 1, .item = mf_bytes_text("it's; $(echo no)\n`x`")};
    assert_inline(stand_execute(stand, &subtask),
                  "it's; $(echo no)\n`x`|--x=it's; $(echo no)\n`x`|");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_name_is_searched_in_path),
        CASE(the_path_of_env_counts),
        CASE(not_found_is_said),
        CASE(not_found_with_a_slash_is_said),
        CASE(not_executable_is_said),
        CASE(a_folder_is_not_executable),
        CASE(a_missing_interpreter_is_said),
        CASE(a_script_without_first_line_is_said),
        CASE(too_long_an_argument_is_said),
        CASE(an_item_with_nul_is_refused),
        CASE(a_script_of_the_job_runs_in_its_folder),
        CASE(every_attempt_has_a_fresh_folder),
        CASE(a_changed_mode_is_not_handed_on),
        CASE(cwd_is_below_the_folder),
        CASE(a_cwd_that_is_a_file_is_said),
        CASE(the_environment_is_exact),
        CASE(our_variables_cannot_be_overridden),
        CASE(no_descriptor_leaks_into_it),
        CASE(signals_and_session_are_its_own),
        CASE(arguments_stay_whole),
        CASE(a_shell_line_gets_quoted_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
