/* SPDX-License-Identifier: Apache-2.0 */
/* Captured streams: inline, large, too large, cut, floods, and what commands do to the pipes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/checksum.h"
#include "stand.h"

static void both_streams_are_kept_apart(void **state)
{
    struct executed *executed = stand_run(*state, "echo out; echo err >&2");
    assert_inline(executed, "out\n");
    assert_int_equal(executed->result.checksum, mf_crc32(mf_bytes_text("out\n")));
    char *text = stand_file_text(executed, MF_CHUNK_STDERR);
    assert_string_equal(text, "err\n");
    free(text);
    assert_int_equal(executed->file_count, 1);
}

static void stdout_of_a_failed_attempt_is_a_log(void **state)
{
    struct executed *executed = stand_run(*state, "echo partial; exit 1");
    assert_cause(executed, MF_CAUSE_EXIT);
    assert_int_equal(executed->result.inline_result.length, 0);
    assert_int_equal(executed->result.result_bytes, 0);
    char *text = stand_file_text(executed, MF_CHUNK_STDOUT);
    assert_string_equal(text, "partial\n");
    free(text);
}

static void exactly_the_inline_size_is_inline(void **state)
{
    struct executed *executed = stand_run(*state, "head -c 65536 /dev/zero");
    assert_cause(executed, MF_CAUSE_NONE);
    assert_int_equal(executed->result.inline_result.length, MF_INLINE_MAX);
    assert_int_equal(executed->file_count, 0);
}

static void one_byte_more_is_a_file(void **state)
{
    struct executed *executed = stand_run(*state, "head -c 65536 /dev/zero; printf x");
    assert_cause(executed, MF_CAUSE_NONE);
    assert_int_equal(executed->result.inline_result.length, 0);
    assert_int_equal(executed->result.result_bytes, 65537);
    const struct executed_file *file = stand_file(executed, MF_CHUNK_RESULT);
    assert_non_null(file);
    assert_int_equal(file->length, 65537);
    char *text = stand_file_text(executed, MF_CHUNK_RESULT);
    assert_int_equal(text[0], 0);
    assert_int_equal(text[65536], 'x');
    free(text);
}

static void large_results_lie_one_behind_the_other(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand, "yes $MAYFLY_SUBTASK | head -n 100000");
    for (uint64_t id = 1; id <= 3; id++) {
        struct mf_subtask subtask = {.id = id, .attempt = 1, .epoch = 1};
        stand_execute(stand, &subtask);
    }
    for (unsigned i = 0; i < 3; i++) {
        char *text = stand_file_text(stand->ended[i], MF_CHUNK_RESULT);
        assert_int_equal(strlen(text), 200000);
        for (size_t at = 0; at < 200000; at += 2)
            assert_int_equal(text[at], '1' + i);
        free(text);
    }
}

static void a_result_that_is_too_large_fails(void **state)
{
    struct stand *stand = *state;
    stand->task.output_max = 1000;
    stand->task.log_max = 10;
    struct executed *executed = stand_run(stand, "yes; echo never");
    assert_cause(executed, MF_CAUSE_OUTPUT_TOO_LARGE);
    assert_detail(executed, "larger than 1000 bytes");
    const struct executed_file *file = stand_file(executed, MF_CHUNK_STDOUT);
    assert_non_null(file);
    assert_int_equal(file->length, 10);
    assert_true(file->cut_bytes > 990);
}

static void too_large_by_one_byte_after_its_end_fails(void **state)
{
    struct stand *stand = *state;
    stand->task.output_max = 5;
    assert_cause(stand_run(stand, "printf 123456"), MF_CAUSE_OUTPUT_TOO_LARGE);
    struct mf_subtask again = {.id = 2, .attempt = 1, .epoch = 1};
    assert_cause(stand_execute(stand, &again), MF_CAUSE_OUTPUT_TOO_LARGE);
}

static void a_log_is_cut_and_drained(void **state)
{
    struct stand *stand = *state;
    stand->task.log_max = 100;
    struct executed *executed = stand_run(stand, "yes 123456789 | head -c 5000000 >&2; echo done");
    assert_inline(executed, "done\n");
    const struct executed_file *file = stand_file(executed, MF_CHUNK_STDERR);
    assert_non_null(file);
    assert_int_equal(file->length, 100);
    assert_int_equal(file->cut_bytes, 5000000 - 100);
    char *text = stand_file_text(executed, MF_CHUNK_STDERR);
    assert_memory_equal(text, "123456789\n123456789\n", 20);
    free(text);
}

static void the_log_after_a_cut_one_is_whole(void **state)
{
    struct stand *stand = *state;
    stand->task.log_max = 70000;
    stand_shell(stand, "yes $MAYFLY_SUBTASK | head -c 200000; exit 1");
    for (uint64_t id = 1; id <= 2; id++) {
        struct mf_subtask subtask = {.id = id, .attempt = 1, .epoch = 1};
        stand_execute(stand, &subtask);
    }
    for (unsigned i = 0; i < 2; i++) {
        const struct executed_file *file = stand_file(stand->ended[i], MF_CHUNK_STDOUT);
        assert_int_equal(file->length, 70000);
        assert_int_equal(file->cut_bytes, 130000);
        char *text = stand_file_text(stand->ended[i], MF_CHUNK_STDOUT);
        for (size_t at = 0; at < 70000; at += 2)
            assert_int_equal(text[at], '1' + i);
        free(text);
    }
}

static void grandchildren_holding_the_pipes_do_not_matter(void **state)
{
    struct executed *executed = stand_run(*state, "(setsid sleep 1000 &); echo done");
    assert_inline(executed, "done\n");
}

static void output_of_orphans_belongs_to_it(void **state)
{
    struct stand *stand = *state;
    stand->task.kill_after_us = 30000000;
    struct executed *executed =
        stand_run(stand,
                  "setsid sh -c 'trap \"echo last; exit\" TERM; : > $MAYFLY_JOB/ready; while :; do "
                  "sleep 0.01; done' &"
                  "until [ -e $MAYFLY_JOB/ready ]; do sleep 0.01; done; echo first");
    assert_inline(executed, "first\nlast\n");
}

static void closed_streams_are_fine(void **state)
{
    struct executed *executed = stand_run(*state, "exec 0<&- 1>&- 2>&-; sleep 0.05; exit 0");
    assert_inline(executed, "");
    assert_int_equal(executed->file_count, 0);
}

static void nonblocking_pipes_are_not_handed_on(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand,
                "[ $MAYFLY_SUBTASK = 2 ] || perl -e 'use Fcntl; fcntl(STDOUT, F_SETFL, O_NONBLOCK);"
                "fcntl(STDERR, F_SETFL, O_NONBLOCK)'; grep flags /proc/self/fdinfo/1");
    struct mf_subtask first = {.id = 1, .attempt = 1, .epoch = 1};
    struct mf_subtask second = {.id = 2, .attempt = 1, .epoch = 1};
    stand_execute(stand, &first);
    assert_inline(stand_execute(stand, &second), "flags:\t01\n");
}

static void a_flood_on_both_streams_is_taken(void **state)
{
    struct stand *stand = *state;
    stand->task.output_max = 4 << 20;
    struct executed *executed =
        stand_run(stand, "yes e | head -c 3000000 >&2 & yes o | head -c 3000000; wait");
    assert_cause(executed, MF_CAUSE_NONE);
    assert_int_equal(executed->result.result_bytes, 3000000);
    const struct executed_file *file = stand_file(executed, MF_CHUNK_STDERR);
    assert_int_equal(file->length, 1 << 20);
    assert_int_equal(file->cut_bytes, 3000000 - (1 << 20));
}

static void segments_are_removed_when_released(void **state)
{
    struct stand *stand = *state;
    stand->task.output_max = 100 << 20;
    stand_shell(stand, "head -c 40000000 /dev/zero");
    char path[128];
    for (uint64_t id = 1; id <= 3; id++) {
        struct mf_subtask subtask = {.id = id, .attempt = 1, .epoch = 1};
        stand_execute(stand, &subtask);
        executor_release(stand->executor, stand->ended[--stand->ended_count]);
    }
    snprintf(path, sizeof path, "%s/streams/slot1-1.out", stand->worker);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof path, "%s/streams/slot1-2.out", stand->worker);
    assert_int_equal(access(path, F_OK), 0);
}

static void a_disk_that_is_full_is_said(void **state)
{
    struct stand *stand = *state;
    char path[128];
    stand_shell(stand, "head -c 100000 /dev/zero");
    stand_start(stand, 1);
    /* Writing to it fails with ENOSPC, as on a full disk. */
    snprintf(path, sizeof path, "%s/streams/slot1-1.out", stand->worker);
    assert_int_equal(symlink("/dev/full", path), 0);
    struct mf_subtask subtask = {.id = 1, .attempt = 1, .epoch = 1};
    struct executed *executed = stand_execute(stand, &subtask);
    assert_cause(executed, MF_CAUSE_WORKER_ERROR);
    assert_detail(executed, "No space left on device");
    /* The log of the failure would be on the same disk. */
    assert_null(stand_file(executed, MF_CHUNK_RESULT));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        CASE(both_streams_are_kept_apart),
        CASE(stdout_of_a_failed_attempt_is_a_log),
        CASE(exactly_the_inline_size_is_inline),
        CASE(one_byte_more_is_a_file),
        CASE(large_results_lie_one_behind_the_other),
        CASE(a_result_that_is_too_large_fails),
        CASE(too_large_by_one_byte_after_its_end_fails),
        CASE(a_log_is_cut_and_drained),
        CASE(the_log_after_a_cut_one_is_whole),
        CASE(grandchildren_holding_the_pipes_do_not_matter),
        CASE(output_of_orphans_belongs_to_it),
        CASE(closed_streams_are_fine),
        CASE(nonblocking_pipes_are_not_handed_on),
        CASE(a_flood_on_both_streams_is_taken),
        CASE(segments_are_removed_when_released),
        CASE(a_disk_that_is_full_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
