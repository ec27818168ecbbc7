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
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/clock.h"
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
        cmocka_unit_test_setup_teardown(test_missing_plan_is_an_error, make_folder, remove_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
