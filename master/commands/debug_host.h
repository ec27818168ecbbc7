/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly debug on another host, by OpenSSH's client, since streams and terminal are to be direct.
 */
#ifndef MAYFLY_MASTER_COMMANDS_DEBUG_HOST_H
#define MAYFLY_MASTER_COMMANDS_DEBUG_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/message.h"
#include "master/job/job.h"
#include "master/remote/remote.h"

struct debug_order {
    const struct job *job;
    const struct job_host *host; /* not this machine */
    const char *run_id, *run_folder;
    uint32_t worker;
    const struct mf_subtask *piece;
    int request_fd; /* what the worker's program is to read (worker/debug.h), from its start */
    bool wants_shell, keeps;
};

/* How to log in to a host of the job; borrows their texts. */
struct remote_config debug_login(const struct job_ssh *ssh, const struct job_host *host);

/*
 * Copies the worker's program, the job's own files and the subtask's inputs to a new folder of the
 * host, runs it there and removes the folder. 0 and *code, the exit code of the command as
 * debug_main of worker/debug.h has it; -1 when it was not begun, or the connection broke.
 */
int debug_on_host(const struct debug_order *order, int *code, struct mf_error *error);

#endif
