/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Foreground: see foreground.h. The command leads a process group of its own, so that a signal for
 * the group does not reach whoever called us; while the terminal was ours, the group has it. A
 * command that is stopped (Ctrl-Z) stops us as well, and goes on with us.
 *
 * Signals are blocked and taken by sigtimedwait: none is lost between two looks.
 */
#include "worker/foreground.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/start.h"
#include "worker/tree.h"

#define TIED_US 200000     /* between two looks whether somebody has gone */
#define LOOK_US 20000      /* between two looks for what the command left behind */
#define GIVE_UP_US 5000000 /* so long after KILL what can't be ended is left to init */

static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};

static sigset_t taken_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        sigaddset(&set, ending[i]);
    return set;
}

void foreground_begin(void)
{
    sigset_t set = taken_signals();
    sigprocmask(SIG_BLOCK, &set, NULL);
    /* Giving the terminal back from the background must not stop us. */
    signal(SIGTTOU, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* The terminal, when this process group has it; else -1. */
static int own_terminal(void)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0 && tcgetpgrp(fd) == getpgrp())
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void give_terminal(int terminal, pid_t group)
{
    if (terminal >= 0)
        tcsetpgrp(terminal, group);
}

/* The command was stopped: so are we, until somebody lets us go on. */
static void stop_along(int terminal, pid_t pid)
{
    give_terminal(terminal, getpgrp());
    raise(SIGSTOP);
    give_terminal(terminal, pid);
    kill(-pid, SIGCONT);
}

/* Takes in what has ended. 1: nothing is left; 0: something is. */
static int reap(int terminal, pid_t pid, bool *has_ended, int *status)
{
    int got;
    pid_t child;
    while ((child = waitpid(-1, &got, WNOHANG | WUNTRACED | __WALL)) > 0) {
        if (child == pid && WIFSTOPPED(got) && !*has_ended) {
            stop_along(terminal, pid);
        } else if (child == pid && !WIFSTOPPED(got)) {
            *has_ended = true;
            *status = got;
        }
    }
    return child < 0 && errno == ECHILD;
}

/* A signal that came to us, passed on; false when none came for so long. */
static void pass_signals(pid_t pid, bool has_ended, int64_t wait_us)
{
    sigset_t set = taken_signals();
    struct timespec limit = {.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
    int signal = sigtimedwait(&set, NULL, &limit);
    if (signal <= 0 || signal == SIGCHLD)
        return;
    if (!has_ended)
        kill(-pid, signal);
    tree_signal(signal, pid, NULL, NULL);
}

/* Whether whoever held the other end has gone. */
static bool is_over(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    char byte;
    return poll(&ready, 1, 0) > 0 && read(fd, &byte, 1) <= 0;
}

/* Ends what the command left behind, as a slot does: TERM, then KILL. */
static void end_rest(int terminal, pid_t pid, uint64_t kill_after_us)
{
    int64_t now_us = mf_monotonic_us(), kill_us = now_us + (int64_t)kill_after_us;
    int status;
    bool has_ended = true;
    tree_signal(SIGTERM, 0, NULL, NULL);
    while (!reap(terminal, pid, &has_ended, &status)) {
        now_us = mf_monotonic_us();
        if (now_us >= kill_us)
            tree_signal(SIGKILL, 0, NULL, NULL);
        if (now_us >= kill_us + GIVE_UP_US)
            return;
        pass_signals(pid, true, LOOK_US);
    }
}

int foreground_run(const struct unpacked *request,
                   int in,
                   int tied_fd,
                   uint64_t kill_after_us,
                   struct failure *failure)
{
    pid_t pid;
    int status = 0;
    int64_t kill_us = MF_NEVER;
    bool has_ended = false, is_empty = false;
    int terminal = own_terminal();
    if (start_in_foreground(request, in < 0 ? 0 : in, terminal, &pid, failure) < 0) {
        give_terminal(terminal, getpgrp());
        if (terminal >= 0)
            close(terminal);
        return -1;
    }
    while (!has_ended) {
        is_empty = reap(terminal, pid, &has_ended, &status);
        if (!has_ended && tied_fd >= 0 && is_over(tied_fd)) {
            kill(-pid, SIGTERM);
            kill_us = mf_monotonic_us() + (int64_t)kill_after_us;
            tied_fd = -1;
        }
        if (!has_ended && mf_monotonic_us() >= kill_us)
            kill(-pid, SIGKILL);
        if (!has_ended)
            pass_signals(pid, false, tied_fd >= 0 || kill_us != MF_NEVER ? TIED_US : 1000000);
    }
    give_terminal(terminal, getpgrp());
    if (terminal >= 0)
        close(terminal);
    if (!is_empty)
        end_rest(-1, pid, kill_after_us);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
