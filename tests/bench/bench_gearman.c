/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The peer of `mayfly run` with no-op subtasks: gearman. Forks workers with a function that returns
 * at once, submits jobs from one client over one connection as fast as it can, waits for every
 * result. Prints jobs/s. gearmand must be listening on 127.0.0.1.
 *
 *     bench_gearman PORT [JOBS [WORKERS]]
 */
#include <libgearman/gearman.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

#define JOBS_AT_ONCE 10000

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_gearman: %s: %s\n", what, why);
    exit(1);
}

static gearman_return_t noop(gearman_job_st *job, void *context)
{
    (void)job;
    (void)context;
    return GEARMAN_SUCCESS;
}

/* Runs until it is killed. */
static void work(in_port_t port)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    gearman_worker_st *worker = gearman_worker_create(NULL);
    if (worker == NULL || gearman_failed(gearman_worker_add_server(worker, "127.0.0.1", port)))
        fail("worker", "cannot be set up");
    gearman_function_t function = gearman_function_create(noop);
    if (gearman_failed(gearman_worker_define_function(worker, "noop", 4, function, 0, NULL)))
        fail("worker", gearman_worker_error(worker));
    while (gearman_success(gearman_worker_work(worker)))
        continue;
    fail("worker", gearman_worker_error(worker));
}

/* Submits `count` jobs, waits for their results, returns how many failed. */
static unsigned long run_batch(gearman_client_st *client, unsigned long count)
{
    unsigned long failed = 0;
    for (unsigned long i = 0; i < count; i++) {
        gearman_return_t rc;
        gearman_client_add_task(client, NULL, NULL, "noop", NULL, NULL, 0, &rc);
        if (gearman_failed(rc))
            failed++;
    }
    if (gearman_failed(gearman_client_run_tasks(client)))
        fail("client", gearman_client_error(client));
    gearman_client_task_free_all(client);
    return failed;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        fail("usage", "bench_gearman PORT [JOBS [WORKERS]]");
    in_port_t port = (in_port_t)strtoul(argv[1], NULL, 10);
    unsigned long jobs = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000;
    unsigned long workers = argc > 3 ? strtoul(argv[3], NULL, 10) : 2;
    pid_t children[64];
    if (workers == 0 || workers > sizeof children / sizeof *children)
        fail("usage", "1 to 64 workers");
    for (unsigned long i = 0; i < workers; i++) {
        children[i] = fork();
        if (children[i] < 0)
            fail("fork", "failed");
        if (children[i] == 0)
            work(port);
    }
    gearman_client_st *client = gearman_client_create(NULL);
    if (client == NULL || gearman_failed(gearman_client_add_server(client, "127.0.0.1", port)))
        fail("client", "cannot be set up");
    unsigned long failed = run_batch(client, 100); /* both workers are connected after this */
    int64_t start_us = mf_monotonic_us();
    for (unsigned long done = 0; done < jobs; done += JOBS_AT_ONCE)
        failed += run_batch(client, jobs - done < JOBS_AT_ONCE ? jobs - done : JOBS_AT_ONCE);
    double seconds = (double)(mf_monotonic_us() - start_us) / 1e6;
    printf("%.0f\n", (double)jobs / seconds);
    gearman_client_free(client);
    for (unsigned long i = 0; i < workers; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    return failed == 0 ? 0 : 1;
}
