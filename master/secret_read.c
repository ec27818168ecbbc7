/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading one secret: see secret_read.h. No sentence here ever holds a part of a value, nor what a
 * command says on standard error, since nobody knows what that is.
 */
#include "master/secret_read.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mbedtls/platform_util.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/message.h"
#include "master/spawn.h"

#define COMMAND_US 30000000
#define LOOK_MS 50

void secret_wipe(struct mf_buffer *value)
{
    if (value->data != NULL)
        mbedtls_platform_zeroize(value->data, value->capacity);
    mf_buffer_fini(value);
}

void secret_trim(struct mf_buffer *value)
{
    while (value->length > 0 &&
           (value->data[value->length - 1] == '\n' || value->data[value->length - 1] == '\r'))
        value->length--;
}

static bool is_given_up(const struct secret_patience *patience)
{
    struct pollfd signals = {.fd = patience->signal_fd, .events = POLLIN};
    return __atomic_load_n(patience->stop, __ATOMIC_RELAXED) != 0 ||
           (patience->signal_fd >= 0 && poll(&signals, 1, 0) > 0);
}

static int raise_too_large(const struct job_secret *secret, struct mf_error *error)
{
    return mf_raise(error,
                    MF_EUSAGE,
                    "%s: the value is larger than %u KiB",
                    secret->place,
                    MF_SECRET_MAX >> 10);
}

/* What is there to be read. Room for the largest value is made first, so that no copy of a part is
 * left behind. 1 = that was it, 0 = more may come. */
static int
read_some(const struct job_secret *secret, int fd, struct mf_buffer *value, struct mf_error *error)
{
    if (mf_buffer_reserve(value, MF_SECRET_MAX + 1 - value->length, error) < 0)
        return -1;
    ssize_t n = read(fd, value->data + value->length, MF_SECRET_MAX + 1 - value->length);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN
                   ? 0
                   : mf_raise_errno(error, "%s: the value cannot be read", secret->place);
    value->length += (size_t)n;
    if (value->length > MF_SECRET_MAX)
        return raise_too_large(secret, error);
    return n == 0;
}

static int
read_file(const struct job_secret *secret, struct mf_buffer *value, struct mf_error *error)
{
    struct stat status;
    int fd = open(secret->file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return mf_raise(error,
                        MF_EUSAGE,
                        "%s.file: %s cannot be read: %s",
                        secret->place,
                        secret->file,
                        strerror(code));
    }
    int rc =
        S_ISREG(status.st_mode)
            ? 0
            : mf_raise(error, MF_EUSAGE, "%s.file: %s is not a file", secret->place, secret->file);
    while (rc == 0)
        rc = read_some(secret, fd, value, error);
    close(fd);
    return rc < 0 ? -1 : 0;
}

static int
read_variable(const struct job_secret *secret, struct mf_buffer *value, struct mf_error *error)
{
    const char *text = getenv(secret->env);
    if (text == NULL || *text == '\0')
        return mf_raise(error,
                        MF_EUSAGE,
                        "%s.env: the variable %s is %s in the environment of mayfly",
                        secret->place,
                        secret->env,
                        text == NULL ? "not" : "empty");
    if (strlen(text) > MF_SECRET_MAX)
        return raise_too_large(secret, error);
    return mf_buffer_append(value, text, strlen(text), error);
}

/* What it says on standard error may be part of the value: it goes nowhere. */
static int start_command(const char *folder,
                         const struct job_secret *secret,
                         int out,
                         pid_t *pid,
                         struct mf_error *error)
{
    char **argv = mf_calloc(secret->command.count + 1, sizeof *argv);
    if (argv == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the command of a secret");
    for (size_t i = 0; i < secret->command.count; i++)
        argv[i] = secret->command.items[i];
    int rc = spawn_in_group(argv, environ, folder, out, -1, pid);
    if (rc != 0)
        mf_raise(error,
                 MF_EUSAGE,
                 "%s.command: cannot start %s: %s",
                 secret->place,
                 argv[0],
                 strerror(rc));
    mf_free(argv);
    return rc == 0 ? 0 : -1;
}

/* Until the command has closed its output and ended. Its exit status; -1 with the reason. */
static int await_command(const struct job_secret *secret,
                         pid_t pid,
                         int fd,
                         const struct secret_patience *patience,
                         struct mf_buffer *value,
                         struct mf_error *error)
{
    int64_t limit_us = mf_monotonic_us() + COMMAND_US;
    int status = 0, rc = 0;
    while (rc >= 0) {
        struct pollfd out = {.fd = rc == 0 ? fd : -1, .events = POLLIN};
        if (is_given_up(patience))
            return mf_raise(
                error, MF_EINPUT, "%s.command: interrupted while it ran", secret->place);
        if (mf_monotonic_us() > limit_us)
            return mf_raise(error,
                            MF_EINPUT,
                            "%s.command: %s has not ended within %d s",
                            secret->place,
                            secret->command.items[0],
                            COMMAND_US / 1000000);
        if (poll(&out, 1, rc == 0 ? LOOK_MS : 1) > 0)
            rc = read_some(secret, fd, value, error);
        if (rc == 1 && waitpid(pid, &status, WNOHANG) == pid)
            return status;
    }
    return -1;
}

static int read_command(const char *folder,
                        const struct job_secret *secret,
                        const struct secret_patience *patience,
                        struct mf_buffer *value,
                        struct mf_error *error)
{
    int ends[2];
    pid_t pid = 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return mf_raise_errno(error, "%s.command: no pipe", secret->place);
    int rc = start_command(folder, secret, ends[1], &pid, error);
    close(ends[1]);
    int status = rc < 0 ? -1 : await_command(secret, pid, ends[0], patience, value, error);
    close(ends[0]);
    if (rc == 0) {
        kill(-pid, SIGKILL); /* what it left in its group, or all of it */
        while (status < 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    if (status < 0)
        return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return mf_raise(error,
                    MF_EINPUT,
                    "%s.command: %s %s %d: run it by hand to see why",
                    secret->place,
                    secret->command.items[0],
                    WIFEXITED(status) ? "ended with exit code" : "was killed by signal",
                    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

int secret_read(const char *folder,
                const struct job_secret *secret,
                const struct secret_patience *patience,
                struct mf_buffer *value,
                struct mf_error *error)
{
    int rc = secret->file != NULL  ? read_file(secret, value, error)
             : secret->env != NULL ? read_variable(secret, value, error)
                                   : read_command(folder, secret, patience, value, error);
    if (rc == 0 && value->length == 0)
        rc = mf_raise(error,
                      MF_EUSAGE,
                      "%s: the value is empty: %s",
                      secret->place,
                      secret->file != NULL ? secret->file : secret->command.items[0]);
    if (rc < 0)
        secret_wipe(value);
    return rc;
}
