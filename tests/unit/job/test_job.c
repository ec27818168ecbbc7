/* SPDX-License-Identifier: Apache-2.0 */
/* Job files that are taken: values, defaults, --set, the copy for the run folder, what workers get.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/job/job.h"
#include "master/job/narrow.h"

static const char example[] =
    "mayfly: 1\n"
    "name: wordcount\n"
    "split:\n"
    "  files: [\"books/*.txt\"]           # a comment\n"
    "task:\n"
    "  command: [./count.sh, \"{path}\"]\n"
    "  files: [count.sh]\n"
    "  env: {LC_ALL: C, N: 1}\n"
    "  output: {format: csv, columns: {n: integer, x: real}}\n"
    "  timeout: 15m\n"
    "  retries: {max: 3, backoff: 1s, factor: 1.5, cap: 2m, jitter: none, final_codes: [64, 65]}\n"
    "  stragglers: {factor: 2.5, after: 5s}\n"
    "gather:\n"
    "  sql: select word, sum(n) as n from results group by word order by n desc, word\n"
    "workers:\n"
    "  count: 2\n"
    "  slots: 4\n"
    "timeout: 6h\n"
    "tolerate: 1%\n"
    "on_failure: stop\n"
    "durability: process\n";

static struct job *parse(const char *text, const char *const *sets, size_t count)
{
    struct mf_error error = {0};
    struct job *job =
        job_parse("test.yaml", "/jobs/my job", mf_bytes_text(text), sets, count, &error);
    if (job == NULL)
        fail_msg("%s", error.text);
    return job;
}

static void the_example_is_read(void **state)
{
    (void)state;
    struct job *job = parse(example, NULL, 0);
    assert_string_equal(job->name, "wordcount");
    assert_int_equal(job->split.kind, SPLIT_FILES);
    assert_int_equal(job->split.globs.count, 1);
    assert_string_equal(job->split.globs.items[0], "books/*.txt");
    assert_int_equal(job->command.count, 2);
    assert_string_equal(job->command.items[1], "{path}");
    assert_string_equal(job->env.items[1], "N=1");
    assert_int_equal(job->output.format, OUTPUT_CSV);
    assert_int_equal(job->output.column_count, 2);
    assert_string_equal(job->output.columns[1].name, "x");
    assert_int_equal(job->output.columns[1].type, COLUMN_REAL);
    assert_int_equal(job->timeout_us, 900000000);
    assert_int_equal(job->run_timeout_us, INT64_C(21600000000));
    assert_true(job->straggler_factor > 2.49 && job->straggler_factor < 2.51);
    assert_int_equal(job->straggler_after_us, 5000000);
    assert_int_equal(job->retries.max, 3);
    assert_true(job->retries.factor > 1.49 && job->retries.factor < 1.51);
    assert_false(job->retries.jitter_full);
    assert_int_equal(job->retries.cap_us, 120000000);
    assert_int_equal(job->retries.final_code_count, 2);
    assert_int_equal(job->retries.final_codes[1], 65);
    assert_int_equal(job->gather, GATHER_SQL);
    assert_int_equal(job->worker_count, 2);
    assert_int_equal(job->slots, 4);
    assert_true(job->tolerate_share > 0.0099 && job->tolerate_share < 0.0101);
    assert_true(job->stop_on_failure);
    assert_int_equal(job->durability, DURABILITY_PROCESS);
    job_destroy(job);
}

static void defaults_come_from_the_schema(void **state)
{
    (void)state;
    struct job *job =
        parse("mayfly: 1\nsplit: {range: 1-3}\ntask: {shell: 'echo x {}'}\n", NULL, 0);
    assert_string_equal(job->name, "test");
    assert_int_equal(job->split.range_step, 1);
    assert_int_equal(job->output.format, OUTPUT_TEXT);
    assert_int_equal(job->output.max_bytes, 64u << 20);
    assert_int_equal(job->log_max, 16u << 20);
    assert_int_equal(job->kill_after_us, 5000000);
    assert_int_equal(job->timeout_us, 0);
    assert_int_equal(job->run_timeout_us, 0);
    assert_true(job->straggler_factor > 2.99 && job->straggler_factor < 3.01);
    assert_int_equal(job->straggler_after_us, 30000000);
    assert_int_equal(job->retries.max, 0);
    assert_int_equal(job->retries.backoff_us, 1000000);
    assert_true(job->retries.jitter_full);
    assert_int_equal(job->gather, GATHER_CONCAT);
    assert_int_equal(job->launcher, LAUNCHER_LOCAL);
    assert_int_equal(job->worker_count, 1);
    assert_int_equal(job->slots, 0);
    assert_int_equal(job->durability, DURABILITY_FULL);
    assert_int_equal(job->lease_us, 30000000);
    assert_int_equal(job->orphan_us, 600000000);
    assert_int_equal(job->disk_wait_us, 600000000);
    assert_int_equal(job->credentials_ttl_us, 3600000000);
    assert_int_equal(job->stdin_mode, MF_STDIN_NONE);
    job_destroy(job);
}

static void short_forms_mean_the_long_ones(void **state)
{
    (void)state;
    struct job *job = parse("mayfly: 1\nprepare: ./make it\nsplit: {lines: log, count: 10}\n"
                            "task: {command: [wc], outputs: '*.o', output: jsonl, retries: "
                            "4}\ngather: jsonl\ntolerate: 7\n",
                            NULL,
                            0);
    assert_string_equal(job->prepare_shell, "./make it");
    assert_string_equal(job->split.globs.items[0], "log");
    assert_int_equal(job->split.chunk_lines, 10);
    assert_int_equal(job->split.chunk_bytes, 0);
    assert_int_equal(job->stdin_mode, MF_STDIN_PIECE);
    assert_string_equal(job->outputs.items[0], "*.o");
    assert_int_equal(job->output.format, OUTPUT_JSONL);
    assert_int_equal(job->retries.max, 4);
    assert_int_equal(job->gather, GATHER_JSONL);
    assert_int_equal(job->tolerate_count, 7);
    job_destroy(job);
    job = parse("mayfly: 1\nprepare: [a, b]\nsplit: {records: [x], format: paragraphs}\n"
                "task: {command: [wc], input: file}\ngather: {concat: {}}\n",
                NULL,
                0);
    assert_int_equal(job->prepare.count, 2);
    assert_int_equal(job->split.format, RECORDS_PARAGRAPHS);
    assert_int_equal(job->split.chunk_bytes, 1u << 20);
    assert_int_equal(job->stdin_mode, MF_STDIN_NONE);
    assert_int_equal(job->gather, GATHER_CONCAT);
    job_destroy(job);
    job = parse("mayfly: 1\nsplit: {range: {from: -3, to: 9, step: 3}}\ntask: {command: [echo]}\n",
                NULL,
                0);
    assert_true(job->split.range_first == -3 && job->split.range_last == 9 &&
                job->split.range_step == 3);
    job_destroy(job);
    job =
        parse("mayfly: 1\nsplit: {files: a, group: 1k}\ntask: {command: [xargs, '-0']}\n", NULL, 0);
    assert_int_equal(job->stdin_mode, MF_STDIN_ITEM);
    job_destroy(job);
}

static void options_are_applied_before_the_check(void **state)
{
    (void)state;
    static const char *const sets[] = {"task.timeout=1h",
                                       "workers.count=7",
                                       "split={list: [a, 'b c']}",
                                       "task.command=[echo, \"{}\"]",
                                       "credentials.ttl=2h",
                                       "name=other"};
    struct job *job = parse(example, sets, sizeof sets / sizeof *sets);
    assert_int_equal(job->timeout_us, 3600000000);
    assert_int_equal(job->worker_count, 7);
    assert_int_equal(job->split.kind, SPLIT_LIST);
    assert_string_equal(job->split.list.items[1], "b c");
    assert_int_equal(job->credentials_ttl_us, 7200000000);
    assert_string_equal(job->name, "other");
    job_destroy(job);
}

static void anchors_and_aliases_work(void **state)
{
    (void)state;
    struct job *job = parse("mayfly: 1\nsplit: {list: &x [a, b]}\ntask: {command: *x}\n", NULL, 0);
    assert_string_equal(job->command.items[1], "b");
    job_destroy(job);
}

/* What is compared of two jobs: the texts would differ in form only. */
static void expect_equal(const struct job *a, const struct job *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->split.kind, b->split.kind);
    assert_int_equal(a->split.list.count, b->split.list.count);
    for (size_t i = 0; i < a->split.list.count; i++)
        assert_string_equal(a->split.list.items[i], b->split.list.items[i]);
    assert_int_equal(a->command.count, b->command.count);
    for (size_t i = 0; i < a->command.count; i++)
        assert_string_equal(a->command.items[i], b->command.items[i]);
    assert_int_equal(a->timeout_us, b->timeout_us);
    assert_int_equal(a->output.column_count, b->output.column_count);
}

