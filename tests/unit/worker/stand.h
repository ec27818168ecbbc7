/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A test stand for the executor: a worker's and a job's folder of their own, a task to fill in, and
 * the ends of attempts in the order in which they came. Failures of the stand end the test.
 */
#ifndef MAYFLY_TESTS_WORKER_STAND_H
#define MAYFLY_TESTS_WORKER_STAND_H

#include <stdbool.h>
#include <sys/types.h>

#include "worker/executor.h"

#define STAND_MAX 256

struct stand {
    char root[64];
    char worker[80]; /* the worker's folder */
    char job[80];    /* the job's folder */
    const char *argv[8];
    const char *env[8];
    const char *files[4];
    const char *outputs[4];
    struct mf_task task; /* argv, env, files and outputs point to the arrays above */
    struct mf_loop *loop;
    struct executor *executor;
    struct executed *ended[STAND_MAX];
    unsigned ended_count;
    struct mf_fence started[STAND_MAX];
    unsigned started_count;
    struct mf_fence returned[STAND_MAX];
    unsigned returned_count;
    struct executed_growth growth; /* the last one */
    unsigned growth_count;
    bool failed;
};

/* For cmocka's set-up and tear-down of each test. The tear-down also checks that nothing is left:
 * no process below this one, no folder of the executor. */
int stand_setup(void **state);
int stand_teardown(void **state);

/* The task becomes that shell line; or that command. */
void stand_shell(struct stand *stand, const char *line);
void stand_command(struct stand *stand, const char *const *argv);

void stand_start(struct stand *stand, uint32_t slots);
/* The same with what fetches inputs; it stays the caller's, until the executor is gone. */
void stand_start_staged(struct stand *stand, uint32_t slots, struct stage *stage);
void stand_submit(struct stand *stand, const struct mf_subtask *subtask);
void stand_submit_id(struct stand *stand, uint64_t id);
/* Turns the loop until `condition` holds; fails the test after a minute. */
void stand_until(struct stand *stand, bool (*condition)(struct stand *, uint64_t), uint64_t arg);
bool stand_has_ended(struct stand *stand, uint64_t count);
bool stand_has_started(struct stand *stand, uint64_t count);
bool stand_has_grown(struct stand *stand, uint64_t count);

/* Starts with one slot when that was not done yet, executes one subtask and returns its end. */
struct executed *stand_execute(struct stand *stand, const struct mf_subtask *subtask);
/* The same for subtask 1 without an item, of a shell line. */
struct executed *stand_run(struct stand *stand, const char *line);

/* Writes and reads whole files; `path` relative to the job's folder, or absolute. */
void stand_write(const struct stand *stand, const char *path, const void *data, size_t length);
void stand_write_mode(const struct stand *stand, const char *path, const char *text, mode_t mode);
/* Fills in size, mtime and inode of the subtask's input as they are now. */
void stand_plan_input(const struct stand *stand, struct mf_subtask *subtask, const char *path);

/* The bytes of an executed_file as text (heap, with a NUL); NULL when there is no file of that
 * kind. */
char *stand_file_text(const struct executed *executed, enum mf_chunk_kind kind);
const struct executed_file *stand_file(const struct executed *executed, enum mf_chunk_kind kind);

void assert_cause(const struct executed *executed, enum mf_cause cause);
void assert_inline(const struct executed *executed, const char *text);
void assert_detail(const struct executed *executed, const char *part);

/* Whether a process exists that is not a zombie. */
bool is_process(pid_t pid);
/* How many children this process has. */
unsigned child_count(void);

#endif
