/* SPDX-License-Identifier: Apache-2.0 */
/* How attempts end: exit codes, signals, limits, and that their whole tree ends with them. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "stand.h"

static void exit_code_zero_is_done(void **state)
{
    struct executed *executed = stand_run(*state, "echo hello");
    assert_inline(executed, "hello\n");
    assert_int_equal(executed->result.exit_code, 0);
    assert_int_equal(executed->result.subtask, 1);
    assert_int_equal(executed->result.attempt, 1);
    assert_int_equal(executed->result.epoch, 1);
    assert_int_equal(executed->file_count, 0);
    assert_true(executed->result.wall_us > 0);
    assert_true(executed->ended_us <= mf_monotonic_us());
}

static void other_exit_codes_are_kept(void **state)
{
    struct executed *executed = stand_run(*state, "exit 64");
    assert_cause(executed, MF_CAUSE_EXIT);
    assert_int_equal(executed->result.exit_code, 64);
}

static void codes_126_and_127_of_a_shell_are_exits(void **state)
{
    struct executed *executed = stand_run(*state, "no-such-command-anywhere");
    assert_cause(executed, MF_CAUSE_EXIT);
    assert_int_equal(executed->result.exit_code, 127);
}

static void a_signal_is_named(void **state)
{
    struct executed *executed = stand_run(*state, "kill -SEGV $$");
    assert_cause(executed, MF_CAUSE_SIGNAL);
    assert_int_equal(executed->result.signal, SIGSEGV);
    assert_int_equal(executed->result.exit_code, -1);
}

static void time_limit_ends_a_sleeper(void **state)
{
    struct stand *stand = *state;
    stand->task.timeout_us = 100000;
    struct executed *executed = stand_run(stand, "sleep 1000");
    assert_cause(executed, MF_CAUSE_TIMEOUT);
    assert_int_equal(executed->result.signal, SIGTERM);
    assert_detail(executed, "time limit of 0.1 s");
    assert_true(executed->result.wall_us >= 100000);
}

static void time_limit_kills_what_ignores_term(void **state)
{
    struct stand *stand = *state;
    stand->task.timeout_us = 100000;
    stand->task.kill_after_us = 200000;
    struct executed *executed = stand_run(stand, "trap '' TERM; while :; do sleep 1000; done");
    assert_cause(executed, MF_CAUSE_TIMEOUT);
    assert_int_equal(executed->result.signal, SIGKILL);
    assert_true(executed->result.wall_us >= 300000);
}

static void a_command_may_clean_up_after_term(void **state)
{
    struct stand *stand = *state;
    stand->task.timeout_us = 200000;
    stand->task.kill_after_us = 30000000;
    struct executed *executed = stand_run(
        stand, "trap 'echo cleaned; exit 3' TERM; while :; do sleep 1000 & wait $!; done");
    assert_cause(executed, MF_CAUSE_TIMEOUT);
    assert_int_equal(executed->result.exit_code, 3);
    char *text = stand_file_text(executed, MF_CHUNK_STDOUT);
    assert_string_equal(text, "cleaned\n");
    free(text);
}

static void a_stopped_command_ends_at_its_limit(void **state)
{
    struct stand *stand = *state;
    stand->task.timeout_us = 100000;
    stand->task.kill_after_us = 30000000;
    assert_cause(stand_run(stand, "kill -STOP $$"), MF_CAUSE_TIMEOUT);
}

/* Each of these leaves processes; `pids` in the job's folder has their numbers. */
static void check_all_gone(struct stand *stand, unsigned expected)
{
    char path[128];
    snprintf(path, sizeof path, "%s/pids", stand->job);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char line[32];
    unsigned count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        assert_false(is_process((pid_t)strtol(line, NULL, 10)));
        count++;
    }
    fclose(file);
    assert_int_equal(count, expected);
}

static void background_processes_end_with_it(void **state)
{
    struct stand *stand = *state;
    struct executed *executed = stand_run(
        stand,
        "sleep 1000 & echo $! >> $MAYFLY_JOB/pids;"
        "sh -c 'sleep 1000 & echo $! >> $MAYFLY_JOB/pids; wait' & echo $! >> $MAYFLY_JOB/pids;"
        "until [ $(wc -l < $MAYFLY_JOB/pids) = 3 ]; do sleep 0.01; done; echo done");
    assert_inline(executed, "done\n");
    check_all_gone(stand, 3);
}

