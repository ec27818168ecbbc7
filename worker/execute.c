/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt: see execute.h.
 *
 * This process is a sub-reaper, so that whatever the command leaves behind becomes its child: the
 * attempt is over when wait says that there is no child at all. No list of processes is kept, and
 * none is read from /proc unless something is left when the command has ended.
 *
 * Ending: TERM to the command's process group and to all other descendants, KILL after
 * kill_after_us, repeated until none is left. What even KILL does not end within GIVE_UP_US (it
 * hangs in the kernel, or belongs to another user) makes the slot stuck: it says so and ends, and
 * the worker starts another.
 *
 * Figures: CPU time is summed over all processes that this one waited for, which includes those
 * that they waited for; the peak is the highest of any of them.
 */
#include "worker/execute.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/folder.h"
#include "worker/input.h"
#include "worker/start.h"
#include "worker/tree.h"

#define KILL_AGAIN_US 20000
#define GIVE_UP_US 10000000
#define GROW_US 1000000 /* an attempt shorter than this has nothing to show before its end */

static int64_t after(int64_t now_us, uint64_t span_us)
{
    return span_us > (uint64_t)(MF_NEVER - now_us) ? MF_NEVER : now_us + (int64_t)span_us;
}

static int prepare(struct execution *execution, enum unpack_result unpacked, int *in)
{
    const struct slot_start *start = execution->request.start;
    struct failure *failure = &execution->failure;
    uint64_t out_limit = start->output_max > start->log_max ? start->output_max : start->log_max;
    if (capture_begin(execution->out, out_limit) < 0 ||
        capture_begin(execution->err, start->log_max) < 0)
        return fail_attempt_errno(
            failure, MF_CAUSE_WORKER_ERROR, "cannot use the pipes of the slot");
    if (unpacked == UNPACK_TOO_MANY)
        return fail_attempt(failure,
                            MF_CAUSE_NOT_STARTED,
                            "the command has more than %u arguments and variables",
                            SLOT_STRINGS_MAX);
    /* The input first: a link to one that is missing could be made by way of a linked folder. */
    if (input_open(&execution->request, in, failure) < 0)
        return -1;
    return folder_make(&execution->request, failure);
}

void execute_start(struct execution *execution, enum unpack_result unpacked)
{
    int in = -1;
    execution->failure.cause = MF_CAUSE_NONE;
    execution->failure.text[0] = '\0';
    execution->main_alive = execution->over = execution->stuck = execution->ending = false;
    execution->status = 0;
    execution->wall_us = 0;
    execution->user_us = execution->system_us = execution->peak_kib = 0;
    execution->timeout_at_us = execution->kill_at_us = execution->give_up_at_us = MF_NEVER;
    int rc = prepare(execution, unpacked, &in);
    execution->started_us = mf_monotonic_us();
    if (rc == 0)
        rc = start_command(&execution->request,
                           in < 0 ? execution->null_fd : in,
                           execution->out->write_fd,
                           execution->err->write_fd,
                           &execution->main_pid,
                           &execution->failure);
    if (in >= 0)
        close(in);
    execution->over = rc < 0;
    execution->main_alive = rc == 0;
    execution->grow_at_us = execution->started_us + GROW_US;
    uint64_t timeout_us = execution->request.start->timeout_us;
    if (rc == 0 && timeout_us > 0)
        execution->timeout_at_us = after(execution->started_us, timeout_us);
}

/* The group of the command gets it in one go, so that a shell does not run on when its child has
 * ended. */
static void send_term(const struct execution *execution)
{
    pid_t group = execution->main_alive ? execution->main_pid : 0;
    if (group != 0) {
        kill(-group, SIGTERM);
        kill(-group, SIGCONT);
    }
    tree_signal(SIGTERM, group, NULL, NULL);
}

static void begin_ending(struct execution *execution)
{
    if (execution->ending)
        return;
    execution->ending = true;
    send_term(execution);
    execution->kill_at_us = after(mf_monotonic_us(), execution->request.start->kill_after_us);
}

static uint64_t microseconds(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
}

static void take_in(struct execution *execution, pid_t pid, int status, const struct rusage *usage)
{
    execution->user_us += microseconds(usage->ru_utime);
    execution->system_us += microseconds(usage->ru_stime);
    if ((uint64_t)usage->ru_maxrss > execution->peak_kib)
        execution->peak_kib = (uint64_t)usage->ru_maxrss;
    if (!execution->main_alive || pid != execution->main_pid)
        return;
    execution->main_alive = false;
    execution->status = status;
    execution->wall_us = mf_monotonic_us() - execution->started_us;
    execution->timeout_at_us = MF_NEVER;
}

void execute_reap(struct execution *execution)
{
    int status;
    struct rusage usage;
    pid_t pid;
    bool main_was_alive = execution->main_alive;
    while ((pid = wait4(-1, &status, WNOHANG | __WALL, &usage)) > 0)
        take_in(execution, pid, status, &usage);
    if (pid < 0 && errno == ECHILD) {
        execution->over = true;
        return;
    }
    if (execution->main_alive || !main_was_alive)
        return;
    /* The command has ended and left something: unless it has had its TERM, that comes now. */
    begin_ending(execution);
}

