/* SPDX-License-Identifier: Apache-2.0 */
/* Masters in the background: see background.h. The fork comes before the first thread. */
#include "master/commands/background.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/run_folder.h"

/* The run id; or, when there is none, the child's exit code: it has said why on standard error. */
static int await_id(int fd, pid_t pid)
{
    char id[RUN_ID_SIZE + 1];
    size_t n = 0;
    ssize_t got;
    int status = 0;
    while (n < sizeof id - 1 &&
           ((got = read(fd, id + n, sizeof id - 1 - n)) > 0 || (got < 0 && errno == EINTR)))
        n += got > 0 ? (size_t)got : 0;
    id[n] = '\0';
    if (n == 0) {
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 3;
    }
    fputs(id, stdout);
    return fflush(stdout) == 0 ? 0 : 3;
}

static void detach(void)
{
    setsid();
    signal(SIGHUP, SIG_IGN);
    umask(077);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd >= 0) {
        dup2(null_fd, 0);
        dup2(null_fd, 1);
    }
}

int background_start(int (*master)(void *arg, int say_fd), void *arg)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        perror("mayfly: cannot make a pipe");
        return 3;
    }
    pid_t pid = fork();
    if (pid < 0) {
        perror("mayfly: cannot fork the master");
        return 3;
    }
    if (pid > 0) {
        close(fds[1]);
        return await_id(fds[0], pid);
    }
    close(fds[0]);
    detach();
    return master(arg, fds[1]);
}

void background_say(int say_fd, const char *folder, const char *run_id)
{
    char *path = run_path(folder, "master.log");
    int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        dup2(fd, 2);
        close(fd);
    }
    mf_free(path);
    dprintf(say_fd, "%s\n", run_id);
    close(say_fd);
}
