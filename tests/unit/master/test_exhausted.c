/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each allocation of an operation fails in turn, until it goes through: the failure is reported as
 * what it is, nothing is lost or left (the sanitizer watches), and where it is promised the same
 * can be asked for again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/checksum.h"
#include "common/clock.h"
#include "master/plan.h"
#include "master/record/intake.h"
#include "master/record/log_store.h"
#include "master/record/tree.h"
#include "master/scatter/session.h"

#define MOST 2000u /* allocations of one operation */

static int make_folder(void **state)
{
    char *folder = strdup("/tmp/mayfly-exhausted-XXXXXX");
    *state = folder;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    mf_alloc_fail_at(0);
    tree_remove(*state, NULL);
    free(*state);
    return 0;
}

static int count_planned(void *arg, uint64_t subtask, uint32_t last_attempt, uint32_t failures)
{
    uint64_t *count = arg;
    (void)last_attempt, (void)failures;
    assert_int_equal(subtask, ++*count);
    return 0;
}

/* Makes the plan and pulls all of it. What was handed out before the failure is contiguous. */
static int pull_all(const struct job *job, const char *folder, struct mf_error *error)
{
    uint64_t count = 0;
    int rc = 1;
    struct plan *plan = plan_create(job, folder, NULL, false, error);
    while (plan != NULL && (rc = plan_pull(plan, 100, MF_NEVER, count_planned, &count, error)) > 0)
        continue;
    plan_destroy(plan);
    if (plan == NULL || rc < 0)
        return -1;
    assert_int_equal(count, 700);
    return 0;
}

static void the_plan(void **state)
{
    const char *folder = *state;
    char text[512], path[300];
    struct mf_error error = {0};
    snprintf(path, sizeof path, "%s/input", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 700; i++)
        fprintf(file, "line %d\n", i);
    assert_int_equal(fclose(file), 0);
    snprintf(text,
             sizeof text,
             "mayfly: 1\nsplit: {lines: [\"%s\"], count: 1}\ntask: {command: [/bin/true]}\n",
             path);
    struct job *job = job_parse("job.yaml", folder, mf_bytes_text(text), NULL, 0, &error);
    if (job == NULL)
        fail_msg("%s", error.text);
    snprintf(path, sizeof path, "%s/plan.seg", folder);
    int rc = -1;
    for (unsigned long n = 1; rc < 0; n += 1 + n / 16) {
        unlink(path);
        mf_alloc_fail_at(n);
        rc = pull_all(job, folder, &error);
        mf_alloc_fail_at(0);
        assert_true(rc == 0 || (error.code == MF_ENOMEM && n < MOST));
    }
    job_destroy(job);
}

/* A result in two pieces, and its place. A piece that failed is given again. */
static int take_result(struct intake *intake, bool again, struct mf_error *error)
{
    static const char text[] = "a result";
    struct mf_sha256 sum;
    unsigned char digest[MF_SHA256_SIZE];
    const struct mf_fence fence = {.subtask = 1, .attempt = 1, .epoch = 1};
    mf_sha256_init(&sum);
    mf_sha256_update(&sum, mf_bytes_text(text));
    mf_sha256_finish(&sum, digest);
    for (size_t at = 0; at < sizeof text - 1; at += 4) {
        bool last = at > 0;
        struct mf_chunk chunk = {.kind = MF_CHUNK_RESULT,
                                 .subtask = 1,
                                 .attempt = 1,
                                 .epoch = 1,
                                 .offset = at,
                                 .data = mf_bytes_of(text + at, 4),
                                 .last = last,
                                 .sha256 = mf_bytes_of(digest, last ? sizeof digest : 0)};
        if (intake_chunk(intake, 40, &chunk, error) < 0)
            return -1;
    }
    return intake_accept(intake, 40, &fence, true, false, again, error);
}

static void the_intake(void **state)
{
    const char *folder = *state;
    char path[300];
    struct mf_error error = {0};
    int rc = -1;
    for (unsigned long n = 1; rc < 0; n++) {
        mf_alloc_fail_at(n);
        struct intake *intake = intake_create(folder, NULL, true, 1000, &error);
        rc = intake == NULL ? -1 : take_result(intake, false, &error);
        mf_alloc_fail_at(0);
        assert_true(rc == 0 || (error.code == MF_ENOMEM && n < MOST));
        if (rc < 0 && intake != NULL && take_result(intake, true, &error) < 0)
            fail_msg("not the second time: %s", error.text);
        snprintf(path, sizeof path, "%s/outputs/0/1.result", folder);
        assert_int_equal(access(path, F_OK), intake == NULL ? -1 : 0);
        mf_alloc_fail_at(0);
        intake_destroy(intake);
        snprintf(path, sizeof path, "%s/outputs", folder);
        assert_int_equal(tree_remove(path, NULL), 0);
    }
}

/* What could not be put into an outbox is not in it, and what was there stays. */
static void the_outbox(void **state)
{
    (void)state;
    struct session session = {.worker = 1};
    struct mf_error error = {0};
    const struct mf_fence fence = {.subtask = 1, .attempt = 1, .epoch = 1};
    for (uint64_t i = 1; i <= 300; i++) {
        mf_alloc_fail_at(1);
        bool offered = session_offer(&session, i, 1, &error) == 0;
        assert_true(offered || error.code == MF_ENOMEM);
        assert_int_equal(session.offer_count, offered ? i : i - 1);
        mf_alloc_fail_at(0);
        if (!offered)
            assert_int_equal(session_offer(&session, i, 1, &error), 0);
        assert_int_equal(session.offers[i - 1].subtask, i);
        mf_alloc_fail_at(1);
        bool told = fence_list_add(&session.cancel, &fence, &error) == 0;
        mf_alloc_fail_at(0);
        if (!told)
            assert_int_equal(fence_list_add(&session.cancel, &fence, &error), 0);
        assert_int_equal(session.cancel.count, i);
    }
    mf_free(session.offers);
    mf_free(session.cancel.items);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_plan),
        CASE(the_intake),
        CASE(the_outbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