/* Nothing to show is nothing to wake up for. */
static bool has_grown(const struct execution *execution)
{
    uint64_t limit = execution->request.start->log_max;
    return capture_has_grown(execution->out, limit) || capture_has_grown(execution->err, limit);
}

int64_t execute_tick(struct execution *execution, int64_t now_us)
{
    if (execute_is_over(execution))
        return MF_NEVER;
    if (now_us >= execution->timeout_at_us) {
        char text[96];
        double limit_s = (double)execution->request.start->timeout_us / 1e6;
        snprintf(text, sizeof text, "ended at its time limit of %g s", limit_s);
        execution->timeout_at_us = MF_NEVER;
        execute_end(execution, MF_CAUSE_TIMEOUT, text);
    }
    if (now_us >= execution->kill_at_us) {
        if (execution->give_up_at_us == MF_NEVER)
            execution->give_up_at_us = now_us + GIVE_UP_US;
        tree_signal(SIGKILL, 0, NULL, NULL);
        execution->kill_at_us = now_us + KILL_AGAIN_US;
    }
    if (now_us >= execution->give_up_at_us) {
        execution->failure.cause = MF_CAUSE_NONE;
        fail_attempt(&execution->failure,
                     MF_CAUSE_WORKER_ERROR,
                     "a process of the attempt cannot be ended, not even by KILL");
        execution->stuck = true;
    }
    int64_t next = has_grown(execution) ? execution->grow_at_us : MF_NEVER;
    next = execution->timeout_at_us < next ? execution->timeout_at_us : next;
    return execution->kill_at_us < next ? execution->kill_at_us : next;
}

bool execute_grow(struct execution *execution, int64_t now_us, struct slot_streams *streams)
{
    if (now_us < execution->grow_at_us || execute_is_over(execution) || !has_grown(execution))
        return false;
    const struct slot_start *start = execution->request.start;
    *streams = (struct slot_streams){.fence = start->fence};
    capture_grow(execution->out, start->log_max, &streams->out);
    capture_grow(execution->err, start->log_max, &streams->err);
    execution->grow_at_us = now_us + GROW_US;
    return true;
}

void execute_end(struct execution *execution, uint32_t cause, const char *detail)
{
    if (execute_is_over(execution))
        return;
    fail_attempt(&execution->failure, cause, "%s", detail);
    begin_ending(execution);
}

void execute_check(struct execution *execution)
{
    uint64_t most = execution->request.start->output_max;
    if (execution->out->total > most)
        fail_attempt(&execution->failure,
                     MF_CAUSE_OUTPUT_TOO_LARGE,
                     "standard output is larger than %llu bytes (output: max)",
                     (unsigned long long)most);
    if (execution->failure.cause != MF_CAUSE_NONE && !execute_is_over(execution))
        begin_ending(execution);
}

static void judge(struct execution *execution, struct slot_ended *ended)
{
    bool has_status = execution->wall_us > 0;
    bool exited = has_status && WIFEXITED(execution->status);
    ended->exit_code = exited ? WEXITSTATUS(execution->status) : -1;
    if (has_status && WIFSIGNALED(execution->status))
        ended->signal = WTERMSIG(execution->status);
    execute_check(execution);
    ended->cause = execution->failure.cause;
    if (ended->cause == MF_CAUSE_NONE && ended->signal != 0)
        ended->cause = MF_CAUSE_SIGNAL;
    else if (ended->cause == MF_CAUSE_NONE && ended->exit_code != 0)
        ended->cause = MF_CAUSE_EXIT;
}

void execute_finish(struct execution *execution,
                    outputs_found_f *found,
                    void *arg,
                    struct slot_ended *ended)
{
    const struct slot_start *start = execution->request.start;
    struct capture *out = execution->out, *err = execution->err;
    memset(ended, 0, sizeof *ended);
    ended->fence = start->fence;
    judge(execution, ended);
    if (ended->cause == MF_CAUSE_NONE && start->output_count > 0 &&
        outputs_collect(&execution->request, found, arg, &execution->failure) < 0)
        ended->cause = execution->failure.cause;
    if (ended->cause == MF_CAUSE_NONE && capture_is_inline(out)) {
        ended->inline_length = (uint32_t)out->buffered;
        capture_drop(out, &ended->out);
    } else {
        uint64_t limit = ended->cause == MF_CAUSE_NONE ? start->output_max : start->log_max;
        capture_finish(out, limit, &ended->out, &execution->failure);
    }
    capture_finish(err, start->log_max, &ended->err, &execution->failure);
    /* Where the disk is full, a success without its streams is none. */
    if (ended->cause == MF_CAUSE_NONE)
        ended->cause = execution->failure.cause;
    if (ended->cause != MF_CAUSE_NONE)
        ended->inline_length = 0;
    ended->result_bytes = out->total;
    ended->detail_length = (uint32_t)strlen(execution->failure.text);
    ended->stuck = execution->stuck;
    ended->wall_us = (uint64_t)execution->wall_us;
    ended->user_us = execution->user_us;
    ended->system_us = execution->system_us;
    ended->peak_kib = execution->peak_kib;
    folder_remove(&execution->request);
    ended->ended_us = mf_monotonic_us();
}
