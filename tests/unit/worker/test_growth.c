/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of attempts that run: told once a second, only where there is something, as they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "stand.h"

/* A shell line that ends when the file `gate` is in the job's folder. */
#define GATE "until [ -e $MAYFLY_JOB/gate ]; do sleep 0.02; done; "

static void submit(struct stand *stand, uint64_t id, const char *line)
{
    stand_shell(stand, line);
    if (stand->executor == NULL)
        stand_start(stand, 1);
    stand_submit_id(stand, id);
}

static struct executed *open_gate(struct stand *stand)
{
    unsigned count = stand->ended_count;
    stand_write(stand, "gate", "", 0);
    stand_until(stand, stand_has_ended, count + 1);
    return stand->ended[count];
}

/* What can be read of a stream that grows (heap). */
static char *read_growth(const char *path, uint64_t offset, uint64_t length)
{
    char *text = calloc(1, length + 1);
    assert_non_null(text);
    if (length == 0)
        return text;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, text, length, (off_t)offset), length);
    close(fd);
    return text;
}

static void assert_grown(const struct stand *stand, const char *out, const char *err)
{
    const struct executed_growth *growth = &stand->growth;
    char *text = read_growth(growth->out.path, growth->out.offset, growth->out.length);
    assert_string_equal(text, out);
    free(text);
    text = read_growth(growth->err.path, growth->err.offset, growth->err.length);
    assert_string_equal(text, err);
    free(text);
}

static void
assert_file_text(const struct executed *executed, enum mf_chunk_kind kind, const char *wanted)
{
    char *text = stand_file_text(executed, kind);
    assert_non_null(text);
    assert_string_equal(text, wanted);
    free(text);
}

static void short_and_silent_ones_say_nothing(void **state)
{
    struct stand *stand = *state;
    char path[128];
    struct executed *executed = stand_run(stand, "echo out");
    assert_inline(executed, "out\n");
    assert_false(executed->has_grown);
    stand_shell(stand, "sleep 1.3");
    struct mf_subtask silent = {.id = 2, .attempt = 1, .epoch = 1};
    assert_false(stand_execute(stand, &silent)->has_grown);
    assert_int_equal(stand->growth_count, 0);
    snprintf(path, sizeof path, "%s/streams/slot1-1.out", stand->worker);
    assert_int_equal(access(path, F_OK), -1);
}

static void both_streams_are_told_and_the_end_is_whole(void **state)
{
    struct stand *stand = *state;
    submit(stand, 1, "printf one; printf ONE >&2; " GATE "printf two; printf TWO >&2");
    stand_until(stand, stand_has_grown, 1);
    assert_int_equal(stand->growth.fence.subtask, 1);
    assert_grown(stand, "one", "ONE");
    struct executed *executed = open_gate(stand);
    assert_true(executed->has_grown);
    assert_inline(executed, "onetwo");
    assert_file_text(executed, MF_CHUNK_STDERR, "ONETWO");
    assert_int_equal(executed->file_count, 1);
}

static void it_grows_from_where_it_began(void **state)
{
    struct stand *stand = *state;
    submit(stand,
           1,
           "echo 1; until [ -e $MAYFLY_JOB/more ]; do sleep 0.02; done; echo 2; " GATE "exit 3");
    stand_until(stand, stand_has_grown, 1);
    struct executed_growth first = stand->growth;
    stand_write(stand, "more", "", 0);
    stand_until(stand, stand_has_grown, 2);
    assert_int_equal(stand->growth.out.offset, first.out.offset);
    assert_grown(stand, "1\n2\n", "");
    struct executed *executed = open_gate(stand);
    assert_cause(executed, MF_CAUSE_EXIT);
    assert_file_text(executed, MF_CHUNK_STDOUT, "1\n2\n");
    assert_int_equal(stand_file(executed, MF_CHUNK_STDOUT)->offset, first.out.offset);
}

/* Nobody may read what the next attempt has written in the place of one that was shown. */
static void the_next_one_writes_elsewhere(void **state)
{
    struct stand *stand = *state;
    submit(stand, 1, "printf first; " GATE);
    stand_until(stand, stand_has_grown, 1);
    struct executed_growth growth = stand->growth;
    assert_inline(open_gate(stand), "first");
    submit(stand, 2, "printf first; " GATE); /* the gate is open */
    struct mf_subtask third = {.id = 3, .attempt = 1, .epoch = 1};
    stand_until(stand, stand_has_ended, 2);
    assert_inline(stand_execute(stand, &third), "first");
    char *text = read_growth(growth.out.path, growth.out.offset, growth.out.length);
    assert_string_equal(text, "first");
    free(text);
}

static void a_large_one_goes_on_in_the_segment(void **state)
{
    struct stand *stand = *state;
    submit(stand, 1, "yes a | head -c 50000; " GATE "yes b | head -c 50000; yes c | head -c 50000");
    stand_until(stand, stand_has_grown, 1);
    assert_int_equal(stand->growth.out.length, 50000);
    struct executed *executed = open_gate(stand);
    assert_cause(executed, MF_CAUSE_NONE);
    char *text = stand_file_text(executed, MF_CHUNK_RESULT);
    assert_non_null(text);
    assert_int_equal(strlen(text), 150000);
    for (size_t at = 0; at < 150000; at += 2)
        assert_int_equal(text[at], 'a' + at / 50000);
    free(text);
}

