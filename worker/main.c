/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly-worker: the process that does a master's work on a host, and leaves nothing behind.
 *
 *     start RUN [--stay]   reads its launch input (with credentials) from standard input, detaches
 *                          (or stays where it is, for batch systems), joins
 *     sweep RUN    verifies that nothing of a run is left on this host, and cleans
 *     readdress RUN WORKER   leaves there where another master of the run listens
 *     debug ...    one subtask in the foreground, for mayfly debug
 *     slot         internal: the process that runs one attempt at a time
 *     version
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/crash.h"
#include "common/limits.h"
#include "common/log.h"
#include "worker/daemon.h"
#include "worker/debug.h"
#include "worker/executor.h"
#include "worker/journal.h"
#include "worker/launch_input.h"
#include "worker/place.h"
#include "worker/program.h"
#include "worker/readdress.h"
#include "worker/session.h"
#include "worker/sweep.h"

#define FILES_BASE 64u /* its own: connections, files on their way */
#define FILES_EACH 4u
#define PROCESSES_BASE 24u /* its own threads, and what a command may start besides */
#define PROCESSES_EACH 2u  /* a slot and its command */

/* Puts MAYFLY_RUN into the environment that /proc shows, where a sweep looks for it. Returns only
 * on failure, or when it is there already. */
static void mark_environment(const char *run_id, char **argv)
{
    const char *marked = getenv("MAYFLY_RUN");
    if (marked != NULL && strcmp(marked, run_id) == 0)
        return;
    setenv("MAYFLY_RUN", run_id, 1);
    execv("/proc/self/exe", argv);
}

/* The worker's folder and, when they are empty, the folders above it that workers make. */
static void remove_folder(const char *folder)
{
    struct mf_error error;
    uint32_t removed = 0;
    if (chdir("/") < 0 || place_remove(folder, &removed, &error) < 0) {
        mf_log(MF_WARNING, "the worker's folder %s cannot be removed: %s", folder, error.text);
        return;
    }
    place_leave(folder, true);
}

/* What tests may have asked for. */
static int open_aids(const struct launch_input *input, struct mf_error *error)
{
    mf_crash_tell(journal_crash);
    if (mf_crash_arm(input->crash, input->worker, error) < 0)
        return -1;
    return journal_open(input->journal_folder, input->run_id, input->worker, error);
}

/* What slots need of the system is looked at before the master is told that they are there. */
static int check_limits(const struct launch_input *input, struct mf_error *error)
{
    char what[64];
    snprintf(what,
             sizeof what,
             "%u slot%s (workers.slots) need%s",
             input->slots,
             input->slots == 1 ? "" : "s",
             input->slots == 1 ? "s" : "");
    if (mf_limit_files(FILES_BASE + (uint64_t)input->slots * FILES_EACH, what, error) < 0)
        return -1;
    return mf_limit_processes(
        PROCESSES_BASE + (uint64_t)input->slots * PROCESSES_EACH, what, error);
}

static int run_worker(struct launch_input *input,
                      const char *folder,
                      bool stays,
                      bool *orphaned,
                      struct mf_error *error)
{
    char *log_path = mf_format("%s/worker.log", folder);
    if (log_path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the worker's log");
    int rc = check_limits(input, error);
    if (rc == 0)
        rc = launch_input_reserve_port(input, error);
    if (rc == 0)
        rc = open_aids(input, error);
    if (rc == 0)
        rc = daemon_detach(folder, log_path, input->worker, input->listen_port, stays, error);
    if (rc == 0) /* once more: detaching has closed it */
        rc = journal_open(input->journal_folder, input->run_id, input->worker, error);
    if (rc == 0) {
        mf_log_to(2, MF_INFO);
        mf_log(MF_INFO,
               "worker %u of run %s started, process %d",
               input->worker,
               input->run_id,
               (int)getpid());
        /* Not by its path: another run's sweep may have removed the file, which does no harm so. */
        rc = session_run(input, folder, log_path, "/proc/self/exe", orphaned, error);
    }
    mf_free(log_path);
    return rc;
}

static int start_main(int argc, char **argv)
{
    bool stays = argc == 4 && strcmp(argv[3], "--stay") == 0;
    if (argc != 3 && !stays) {
        fprintf(stderr, "usage: mayfly-worker start RUN [--stay]\n");
        return 2;
    }
    mark_environment(argv[2], argv);
    struct launch_input input;
    struct mf_error error;
    if (launch_input_read(0, &input, &error) < 0) {
        fprintf(stderr, "mayfly-worker: %s\n", error.text);
        return 3;
    }
    int rc = -1;
    bool orphaned = false;
    char *folder = NULL;
    if (strcmp(input.run_id, argv[2]) != 0)
        mf_raise(&error,
                 MF_EPROTOCOL,
                 "the launch input is for run %s, not for run %s",
                 input.run_id,
                 argv[2]);
    else if ((folder = place_make(input.run_id, input.worker, &error)) != NULL)
        rc = run_worker(&input, folder, stays, &orphaned, &error);
    if (rc < 0) /* before it is detached the launcher reads this, afterwards it stands in the
                   worker's log */
        fprintf(stderr, "mayfly-worker: %s\n", error.text);
    MF_CRASH(WORKER_BEFORE_CLEANING);
    if (folder != NULL)
        remove_folder(folder);
    MF_CRASH(WORKER_AFTER_CLEANING);
    /* Nobody may come any more to sweep. */
    if (orphaned && !input.keep_program)
        program_remove();
    launch_input_fini(&input);
    mf_free(folder);
    return rc < 0 ? 3 : 0;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    prctl(PR_SET_NAME, "mayfly-worker"); /* it may have been started as /proc/self/exe */
    if (strcmp(command, "slot") == 0)
        return slot_main();
    if (strcmp(command, "start") == 0)
        return start_main(argc, argv);
    if (strcmp(command, "sweep") == 0)
        return sweep_main(argc, argv);
    if (strcmp(command, "debug") == 0)
        return debug_main(argc, argv);
    if (strcmp(command, "readdress") == 0)
        return readdress_main(argc, argv);
    if (strcmp(command, "version") == 0) {
        printf("mayfly-worker %s\n", MAYFLY_VERSION);
        return 0;
    }
    fprintf(stderr,
            "mayfly-worker is started by mayfly; by hand: mayfly-worker sweep RUN | version\n");
    return 2;
}
