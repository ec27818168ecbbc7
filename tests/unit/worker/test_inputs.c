/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs: links, standard input in all its modes, and what has vanished or changed. */
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

static const struct mf_subtask plain = {.id = 1, .attempt = 1, .epoch = 1};

static void without_input_stdin_is_empty(void **state)
{
    assert_inline(stand_run(*state, "cat; echo end"), "end\n");
}

static void an_item_comes_as_it_is(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    subtask.item = mf_bytes_of("a\0b\xff", 4);
    stand->task.stdin_mode = MF_STDIN_ITEM;
    stand_shell(stand, "od -An -tx1");
    assert_inline(stand_execute(stand, &subtask), " 61 00 62 ff\n");
}

static void a_number_comes_in_decimal(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    subtask.has_number = true;
    subtask.number = -12;
    stand->task.stdin_mode = MF_STDIN_ITEM;
    stand_shell(stand, "cat; echo {}");
    assert_inline(stand_execute(stand, &subtask), "-12-12\n");
}

static void an_item_that_is_not_read_does_not_block(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    size_t size = 3000000; /* more than any pipe holds, and than what is kept in memory */
    char *item = malloc(size);
    assert_non_null(item);
    memset(item, 'x', size);
    subtask.item = mf_bytes_of(item, size);
    stand->task.stdin_mode = MF_STDIN_ITEM;
    stand_shell(stand, "[ $MAYFLY_SUBTASK = 1 ] || wc -c");
    assert_inline(stand_execute(stand, &subtask), "");
    subtask.id = 2;
    assert_inline(stand_execute(stand, &subtask), "3000000\n");
    free(item);
}

static void a_piece_comes_behind_the_header(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    stand_write_mode(stand, "data.csv", "k,v\na,1\nb,2\nc,3\n", 0600);
    stand_plan_input(stand, &subtask, "data.csv");
    subtask.header_length = 4;
    subtask.offset = 8;
    subtask.length = 4;
    stand->task.stdin_mode = MF_STDIN_PIECE;
    stand_shell(stand, "cat; echo {offset} {length} {path}");
    assert_inline(stand_execute(stand, &subtask), "k,v\nb,2\n8 4 data.csv\n");
}

static void a_piece_can_be_read_twice(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    stand_write_mode(stand, "data", "0123456789", 0600);
    stand_plan_input(stand, &subtask, "data");
    subtask.offset = 3;
    subtask.length = 4;
    stand->task.stdin_mode = MF_STDIN_PIECE;
    stand_shell(stand, "perl -e 'print <STDIN>; seek STDIN, 0, 0; print <STDIN>'");
    assert_inline(stand_execute(stand, &subtask), "34563456");
}

static void a_piece_of_100_megabytes_is_whole(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    char path[128];
    snprintf(path, sizeof path, "%s/huge", stand->job);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("head", file);
    for (int i = 0; i < 100; i++) {
        static char block[1 << 20];
        memset(block, 'a' + i % 26, sizeof block);
        assert_int_equal(fwrite(block, 1, sizeof block, file), sizeof block);
    }
    fputs("tail", file);
    assert_int_equal(fclose(file), 0);
    stand_plan_input(stand, &subtask, "huge");
    subtask.header_length = 2;
    subtask.offset = 4;
    subtask.length = 100 << 20;
    stand->task.stdin_mode = MF_STDIN_PIECE;
    stand_shell(stand,
                "wc -c; tail -c +5 {} | head -c 104857600 > expected;"
                "cp /proc/self/fd/0 got; tail -c +3 got | cmp - expected && echo same");
    subtask.item = subtask.path;
    assert_inline(stand_execute(stand, &subtask), "104857602\nsame\n");
}

static void the_whole_input_is_opened(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    stand_write_mode(stand, "data", "whole\n", 0600);
    stand_plan_input(stand, &subtask, "data");
    stand->task.stdin_mode = MF_STDIN_INPUT;
    stand_shell(stand,
                "cat; grep flags /proc/self/fdinfo/0; echo x 2>/dev/null >&0 || echo read only");
    assert_inline(stand_execute(stand, &subtask), "whole\nflags:\t0100000\nread only\n");
}