static void no_more_is_told_than_is_kept(void **state)
{
    struct stand *stand = *state;
    stand->task.log_max = 100;
    submit(stand, 1, "yes | head -c 3000; yes | head -c 3000 >&2; " GATE "yes | head -c 10 >&2");
    stand_until(stand, stand_has_grown, 1);
    assert_int_equal(stand->growth.out.length, 100);
    assert_int_equal(stand->growth.err.length, 100);
    struct executed *executed = open_gate(stand);
    assert_int_equal(stand->growth_count, 1);
    assert_int_equal(executed->result.result_bytes, 3000);
    const struct executed_file *file = stand_file(executed, MF_CHUNK_STDERR);
    assert_int_equal(file->length, 100);
    assert_int_equal(file->cut_bytes, 2910);
}

static void it_follows_to_the_next_segment(void **state)
{
    struct stand *stand = *state;
    stand->task.output_max = 100 << 20;
    stand_shell(stand,
                "[ $MAYFLY_SUBTASK = 1 ] && exec head -c 68000000 /dev/zero; printf new; " GATE);
    stand_start(stand, 1);
    stand_submit_id(stand, 1);
    stand_until(stand, stand_has_ended, 1);
    unsigned told = stand->growth_count;
    stand_submit_id(stand, 2);
    stand_until(stand, stand_has_grown, told + 1);
    assert_non_null(strstr(stand->growth.out.path, "slot1-2.out"));
    assert_int_equal(stand->growth.out.offset, 0);
    assert_grown(stand, "new", "");
    assert_inline(open_gate(stand), "new");
}

static pid_t slot_of(const struct stand *stand)
{
    char text[32] = "", path[128];
    snprintf(path, sizeof path, "%s/pid", stand->job);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return (pid_t)strtol(text, NULL, 10);
}

static void what_was_told_outlives_the_slot(void **state)
{
    struct stand *stand = *state;
    submit(stand, 1, "echo $PPID >$MAYFLY_JOB/pid; echo out; echo err >&2; " GATE);
    stand_until(stand, stand_has_grown, 1);
    kill(slot_of(stand), SIGKILL);
    stand_until(stand, stand_has_ended, 1);
    struct executed *executed = stand->ended[0];
    assert_cause(executed, MF_CAUSE_LOST);
    assert_file_text(executed, MF_CHUNK_STDOUT, "out\n");
    assert_file_text(executed, MF_CHUNK_STDERR, "err\n");
}

/* The next process of the slot leaves alone what the dead one has rolled over to. */
static void what_was_told_of_a_new_segment_outlives_it_too(void **state)
{
    struct stand *stand = *state;
    stand->task.output_max = 100 << 20;
    stand_shell(stand,
                "[ $MAYFLY_SUBTASK = 1 ] && exec head -c 68000000 /dev/zero;"
                "[ $MAYFLY_SUBTASK = 3 ] && { printf other; exit 1; };"
                "echo $PPID >$MAYFLY_JOB/pid; printf new; " GATE);
    stand_start(stand, 1);
    stand_submit_id(stand, 1);
    stand_until(stand, stand_has_ended, 1);
    unsigned told = stand->growth_count;
    stand_submit_id(stand, 2);
    stand_until(stand, stand_has_grown, told + 1);
    kill(slot_of(stand), SIGKILL);
    stand_until(stand, stand_has_ended, 2);
    stand_submit_id(stand, 3);
    stand_until(stand, stand_has_ended, 3);
    assert_file_text(stand->ended[1], MF_CHUNK_STDOUT, "new");
    assert_file_text(stand->ended[2], MF_CHUNK_STDOUT, "other");
}

static void a_full_disk_only_hides_it(void **state)
{
    struct stand *stand = *state;
    char path[128];
    stand_shell(stand, "echo out; " GATE);
    stand_start(stand, 1);
    snprintf(path, sizeof path, "%s/streams/slot1-1.out", stand->worker);
    assert_int_equal(symlink("/dev/full", path), 0);
    stand_submit_id(stand, 1);
    stand_until(stand, stand_has_grown, 1);
    assert_int_equal(stand->growth.out.length, 0);
    assert_inline(open_gate(stand), "out\n");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        CASE(short_and_silent_ones_say_nothing),
        CASE(both_streams_are_told_and_the_end_is_whole),
        CASE(it_grows_from_where_it_began),
        CASE(the_next_one_writes_elsewhere),
        CASE(a_large_one_goes_on_in_the_segment),
        CASE(no_more_is_told_than_is_kept),
        CASE(it_follows_to_the_next_segment),
        CASE(what_was_told_outlives_the_slot),
        CASE(what_was_told_of_a_new_segment_outlives_it_too),
        CASE(a_full_disk_only_hides_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
