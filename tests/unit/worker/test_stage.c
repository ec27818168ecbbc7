/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Staging on a worker, without a wire: the test is the master, and answers what is asked for in any
 * order it likes. What attempts get, what is fetched how often, and what becomes of failures.
 */
#include "worker/stage.h"

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

#include "common/checksum.h"
#include "common/clock.h"
#include "stand.h"
#include "worker/attempts.h"

#define LANES (MF_LANES - MF_LANE_FETCH)
#define MOST 64

/* A worker of the host, and the attempts that were told ready or failed. */
struct worker {
    struct stage *stage;
    struct attempts attempts;
    struct attempt *ready[MOST];
    unsigned ready_count;
    struct {
        uint64_t subtask;
        uint32_t cause;
        char detail[256];
    } failed[MOST];
    unsigned failed_count;
    struct mf_fetch asked[LANES]; /* not answered yet */
    bool is_asking[LANES];
    unsigned fetches; /* that asked for bytes */
    uint64_t bytes;
};

static struct worker workers[2];
static struct mf_task_file own_files[8];
static struct mf_subtask subtasks[MOST]; /* of the plan, by id */
static uint64_t over;                    /* this subtask is over */

static void on_ready(void *arg, struct attempt *attempt)
{
    struct worker *worker = arg;
    worker->ready[worker->ready_count++] = attempt;
}

static void on_failed(void *arg, struct attempt *attempt, uint32_t cause, const char *detail)
{
    struct worker *worker = arg;
    worker->failed[worker->failed_count].subtask = attempt->fence.subtask;
    worker->failed[worker->failed_count].cause = cause;
    snprintf(worker->failed[worker->failed_count++].detail, 256, "%s", detail);
}

static struct worker *start(struct stand *stand, unsigned number)
{
    struct worker *worker = &workers[number];
    struct mf_error error;
    char folder[160];
    memset(worker, 0, sizeof *worker);
    snprintf(folder, sizeof folder, "%s/%u", stand->root, number + 1);
    assert_int_equal(mkdir(folder, 0700), 0);
    worker->stage = stage_create(&stand->task, folder, 2, &error);
    if (worker->stage == NULL)
        fail_msg("%s", error.text);
    stage_watch(worker->stage, &(struct stage_callbacks){on_ready, on_failed, worker});
    assert_int_equal(attempts_init(&worker->attempts, &error), 0);
    return worker;
}

static int set_up(void **state)
{
    over = 0;
    memset(workers, 0, sizeof workers);
    memset(subtasks, 0, sizeof subtasks);
    int rc = stand_setup(state);
    struct stand *stand = *state;
    stand->task.staging = MF_STAGING_ALWAYS;
    return rc;
}

static int tear_down(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        stage_destroy(workers[i].stage);
        attempts_fini(&workers[i].attempts);
    }
    return stand_teardown(state);
}

/* A subtask whose input is the file of that name as it is now, all of it. */
static struct mf_subtask *plan(struct stand *stand, uint64_t id, const char *path)
{
    struct mf_subtask *subtask = &subtasks[id];
    *subtask = (struct mf_subtask){.id = id, .attempt = 1, .epoch = 1};
    stand_plan_input(stand, subtask, path);
    subtask->length = subtask->input_size;
    return subtask;
}

static struct attempt *add(struct worker *worker, const struct mf_subtask *subtask, int wanted)
{
    struct mf_error error;
    struct attempt *attempt = attempts_add(&worker->attempts, subtask, &error);
    assert_non_null(attempt);
    assert_int_equal(stage_add(worker->stage, attempt, &error), wanted);
    return attempt;
}

static void ask_all(struct worker *worker)
{
    stage_tick(worker->stage, mf_monotonic_us());
    for (unsigned i = 0; i < LANES; i++) {
        if (worker->is_asking[i] ||
            stage_next(worker->stage, MF_LANE_FETCH + i, 0, &worker->asked[i]) == 0)
            continue;
        worker->is_asking[i] = true;
        worker->fetches++;
    }
}

