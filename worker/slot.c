/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slot process: `mayfly-worker slot`. It owns one control socket, two pipes and at most one
 * attempt at a time; one more may wait here (slot.h says why).
 *
 * All its memory is static and only touched where it is used: execve hands the peak of the process
 * that spawned on to the command, so what this process once used would show in every later attempt.
 *
 * It sleeps in ppoll, the only place where SIGCHLD is let in. When the control socket ends, the
 * worker is gone: the tree is ended, and then so is this process. It reports no errors to anybody
 * but the executor, by ENDED; when it can't go on it exits, which the executor takes as a failure
 * of the attempt.
 */
#include "worker/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/execute.h"
#include "worker/executor.h"
#include "worker/folder.h"
#include "worker/journal.h"

/* Exit codes, for the worker's log. */
enum { SLOT_OK = 0, SLOT_BAD_START = 70, SLOT_MALFORMED = 71, SLOT_STUCK = 72 };

struct request_memory {
    size_t length;
    union {
        struct slot_start start; /* for its alignment */
        unsigned char bytes[SLOT_REQUEST_MAX];
    } body;
};

static struct {
    struct request_memory requests[2];
    unsigned current; /* of requests: the running one; the other is the one ahead */
    bool running;
    bool has_ahead;
    bool worker_gone;
    bool configured;
    int exit_code; /* when >= 0: end now */
    sigset_t open_mask;
    struct execution execution;
    struct capture out;
    struct capture err;
    size_t filled;
    unsigned char input[SLOT_REQUEST_MAX + 2 * sizeof(struct slot_header)];
} slot;

static volatile sig_atomic_t child_ended;

static void on_child(int signal_number)
{
    (void)signal_number;
    child_ended = 1;
}

static void lose_worker(void)
{
    if (slot.worker_gone)
        return;
    slot.worker_gone = true;
    slot.has_ahead = false;
    if (slot.running)
        execute_end(&slot.execution, MF_CAUSE_CANCELLED, "the worker has ended");
}

/* The executor reads whenever there is something, so this waits only shortly. */
static void send_parts(struct iovec *parts, size_t count)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    while (message.msg_iovlen > 0 && !slot.worker_gone) {
        ssize_t n = sendmsg(SLOT_CONTROL_FD, &message, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            lose_worker();
        for (; n >= 0 && message.msg_iovlen > 0; message.msg_iov++, message.msg_iovlen--) {
            if ((size_t)n < message.msg_iov->iov_len) {
                message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + n;
                message.msg_iov->iov_len -= (size_t)n;
                break;
            }
            n -= (ssize_t)message.msg_iov->iov_len;
        }
    }
}

static void send_message(uint32_t kind,
                         const void *body,
                         size_t length,
                         const void *more,
                         size_t more_length,
                         const void *last,
                         size_t last_length)
{
    struct slot_header header = {kind, (uint32_t)(length + more_length + last_length)};
    struct iovec parts[] = {{&header, sizeof header},
                            {(void *)(uintptr_t)body, length},
                            {(void *)(uintptr_t)more, more_length},
                            {(void *)(uintptr_t)last, last_length}};
    send_parts(parts, last_length > 0 ? 4 : more_length > 0 ? 3 : 2);
}

static void send_output(void *arg, const struct slot_output *output, const char *name)
{
    (void)arg;
    send_message(SLOT_OUTPUT, output, sizeof *output, name, strlen(name), NULL, 0);
}

static void start_next(void)
{
    slot.current ^= 1;
    slot.has_ahead = false;
    struct request_memory *request = &slot.requests[slot.current];
    enum unpack_result unpacked =
        unpack(request->body.bytes, request->length, &slot.execution.request);
    if (unpacked == UNPACK_MALFORMED) {
        slot.exit_code = SLOT_MALFORMED;
        return;
    }
    slot.running = true;
    journal_start(&slot.execution.request.start->fence);
    execute_start(&slot.execution, unpacked);
}

static void finish(void)
{
    struct slot_ended ended;
    execute_finish(&slot.execution, send_output, NULL, &ended);
    slot.running = false;
    send_message(SLOT_ENDED,
                 &ended,
                 sizeof ended,
                 slot.out.buffer,
                 ended.inline_length,
                 slot.execution.failure.text,
                 ended.detail_length);
    if (ended.stuck)
        slot.exit_code = SLOT_STUCK;
}

static int configure(const unsigned char *body, size_t length)
{
    struct slot_configure configure;
    char folder[PATH_MAX];
    if (length < sizeof configure + 1 || length - sizeof configure > sizeof folder)
        return -1;
    memcpy(&configure, body, sizeof configure);
    memcpy(folder, body + sizeof configure, length - sizeof configure);
    folder[length - sizeof configure - 1] = '\0';
    if (chdir(folder) < 0 || chdir("attempts") < 0 ||
        capture_open(&slot.out, "out", configure.slot, configure.segment) < 0 ||
        capture_open(&slot.err, "err", configure.slot, configure.segment) < 0)
        return -1;
    slot.configured = true;
    return 0;
}

static void recall(const struct mf_fence *fence, bool cancel)
{
    struct request_memory *ahead = &slot.requests[slot.current ^ 1];
    if (slot.has_ahead && slot_same_fence(&ahead->body.start.fence, fence)) {
        slot.has_ahead = false;
        send_message(SLOT_RETURNED, fence, sizeof *fence, NULL, 0, NULL, 0);
    } else if (cancel && slot.running &&
               slot_same_fence(&slot.execution.request.start->fence, fence)) {
        execute_end(&slot.execution, MF_CAUSE_CANCELLED, "cancelled");
    }
}

