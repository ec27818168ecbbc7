/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscribers that are commands of this machine. They run in the job's folder with the event on
 * standard input; what they print goes to the run's master.log. Their environment is the same
 * whoever delivers, master or sweep, at a desk or from cron: what few variables a subtask has.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/write.h"
#include "master/notify/tell.h"
#include "master/spawn.h"

#define LOOK_MS 100

/* A pipe that holds all of the body and a line feed, so that nobody waits for a command that does
 * not read it; its reading end, or -1. */
static int open_input(const struct tell *tell, struct told *told)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        told_set(told, TELL_LATER, "no pipe: %s", strerror(errno));
        return -1;
    }
    if (tell->body.length >= 65536)
        fcntl(ends[1], F_SETPIPE_SZ, (int)tell->body.length + 1);
    int rc = mf_write_all(ends[1], tell->body);
    if (rc == 0)
        rc = mf_write_all(ends[1], mf_bytes_of("\n", 1));
    int code = errno;
    close(ends[1]);
    fcntl(ends[0], F_SETFL, 0); /* the command's own standard input blocks */
    if (rc == 0)
        return ends[0];
    close(ends[0]);
    told_set(told, TELL_LATER, "the event does not fit into a pipe: %s", strerror(code));
    return -1;
}

static int open_log(const struct tell *tell)
{
    char *path = mf_format("%s/master.log", tell->folder);
    int fd = path == NULL ? -1 : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    mf_free(path);
    return fd;
}

static int start(const struct tell *tell, char *const *env, pid_t *pid, struct told *told)
{
    const struct job_notify *to = tell->to;
    char sh[] = "/bin/sh", flag[] = "-c";
    char *shell[] = {sh, flag, to->shell, NULL};
    char **vector = mf_calloc(to->command.count + 1, sizeof *vector);
    int in = vector == NULL ? -1 : open_input(tell, told), rc = -1;
    if (vector == NULL)
        told_set(told, TELL_LATER, "out of memory");
    for (size_t i = 0; vector != NULL && i < to->command.count; i++)
        vector[i] = to->command.items[i];
    if (in >= 0) {
        char **argv = to->shell != NULL ? shell : vector;
        int log_fd = open_log(tell);
        rc = spawn_in_group_with(argv, env, tell->job->folder, in, log_fd, log_fd, pid);
        if (rc != 0)
            told_set(told,
                     TELL_LATER,
                     "cannot start %s in %s: %s",
                     argv[0],
                     tell->job->folder,
                     strerror(rc));
        if (log_fd >= 0)
            close(log_fd);
        close(in);
    }
    mf_free(vector);
    return rc == 0 ? 0 : -1;
}

/* Until it has ended, or its time is over: then it is killed. Its status; *is_late. */
static int await(const struct tell *tell, pid_t pid, bool *is_late)
{
    int64_t limit_us = mf_monotonic_us() + (int64_t)tell->to->timeout_us;
    int status = 0, pidfd = pidfd_open(pid, 0);
    *is_late = false;
    while (waitpid(pid, &status, WNOHANG) != pid) {
        struct pollfd end = {.fd = pidfd, .events = POLLIN};
        int64_t left_us = limit_us - mf_monotonic_us();
        if (left_us <= 0 || __atomic_load_n(tell->stop, __ATOMIC_RELAXED) != 0) {
            *is_late = true;
            kill(-pid, SIGKILL);
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                continue;
            break;
        }
        poll(&end, 1, left_us < LOOK_MS * 1000 ? (int)(left_us / 1000) + 1 : LOOK_MS);
    }
    kill(-pid, SIGKILL); /* what it left in its group */
    if (pidfd >= 0)
        close(pidfd);
    return status;
}

void tell_command(const struct tell *tell, struct told *told)
{
    char *const more[] = {mf_format("MAYFLY_EVENT=%s", tell->event),
                          mf_format("MAYFLY_EVENT_ID=%s", tell->id)};
    char **env = spawn_environment(more, sizeof more / sizeof *more);
    bool is_late;
    pid_t pid = 0;
    if (env == NULL) {
        told_set(told, TELL_LATER, "out of memory");
    } else if (start(tell, env, &pid, told) == 0) {
        int status = await(tell, pid, &is_late);
        if (is_late && __atomic_load_n(tell->stop, __ATOMIC_RELAXED) != 0)
            told_set(told, TELL_LATER, "it was ended, because mayfly was to end at once");
        else if (is_late)
            told_set(told,
                     TELL_LATER,
                     "it did not end within %.3g s",
                     (double)tell->to->timeout_us / 1e6);
        else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            told->verdict = TOLD;
        else
            told_set(told,
                     TELL_LATER,
                     "it %s %d (what it printed is in master.log)",
                     WIFEXITED(status) ? "ended with exit code" : "was killed by signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    }
    spawn_environment_free(env);
}
