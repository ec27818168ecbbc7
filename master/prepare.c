/* SPDX-License-Identifier: Apache-2.0 */
/* The extract step: see prepare.h. Its environment is that of a subtask (design: nothing is
 * inherited). */
#include "master/prepare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/mayfly.h"
#include "common/process.h"
#include "master/spawn.h"

#define END_LIMIT_US 5000000 /* what was killed is gone by then */

static char **make_environment(const char *run_id, const char *prepared)
{
    char *const more[] = {mf_format("TMPDIR=%s", prepared),
                          mf_format("MAYFLY_PREPARED=%s", prepared),
                          mf_format("MAYFLY_RUN=%s", run_id)};
    return spawn_environment(more, sizeof more / sizeof *more);
}

static int
spawn(const struct job *job, char *const *env, int log_fd, pid_t *pid, struct mf_error *error)
{
    char sh[] = "/bin/sh", flag[] = "-c";
    char *shell[] = {sh, flag, job->prepare_shell, NULL};
    char **vector = mf_calloc(job->prepare.count + 1, sizeof *vector);
    if (vector == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the prepare command");
    for (size_t i = 0; i < job->prepare.count; i++)
        vector[i] = job->prepare.items[i];
    char **argv = job->prepare_shell != NULL ? shell : vector;
    int rc = spawn_in_group(argv, env, job->folder, log_fd, log_fd, pid);
    if (rc != 0)
        mf_raise(
            error, MF_EUSAGE, "%s: prepare: cannot start %s: %s", job->path, argv[0], strerror(rc));
    mf_free(vector);
    return rc == 0 ? 0 : -1;
}

/* A signal to the master: the first ends the command's group by TERM, the second by KILL, and with
 * the third nobody waits any longer. */
static void on_signal(pid_t pid, int signal_fd, unsigned *interrupts)
{
    struct signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof info) != sizeof info)
        return;
    ++*interrupts;
    kill(-pid, *interrupts == 1 ? SIGTERM : SIGKILL);
    if (*interrupts > 2)
        _exit(MAYFLY_EXIT_INTERRUPTED);
}

/* Waits for the end; after a signal no longer than five seconds. */
static int wait_for(pid_t pid, int signal_fd, unsigned *interrupts)
{
    int status = 0, pidfd = pidfd_open(pid, 0);
    struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
    for (;;) {
        int n = poll(fds, 2, *interrupts > 0 ? 5000 : -1);
        if (n == 0)
            kill(-pid, SIGKILL);
        if (n > 0 && (fds[1].revents & POLLIN))
            on_signal(pid, signal_fd, interrupts);
        if (waitpid(pid, &status, WNOHANG) == pid)
            break;
    }
    kill(-pid, SIGKILL); /* what it left in its group */
    if (pidfd >= 0)
        close(pidfd);
    return status;
}

static void last_line(int fd, char *text, size_t size)
{
    char tail[1024];
    off_t end = lseek(fd, 0, SEEK_END);
    off_t start = end > (off_t)sizeof tail - 1 ? end - ((off_t)sizeof tail - 1) : 0;
    ssize_t n = pread(fd, tail, sizeof tail - 1, start);
    tail[n > 0 ? n : 0] = '\0';
    size_t length = strlen(tail);
    while (length > 0 && tail[length - 1] == '\n')
        tail[--length] = '\0';
    char *newline = strrchr(tail, '\n');
    snprintf(text, size, "%s", newline == NULL ? tail : newline + 1);
}

static int
judge(const struct job *job, int status, int log_fd, const char *log_path, struct mf_error *error)
{
    char line[256];
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    last_line(log_fd, line, sizeof line);
    return mf_raise(error,
                    MF_EINPUT,
                    "%s: prepare: the command %s %d, it said: %s (all of it is in %s)",
                    job->path,
                    WIFEXITED(status) ? "ended with exit code" : "was killed by signal",
                    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
                    line,
                    log_path);
}

int prepare_run(const struct job *job,
                const char *run_id,
                const char *run_folder,
                const char *prepared,
                int signal_fd,
                unsigned *interrupts,
                struct mf_error *error)
{
    if (job->prepare.count == 0 && job->prepare_shell == NULL)
        return 0;
    int rc = -1, log_fd = -1;
    pid_t pid;
    char *log_path = mf_format("%s/prepare.log", run_folder);
    char **env = make_environment(run_id, prepared);
    if (log_path == NULL || env == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the prepare command");
        goto out;
    }
    if (mkdir(prepared, 0700) < 0 && errno != EEXIST) {
        mf_raise_errno(error, "cannot make the folder %s", prepared);
        goto out;
    }
    log_fd = open(log_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) {
        mf_raise_errno(error, "cannot make %s", log_path);
        goto out;
    }
    if (spawn(job, env, log_fd, &pid, error) < 0)
        goto out;
    MF_CRASH(MASTER_IN_PREPARE);
    int status = wait_for(pid, signal_fd, interrupts);
    rc = *interrupts > 0 ? mf_raise(error, MF_EINPUT, "interrupted while the prepare command ran")
                         : judge(job, status, log_fd, log_path, error);
out:
    if (log_fd >= 0)
        close(log_fd);
    spawn_environment_free(env);
    mf_free(log_path);
    return rc;
}

/* Kills all processes that have the variable in their environment; returns how many there were. */
static unsigned kill_those_with(const char *variable)
{
    unsigned found = 0;
    struct mf_buffer environment = {0};
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && pid != getpid() && mf_process_read(pid, "environ", &environment) == 0 &&
            mf_process_has(&environment, variable) && kill(pid, SIGKILL) == 0)
            found++;
    }
    if (proc != NULL)
        closedir(proc);
    mf_buffer_fini(&environment);
    return found;
}

int prepare_end_earlier(const char *prepared, struct mf_error *error)
{
    int64_t limit_us = mf_monotonic_us() + END_LIMIT_US;
    char *variable = mf_format("MAYFLY_PREPARED=%s", prepared);
    int rc = variable == NULL
                 ? mf_raise(error, MF_ENOMEM, "out of memory: what an earlier master prepared")
                 : 0;
    while (rc == 0 && kill_those_with(variable) > 0) {
        if (mf_monotonic_us() >= limit_us)
            rc = mf_raise(error,
                          MF_ESETUP,
                          "the prepare command of an earlier master still runs and cannot be "
                          "ended: end the processes that have %s in their environment",
                          variable);
        poll(NULL, 0, 5);
    }
    mf_free(variable);
    return rc;
}