static void files_and_inputs_appear_as_links(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    char path[128];
    snprintf(path, sizeof path, "%s/books", stand->job);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/lib", stand->job);
    assert_int_equal(mkdir(path, 0700), 0);
    stand_write_mode(stand, "books/a.txt", "text", 0600);
    stand_write_mode(stand, "lib/x.awk", "awk", 0600);
    stand_write_mode(stand, "top", "top", 0600);
    stand->files[0] = "lib/";
    stand->files[1] = "./top";
    stand->task.file_count = 2;
    stand_plan_input(stand, &subtask, "books/a.txt");
    stand_shell(stand, "find . | LC_ALL=C sort; cat {path} lib/x.awk top; rm -rf books lib top");
    assert_inline(stand_execute(stand, &subtask),
                  ".\n./books\n./books/a.txt\n./lib\n./top\ntextawktop");
    /* Only the links went. */
    snprintf(path, sizeof path, "%s/lib/x.awk", stand->job);
    assert_int_equal(access(path, F_OK), 0);
}

static void inputs_outside_of_the_job_keep_their_path(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    char path[128], expected[512];
    snprintf(path, sizeof path, "%s/outside", stand->root);
    stand_write_mode(stand, path, "far\n", 0600);
    stand_plan_input(stand, &subtask, path);
    stand_shell(stand, "echo {path}; cat {path} outside");
    snprintf(expected, sizeof expected, "%s\nfar\nfar\n", path);
    assert_inline(stand_execute(stand, &subtask), expected);
    stand_plan_input(stand, &subtask, "../outside");
    subtask.item = subtask.path;
    subtask.id = 2;
    snprintf(expected, sizeof expected, "%s/../outside\nfar\nfar\n", stand->job);
    assert_inline(stand_execute(stand, &subtask), expected);
    snprintf(path, sizeof path, "%s/attempts/outside", stand->worker);
    assert_int_equal(access(path, F_OK), -1);
}

static void what_a_command_puts_in_place_of_a_folder_is_safe(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    char path[128];
    snprintf(path, sizeof path, "%s/books", stand->job);
    assert_int_equal(mkdir(path, 0700), 0);
    stand_write_mode(stand, "books/a.txt", "text", 0600);
    stand_plan_input(stand, &subtask, "books/a.txt");
    stand_shell(stand, "rm -r books; ln -s $MAYFLY_JOB/books books; chmod 0 .");
    assert_inline(stand_execute(stand, &subtask), "");
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/books/a.txt", stand->job);
    assert_int_equal(access(path, F_OK), 0);
}

static void odd_names_are_kept(void **state)
{
    struct stand *stand = *state;
    static const char *const names[] = {
        "a b", "-x", "new\nline", "quo'te\"s", "\xff\xfe", "$HOME", "*", ".hidden", "{path}"};
    stand->argv[0] = "sh";
    stand->argv[1] = "-c";
    stand->argv[2] = "cat -- \"$1\"; cat ./\"$1\"; printf %s \"$1\"";
    stand->argv[3] = "sh";
    stand->argv[4] = "{path}";
    stand->task.argc = 5;
    for (uint64_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct mf_subtask subtask = {.id = i + 1, .attempt = 1, .epoch = 1};
        char expected[64];
        stand_write_mode(stand, names[i], "x", 0600);
        stand_plan_input(stand, &subtask, names[i]);
        snprintf(expected, sizeof expected, "xx%s", names[i]);
        assert_inline(stand_execute(stand, &subtask), expected);
    }
}

static void odd_names_are_safe_in_a_shell_line(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    static const char name[] = "a'; touch bad; '\n";
    stand_write_mode(stand, name, "fine\n", 0600);
    stand_plan_input(stand, &subtask, name);
    stand_shell(stand, "cat {path}; [ -e bad ] || echo safe");
    assert_inline(stand_execute(stand, &subtask), "fine\nsafe\n");
}

