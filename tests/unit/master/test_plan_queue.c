/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of a batch: durable with its bodies, finished from queues.db by the next master, and
 * after that in need of nothing else. */
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

#include "common/alloc.h"
#include "common/clock.h"
#include "master/plan.h"
#include "master/queue/queue.h"
#include "master/record/tree.h"

#define COUNT 3000
#define RUN "20261124-120000-pages-0001"

static char base[64], folder[128];
static uint64_t pulled; /* the last one */

static int note(void *arg, uint64_t subtask, uint32_t last_attempt, uint32_t failures)
{
    (void)arg, (void)last_attempt, (void)failures;
    assert_int_equal(subtask, pulled + 1);
    pulled = subtask;
    return 0;
}

static void ok(int rc, const struct mf_error *error)
{
    if (rc < 0)
        fail_msg("%s", error->text);
}

/* A run that has claimed COUNT messages of a queue that has more. */
static void claim(struct queues *queues)
{
    struct mf_error error;
    struct queue_info info;
    char body[24];
    int64_t id;
    uint64_t count;
    ok(queue_create(queues, "documents", &(struct queue_settings){0}, 1, &id, &error), &error);
    ok(queue_find(queues, "documents", &info, &error), &error);
    ok(queues_begin(queues, &error), &error);
    for (int i = 1; i <= COUNT + 10; i++) {
        snprintf(body, sizeof body, "body %d", i);
        const struct queue_message message = {.body = mf_bytes_text(body)};
        ok(queue_push(queues, &info, &message, 1, &error), &error);
    }
    ok(queue_claim(queues, id, RUN, COUNT, &count, &error), &error);
    ok(queues_commit(queues, &error), &error);
    assert_int_equal(count, COUNT);
}

static int set_up(void **state)
{
    struct mf_error error;
    struct queues *queues;
    (void)state;
    strcpy(base, "/tmp/mayfly-plan-XXXXXX");
    assert_non_null(mkdtemp(base));
    assert_int_equal(setenv("XDG_STATE_HOME", base, 1), 0);
    snprintf(folder, sizeof folder, "%s/" RUN, base);
    assert_int_equal(mkdir(folder, 0700), 0);
    char *path = queues_path(&error);
    ok(queues_open(path, true, &queues, &error), &error);
    claim(queues);
    queues_close(queues);
    mf_free(path);
    pulled = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return tree_remove(base, NULL);
}

static struct job *parse(void)
{
    static const char text[] = "mayfly: 1\nsplit: {queue: documents}\ntask: {command: [x]}\n";
    struct mf_error error;
    struct job *job = job_parse("job.yaml", "/tmp", mf_bytes_text(text), NULL, 0, &error);
    if (job == NULL)
        fail_msg("%s", error.text);
    return job;
}

static void expect_payload(const struct plan *plan, uint64_t subtask)
{
    struct mf_subtask piece;
    char body[24];
    snprintf(body, sizeof body, "body %d", (int)subtask);
    assert_int_equal(plan_payload(plan, subtask, &piece), 0);
    assert_true(mf_bytes_equal(piece.item, mf_bytes_text(body)));
    assert_int_equal(piece.message, subtask);
}

/* A master that pulled `most` and died. */
static void pull_some(const struct job *job, uint64_t most)
{
    struct mf_error error;
    struct plan *plan = plan_create(job, folder, NULL, true, &error);
    if (plan == NULL)
        fail_msg("%s", error.text);
    int rc = plan_pull(plan, most, MF_NEVER, note, NULL, &error);
    ok(rc, &error);
    assert_int_equal(rc, most < COUNT);
    assert_int_equal(pulled, most < COUNT ? most : COUNT);
    plan_destroy(plan);
}

static void a_plan_that_was_not_finished_goes_on_with_the_same_messages(void **state)
{
    (void)state;
    struct mf_error error;
    struct job *job = parse();
    pull_some(job, 1500);
    const struct plan_rest rest = {.mark = 1500};
    struct plan *plan = plan_reopen(job, folder, NULL, &rest, &error);
    assert_non_null(plan);
    ok(plan_pull(plan, 10 * COUNT, MF_NEVER, note, NULL, &error), &error);
    assert_int_equal(pulled, COUNT);
    expect_payload(plan, 1501);
    expect_payload(plan, COUNT);
    plan_destroy(plan);
    job_destroy(job);
}

static void a_whole_plan_needs_no_queues(void **state)
{
    (void)state;
    struct mf_error error;
    char path[128];
    struct job *job = parse();
    pull_some(job, 10 * COUNT);
    snprintf(path, sizeof path, "%s/mayfly", base);
    assert_int_equal(tree_remove(path, &error), 0);
    pulled = 6;
    const struct plan_open open[] = {{.subtask = 7}, {.subtask = 8}};
    const struct plan_rest rest = {.open = open, .open_count = 2, .mark = COUNT, .is_whole = true};
    struct plan *plan = plan_reopen(job, folder, NULL, &rest, &error);
    assert_non_null(plan);
    ok(plan_pull(plan, 10 * COUNT, MF_NEVER, note, NULL, &error), &error);
    assert_int_equal(pulled, 8);
    expect_payload(plan, 7);
    expect_payload(plan, 8);
    plan_destroy(plan);
    job_destroy(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_plan_that_was_not_finished_goes_on_with_the_same_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_whole_plan_needs_no_queues, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