static void the_written_job_reads_back_equal(void **state)
{
    (void)state;
    static const char *const sets[] = {
        "split={list: ['1', \"a\\nb: [\", '', '~', ' x ', \"\\u263a\"]}",
        "task.timeout=1h",
        "task.command=[echo, \"{}\"]"};
    struct mf_buffer out = {0};
    struct mf_error error = {0};
    struct job *job = parse(example, sets, 3);
    assert_int_equal(job_write(job, &out, &error), 0);
    struct job *again =
        job_parse("run/job.yaml", "/jobs/my job", mf_buffer_view(&out), NULL, 0, &error);
    if (again == NULL)
        fail_msg("%s in\n%s", error.text, mf_buffer_text(&out));
    expect_equal(job, again);
    job_destroy(again);
    job_destroy(job);
    mf_buffer_fini(&out);
    /* Untouched, it is the file itself, comments and all. */
    job = parse(example, NULL, 0);
    assert_int_equal(job_write(job, &out, &error), 0);
    assert_string_equal(mf_buffer_text(&out), example);
    job_destroy(job);
    mf_buffer_fini(&out);
    /* A name that came from the file's name is written too, since the run folder's file has
     * another. */
    job = parse("mayfly: 1\nsplit: {range: 1-3}\ntask: {shell: echo}\n", NULL, 0);
    assert_int_equal(job_write(job, &out, &error), 0);
    again = job_parse("run/job.yaml", "/jobs/my job", mf_buffer_view(&out), NULL, 0, &error);
    assert_non_null(again);
    assert_string_equal(again->name, "test");
    job_destroy(again);
    job_destroy(job);
    mf_buffer_fini(&out);
}