static int handle_message(uint32_t kind, const unsigned char *body, size_t length)
{
    struct request_memory *ahead = &slot.requests[slot.current ^ 1];
    struct mf_fence fence;
    if (kind == SLOT_CONFIGURE)
        return slot.configured ? -1 : configure(body, length);
    if (!slot.configured)
        return -1;
    if (kind == SLOT_START && !slot.has_ahead && length >= sizeof(struct slot_start)) {
        memcpy(ahead->body.bytes, body, length);
        ahead->length = length;
        slot.has_ahead = true;
        if (!slot.running)
            start_next();
        return 0;
    }
    if ((kind != SLOT_RECALL && kind != SLOT_CANCEL) || length != sizeof fence)
        return -1;
    memcpy(&fence, body, sizeof fence);
    recall(&fence, kind == SLOT_CANCEL);
    return 0;
}

static void handle_messages(void)
{
    struct slot_header header;
    size_t at = 0;
    while (slot.filled - at >= sizeof header) {
        memcpy(&header, slot.input + at, sizeof header);
        if (header.length > SLOT_REQUEST_MAX) {
            slot.exit_code = SLOT_MALFORMED;
            return;
        }
        if (slot.filled - at - sizeof header < header.length)
            break;
        if (handle_message(header.kind, slot.input + at + sizeof header, header.length) < 0) {
            slot.exit_code = SLOT_MALFORMED;
            return;
        }
        at += sizeof header + header.length;
    }
    slot.filled -= at;
    if (slot.filled > 0 && at > 0)
        memmove(slot.input, slot.input + at, slot.filled);
}

static void read_control(void)
{
    ssize_t n = recv(
        SLOT_CONTROL_FD, slot.input + slot.filled, sizeof slot.input - slot.filled, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        lose_worker();
        return;
    }
    slot.filled += (size_t)n;
    handle_messages();
}

/* Waits until something happens, or the deadline; true when a stream had something or may have. */
static bool wait_and_read(int64_t deadline_us, int64_t now_us)
{
    struct pollfd polled[3] = {{slot.worker_gone ? -1 : SLOT_CONTROL_FD, POLLIN, 0},
                               {slot.out.read_fd, POLLIN, 0},
                               {slot.err.read_fd, POLLIN, 0}};
    int64_t left_us = deadline_us <= now_us ? 0 : deadline_us - now_us;
    struct timespec left = {left_us / 1000000, left_us % 1000000 * 1000};
    int n = ppoll(
        polled, slot.running ? 3 : 1, deadline_us == MF_NEVER ? NULL : &left, &slot.open_mask);
    if (n <= 0)
        return n < 0;
    if (!slot.running) {
        read_control();
        return false;
    }
    if (polled[1].revents != 0 && capture_read(&slot.out, &slot.execution.failure) < 0)
        slot.exit_code = SLOT_BAD_START;
    if (polled[2].revents != 0 && capture_read(&slot.err, &slot.execution.failure) < 0)
        slot.exit_code = SLOT_BAD_START;
    if (polled[0].revents != 0)
        read_control();
    return polled[1].revents != 0 || polled[2].revents != 0;
}

/* One round while an attempt is running. */
static void attend(void)
{
    int64_t now_us = mf_monotonic_us();
    struct slot_streams streams;
    if (execute_grow(&slot.execution, now_us, &streams))
        send_message(SLOT_STREAMS, &streams, sizeof streams, NULL, 0, NULL, 0);
    int64_t deadline_us = execute_tick(&slot.execution, now_us);
    bool over = execute_is_over(&slot.execution);
    bool had_output = wait_and_read(over ? now_us : deadline_us, now_us);
    if (child_ended) {
        child_ended = 0;
        execute_reap(&slot.execution);
    }
    execute_check(&slot.execution);
    /* Nobody is left who could write, and nothing is left to read. */
    if (slot.execution.stuck || (over && !had_output))
        finish();
}

static int set_up(void)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t child;
    if (null_fd < 0 || fcntl(SLOT_CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return -1;
    /* Standard error stays the worker's log. */
    dup2(null_fd, STDIN_FILENO);
    dup2(null_fd, STDOUT_FILENO);
    if (null_fd <= SLOT_CONTROL_FD)
        return -1;
    slot.execution.null_fd = null_fd;
    for (int fd = SLOT_CONTROL_FD + 1; fd < null_fd; fd++)
        close(fd);
    close_range((unsigned)null_fd + 1, ~0u, 0);
    if (journal_open_file(getenv("MAYFLY_JOURNAL"), NULL) < 0)
        return -1;
    umask(022);
    for (int i = 1; i < NSIG; i++)
        signal(i, i == SIGPIPE ? SIG_IGN : SIG_DFL);
    struct sigaction action = {.sa_handler = on_child};
    sigaction(SIGCHLD, &action, NULL);
    sigemptyset(&slot.open_mask);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_SETMASK, &child, NULL);
    slot.execution.out = &slot.out;
    slot.execution.err = &slot.err;
    slot.exit_code = -1;
    return 0;
}

int slot_main(void)
{
    if (set_up() < 0)
        return SLOT_BAD_START;
    while (slot.exit_code < 0) {
        if (slot.running)
            attend();
        else if (slot.worker_gone)
            slot.exit_code = SLOT_OK;
        else if (slot.has_ahead)
            start_next();
        else
            wait_and_read(MF_NEVER, 0);
    }
    folder_forget_spare();
    return slot.exit_code;
}
