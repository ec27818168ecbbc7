/* SPDX-License-Identifier: Apache-2.0 */
/* Detaching: see daemon.h. */
#include "worker/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

static int redirect(int log_fd, struct mf_error *error)
{
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0)
        return mf_raise_errno(error, "cannot open /dev/null");
    if (dup2(null_fd, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
        return mf_raise_errno(error, "cannot redirect the worker's streams to its log");
    close_range(3, ~0u, 0);
    return 0;
}

int daemon_detach(const char *folder,
                  const char *log_path,
                  uint32_t worker,
                  unsigned port,
                  bool stays,
                  struct mf_error *error)
{
    umask(077);
    int log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return mf_raise_errno(error, "cannot make the worker's log %s", log_path);
    if (chdir(folder) < 0)
        return mf_raise_errno(error, "cannot enter the worker's folder %s", folder);
    pid_t pid = stays ? 0 : fork();
    if (pid < 0)
        return mf_raise_errno(error, "cannot fork the worker");
    if (pid > 0)
        _exit(0);
    if (!stays)
        setsid();
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    printf("mayfly 1 started %u %d %u\n", worker, (int)getpid(), port);
    fflush(stdout);
    return redirect(log_fd, error);
}

int daemon_signals(struct mf_error *error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? mf_raise_errno(error, "cannot watch signals") : fd;
}

bool daemon_was_signalled(int fd, struct mf_error *error)
{
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof info) != sizeof info)
        return false;
    mf_raise(error, MF_ESETUP, "ended by signal %u from process %u", info.ssi_signo, info.ssi_pid);
    return true;
}
