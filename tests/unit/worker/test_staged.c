/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts whose inputs are fetched, in the executor: they count, can be taken back and cancelled
 * while they wait, and find their input under the names that it has in its own place. */
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
#include "common/checksum.h"
#include "common/clock.h"
#include "stand.h"
#include "worker/attempts.h"
#include "worker/stage.h"

static struct stage *stage;
static uint64_t serves; /* of the subtasks, those up to this are answered */
static bool is_gone;    /* the file, on the master */

static int set_up(void **state)
{
    int rc = stand_setup(state);
    struct stand *stand = *state;
    stand->task.staging = MF_STAGING_ALWAYS;
    stage = NULL;
    serves = UINT64_MAX;
    is_gone = false;
    return rc;
}

static int tear_down(void **state)
{
    struct stand *stand = *state;
    for (unsigned i = 0; i < stand->ended_count; i++)
        executor_release(stand->executor, stand->ended[i]);
    stand->ended_count = 0;
    executor_destroy(stand->executor);
    stand->executor = NULL;
    stage_destroy(stage);
    return stand_teardown(state);
}

static void begin(struct stand *stand, uint32_t slots)
{
    struct mf_error error;
    stage = stage_create(&stand->task, stand->worker, slots, &error);
    if (stage == NULL)
        fail_msg("%s", error.text);
    stand_start_staged(stand, slots, stage);
}

/* The master of one small file: "in". */
static struct mf_piece serve(const struct stand *stand)
{
    static char data[256];
    char path[160];
    struct stat st;
    if (is_gone)
        return (struct mf_piece){.cause = MF_CAUSE_INPUT_MISSING,
                                 .detail = mf_bytes_text("the input \"in\" is missing")};
    snprintf(path, sizeof path, "%s/dir/in.txt", stand->job);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &st), 0);
    size_t n = fread(data, 1, sizeof data, file);
    fclose(file);
    struct mf_piece piece = {.data = mf_bytes_of(data, n),
                             .size = (uint64_t)st.st_size,
                             .mtime_ns =
                                 (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
                             .inode = (uint64_t)st.st_ino};
    piece.checksum = mf_crc32(piece.data);
    return piece;
}

/* Asks and answers what is due. */
static void exchange(const struct stand *stand)
{
    struct mf_fetch fetch;
    struct mf_error error;
    if (serves == 0 || stage_next(stage, MF_LANE_FETCH, 0, &fetch) == 0)
        return;
    struct mf_piece piece = serve(stand);
    assert_int_equal(stage_take(stage, MF_LANE_FETCH, &piece, 0, &error), 0);
}

static bool has_ended(struct stand *stand, uint64_t count)
{
    exchange(stand);
    return stand->ended_count >= count;
}

static bool has_begun_to_stage(struct stand *stand, uint64_t count)
{
    (void)count;
    struct mf_fetch fetch;
    (void)stand;
    return stage_next(stage, MF_LANE_FETCH, 0, &fetch) == 1;
}

static struct mf_subtask plan(struct stand *stand, uint64_t id)
{
    struct mf_subtask subtask = {.id = id, .attempt = 1, .epoch = 1};
    stand_plan_input(stand, &subtask, "dir/in.txt");
    subtask.item = subtask.path;
    subtask.length = subtask.input_size;
    return subtask;
}

static void write_input(struct stand *stand, const char *text)
{
    char folder[128];
    snprintf(folder, sizeof folder, "%s/dir", stand->job);
    assert_int_equal(mkdir(folder, 0700), 0);
    stand_write(stand, "dir/in.txt", text, strlen(text));
}

static void names_are_those_of_its_own_place(void **state)
{
    struct stand *stand = *state;
    write_input(stand, "content");
    stand_shell(
        stand,
        "echo {path}; cat {path}; readlink {path} | grep -c /inputs/; test ! -w {path} || id -u");
    begin(stand, 1);
    struct mf_subtask subtask = plan(stand, 1);
    stand_submit(stand, &subtask);
    stand_until(stand, has_ended, 1);
    assert_cause(stand->ended[0], MF_CAUSE_NONE);
    assert_int_equal(strncmp((const char *)stand->ended[0]->result.inline_result.data,
                             "dir/in.txt\ncontent1\n",
                             20),
                     0);
}

static void an_absolute_path_keeps_its_base_name(void **state)
{
    struct stand *stand = *state;
    char path[160];
    write_input(stand, "content");
    stand_shell(stand, "case {path} in /*/inputs/*/in.txt) cat {path} in.txt ;; esac");
    begin(stand, 1);
    struct mf_subtask subtask = plan(stand, 1);
    snprintf(path, sizeof path, "%s/dir/in.txt", stand->job);
    subtask.path = subtask.item = mf_bytes_text(path);
    stand_submit(stand, &subtask);
    stand_until(stand, has_ended, 1);
    assert_inline(stand->ended[0], "contentcontent");
    snprintf(path, sizeof path, "../job/dir/in.txt"); /* leads out of the job's folder */
    subtask.id = 2;
    subtask.path = subtask.item = mf_bytes_text(path);
    stand_submit(stand, &subtask);
    stand_until(stand, has_ended, 2);
    assert_inline(stand->ended[1], "contentcontent");
}

