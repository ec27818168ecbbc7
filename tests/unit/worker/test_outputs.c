/* SPDX-License-Identifier: Apache-2.0 */
/* The outputs: of attempts: found, kept until they are released, refused where they lead out. */
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

static struct executed *run_with(struct stand *stand, const char *glob, const char *line)
{
    stand->outputs[stand->task.output_count++] = glob;
    return stand_run(stand, line);
}

static void assert_content(const struct executed_file *file, const char *name, const char *text)
{
    char content[256] = "";
    assert_int_equal(file->kind, MF_CHUNK_OUTPUT);
    assert_string_equal(file->name, name);
    assert_int_equal(file->length, strlen(text));
    FILE *open_file = fopen(file->path, "r");
    assert_non_null(open_file);
    size_t n = fread(content, 1, sizeof content - 1, open_file);
    fclose(open_file);
    content[n] = '\0';
    assert_string_equal(content, text);
}

static void outputs_are_kept_until_released(void **state)
{
    struct stand *stand = *state;
    stand->outputs[stand->task.output_count++] = "out/*/part-?.csv";
    struct executed *executed = run_with(
        stand,
        "*.txt",
        "echo said; mkdir -p out/x out/.y; echo b > b.txt; echo a > a.txt; echo h > .h.txt;"
        "echo 1 > out/x/part-1.csv; chmod 640 out/x/part-1.csv; echo 2 > out/.y/part-2.csv");
    assert_cause(executed, MF_CAUSE_NONE);
    assert_int_equal(executed->file_count, 3);
    assert_content(&executed->files[0], "a.txt", "a\n");
    assert_content(&executed->files[1], "b.txt", "b\n");
    assert_content(&executed->files[2], "out/x/part-1.csv", "1\n");
    assert_int_equal(executed->files[2].mode, 0640);
    assert_int_equal(executed->result.output_count, 3);
    assert_int_equal(executed->result.output_bytes, 6);
    assert_int_equal(executed->result.inline_result.length, 5);
    char path[128];
    snprintf(path, sizeof path, "%s/attempts/1-1-1", stand->worker);
    assert_int_equal(access(path, F_OK), -1);
    executor_release(stand->executor, stand->ended[--stand->ended_count]);
    snprintf(path, sizeof path, "%s/attempts/1-1-1.out", stand->worker);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_file_that_two_globs_match_comes_once(void **state)
{
    struct stand *stand = *state;
    stand->outputs[stand->task.output_count++] = "a.*";
    struct executed *executed = run_with(stand, "*.txt", "echo a > a.txt");
    assert_cause(executed, MF_CAUSE_NONE);
    assert_int_equal(executed->file_count, 1);
    assert_int_equal(executed->result.output_count, 1);
    assert_int_equal(executed->result.output_bytes, 2);
}

static void a_glob_without_a_match_fails(void **state)
{
    struct stand *stand = *state;
    stand->outputs[stand->task.output_count++] = "a.txt";
    struct executed *executed = run_with(stand, "*.csv", "echo a > a.txt; echo said");
    assert_cause(executed, MF_CAUSE_OUTPUT_MISSING);
    assert_detail(executed, "\"*.csv\" matches nothing");
    assert_int_equal(executed->result.output_count, 0);
    assert_null(stand_file(executed, MF_CHUNK_OUTPUT));
    char *text = stand_file_text(executed, MF_CHUNK_STDOUT);
    assert_string_equal(text, "said\n");
    free(text);
}

static void outputs_of_a_failure_are_not_collected(void **state)
{
    struct executed *executed = run_with(*state, "*.txt", "echo a > a.txt; exit 1");
    assert_cause(executed, MF_CAUSE_EXIT);
    assert_int_equal(executed->file_count, 0);
}

static void inputs_are_no_outputs(void **state)
{
    struct stand *stand = *state;
    stand_write_mode(stand, "in.csv", "in", 0600);
    stand->files[0] = "in.csv";
    stand->task.file_count = 1;
    struct executed *executed = run_with(stand, "*.csv", "echo out > out.csv");
    assert_cause(executed, MF_CAUSE_NONE);
    assert_int_equal(executed->file_count, 1);
    assert_content(&executed->files[0], "out.csv", "out\n");
}

static void links_within_are_followed(void **state)
{
    struct executed *executed =
        run_with(*state, "out", "echo 1 > v1; ln -s $PWD/v1 v2; ln -s v2 out");
    assert_cause(executed, MF_CAUSE_NONE);
    assert_content(&executed->files[0], "out", "1\n");
}

static void links_that_lead_out_are_refused(void **state)
{
    struct executed *executed = run_with(*state, "*.txt", "ln -s /etc/passwd a.txt");
    assert_cause(executed, MF_CAUSE_OUTPUT_MISSING);
    assert_detail(executed, "leads out of the attempt's folder");
}

static void globs_that_lead_out_are_refused(void **state)
{
    struct executed *executed = run_with(*state, "../../*", "true");
    assert_cause(executed, MF_CAUSE_OUTPUT_MISSING);
}

static void folders_are_refused(void **state)
{
    struct executed *executed = run_with(*state, "o*", "mkdir out");
    assert_cause(executed, MF_CAUSE_OUTPUT_MISSING);
    assert_detail(executed, "is not a regular file");
}

static void pipes_are_refused(void **state)
{
    struct executed *executed = run_with(*state, "o*", "mkfifo out");
    assert_cause(executed, MF_CAUSE_OUTPUT_MISSING);
    assert_detail(executed, "is not a regular file");
}

static void unreadable_outputs_are_read(void **state)
{
    struct executed *executed = run_with(*state, "out", "echo x > out; chmod 0 out");
    assert_cause(executed, MF_CAUSE_NONE);
    assert_int_equal(executed->files[0].mode, 0);
    assert_content(&executed->files[0], "out", "x\n");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        CASE(outputs_are_kept_until_released),
        CASE(a_file_that_two_globs_match_comes_once),
        CASE(a_glob_without_a_match_fails),
        CASE(outputs_of_a_failure_are_not_collected),
        CASE(inputs_are_no_outputs),
        CASE(links_within_are_followed),
        CASE(links_that_lead_out_are_refused),
        CASE(globs_that_lead_out_are_refused),
        CASE(folders_are_refused),
        CASE(pipes_are_refused),
        CASE(unreadable_outputs_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