static void daemons_end_with_it(void **state)
{
    struct stand *stand = *state;
    struct executed *executed = stand_run(stand,
                                          "(setsid sh -c 'echo $$ >> $MAYFLY_JOB/pids; setsid "
                                          "sleep 1000 & echo $! >> $MAYFLY_JOB/pids' &) ;"
                                          "until [ -e $MAYFLY_JOB/pids ] && [ $(wc -l < "
                                          "$MAYFLY_JOB/pids) = 2 ]; do sleep 0.01; done");
    assert_cause(executed, MF_CAUSE_NONE);
    check_all_gone(stand, 2);
}

static void daemons_that_ignore_term_end_with_it(void **state)
{
    struct stand *stand = *state;
    stand->task.kill_after_us = 100000;
    struct executed *executed = stand_run(
        stand,
        "setsid sh -c 'trap \"\" TERM; echo $$ > $MAYFLY_JOB/pids; while :; do sleep 1000; done' &"
        "until [ -s $MAYFLY_JOB/pids ]; do sleep 0.01; done; exit 5");
    assert_cause(executed, MF_CAUSE_EXIT);
    assert_int_equal(executed->result.exit_code, 5);
    check_all_gone(stand, 1);
}

static void what_forks_all_the_time_ends(void **state)
{
    struct stand *stand = *state;
    stand->task.kill_after_us = 50000;
    /* Generations: each process starts the next in a new session and exits. */
    stand_write_mode(stand,
                     "next.sh",
                     "#!/bin/sh\ntrap '' TERM\necho x >> $MAYFLY_JOB/generations\n"
                     "setsid $MAYFLY_JOB/next.sh & exit 0\n",
                     0700);
    assert_cause(
        stand_run(stand,
                  "$MAYFLY_JOB/next.sh; until [ $(wc -l < $MAYFLY_JOB/generations) -gt 20 ];"
                  "do sleep 0.01; done"),
        MF_CAUSE_NONE);
}

static void time_limit_reaches_other_sessions(void **state)
{
    struct stand *stand = *state;
    stand->task.timeout_us = 300000;
    struct executed *executed =
        stand_run(stand, "setsid sleep 1000 & echo $! > $MAYFLY_JOB/pids; wait");
    assert_cause(executed, MF_CAUSE_TIMEOUT);
    check_all_gone(stand, 1);
}

static void cpu_time_is_measured(void **state)
{
    struct executed *executed =
        stand_run(*state, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done");
    assert_cause(executed, MF_CAUSE_NONE);
    assert_true(executed->result.user_us + executed->result.system_us > 1000);
}

static void cpu_time_of_orphans_counts(void **state)
{
    struct executed *executed = stand_run(
        *state,
        "(sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo > $MAYFLY_JOB/done' &);"
        "until [ -e $MAYFLY_JOB/done ]; do sleep 0.01; done");
    assert_cause(executed, MF_CAUSE_NONE);
    assert_true(executed->result.user_us > 1000);
}

static void peak_memory_is_measured(void **state)
{
    struct executed *executed = stand_run(*state, "head -c 60000000 /dev/zero | tail -n 1 | wc -c");
    assert_inline(executed, "60000000\n");
    assert_true(executed->result.peak_kib > 50000);
}

static void peak_memory_does_not_leak(void **state)
{
    struct stand *stand = *state;
    stand->task.output_max = 100 << 20;
    struct mf_subtask first = {.id = 1, .attempt = 1, .epoch = 1, .item = {NULL, 0}};
    struct mf_subtask second = {.id = 2, .attempt = 1, .epoch = 1};
    stand_shell(stand, "[ $MAYFLY_SUBTASK != 1 ] || head -c 50000000 /dev/zero");
    struct executed *executed = stand_execute(stand, &first);
    assert_cause(executed, MF_CAUSE_NONE);
    assert_int_equal(executed->result.result_bytes, 50000000);
    executed = stand_execute(stand, &second);
    assert_inline(executed, "");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(executed->result.peak_kib < 8192);
#endif
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        CASE(exit_code_zero_is_done),
        CASE(other_exit_codes_are_kept),
        CASE(codes_126_and_127_of_a_shell_are_exits),
        CASE(a_signal_is_named),
        CASE(time_limit_ends_a_sleeper),
        CASE(time_limit_kills_what_ignores_term),
        CASE(a_command_may_clean_up_after_term),
        CASE(a_stopped_command_ends_at_its_limit),
        CASE(background_processes_end_with_it),
        CASE(daemons_end_with_it),
        CASE(daemons_that_ignore_term_end_with_it),
        CASE(what_forks_all_the_time_ends),
        CASE(time_limit_reaches_other_sessions),
        CASE(cpu_time_is_measured),
        CASE(cpu_time_of_orphans_counts),
        CASE(peak_memory_is_measured),
        CASE(peak_memory_does_not_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
