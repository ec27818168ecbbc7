/* SPDX-License-Identifier: Apache-2.0 */
/* Signals to the master: the first drains, the second cancels, with the third it leaves. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/log.h"
#include "master/run_internal.h"

/* To drain is to finish what runs: all subtasks, or the gather. */
static void say_draining(struct run *run)
{
    struct schedule_counts counts;
    schedule_counts(run->schedule, &counts);
    progress_say(run->progress,
                 counts.state == RUN_GATHERING
                     ? "every subtask has ended: gathering is finished (again: cancel)"
                 : counts.state >= RUN_DISMISSING
                     ? "the work is over: workers are being dismissed (twice more: leave at once)"
                     : "draining: what runs finishes, nothing new starts (again: cancel)");
}

static void on_signal(void *arg, uint32_t events)
{
    (void)events;
    struct run *run = arg;
    struct signalfd_siginfo info;
    if (read(run->signal_fd, &info, sizeof info) != sizeof info)
        return;
    run->interrupts++;
    mf_log(MF_WARNING, "signal %u, the %u. of its kind", info.ssi_signo, run->interrupts);
    char by[32];
    snprintf(by, sizeof by, "SIG%s", sigabbrev_np((int)info.ssi_signo));
    if (run->interrupts == 1) {
        say_draining(run);
        run_end_early(run, true, by);
    } else if (run->interrupts == 2) {
        progress_say(run->progress, "cancelling (again: leave at once)");
        run_end_early(run, false, by);
    } else {
        _exit(MAYFLY_EXIT_INTERRUPTED);
    }
}

int run_watch_signals(struct run *run, struct mf_error *error)
{
    sigset_t set;
    struct sigaction hangup;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    /* Under nohup and when submitted it is ignored: a blocked signal would come in spite of that.
     */
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (run->signal_fd < 0)
        return mf_raise_errno(error, "cannot watch signals");
    return mf_loop_add(run->loop, run->signal_fd, EPOLLIN, on_signal, run, error);
}