static void workers_get_what_they_need(void **state)
{
    (void)state;
    struct mf_task task;
    struct mf_error error;
    void *scratch;
    struct job *job = parse(example, NULL, 0);
    assert_int_equal(job_task(job, "/prepared", &task, &scratch, &error), 0);
    assert_int_equal(task.executor, MF_EXECUTOR_COMMAND);
    assert_int_equal(task.argc, 2);
    assert_string_equal(task.argv[0], "./count.sh");
    assert_int_equal(task.env_count, 2);
    assert_string_equal(task.files[0], "count.sh");
    assert_string_equal(task.job_folder, "/jobs/my job");
    assert_string_equal(task.prepared_folder, "/prepared");
    assert_int_equal(task.timeout_us, 900000000);
    mf_free(scratch);
    job_destroy(job);
    job = parse("mayfly: 1\nsplit: {range: 1-3}\ntask: {shell: 'echo {}'}\n", NULL, 0);
    assert_int_equal(job_task(job, NULL, &task, &scratch, &error), 0);
    assert_int_equal(task.executor, MF_EXECUTOR_SHELL);
    assert_int_equal(task.argc, 1);
    assert_string_equal(task.argv[0], "echo {}");
    mf_free(scratch);
    job_destroy(job);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) < 0, 0);
    assert_int_equal(fclose(file), 0);
}

