/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the worker's execution alone starts and ends /bin/true, with two slots and everything
 * that an attempt has (own folder, captured streams, figures), beside `xargs -P2 -n1 /bin/true` in
 * turns with it.
 * usage: bench_spawn [SUBTASKS [ROUNDS]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/executor.h"

#define SLOTS 2
#define AHEAD 64 /* submitted, not ended: as if batches came from a master */
#define ROUNDS_MAX 99

struct bench {
    struct executor *executor;
    struct executed *done[AHEAD];
    unsigned done_count;
    unsigned long submitted, ended;
    bool failed;
};

static void on_ended(void *arg, struct executed *executed)
{
    struct bench *bench = arg;
    if (executed->result.cause != MF_CAUSE_NONE)
        bench->failed = true;
    bench->done[bench->done_count++] = executed;
    bench->ended++;
}

static void on_fence(void *arg, const struct mf_fence *fence)
{
    (void)arg;
    (void)fence;
}

static void on_grew(void *arg, const struct executed_growth *growth)
{
    (void)arg;
    (void)growth;
}

static void on_failed(void *arg, const struct mf_error *error)
{
    struct bench *bench = arg;
    fprintf(stderr, "bench_spawn: %s\n", error->text);
    bench->failed = true;
}

static int
work(struct bench *bench, struct mf_loop *loop, unsigned long count, struct mf_error *error)
{
    while (bench->ended < count && !bench->failed) {
        while (bench->submitted < count && bench->submitted - bench->ended < AHEAD) {
            struct mf_subtask subtask = {.id = ++bench->submitted, .attempt = 1, .epoch = 1};
            if (executor_submit(bench->executor, &subtask, error) < 0)
                return -1;
        }
        int64_t next = executor_tick(bench->executor, mf_monotonic_us());
        if (mf_loop_step(loop, next, error) < 0)
            return -1;
        while (bench->done_count > 0)
            executor_release(bench->executor, bench->done[--bench->done_count]);
    }
    return bench->failed ? mf_raise(error, MF_ESYSTEM, "an attempt failed") : 0;
}

/* Per second; negative: failed. */
static double run_executor(const char *folder, unsigned long count)
{
    struct bench bench = {0};
    const char *argv[] = {"/bin/true"};
    struct mf_task task = {.executor = MF_EXECUTOR_COMMAND,
                           .argc = 1,
                           .argv = argv,
                           .job_folder = "/",
                           .kill_after_us = 5000000,
                           .output_max = 64 << 20,
                           .log_max = 1 << 20};
    struct executor_callbacks callbacks = {.started = on_fence,
                                           .ended = on_ended,
                                           .returned = on_fence,
                                           .grew = on_grew,
                                           .failed = on_failed,
                                           .arg = &bench};
    struct mf_error error = {0};
    struct mf_loop *loop = mf_loop_create(&error);
    double rate = -1;
    if (loop != NULL)
        bench.executor = executor_create(
            loop, &task, "bench", 1, folder, "/proc/self/exe", SLOTS, NULL, &callbacks, &error);
    int64_t start_us = mf_monotonic_us();
    if (bench.executor != NULL && work(&bench, loop, count, &error) == 0)
        rate = (double)count * 1e6 / (double)(mf_monotonic_us() - start_us);
    else
        fprintf(stderr, "bench_spawn: %s\n", error.text);
    executor_destroy(bench.executor);
    mf_loop_destroy(loop);
    return rate;
}

static double run_xargs(unsigned long count)
{
    char line[96];
    snprintf(line, sizeof line, "seq %lu | xargs -P%d -n1 /bin/true", count, SLOTS);
    int64_t start_us = mf_monotonic_us();
    if (system(line) != 0)
        return -1;
    return (double)count * 1e6 / (double)(mf_monotonic_us() - start_us);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "slot") == 0)
        return slot_main();
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 3000;
    unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 5;
    double ours[ROUNDS_MAX], theirs[ROUNDS_MAX];
    char folder[] = "/tmp/mayfly-bench-XXXXXX";
    if (count == 0 || rounds == 0 || rounds > ROUNDS_MAX || mkdtemp(folder) == NULL) {
        fprintf(stderr, "usage: bench_spawn [SUBTASKS [ROUNDS]]\n");
        return 2;
    }
    int rc = 0;
    for (unsigned long i = 0; i < rounds && rc == 0; i++) {
        ours[i] = run_executor(folder, count);
        theirs[i] = run_xargs(count);
        rc = ours[i] < 0 || theirs[i] < 0;
    }
    rmdir(folder);
    if (rc != 0)
        return 1;
    qsort(ours, rounds, sizeof *ours, ascending);
    qsort(theirs, rounds, sizeof *theirs, ascending);
    double mine = ours[rounds / 2], other = theirs[rounds / 2];
    printf("spawn: executor %.0f /s, xargs -P2 %.0f /s, ratio %.2f (wanted: 1.3)\n",
           mine,
           other,
           mine / other);
    return 0;
}
