/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading secrets: see secret_sources.h. No sentence here ever holds a part of a value, nor what a
 * command says on standard error, since nobody knows what that is.
 */
#include "master/secret_sources.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mbedtls/platform_util.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mailbox.h"
#include "master/spawn.h"

#define COMMAND_US 30000000
#define LOOK_MS 50

struct secret_sources {
    const struct job *job;
    struct mf_secret list[MF_SECRETS_MAX];
    struct mf_buffer values[MF_SECRETS_MAX];
    uint32_t version;
    /* of the thread, until its mail has come */
    struct mf_buffer fresh[MF_SECRETS_MAX];
    struct mf_error errors[MF_SECRETS_MAX]; /* code MF_OK: it was read */
    pthread_t thread;
    bool is_reading;
    int stop; /* atomic */
    struct mf_mailbox done;
    struct mf_mail mail;
};

/* Who waits for what is read, and how they end it. */
struct patience {
    int signal_fd; /* -1 = none */
    const int *stop;
};

static void wipe(struct mf_buffer *value)
{
    if (value->data != NULL)
        mbedtls_platform_zeroize(value->data, value->capacity);
    mf_buffer_fini(value);
}

static bool is_given_up(const struct patience *patience)
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
static int start_command(const struct job *job,
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
    int rc = spawn_in_group(argv, environ, job->folder, out, -1, pid);
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
                         const struct patience *patience,
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

static int read_command(const struct job *job,
                        const struct job_secret *secret,
                        const struct patience *patience,
                        struct mf_buffer *value,
                        struct mf_error *error)
{
    int ends[2];
    pid_t pid = 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return mf_raise_errno(error, "%s.command: no pipe", secret->place);
    int rc = start_command(job, secret, ends[1], &pid, error);
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

static int read_secret(const struct job *job,
                       const struct job_secret *secret,
                       const struct patience *patience,
                       struct mf_buffer *value,
                       struct mf_error *error)
{
    int rc = secret->file != NULL  ? read_file(secret, value, error)
             : secret->env != NULL ? read_variable(secret, value, error)
                                   : read_command(job, secret, patience, value, error);
    if (rc == 0 && value->length == 0)
        rc = mf_raise(error,
                      MF_EUSAGE,
                      "%s: the value is empty: %s",
                      secret->place,
                      secret->file != NULL ? secret->file : secret->command.items[0]);
    if (rc < 0)
        wipe(value);
    return rc;
}

static int read_all_once(struct secret_sources *sources,
                         const struct patience *patience,
                         struct mf_error *error)
{
    const struct job *job = sources->job;
    size_t total = 0;
    for (size_t i = 0; i < job->secret_count; i++) {
        if (read_secret(job, &job->secrets[i], patience, &sources->values[i], error) < 0)
            return -1;
        sources->list[i] = (struct mf_secret){.name = job->secrets[i].name,
                                              .version = 1,
                                              .data = mf_buffer_view(&sources->values[i])};
        total += sources->values[i].length;
        if (total > SECRETS_TOTAL_MAX)
            return mf_raise(error,
                            MF_EUSAGE,
                            "%s: the secrets of a job are larger than 1 MiB together",
                            job->secrets[i].place);
    }
    sources->version = 1;
    return 0;
}

struct secret_sources *
secret_sources_open(const struct job *job, int signal_fd, bool *interrupted, struct mf_error *error)
{
    struct secret_sources *sources = mf_calloc(1, sizeof *sources);
    *interrupted = false;
    if (sources == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the secrets");
        return NULL;
    }
    const struct patience patience = {.signal_fd = signal_fd, .stop = &sources->stop};
    sources->job = job;
    sources->done.fd = -1;
    if (mf_mailbox_init(&sources->done, error) == 0 &&
        read_all_once(sources, &patience, error) == 0)
        return sources;
    *interrupted = is_given_up(&patience);
    secret_sources_close(sources);
    return NULL;
}

int secret_sources_check(const struct job *job, struct mf_error *error)
{
    int stop = 0, rc = 0;
    const struct patience patience = {.signal_fd = -1, .stop = &stop};
    struct mf_buffer value = {0};
    for (size_t i = 0; i < job->secret_count && rc == 0; i++)
        if (job->secrets[i].command.count == 0) {
            rc = read_secret(job, &job->secrets[i], &patience, &value, error);
            wipe(&value);
        }
    return rc;
}

const struct mf_secret *secret_sources_list(const struct secret_sources *sources, uint32_t *count)
{
    *count = (uint32_t)sources->job->secret_count;
    return sources->list;
}

static void *read_again(void *arg)
{
    struct secret_sources *sources = arg;
    const struct patience patience = {.signal_fd = -1, .stop = &sources->stop};
    for (size_t i = 0; i < sources->job->secret_count; i++) {
        const struct job_secret *secret = &sources->job->secrets[i];
        sources->errors[i] = (struct mf_error){0};
        if (secret->env == NULL) /* its value cannot have changed */
            read_secret(sources->job, secret, &patience, &sources->fresh[i], &sources->errors[i]);
    }
    mf_mailbox_post(&sources->done, &sources->mail);
    return NULL;
}

void secret_sources_refresh(struct secret_sources *sources)
{
    if (sources->is_reading)
        return;
    sources->is_reading = pthread_create(&sources->thread, NULL, read_again, sources) == 0;
    if (!sources->is_reading)
        mf_log(MF_WARNING, "the secrets cannot be read again now: no thread");
}

int secret_sources_fd(const struct secret_sources *sources)
{
    return sources->done.fd;
}

static size_t total_of(const struct secret_sources *sources, size_t replaced)
{
    size_t total = sources->fresh[replaced].length;
    for (size_t i = 0; i < sources->job->secret_count; i++)
        total += i == replaced ? 0 : sources->values[i].length;
    return total;
}

/* Whether the i-th has another value now. */
static bool take_one(struct secret_sources *sources, size_t i)
{
    struct mf_buffer *fresh = &sources->fresh[i], *value = &sources->values[i];
    if (sources->errors[i].code != MF_OK) {
        mf_log(MF_WARNING, "%s; the value from before is still used", sources->errors[i].text);
        return false;
    }
    bool is_changed =
        fresh->length > 0 && !mf_bytes_equal(mf_buffer_view(fresh), mf_buffer_view(value));
    if (is_changed && total_of(sources, i) > SECRETS_TOTAL_MAX) {
        mf_log(MF_WARNING,
               "%s: the secrets would be larger than 1 MiB together; the value from before is "
               "still used",
               sources->job->secrets[i].place);
        is_changed = false;
    }
    if (is_changed) {
        wipe(value);
        *value = *fresh;
        *fresh = (struct mf_buffer){0};
        sources->list[i].data = mf_buffer_view(value);
    }
    wipe(fresh);
    return is_changed;
}

uint32_t secret_sources_take(struct secret_sources *sources)
{
    uint32_t changed = 0;
    if (mf_mailbox_take(&sources->done) == NULL)
        return 0;
    pthread_join(sources->thread, NULL);
    sources->is_reading = false;
    for (size_t i = 0; i < sources->job->secret_count; i++)
        if (take_one(sources, i)) {
            sources->list[i].version = sources->version + 1;
            changed++;
        }
    sources->version += changed > 0;
    return changed;
}

void secret_sources_close(struct secret_sources *sources)
{
    if (sources == NULL)
        return;
    __atomic_store_n(&sources->stop, 1, __ATOMIC_RELAXED);
    if (sources->is_reading) {
        pthread_join(sources->thread, NULL);
        mf_mailbox_take(&sources->done);
    }
    for (size_t i = 0; i < MF_SECRETS_MAX; i++) {
        wipe(&sources->values[i]);
        wipe(&sources->fresh[i]);
    }
    if (sources->done.fd >= 0)
        mf_mailbox_fini(&sources->done);
    mf_free(sources);
}
