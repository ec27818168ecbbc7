/* SPDX-License-Identifier: Apache-2.0 */
/* The plan at work: what is live can be offered, what is finished is forgotten, what is recorded
 * comes back. */
#include "master/plan.h"

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
#include "common/clock.h"
#include "master/changed.h"
#include "master/record/tree.h"

struct pulled {
    uint64_t ids[4096];
    uint32_t attempts[4096];
    unsigned count;
};

static int note(void *arg, uint64_t subtask, uint32_t last_attempt, uint32_t failures)
{
    struct pulled *pulled = arg;
    (void)failures;
    pulled->ids[pulled->count] = subtask;
    pulled->attempts[pulled->count++] = last_attempt;
    return 0;
}

static struct job *parse(const char *split)
{
    char text[512];
    struct mf_error error;
    snprintf(text, sizeof text, "mayfly: 1\nsplit: %s\ntask: {command: [/bin/true]}\n", split);
    struct job *job = job_parse("job.yaml", "/tmp", mf_bytes_text(text), NULL, 0, &error);
    if (job == NULL)
        fail_msg("%s", error.text);
    return job;
}

static int make_folder(void **state)
{
    char *folder = strdup("/tmp/mayfly-plan-XXXXXX");
    *state = folder;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    tree_remove(*state, NULL);
    free(*state);
    return 0;
}

static void test_pulls_no_more_than_asked(void **state)
{
    struct mf_error error;
    struct pulled pulled = {0};
    struct job *job = parse("{range: \"10-3000\"}");
    struct plan *plan = plan_create(job, *state, NULL, false, &error);
    assert_non_null(plan);
    assert_int_equal(plan_pull(plan, 7, MF_NEVER, note, &pulled, &error), 1);
    assert_int_equal(pulled.count, 7);
    assert_int_equal(pulled.ids[6], 7);
    assert_int_equal(plan_pull(plan, 100000, MF_NEVER, note, &pulled, &error), 0);
    assert_int_equal(pulled.count, 2991);
    struct mf_subtask piece;
    assert_int_equal(plan_payload(plan, 2991, &piece), 0);
    assert_true(piece.has_number);
    assert_int_equal(piece.number, 3000);
    plan_destroy(plan);
    job_destroy(job);
}

/* Forgetting shifts entries of the table back: whatever the order, the others stay findable. */
static void test_forgets_in_any_order(void **state)
{
    struct mf_error error;
    struct pulled pulled = {0};
    struct mf_subtask piece;
    struct job *job = parse("{range: \"1-3000\"}");
    struct plan *plan = plan_create(job, *state, NULL, false, &error);
    assert_int_equal(plan_pull(plan, 3000, MF_NEVER, note, &pulled, &error), 1);
    for (uint64_t step = 0; step < 3000; step++) {
        uint64_t id = step * 1009 % 3000 + 1;
        plan_forget(plan, id);
        assert_int_equal(plan_payload(plan, id, &piece), -1);
        uint64_t other = (step + 1) * 1009 % 3000 + 1;
        assert_int_equal(plan_payload(plan, other, &piece), step == 2999 ? -1 : 0);
    }
    plan_forget(plan, 5); /* twice is fine */
    plan_destroy(plan);
    job_destroy(job);
}

static void write_lines(const char *folder, char *path, size_t size)
{
    snprintf(path, size, "%s/input.txt", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 100; i++)
        fprintf(file, "line %d\n", i);
    assert_int_equal(fclose(file), 0);
}

static void test_recorded_plan_comes_back(void **state)
{
    struct mf_error error;
    struct pulled pulled = {0}, again = {0};
    struct mf_subtask piece;
    char path[256], split[320];
    write_lines(*state, path, sizeof path);
    snprintf(split, sizeof split, "{lines: [\"%s\"], count: 10}", path);
    struct job *job = parse(split);
    struct plan *plan = plan_create(job, *state, NULL, true, &error);
    assert_non_null(plan);
    assert_int_equal(plan_pull(plan, 100, MF_NEVER, note, &pulled, &error), 0);
    assert_int_equal(pulled.count, 10);
    assert_int_equal(plan_payload(plan, 4, &piece), 0);
    uint64_t offset = piece.offset, length = piece.length;
    plan_destroy(plan);

    assert_int_equal(unlink(path), 0); /* resume reads the plan, never the glob */
    struct plan_open *open = mf_calloc(2, sizeof *open);
    open[0] = (struct plan_open){.subtask = 4, .last_attempt = 3};
    open[1] = (struct plan_open){.subtask = 9};
    struct plan_rest rest = {.open = open, .open_count = 2, .mark = UINT64_MAX, .is_whole = true};
    plan = plan_reopen(job, *state, NULL, &rest, &error);
    assert_non_null(plan);
    assert_int_equal(plan_pull(plan, 100, MF_NEVER, note, &again, &error), 0);
    assert_int_equal(again.count, 2);
    assert_int_equal(again.ids[0], 4);
    assert_int_equal(again.attempts[0], 3);
    assert_int_equal(again.ids[1], 9);
    assert_int_equal(plan_payload(plan, 4, &piece), 0);
    assert_int_equal(piece.offset, offset);
    assert_int_equal(piece.length, length);
    assert_int_equal(piece.path.length, strlen(path));
    plan_destroy(plan);
    mf_free(open);
    job_destroy(job);
}

static int cut(const char *folder, double share)
{
    char path[256];
    struct stat facts;
    snprintf(path, sizeof path, "%s/plan.seg", folder);
    if (stat(path, &facts) < 0)
        return -1;
    return truncate(path, (off_t)((double)facts.st_size * share));
}

/* What may have been given out comes first, the rest when it is asked for; and a plan that was not
 * finished is finished. */
