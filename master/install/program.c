/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of the machine: see program.h. Their streams are files in memory, so that nothing has to
 * be pumped while they run. */
#include "master/install/program.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/spawn.h"
#include "common/write.h"

#define LIMIT_MS 60000
#define OUTPUT_MAX (16u * 1024 * 1024)

static int open_streams(int fds[3], struct mf_bytes input, struct mf_error *error)
{
    for (int i = 0; i < 3; i++)
        if ((fds[i] = memfd_create("mayfly", MFD_CLOEXEC)) < 0)
            return mf_raise_errno(error, "cannot make a file in memory");
    if (mf_write_all(fds[0], input) < 0 || lseek(fds[0], 0, SEEK_SET) < 0)
        return mf_raise_errno(error, "cannot write to a file in memory");
    return 0;
}

/* 0, or the number of the error. */
static int start(const char *const *argv, const int fds[3], pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < 3; i++)
        posix_spawn_file_actions_adddup2(&actions, fds[i], i);
    int rc = mf_spawn((char *const *)argv, environ, &actions, 0, pid);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* Its exit code; one that takes too long is killed. */
static int await(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0), status = 0;
    struct pollfd item = {.fd = fd, .events = POLLIN};
    if (fd >= 0 && poll(&item, 1, LIMIT_MS) == 0)
        kill(pid, SIGKILL);
    if (fd >= 0)
        close(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int read_all(int fd, const char *name, struct mf_buffer *out, struct mf_error *error)
{
    off_t size = lseek(fd, 0, SEEK_END);
    if (size < 0 || size > OUTPUT_MAX)
        return mf_raise(error, MF_ESYSTEM, "%s prints too much", name);
    if (mf_buffer_reserve(out, (size_t)size + 1, error) < 0)
        return -1;
    while (out->length < (size_t)size) {
        ssize_t got =
            pread(fd, out->data + out->length, (size_t)size - out->length, (off_t)out->length);
        if (got <= 0)
            return mf_raise_errno(error, "cannot read what %s printed", name);
        out->length += (size_t)got;
    }
    return 0;
}

static int
run(const char *const *argv, const int fds[3], struct program_end *end, struct mf_error *error)
{
    pid_t pid;
    int rc = start(argv, fds, &pid);
    if (rc == ENOENT)
        return 1;
    if (rc != 0) {
        errno = rc;
        return mf_raise_errno(error, "cannot start %s", argv[0]);
    }
    end->code = await(pid);
    if (read_all(fds[1], argv[0], &end->out, error) < 0)
        return -1;
    return read_all(fds[2], argv[0], &end->err, error);
}

int program_run(const char *const *argv,
                struct mf_bytes input,
                struct program_end *end,
                struct mf_error *error)
{
    int fds[3] = {-1, -1, -1};
    int rc = open_streams(fds, input, error);
    if (rc == 0)
        rc = run(argv, fds, end, error);
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return rc;
}

void program_end_fini(struct program_end *end)
{
    mf_buffer_fini(&end->out);
    mf_buffer_fini(&end->err);
}

const char *program_said(const struct program_end *end, char text[PROGRAM_SAID_SIZE])
{
    size_t n = 0;
    bool is_blank = true; /* none at the start, one at a time */
    for (size_t i = 0; i < end->err.length && n + 1 < PROGRAM_SAID_SIZE; i++) {
        unsigned char c = end->err.data[i];
        if (c <= ' ' && is_blank)
            continue;
        is_blank = c <= ' ';
        text[n++] = (char)(is_blank ? ' ' : c == 0x7f ? '?' : c);
    }
    if (n > 0 && text[n - 1] == ' ')
        n--;
    text[n] = '\0';
    return text;
}