static void a_piece_comes_from_what_was_fetched(void **state)
{
    struct stand *stand = *state;
    write_input(stand, "head\nline 1\nline 2\n");
    stand_shell(stand, "cat; echo {offset} {length}");
    stand->task.stdin_mode = MF_STDIN_PIECE;
    begin(stand, 1);
    struct mf_subtask subtask = plan(stand, 1);
    is_gone = false;
    stand_submit(stand, &subtask);
    stand_until(stand, has_ended, 1);
    assert_inline(stand->ended[0], "head\nline 1\nline 2\n0 19\n");
}

static void it_counts_while_it_waits(void **state)
{
    struct stand *stand = *state;
    struct mf_fence running[4];
    write_input(stand, "content");
    stand_shell(stand, "cat {path}");
    serves = 0;
    begin(stand, 2);
    assert_int_equal(executor_free_places(stand->executor), 2);
    struct mf_subtask subtask = plan(stand, 1);
    stand_submit(stand, &subtask);
    assert_int_equal(executor_queued(stand->executor), 1);
    assert_int_equal(executor_free_places(stand->executor), 1);
    assert_int_equal(executor_running(stand->executor, running, 4), 0);
    /* One that needs no input does not wait behind it. */
    struct mf_subtask bare = {.id = 2, .attempt = 1, .epoch = 1, .item = mf_bytes_text("x")};
    stand_submit(stand, &bare);
    stand_until(stand, stand_has_ended, 1);
    assert_int_equal(stand->ended[0]->result.subtask, 2);
    serves = UINT64_MAX;
    stand_until(stand, has_ended, 2);
    assert_inline(stand->ended[1], "content");
    assert_int_equal(executor_queued(stand->executor), 0);
    assert_int_equal(executor_free_places(stand->executor), 2);
}

static void it_can_be_taken_back_and_cancelled(void **state)
{
    struct stand *stand = *state;
    write_input(stand, "content");
    stand_shell(stand, "cat {path}");
    serves = 0;
    begin(stand, 2);
    for (uint64_t id = 1; id <= 3; id++) {
        struct mf_subtask subtask = plan(stand, id);
        stand_submit(stand, &subtask);
    }
    stand_until(stand, has_begun_to_stage, 0);
    executor_take_back(stand->executor, &(struct mf_fence){2, 1, 1});
    assert_int_equal(stand->returned_count, 1);
    executor_cancel(stand->executor, &(struct mf_fence){1, 1, 1});
    assert_int_equal(stand->returned_count, 2);
    assert_int_equal(executor_queued(stand->executor), 1);
    executor_cancel_all(stand->executor);
    assert_int_equal(stand->returned_count, 3);
    assert_int_equal(executor_queued(stand->executor), 0);
    assert_int_equal(executor_free_places(stand->executor), 2);
}

static void a_failure_of_the_input_is_its_end(void **state)
{
    struct stand *stand = *state;
    write_input(stand, "content");
    stand_shell(stand, "cat {path}");
    begin(stand, 1);
    is_gone = true;
    struct mf_subtask subtask = plan(stand, 1);
    stand_submit(stand, &subtask);
    stand_until(stand, has_ended, 1);
    assert_cause(stand->ended[0], MF_CAUSE_INPUT_MISSING);
    assert_detail(stand->ended[0], "the input \"in\" is missing");
    is_gone = false;
    subtask.attempt = 2;
    stand_submit(stand, &subtask);
    stand_until(stand, has_ended, 2);
    assert_inline(stand->ended[1], "content");
}

static void ignore_ready(void *arg, struct attempt *attempt)
{
    (void)arg;
    (void)attempt;
}

static void ignore_failed(void *arg, struct attempt *attempt, uint32_t cause, const char *detail)
{
    (void)arg;
    (void)attempt;
    (void)detail;
    assert_int_equal(cause, MF_CAUSE_WORKER_ERROR);
}

/* Each allocation fails once: the attempt fails or succeeds, and nothing is lost. */
static void exhausted_memory_is_survived(void **state)
{
    struct stand *stand = *state;
    struct mf_error error;
    struct mf_fetch fetch;
    write_input(stand, "content");
    struct mf_subtask subtask = plan(stand, 1);
    bool has_failed = true;
    for (unsigned long n = 1; has_failed; n++) {
        struct attempts attempts;
        int added = -1;
        assert_true(n < 200);
        assert_int_equal(attempts_init(&attempts, &error), 0);
        struct attempt *attempt = attempts_add(&attempts, &subtask, &error);
        mf_alloc_fail_at(n);
        struct stage *tried = stage_create(&stand->task, stand->worker, 1, &error);
        if (tried != NULL)
            stage_watch(tried, &(struct stage_callbacks){ignore_ready, ignore_failed, NULL});
        if (tried != NULL)
            added = stage_add(tried, attempt, &error);
        if (added > 0) {
            stage_tick(tried, mf_monotonic_us());
            if (stage_next(tried, MF_LANE_FETCH, 0, &fetch) == 1) {
                struct mf_piece piece = serve(stand);
                stage_take(tried, MF_LANE_FETCH, &piece, 0, &error);
            }
        }
        has_failed = mf_alloc_count() >= n;
        mf_alloc_fail_at(0);
        if (tried == NULL || added < 0)
            assert_int_equal(error.code, MF_ENOMEM);
        else
            stage_release(tried, attempt);
        stage_destroy(tried);
        attempts_fini(&attempts);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(names_are_those_of_its_own_place),
        CASE(an_absolute_path_keeps_its_base_name),
        CASE(a_piece_comes_from_what_was_fetched),
        CASE(it_counts_while_it_waits),
        CASE(it_can_be_taken_back_and_cancelled),
        CASE(a_failure_of_the_input_is_its_end),
        CASE(exhausted_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