static void test_unfinished_plan_goes_on(void **state)
{
    struct mf_error error;
    struct pulled pulled = {0}, marked = {0}, rest = {0}, whole = {0};
    char path[256], split[320];
    write_lines(*state, path, sizeof path);
    snprintf(split, sizeof split, "{lines: [\"%s\"], count: 1}", path);
    struct job *job = parse(split);
    struct plan *plan = plan_create(job, *state, NULL, true, &error);
    assert_non_null(plan);
    assert_int_equal(plan_pull(plan, 1000, MF_NEVER, note, &pulled, &error), 0);
    plan_destroy(plan);
    assert_int_equal(cut(*state, 0.5), 0);
    const struct plan_open open[] = {
        {.subtask = 2}, {.subtask = 7, .last_attempt = 4}, {.subtask = 20}};
    const struct plan_rest left = {.open = open, .open_count = 3, .mark = 20, .sync = true};
    plan = plan_reopen(job, *state, NULL, &left, &error);
    assert_non_null(plan);
    assert_int_equal(plan_pull_marked(plan, note, &marked, &error), 1);
    assert_int_equal(marked.count, 3);
    assert_int_equal(marked.ids[1], 7);
    assert_int_equal(marked.attempts[1], 4);
    assert_int_equal(marked.ids[2], 20);
    assert_int_equal(plan_pull(plan, 1000, MF_NEVER, note, &rest, &error), 0);
    assert_int_equal(rest.count, 80);
    assert_int_equal(rest.ids[0], 21);
    plan_destroy(plan);

    /* And is whole on the disk, too. */
    assert_int_equal(unlink(path), 0);
    const struct plan_rest all = {.mark = 0};
    plan = plan_reopen(job, *state, NULL, &all, &error);
    assert_non_null(plan);
    assert_int_equal(plan_pull(plan, 1000, MF_NEVER, note, &whole, &error), 0);
    assert_int_equal(whole.count, 100);
    plan_destroy(plan);
    job_destroy(job);
}

static void test_unfinished_plan_of_other_inputs(void **state)
{
    struct mf_error error;
    struct pulled pulled = {0};
    char path[256], split[320];
    write_lines(*state, path, sizeof path);
    snprintf(split, sizeof split, "{lines: [\"%s\"], count: 1}", path);
    struct job *job = parse(split);
    struct plan *plan = plan_create(job, *state, NULL, true, &error);
    assert_non_null(plan);
    assert_int_equal(plan_pull(plan, 1000, MF_NEVER, note, &pulled, &error), 0);
    plan_destroy(plan);
    assert_int_equal(cut(*state, 0.5), 0);
    assert_int_equal(truncate(path, 500), 0);
    const struct plan_rest left = {.mark = 0};
    plan = plan_reopen(job, *state, NULL, &left, &error);
    assert_non_null(plan);
    assert_int_equal(plan_pull(plan, 1000, MF_NEVER, note, &pulled, &error), -1);
    assert_int_equal(error.code, MF_EINPUT);
    assert_non_null(strstr(error.text, "inputs have changed"));
    plan_destroy(plan);
    job_destroy(job);
}

/* Only what is open counts; each input once, the first few by name. */
static void test_changed_inputs_are_found(void **state)
{
    struct mf_error error;
    struct pulled pulled = {0};
    struct changed changed;
    char path[256], split[320];
    for (int i = 1; i <= 6; i++) {
        snprintf(path, sizeof path, "%s/%d.txt", (const char *)*state, i);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fprintf(file, "a\nb\n");
        assert_int_equal(fclose(file), 0);
    }
    snprintf(split, sizeof split, "{lines: [\"%s/*.txt\"], count: 1}", (const char *)*state);
    struct job *job = parse(split);
    struct plan *plan = plan_create(job, *state, NULL, true, &error);
    assert_non_null(plan);
    assert_int_equal(plan_pull(plan, 100, MF_NEVER, note, &pulled, &error), 0);
    assert_int_equal(pulled.count, 12);
    plan_destroy(plan);
    const struct plan_open open[] = {{.subtask = 1}, {.subtask = 3}, {.subtask = 4}};
    const struct plan_rest rest = {.open = open, .open_count = 3, .mark = 6};
    assert_int_equal(changed_find(job, *state, &rest, &changed, &error), 0);
    assert_int_equal(changed.inputs, 0);
    for (int i = 2; i <= 6; i++) {
        snprintf(path, sizeof path, "%s/%d.txt", (const char *)*state, i);
        assert_int_equal(i == 3 ? truncate(path, 1) : unlink(path), 0);
    }
    assert_int_equal(changed_find(job, *state, &rest, &changed, &error), 0);
    assert_int_equal(changed.inputs, 4); /* 3.txt is needed by nothing any more */
    assert_int_equal(changed.subtasks, 8);
    assert_non_null(strstr(changed.names, "2.txt (No such file or directory), "));
    assert_null(strstr(changed.names, "6.txt"));
    job_destroy(job);
}

static void test_missing_plan_is_an_error(void **state)
{
    struct mf_error error;
    struct job *job = parse("{lines: [\"/etc/passwd\"], count: 1}");
    struct plan_open *open = mf_calloc(1, sizeof *open);
    open[0].subtask = 1;
    struct plan_rest rest = {.open = open, .open_count = 1, .mark = UINT64_MAX, .is_whole = true};
    assert_null(plan_reopen(job, *state, NULL, &rest, &error));
    assert_non_null(strstr(error.text, "plan.seg"));
    mf_free(open);
    job_destroy(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pulls_no_more_than_asked, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_forgets_in_any_order, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_recorded_plan_comes_back, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_unfinished_plan_goes_on, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(
            test_unfinished_plan_of_other_inputs, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_changed_inputs_are_found, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_missing_plan_is_an_error, make_folder, remove_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