static void a_folder_stands_for_its_job_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/mayfly-job-XXXXXX", path[64], real[4096];
    struct mf_error error = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/job.yaml", folder);
    write_file(path, "mayfly: 1\nsplit: {range: 1-3}\ntask: {command: [./x], files: x}\n");
    assert_null(job_load(folder, NULL, 0, &error));
    assert_non_null(strstr(
        error.text, "job.yaml: task.files: 'x' is not in the job's folder /tmp/mayfly-job-"));
    char script[64];
    snprintf(script, sizeof script, "%s/x", folder);
    write_file(script, "");
    struct job *job = job_load(folder, NULL, 0, &error);
    if (job == NULL)
        fail_msg("%s", error.text);
    assert_string_equal(job->path, path);
    assert_non_null(realpath(folder, real));
    assert_string_equal(job->folder, real);
    assert_memory_equal(job->name, "mayfly-job-", 11);
    job_destroy(job);
    unlink(script);
    unlink(path);
    rmdir(folder);
}

static void a_job_may_say_where_it_is_at_home(void **state)
{
    (void)state;
    struct job *job = parse("mayfly: 1\n"
                            "split: {lines: a, only: [7-9, '3', '4, 8-12,20']}\n"
                            "task: {command: [x]}\n"
                            "workers: {hosts: [h], ssh: {identity: key}}\n"
                            "folder: /else/where\n",
                            NULL,
                            0);
    assert_string_equal(job->folder, "/else/where");
    assert_string_equal(job->ssh.identity, "/else/where/key");
    assert_int_equal(job->split.only.count, 3);
    assert_int_equal(job->split.only.ranges[0].first, 3);
    assert_int_equal(job->split.only.ranges[0].last, 4);
    assert_int_equal(job->split.only.ranges[1].first, 7);
    assert_int_equal(job->split.only.ranges[1].last, 12);
    assert_int_equal(job->split.only.ranges[2].first, 20);
    job_destroy(job);
}

static void a_job_is_narrowed(void **state)
{
    (void)state;
    struct job *job = parse(example, NULL, 0);
    const struct mf_bytes items[] = {mf_bytes_text("null"), mf_bytes_text("a \"b\"")};
    const struct mf_bytes only[] = {mf_bytes_text("2-3")};
    const struct narrowing narrowing = {
        .kind = "files", .items = items, .item_count = 2, .only = only, .only_count = 1};
    struct mf_buffer text = {0};
    struct mf_error error = {0};
    assert_int_equal(job_narrow(job, &narrowing, &text, &error), 0);
    struct job *narrow = job_parse("n.yaml", "/", mf_buffer_view(&text), NULL, 0, &error);
    assert_non_null(narrow);
    assert_string_equal(narrow->folder, "/jobs/my job");
    assert_int_equal(narrow->split.kind, SPLIT_FILES);
    assert_int_equal(narrow->split.globs.count, 2);
    assert_string_equal(narrow->split.globs.items[0], "null");
    assert_string_equal(narrow->split.globs.items[1], "a \"b\"");
    assert_int_equal(narrow->split.only.count, 1);
    assert_int_equal(narrow->split.only.ranges[0].last, 3);
    assert_string_equal(narrow->env.items[1], "N=1");
    assert_string_equal(narrow->gather_sql, job->gather_sql);
    job_destroy(narrow);
    job_destroy(job);
    mf_buffer_fini(&text);
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    static const char *const sets[] = {"task.timeout=1h", "split.only=[3, 7-9]"};
    for (size_t set_count = 0; set_count < 2; set_count++) {
        for (unsigned long n = 1;; n++) {
            struct mf_error error = {0};
            mf_alloc_fail_at(n);
            struct job *job =
                job_parse("x.yaml", "/", mf_bytes_text(example), sets, set_count, &error);
            bool has_failed = mf_alloc_count() >= n;
            mf_alloc_fail_at(0);
            job_destroy(job);
            if (!has_failed)
                break;
            assert_null(job);
            assert_int_equal(error.code, MF_ENOMEM);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_is_read),
        cmocka_unit_test(defaults_come_from_the_schema),
        cmocka_unit_test(short_forms_mean_the_long_ones),
        cmocka_unit_test(options_are_applied_before_the_check),
        cmocka_unit_test(anchors_and_aliases_work),
        cmocka_unit_test(the_written_job_reads_back_equal),
        cmocka_unit_test(workers_get_what_they_need),
        cmocka_unit_test(a_folder_stands_for_its_job_file),
        cmocka_unit_test(a_job_may_say_where_it_is_at_home),
        cmocka_unit_test(a_job_is_narrowed),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