static void a_missing_input_is_said(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    stand_write_mode(stand, "gone\xff\n.txt", "x", 0600);
    stand_plan_input(stand, &subtask, "gone\xff\n.txt");
    char path[128];
    snprintf(path, sizeof path, "%s/gone\xff\n.txt", stand->job);
    assert_int_equal(unlink(path), 0);
    stand_shell(stand, "echo never");
    for (uint32_t mode = MF_STDIN_NONE; mode <= MF_STDIN_INPUT; mode++) {
        stand->task.stdin_mode = mode;
        struct executed *executed = stand_execute(stand, &subtask);
        assert_cause(executed, MF_CAUSE_INPUT_MISSING);
        assert_detail(executed, "gone\\xff\\x0a.txt\" is missing");
        subtask.attempt++;
        executor_destroy(stand->executor);
        stand->executor = NULL;
        stand->ended_count = 0;
    }
}

static struct executed *execute_changed(struct stand *stand, struct mf_subtask *subtask)
{
    subtask->attempt++;
    struct executed *executed = stand_execute(stand, subtask);
    assert_cause(executed, MF_CAUSE_INPUT_CHANGED);
    assert_detail(executed, "/data\"");
    return executed;
}

static void a_changed_input_is_said(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    stand_write_mode(stand, "data", "12345", 0600);
    stand_plan_input(stand, &subtask, "data");
    stand->task.stdin_mode = MF_STDIN_PIECE;
    stand_shell(stand, "cat");
    subtask.input_size++;
    assert_detail(execute_changed(stand, &subtask), "had 6 bytes and has 5 now");
    subtask.input_size--;
    subtask.input_mtime_ns--;
    assert_detail(execute_changed(stand, &subtask), "was written to");
    subtask.input_mtime_ns++;
    subtask.input_inode++;
    assert_detail(execute_changed(stand, &subtask), "was replaced");
    subtask.input_inode = 0; /* not checked: but the piece must be there */
    subtask.offset = 2;
    subtask.length = 10;
    assert_detail(execute_changed(stand, &subtask), "ends 7 bytes before");
}

static void an_input_that_became_a_pipe_does_not_block(void **state)
{
    struct stand *stand = *state;
    struct mf_subtask subtask = plain;
    char path[128];
    stand_write_mode(stand, "data", "12345", 0600);
    stand_plan_input(stand, &subtask, "data");
    snprintf(path, sizeof path, "%s/data", stand->job);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    stand->task.stdin_mode = MF_STDIN_INPUT;
    stand_shell(stand, "cat");
    assert_detail(execute_changed(stand, &subtask), "not a regular file");
}

static void a_missing_field_is_said(void **state)
{
    struct stand *stand = *state;
    stand_shell(stand, "echo {field:name}");
    struct executed *executed = stand_execute(stand, &plain);
    assert_cause(executed, MF_CAUSE_NOT_STARTED);
    assert_detail(executed, "name");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        CASE(without_input_stdin_is_empty),
        CASE(an_item_comes_as_it_is),
        CASE(a_number_comes_in_decimal),
        CASE(an_item_that_is_not_read_does_not_block),
        CASE(a_piece_comes_behind_the_header),
        CASE(a_piece_can_be_read_twice),
        CASE(a_piece_of_100_megabytes_is_whole),
        CASE(the_whole_input_is_opened),
        CASE(files_and_inputs_appear_as_links),
        CASE(inputs_outside_of_the_job_keep_their_path),
        CASE(what_a_command_puts_in_place_of_a_folder_is_safe),
        CASE(odd_names_are_kept),
        CASE(odd_names_are_safe_in_a_shell_line),
        CASE(a_missing_input_is_said),
        CASE(a_changed_input_is_said),
        CASE(an_input_that_became_a_pipe_does_not_block),
        CASE(a_missing_field_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
