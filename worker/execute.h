/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt in a slot process: from its folder to its end. The caller polls the two streams and
 * the clock and calls in; nothing here waits.
 *
 *   execute_start -> [execute_reap | execute_tick | execute_grow | execute_end]*
 *                 until execute_is_over -> drain the streams -> execute_finish
 */
#ifndef MAYFLY_WORKER_EXECUTE_H
#define MAYFLY_WORKER_EXECUTE_H

#include <sys/types.h>

#include "worker/capture.h"
#include "worker/outputs.h"
#include "worker/unpack.h"

struct execution {
    struct unpacked request;
    struct failure failure; /* why it fails, whatever the command's exit status says */
    struct capture *out;
    struct capture *err;
    int null_fd; /* /dev/null; stays */
    pid_t main_pid;
    bool main_alive;
    bool over;   /* no process of it is left */
    bool stuck;  /* there is, but it can't be ended */
    bool ending; /* TERM was sent */
    int status;  /* of the main process, as wait has it */
    int64_t started_us;
    int64_t wall_us;
    int64_t timeout_at_us;
    int64_t kill_at_us; /* MF_NEVER until `ending` */
    int64_t give_up_at_us;
    int64_t grow_at_us; /* not before: its streams are looked at for what is to be sent */
    uint64_t user_us;
    uint64_t system_us;
    uint64_t peak_kib;
};

/* When it can't be started, it is over at once, with the failure set. */
void execute_start(struct execution *execution, enum unpack_result unpacked);
/* After SIGCHLD: takes in all processes that have ended. */
void execute_reap(struct execution *execution);
/* Limits and deadlines; returns the next one. */
int64_t execute_tick(struct execution *execution, int64_t now_us);
/* Whether its streams have grown since the last look, which is due: then *streams says how far. */
bool execute_grow(struct execution *execution, int64_t now_us, struct slot_streams *streams);
/* After output was read: one that is too large, or can't be kept, ends the attempt. */
void execute_check(struct execution *execution);
/* Ends its whole tree, for a reason that becomes its failure. */
void execute_end(struct execution *execution, uint32_t cause, const char *detail);
/* Collects its outputs, removes its folder, and says how it ended; failure.text is the detail. */
void execute_finish(struct execution *execution,
                    outputs_found_f *found,
                    void *arg,
                    struct slot_ended *ended);

static inline bool execute_is_over(const struct execution *execution)
{
    return execution->over || execution->stuck;
}

#endif
