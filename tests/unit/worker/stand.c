/* SPDX-License-Identifier: Apache-2.0 */
/* The executor's test stand: see stand.h. */
#include "stand.h"

#include <fcntl.h>
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

#include "common/clock.h"
#include "worker/place.h"

#define LIMIT_US 60000000

static void on_started(void *arg, const struct mf_fence *fence)
{
    struct stand *stand = arg;
    assert_true(stand->started_count < STAND_MAX);
    stand->started[stand->started_count++] = *fence;
}

static void on_ended(void *arg, struct executed *executed)
{
    struct stand *stand = arg;
    assert_true(stand->ended_count < STAND_MAX);
    stand->ended[stand->ended_count++] = executed;
}

static void on_returned(void *arg, const struct mf_fence *fence)
{
    struct stand *stand = arg;
    assert_true(stand->returned_count < STAND_MAX);
    stand->returned[stand->returned_count++] = *fence;
}

static void on_grew(void *arg, const struct executed_growth *growth)
{
    struct stand *stand = arg;
    stand->growth = *growth;
    stand->growth_count++;
}

static void on_failed(void *arg, const struct mf_error *error)
{
    struct stand *stand = arg;
    stand->failed = true;
    fail_msg("the executor failed: %s", error->text);
}

int stand_setup(void **state)
{
    struct stand *stand = calloc(1, sizeof *stand);
    const char *base = getenv("TMPDIR");
    assert_non_null(stand);
    int n = snprintf(
        stand->root, sizeof stand->root, "%s/mayfly-test-XXXXXX", base == NULL ? "/tmp" : base);
    if (n < 0 || (size_t)n >= sizeof stand->root)
        strcpy(stand->root, "/tmp/mayfly-test-XXXXXX");
    assert_non_null(mkdtemp(stand->root));
    snprintf(stand->worker, sizeof stand->worker, "%s/worker", stand->root);
    snprintf(stand->job, sizeof stand->job, "%s/job", stand->root);
    assert_int_equal(mkdir(stand->worker, 0700), 0);
    assert_int_equal(mkdir(stand->job, 0700), 0);
    stand->task = (struct mf_task){.executor = MF_EXECUTOR_COMMAND,
                                   .argv = stand->argv,
                                   .env = stand->env,
                                   .files = stand->files,
                                   .outputs = stand->outputs,
                                   .job_folder = stand->job,
                                   .kill_after_us = 500000,
                                   .output_max = 1 << 20,
                                   .log_max = 1 << 20};
    struct mf_error error;
    stand->loop = mf_loop_create(&error);
    assert_non_null(stand->loop);
    *state = stand;
    return 0;
}