/* The file that is asked for, absolute. */
static void
resolve(const struct stand *stand, const struct mf_fetch *fetch, char *path, size_t size)
{
    struct mf_bytes name =
        fetch->subtask == 0 ? own_files[fetch->file - 1].path : subtasks[fetch->subtask].path;
    const char *item = (const char *)subtasks[fetch->subtask].item.data;
    if (fetch->subtask != 0 && stand->task.is_grouped) {
        for (uint32_t i = 0; i < fetch->member; i++)
            item += strlen(item) + 1;
        name = mf_bytes_text(item);
    }
    if (name.data[0] == '/')
        snprintf(path, size, "%.*s", (int)name.length, (const char *)name.data);
    else
        snprintf(path, size, "%s/%.*s", stand->job, (int)name.length, (const char *)name.data);
}

static struct mf_piece serve(const struct stand *stand, const struct mf_fetch *fetch)
{
    static unsigned char data[MF_PIECE_MAX];
    char path[256];
    struct stat st;
    if (fetch->subtask != 0 && fetch->subtask == over)
        return (struct mf_piece){.cause = MF_CAUSE_CANCELLED};
    resolve(stand, fetch, path, sizeof path);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return (struct mf_piece){.cause = MF_CAUSE_INPUT_MISSING,
                                 .detail = mf_bytes_text("it is missing")};
    assert_int_equal(fstat(fileno(file), &st), 0);
    assert_int_equal(fseek(file, (long)fetch->offset, SEEK_SET), 0);
    size_t n = fread(data, 1, fetch->length, file);
    fclose(file);
    struct mf_piece piece = {.data = mf_bytes_of(data, n),
                             .size = (uint64_t)st.st_size,
                             .mtime_ns =
                                 (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
                             .inode = (uint64_t)st.st_ino};
    piece.checksum = mf_crc32(piece.data);
    return piece;
}

static void answer_with(struct worker *worker, unsigned lane, const struct mf_piece *piece)
{
    struct mf_error error;
    assert_true(worker->is_asking[lane]);
    worker->is_asking[lane] = false;
    worker->bytes += piece->data.length;
    if (stage_take(worker->stage, MF_LANE_FETCH + lane, piece, 0, &error) < 0)
        fail_msg("%s", error.text);
}

static void answer(const struct stand *stand, struct worker *worker, unsigned lane)
{
    struct mf_piece piece = serve(stand, &worker->asked[lane]);
    answer_with(worker, lane, &piece);
}

/* Until nothing is asked for any more; the later lane is answered first. */
static void serve_all(const struct stand *stand, struct worker *worker)
{
    for (bool any = true; any;) {
        any = false;
        ask_all(worker);
        for (unsigned i = LANES; i-- > 0;)
            if (worker->is_asking[i]) {
                answer(stand, worker, i);
                any = true;
            }
    }
}

static void
assert_staged(const struct worker *worker, const struct attempt *attempt, const char *text)
{
    struct staged_input input;
    char content[256] = "";
    stage_input(worker->stage, attempt, &input);
    assert_non_null(input.path);
    FILE *file = fopen(input.path, "r");
    assert_non_null(file);
    size_t n = fread(content, 1, sizeof content, file);
    fclose(file);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(content, text, n);
}

/* Bytes that do not deflate, always the same. */
static unsigned char next_byte(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (unsigned char)(*seed >> 24);
}

static void an_input_is_fetched(void **state)
{
    struct stand *stand = *state;
    struct worker *worker = start(stand, 0);
    stand_write(stand, "in.dat", "content", 7);
    struct attempt *attempt = add(worker, plan(stand, 1, "in.dat"), 1);
    serve_all(stand, worker);
    assert_int_equal(worker->ready_count, 1);
    assert_ptr_equal(worker->ready[0], attempt);
    assert_staged(worker, attempt, "content");
    struct staged_input input;
    struct stat st;
    stage_input(worker->stage, attempt, &input);
    assert_string_equal(strrchr(input.path, '/'), "/in.dat");
    assert_int_equal(stat(input.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    stage_release(worker->stage, attempt);
    /* An empty one too: that it is as planned must be known. */
    stand_write(stand, "empty", "", 0);
    attempt = add(worker, plan(stand, 2, "empty"), 1);
    unsigned before = worker->fetches;
    serve_all(stand, worker);
    assert_int_equal(worker->fetches, before + 1);
    assert_staged(worker, attempt, "");
    stage_release(worker->stage, attempt);
}

static void pieces_may_come_in_any_order(void **state)
{
    struct stand *stand = *state;
    struct worker *worker = start(stand, 0);
    size_t size = 5 * MF_PIECE_MAX + 77;
    unsigned char *data = malloc(size), *got = malloc(size + 1);
    assert_true(data != NULL && got != NULL);
    uint32_t seed = 3;
    for (size_t i = 0; i < size; i++)
        data[i] = next_byte(&seed);
    stand_write(stand, "in", data, size);
    struct attempt *attempt = add(worker, plan(stand, 1, "in"), 1);
    serve_all(stand, worker);
    assert_int_equal(worker->bytes, size);
    struct staged_input input;
    stage_input(worker->stage, attempt, &input);
    FILE *file = fopen(input.path, "r");
    assert_non_null(file);
    assert_int_equal(fread(got, 1, size + 1, file), size);
    assert_memory_equal(got, data, size);
    fclose(file);
    stage_release(worker->stage, attempt);
    free(data);
    free(got);
}

static void only_the_range_is_fetched(void **state)
{
    struct stand *stand = *state;
    struct worker *worker = start(stand, 0);
    stand_write(stand, "in", "head\n0123456789", 15);
    struct mf_subtask *subtask = plan(stand, 1, "in");
    subtask->header_length = 5;
    subtask->offset = 8;
    subtask->length = 3;
    struct attempt *attempt = add(worker, subtask, 1);
    serve_all(stand, worker);
    assert_int_equal(worker->bytes, 8);
    struct staged_input input;
    char got[20];
    stage_input(worker->stage, attempt, &input);
    FILE *file = fopen(input.path, "r");
    assert_non_null(file);
    assert_int_equal(fread(got, 1, sizeof got, file), 15); /* at its place, the rest is a hole */
    assert_memory_equal(got,
                        "head\n\0\0\0"
                        "345"
                        "\0\0\0\0",
                        15);
    fclose(file);
    stage_release(worker->stage, attempt);
    /* As standard input the command gets all of it. */
    stage_destroy(worker->stage);
    attempts_fini(&worker->attempts);
    worker->stage = NULL;
    stand->task.stdin_mode = MF_STDIN_INPUT;
    worker = start(stand, 1);
    attempt = add(worker, subtask, 1);
    serve_all(stand, worker);
    assert_staged(worker, attempt, "head\n0123456789");
    stage_release(worker->stage, attempt);
}

static void many_need_one_fetch(void **state)
{
    struct stand *stand = *state;
    struct worker *one = start(stand, 0), *two = start(stand, 1);
    struct attempt *attempts[6];
    stand_write(stand, "in", "shared", 6);
    for (uint64_t i = 0; i < 6; i++)
        attempts[i] = add(i < 4 ? one : two, plan(stand, i + 1, "in"), 1);
    ask_all(one);
    ask_all(two); /* the other worker is at it */
    assert_int_equal(two->fetches, 0);
    serve_all(stand, one);
    assert_int_equal(one->fetches, 1);
    assert_int_equal(one->ready_count, 4);
    while (two->ready_count < 2) /* it looks again after a while */
        serve_all(stand, two);
    assert_int_equal(two->ready_count, 2);
    assert_int_equal(two->fetches, 0);
    assert_staged(two, attempts[5], "shared");
    for (unsigned i = 0; i < 6; i++)
        stage_release(i < 4 ? one->stage : two->stage, attempts[i]);
    /* And who comes later finds it. */
    struct attempt *late = add(two, plan(stand, 9, "in"), 1);
    serve_all(stand, two);
    assert_int_equal(two->fetches, 0);
    assert_staged(two, late, "shared");
    stage_release(two->stage, late);
}

static void what_is_in_place_is_not_fetched(void **state)
{
    struct stand *stand = *state;
    stand->task.staging = MF_STAGING_AUTO;
    struct worker *worker = start(stand, 0);
    struct staged_input input;
    stand_write(stand, "in", "here", 4);
    struct attempt *attempt = add(worker, plan(stand, 1, "in"), 0);
    stage_input(worker->stage, attempt, &input);
    assert_null(input.path);
    stage_release(worker->stage, attempt);
    struct mf_subtask other = *plan(stand, 2, "in"); /* another file of this name */
    other.input_inode++;
    struct mf_fetch fetch;
    attempt = add(worker, &other, 1);
    stage_tick(worker->stage, 0);
    assert_int_equal(stage_next(worker->stage, MF_LANE_FETCH, 0, &fetch), 1);
    stage_release(worker->stage, attempt);
}

static void assert_failed(const struct worker *worker, unsigned i, uint32_t cause, const char *part)
{
    assert_true(worker->failed_count > i);
    assert_int_equal(worker->failed[i].cause, cause);
    if (strstr(worker->failed[i].detail, part) == NULL)
        fail_msg("\"%s\" does not say: %s", worker->failed[i].detail, part);
}

static void failures_reach_those_who_wait(void **state)
{
    struct stand *stand = *state;
    struct worker *worker = start(stand, 0);
    stand_write(stand, "in", "text", 4);
    struct mf_subtask *missing = plan(stand, 1, "in");
    missing->path = mf_bytes_text("gone");
    add(worker, missing, 1);
    serve_all(stand, worker);
    assert_failed(worker, 0, MF_CAUSE_INPUT_MISSING, "it is missing");
    /* Damaged on its way. */
    add(worker, plan(stand, 2, "in"), 1);
    ask_all(worker);
    struct mf_piece piece = serve(stand, &worker->asked[0]);
    piece.checksum++;
    answer_with(worker, 0, &piece);
    assert_failed(worker, 1, MF_CAUSE_WORKER_ERROR, "was damaged on its way");
    /* Shorter than it should be: never a truncated file. */
    add(worker, plan(stand, 3, "in"), 1);
    ask_all(worker);
    piece = serve(stand, &worker->asked[0]);
    piece.data.length--;
    piece.checksum = mf_crc32(piece.data);
    answer_with(worker, 0, &piece);
    assert_failed(worker, 2, MF_CAUSE_INPUT_CHANGED, "has changed while it was fetched");
    assert_int_equal(worker->ready_count, 0);
    /* The next attempt of it succeeds. */
    struct attempt *attempt = add(worker, plan(stand, 4, "in"), 1);
    serve_all(stand, worker);
    assert_staged(worker, attempt, "text");
    stage_release(worker->stage, attempt);
}

/* The subtask in whose name it is fetched is over: another one takes that on, in the middle. */
static void a_subtask_that_is_over_hands_on(void **state)
{
    struct stand *stand = *state;
    struct worker *worker = start(stand, 0);
    unsigned char *data = calloc(4, MF_PIECE_MAX);
    assert_non_null(data);
    data[3 * MF_PIECE_MAX] = 'x';
    stand_write(stand, "in", data, 4 * (size_t)MF_PIECE_MAX);
    free(data);
    add(worker, plan(stand, 1, "in"), 1);
    struct attempt *second = add(worker, plan(stand, 2, "in"), 1);
    ask_all(worker);
    answer(stand, worker, 0);
    over = 1;
    answer(stand, worker, 1);
    assert_failed(worker, 0, MF_CAUSE_CANCELLED, "over");
    assert_int_equal(worker->failed[0].subtask, 1);
    serve_all(stand, worker);
    assert_int_equal(worker->failed_count, 1);
    assert_int_equal(worker->ready_count, 1);
    assert_int_equal(worker->bytes, 4 * (uint64_t)MF_PIECE_MAX);
    stage_release(worker->stage, second);
    /* With nobody to take on, it is given up. */
    stand_write(stand, "other", "x", 1);
    add(worker, plan(stand, 3, "other"), 1);
    over = 3;
    serve_all(stand, worker);
    assert_int_equal(worker->failed_count, 2);
    assert_failed(worker, 1, MF_CAUSE_CANCELLED, "over");
}

static void what_is_given_up_is_not_waited_for(void **state)
{
    struct stand *stand = *state;
    struct worker *worker = start(stand, 0);
    unsigned char *data = calloc(4, MF_PIECE_MAX);
    assert_non_null(data);
    stand_write(stand, "in", data, 4 * (size_t)MF_PIECE_MAX);
    free(data);
    stand_write(stand, "next", "n", 1);
    struct attempt *first = add(worker, plan(stand, 1, "in"), 1);
    ask_all(worker);
    stage_release(worker->stage, first); /* taken back; both lanes are under way */
    struct attempt *second = add(worker, plan(stand, 2, "next"), 1);
    serve_all(stand, worker);
    assert_int_equal(worker->failed_count, 0);
    assert_int_equal(worker->ready_count, 1);
    assert_staged(worker, second, "n");
    stage_release(worker->stage, second);
}

static void own_files_come_first(void **state)
{
    struct stand *stand = *state;
    stand_write_mode(stand, "run.sh", "#!/bin/sh\n", 0750);
    struct stat st;
    char path[160];
    snprintf(path, sizeof path, "%s/run.sh", stand->job);
    assert_int_equal(stat(path, &st), 0);
    own_files[0] =
        (struct mf_task_file){.path = mf_bytes_text("lib"), .mode = 0755, .is_folder = true};
    own_files[1] = (struct mf_task_file){.path = mf_bytes_text("run.sh"),
                                         .size = (uint64_t)st.st_size,
                                         .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 +
                                                     st.st_mtim.tv_nsec,
                                         .inode = (uint64_t)st.st_ino,
                                         .mode = 0750};
    own_files[2] =
        (struct mf_task_file){.path = mf_bytes_text("lib/deep"), .mode = 0755, .is_folder = true};
    stand->task.own_files = own_files;
    stand->task.own_file_count = 3;
    struct worker *worker = start(stand, 0);
    const char *folder = stage_job_folder(worker->stage);
    assert_non_null(folder);
    stand_write(stand, "in", "x", 1);
    struct mf_subtask bare = {.id = 7, .attempt = 1, .epoch = 1};
    add(worker, &bare, 1);
    struct attempt *attempt = add(worker, plan(stand, 1, "in"), 1);
    ask_all(worker);
    assert_int_equal(worker->asked[0].subtask, 0);
    assert_int_equal(worker->asked[0].file, 2);
    assert_false(worker->is_asking[1]); /* no input before them */
    serve_all(stand, worker);
    assert_int_equal(worker->ready_count, 2);
    assert_ptr_not_equal(worker->ready[0], attempt);
    snprintf(path, sizeof path, "%s/run.sh", folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    snprintf(path, sizeof path, "%s/lib/deep", folder);
    assert_int_equal(stat(path, &st), 0);
    stage_release(worker->stage, attempt);
    /* In their own place they are used there. */
    stand->task.staging = MF_STAGING_AUTO;
    snprintf(path, sizeof path, "%s/lib", stand->job);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/lib/deep", stand->job);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_null(stage_job_folder(start(stand, 1)->stage));
}

static void own_files_that_fail_fail_all(void **state)
{
    struct stand *stand = *state;
    own_files[0] = (struct mf_task_file){.path = mf_bytes_text("own"), .mode = 0600, .inode = 1};
    stand->task.own_files = own_files;
    stand->task.own_file_count = 1;
    struct worker *worker = start(stand, 0);
    stand_write(stand, "in", "x", 1);
    struct mf_subtask bare = {.id = 7, .attempt = 1, .epoch = 1};
    add(worker, &bare, 1);
    add(worker, plan(stand, 1, "in"), 1);
    serve_all(stand, worker);
    assert_int_equal(worker->failed_count, 2);
    assert_failed(worker, 0, MF_CAUSE_INPUT_MISSING, "it is missing");
    assert_failed(worker, 1, MF_CAUSE_INPUT_MISSING, "it is missing");
    unsigned before = worker->fetches;
    serve_all(stand, worker);
    assert_int_equal(worker->fetches, before); /* not again and again for nobody */
    bare.attempt = 2;
    add(worker, &bare, 1);
    serve_all(stand, worker);
    assert_int_equal(worker->failed_count, 3);
    assert_true(worker->fetches > before);
}

static void few_inputs_are_ahead(void **state)
{
    struct stand *stand = *state;
    struct worker *worker = start(stand, 0); /* with two slots */
    struct attempt *attempts[20];
    for (uint64_t i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "in%u", (unsigned)i);
        stand_write(stand, name, name, strlen(name));
        struct mf_subtask *subtask = plan(stand, i + 1, name);
        subtask->path = mf_bytes_text(strdup(name));
        attempts[i] = add(worker, subtask, 1);
    }
    serve_all(stand, worker);
    assert_int_equal(worker->ready_count, 6);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(worker->ready_count > i);
        assert_ptr_equal(worker->ready[i], attempts[i]); /* in order */
        stage_started(worker->stage, attempts[i]);
        serve_all(stand, worker);
        assert_true(worker->ready_count <= i + 1 + 6);
        stage_release(worker->stage, attempts[i]);
    }
    assert_int_equal(worker->ready_count, 20);
    for (unsigned i = 1; i <= 20; i++)
        free((void *)(uintptr_t)subtasks[i].path.data);
}

static void a_group_is_a_list_of_where_its_files_are(void **state)
{
    struct stand *stand = *state;
    char list[512];
    stand->task.is_grouped = true;
    stand_write(stand, "a b.x", "one", 3);
    stand_write(stand, "c.y", "", 0);
    int n = snprintf(list, sizeof list, "%s/a b.x%c%s/c.y%c", stand->job, 0, stand->job, 0);
    subtasks[1] = (struct mf_subtask){
        .id = 1, .attempt = 1, .epoch = 1, .item = mf_bytes_of(list, (size_t)n)};
    struct worker *worker = start(stand, 0);
    struct attempt *attempt = add(worker, &subtasks[1], 1);
    serve_all(stand, worker);
    assert_int_equal(worker->ready_count, 1);
    struct staged_input input;
    stage_input(worker->stage, attempt, &input);
    const char *first = (const char *)input.item.data, *second = first + strlen(first) + 1;
    assert_int_equal(input.item.length, strlen(first) + strlen(second) + 2);
    assert_string_equal(strrchr(first, '/'), "/a b.x");
    assert_string_equal(strrchr(second, '/'), "/c.y");
    assert_int_equal(access(first, R_OK), 0);
    assert_int_equal(access(second, R_OK), 0);
    assert_null(strstr(first, stand->job));
    stage_release(worker->stage, attempt);
    /* What is in its own place stays there; it is compared before anything is fetched. */
    stand->task.staging = MF_STAGING_AUTO;
    worker = start(stand, 1);
    subtasks[1].id = 1;
    struct mf_bytes item = mf_bytes_of(list, strlen(list) + 1); /* the first one alone */
    subtasks[1].item = item;
    attempt = add(worker, &subtasks[1], 1);
    serve_all(stand, worker);
    assert_int_equal(worker->bytes, 0);
    stage_input(worker->stage, attempt, &input);
    assert_true(mf_bytes_equal(input.item, item));
    stage_release(worker->stage, attempt);
}

static void a_lane_that_has_nothing_to_ask_says_so(void **state)
{
    struct stand *stand = *state;
    struct worker *worker = start(stand, 0);
    struct mf_fetch fetch;
    stand_write(stand, "in", "x", 1);
    assert_int_equal(stage_next(worker->stage, MF_LANE_FETCH, INT64_MAX - 1, &fetch), 0);
    struct attempt *attempt = add(worker, plan(stand, 1, "in"), 1);
    serve_all(stand, worker); /* time stands at 0 */
    assert_int_equal(stage_next(worker->stage, MF_LANE_FETCH, 99999, &fetch), 0);
    assert_int_equal(stage_next(worker->stage, MF_LANE_FETCH, 100000, &fetch), 1);
    assert_true(fetch.subtask == 0 && fetch.file == 0 && fetch.length == 0);
    struct mf_error error;
    struct mf_piece nothing = {0};
    assert_int_equal(stage_take(worker->stage, MF_LANE_FETCH, &nothing, 100000, &error), 0);
    assert_int_equal(stage_next(worker->stage, MF_LANE_FETCH, INT64_MAX - 1, &fetch), 0);
    /* An answer to no question ends the session. */
    assert_int_equal(stage_take(worker->stage, MF_LANE_FETCH, &nothing, 100000, &error), -1);
    assert_int_equal(error.code, MF_EPROTOCOL);
    stage_release(worker->stage, attempt);
}

static void a_slow_network_gets_smaller_pieces(void **state)
{
    struct stand *stand = *state;
    struct worker *worker = start(stand, 0);
    struct mf_error error;
    struct mf_fetch fetch;
    unsigned char *data = calloc(20, MF_PIECE_MAX);
    assert_non_null(data);
    stand_write(stand, "in", data, 20 * (size_t)MF_PIECE_MAX);
    free(data);
    struct attempt *attempt = add(worker, plan(stand, 1, "in"), 1);
    uint32_t wanted = MF_PIECE_MAX;
    stage_tick(worker->stage, mf_monotonic_us());
    for (int i = 0; i < 16; i++) {
        int64_t took_us = i < 8 ? 3000000 : 1000; /* and then a fast one */
        assert_int_equal(stage_next(worker->stage, MF_LANE_FETCH, 0, &fetch), 1);
        assert_int_equal(fetch.length, wanted);
        struct mf_piece piece = serve(stand, &fetch);
        assert_int_equal(stage_take(worker->stage, MF_LANE_FETCH, &piece, took_us, &error), 0);
        if (i < 8)
            wanted = wanted > 32768 ? wanted / 2 : wanted;
        else
            wanted = wanted < MF_PIECE_MAX ? wanted * 2 : wanted;
    }
    stage_release(worker->stage, attempt);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_input_is_fetched),
        CASE(pieces_may_come_in_any_order),
        CASE(only_the_range_is_fetched),
        CASE(many_need_one_fetch),
        CASE(what_is_in_place_is_not_fetched),
        CASE(failures_reach_those_who_wait),
        CASE(a_subtask_that_is_over_hands_on),
        CASE(what_is_given_up_is_not_waited_for),
        CASE(own_files_come_first),
        CASE(own_files_that_fail_fail_all),
        CASE(few_inputs_are_ahead),
        CASE(a_group_is_a_list_of_where_its_files_are),
        CASE(a_lane_that_has_nothing_to_ask_says_so),
        CASE(a_slow_network_gets_smaller_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