static unsigned count_entries(const char *folder, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

int stand_teardown(void **state)
{
    struct stand *stand = *state;
    for (unsigned i = 0; i < stand->ended_count; i++)
        executor_release(stand->executor, stand->ended[i]);
    executor_destroy(stand->executor);
    mf_loop_destroy(stand->loop);
    unsigned left =
        count_entries(stand->worker, "attempts") + count_entries(stand->worker, "streams");
    unsigned children = child_count();
    struct mf_error error = {0};
    int removed = place_remove(stand->root, NULL, &error);
    free(stand);
    if (left > 0 || children > 0 || removed < 0) {
        print_error("left: %u folders, %u processes; %s\n", left, children, error.text);
        return -1;
    }
    return 0;
}

void stand_command(struct stand *stand, const char *const *argv)
{
    stand->task.executor = MF_EXECUTOR_COMMAND;
    for (stand->task.argc = 0; argv[stand->task.argc] != NULL; stand->task.argc++)
        stand->argv[stand->task.argc] = argv[stand->task.argc];
}

void stand_shell(struct stand *stand, const char *line)
{
    stand->task.executor = MF_EXECUTOR_SHELL;
    stand->argv[0] = line;
    stand->task.argc = 1;
}

void stand_start_staged(struct stand *stand, uint32_t slots, struct stage *stage)
{
    struct executor_callbacks callbacks = {.started = on_started,
                                           .ended = on_ended,
                                           .returned = on_returned,
                                           .grew = on_grew,
                                           .failed = on_failed,
                                           .arg = stand};
    struct mf_error error = {0};
    stand->executor = executor_create(stand->loop,
                                      &stand->task,
                                      "20261122-084512-test-7f3a",
                                      7,
                                      stand->worker,
                                      SLOT_PROGRAM,
                                      slots,
                                      stage,
                                      &callbacks,
                                      &error);
    if (stand->executor == NULL)
        fail_msg("no executor: %s", error.text);
}

void stand_start(struct stand *stand, uint32_t slots)
{
    stand_start_staged(stand, slots, NULL);
}

void stand_submit(struct stand *stand, const struct mf_subtask *subtask)
{
    struct mf_error error;
    assert_int_equal(executor_submit(stand->executor, subtask, &error), 0);
}

void stand_submit_id(struct stand *stand, uint64_t id)
{
    struct mf_subtask subtask = {
        .id = id, .attempt = 1, .epoch = 1, .has_number = true, .number = (int64_t)id};
    stand_submit(stand, &subtask);
}

void stand_until(struct stand *stand, bool (*condition)(struct stand *, uint64_t), uint64_t arg)
{
    int64_t limit_us = mf_monotonic_us() + LIMIT_US;
    struct mf_error error;
    while (!condition(stand, arg)) {
        int64_t now_us = mf_monotonic_us();
        if (now_us > limit_us)
            fail_msg("what was waited for did not come about within a minute");
        int64_t next_us = executor_tick(stand->executor, now_us);
        /* Conditions may lie outside of the loop: so look again soon. */
        if (condition(stand, arg))
            return;
        if (next_us > now_us + 20000)
            next_us = now_us + 20000;
        assert_int_equal(mf_loop_step(stand->loop, next_us, &error), 0);
    }
}

bool stand_has_ended(struct stand *stand, uint64_t count)
{
    return stand->ended_count >= count;
}

bool stand_has_grown(struct stand *stand, uint64_t count)
{
    return stand->growth_count >= count;
}

bool stand_has_started(struct stand *stand, uint64_t count)
{
    return stand->started_count >= count;
}

struct executed *stand_execute(struct stand *stand, const struct mf_subtask *subtask)
{
    if (stand->executor == NULL)
        stand_start(stand, 1);
    unsigned count = stand->ended_count;
    stand_submit(stand, subtask);
    stand_until(stand, stand_has_ended, count + 1);
    return stand->ended[count];
}

struct executed *stand_run(struct stand *stand, const char *line)
{
    const struct mf_subtask subtask = {.id = 1, .attempt = 1, .epoch = 1};
    stand_shell(stand, line);
    return stand_execute(stand, &subtask);
}

static const char *job_path(const struct stand *stand, const char *path, char *text, size_t size)
{
    int n = path[0] == '/' ? snprintf(text, size, "%s", path)
                           : snprintf(text, size, "%s/%s", stand->job, path);
    assert_true(n > 0 && (size_t)n < size);
    return text;
}

void stand_write(const struct stand *stand, const char *path, const void *data, size_t length)
{
    char text[512];
    FILE *file = fopen(job_path(stand, path, text, sizeof text), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

void stand_write_mode(const struct stand *stand, const char *path, const char *text, mode_t mode)
{
    char whole[512];
    stand_write(stand, path, text, strlen(text));
    assert_int_equal(chmod(job_path(stand, path, whole, sizeof whole), mode), 0);
}

void stand_plan_input(const struct stand *stand, struct mf_subtask *subtask, const char *path)
{
    char text[512];
    struct stat st;
    assert_int_equal(stat(job_path(stand, path, text, sizeof text), &st), 0);
    subtask->path = mf_bytes_text(path);
    subtask->input_size = (uint64_t)st.st_size;
    subtask->input_mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    subtask->input_inode = (uint64_t)st.st_ino;
}

const struct executed_file *stand_file(const struct executed *executed, enum mf_chunk_kind kind)
{
    for (uint32_t i = 0; i < executed->file_count; i++)
        if (executed->files[i].kind == kind)
            return &executed->files[i];
    return NULL;
}

char *stand_file_text(const struct executed *executed, enum mf_chunk_kind kind)
{
    const struct executed_file *file = stand_file(executed, kind);
    if (file == NULL)
        return NULL;
    char *text = calloc(1, file->length + 1);
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    assert_non_null(text);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, text, file->length, (off_t)file->offset), file->length);
    close(fd);
    return text;
}

void assert_cause(const struct executed *executed, enum mf_cause cause)
{
    const struct mf_result *result = &executed->result;
    if (result->cause != (uint32_t)cause)
        fail_msg("the cause is %u and not %u; exit code %d, signal %d, detail: %.*s",
                 result->cause,
                 (unsigned)cause,
                 result->exit_code,
                 result->signal,
                 (int)result->detail.length,
                 (const char *)result->detail.data);
}

void assert_inline(const struct executed *executed, const char *text)
{
    struct mf_bytes result = executed->result.inline_result;
    assert_cause(executed, MF_CAUSE_NONE);
    if (!mf_bytes_equal(result, mf_bytes_text(text)))
        fail_msg("the result is \"%.*s\" and not \"%s\"",
                 (int)result.length,
                 (const char *)result.data,
                 text);
    assert_int_equal(executed->result.result_bytes, strlen(text));
}

void assert_detail(const struct executed *executed, const char *part)
{
    struct mf_bytes detail = executed->result.detail;
    if (memmem(detail.data, detail.length, part, strlen(part)) == NULL)
        fail_msg("the detail is \"%.*s\": no \"%s\"",
                 (int)detail.length,
                 (const char *)detail.data,
                 part);
}

bool is_process(pid_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *after = strrchr(text, ')');
    return after != NULL && strlen(after) > 2 && after[2] != 'Z';
}

unsigned child_count(void)
{
    char text[4096];
    int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    unsigned count = 0;
    for (ssize_t i = 0; i < n; i++)
        count += text[i] == ' ';
    return count;
}
