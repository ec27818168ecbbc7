/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking ansible-inventory: see inventory.h. It runs in a process group of its own, which is ended
 * with it: an executable inventory that hangs must not stay behind. Whoever ends mayfly meanwhile
 * does not leave it behind either: such a signal waits until the group is gone.
 */
#include "master/inventory.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/spawn.h"

#define PROGRAM "ansible-inventory"
#define LIST_BYTES_MAX (64u << 20)
#define SAID_BYTES_MAX (64u << 10)
#define SHOWN_BYTES_MAX 600
#define MOST_US 60000000
#define LOOK_MS 20

/* Its last words are what helps, and only as plain text; without the first of these it takes what
 * it cannot read for an empty inventory. */
static const char *const settings[] = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=True",
                                       "ANSIBLE_INVENTORY_UNPARSED_FAILED=True",
                                       "ANSIBLE_INVENTORY_EXPORT=False",
                                       "ANSIBLE_NOCOLOR=1",
                                       "ANSIBLE_FORCE_COLOR=0"};

struct listing {
    const char *path;
    pid_t pid;
    int out, err; /* our ends of its streams; -1 = closed */
    int signals;  /* a signalfd */
    struct mf_buffer *json;
    struct mf_buffer said;
};

static bool is_ours(const char *variable)
{
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        size_t length = strcspn(settings[i], "=") + 1;
        if (strncmp(variable, settings[i], length) == 0)
            return true;
    }
    return false;
}

/* The environment with our settings; to be freed, its texts not. */
static char **make_environment(void)
{
    size_t count = 0, own = sizeof settings / sizeof *settings;
    while (environ[count] != NULL)
        count++;
    char **env = mf_calloc(count + own + 1, sizeof *env);
    if (env == NULL)
        return NULL;
    for (size_t i = 0; i < own; i++)
        env[i] = (char *)settings[i];
    for (size_t i = 0; i < count; i++)
        if (!is_ours(environ[i]))
            env[own++] = environ[i];
    return env;
}

static int start(struct listing *listing, int out, int err, struct mf_error *error)
{
    char *argv[] = {(char *)PROGRAM, (char *)"-i", (char *)listing->path, (char *)"--list", NULL};
    char **env = make_environment();
    if (env == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: an inventory");
    int code = spawn_in_group(argv, env, ".", out, err, &listing->pid);
    mf_free(env);
    if (code == 0)
        return 0;
    listing->pid = 0;
    if (code == ENOENT)
        return mf_raise(error,
                        MF_ESETUP,
                        "inventory %s: " PROGRAM " is not installed or not in PATH (it is in the "
                        "Debian package ansible-core); without it, write the hosts into a file for "
                        "--hosts-file",
                        listing->path);
    return mf_raise(error,
                    MF_ESETUP,
                    "inventory %s: " PROGRAM " cannot be started: %s",
                    listing->path,
                    strerror(code));
}

/* What is there to be read from *fd, up to `most`; what is more is dropped, but for one byte that
 * shows that there was more. */
static int read_some(int *fd, struct mf_buffer *to, size_t most, struct mf_error *error)
{
    if (mf_buffer_reserve(to, 65536, error) < 0)
        return -1;
    ssize_t n = read(*fd, to->data + to->length, 65536);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n <= 0) {
        close(*fd);
        *fd = -1;
        return 0;
    }
    to->length += (size_t)n;
    if (to->length > most)
        to->length = most + 1;
    return 1;
}

/* 1 = something came. */
static int read_both(struct listing *listing, struct mf_error *error)
{
    int from_out =
        listing->out < 0 ? 0 : read_some(&listing->out, listing->json, LIST_BYTES_MAX, error);
    int from_err = listing->err < 0 || from_out < 0
                       ? 0
                       : read_some(&listing->err, &listing->said, SAID_BYTES_MAX, error);
    return from_out < 0 || from_err < 0 ? -1 : from_out | from_err;
}

/* How long it may take; tests say less. */
static int64_t most_us(void)
{
    const char *text = getenv("MAYFLY_INVENTORY_MOST_US");
    long long most = text == NULL ? 0 : strtoll(text, NULL, 10);
    return most > 0 && most < MOST_US ? most : MOST_US;
}

/* Until it has ended. Its exit status; -1 with the reason. */
static int await(struct listing *listing, struct mf_error *error)
{
    int64_t most = most_us(), limit_us = mf_monotonic_us() + most;
    int status = 0;
    for (;;) {
        struct pollfd fds[] = {{.fd = listing->signals, .events = POLLIN},
                               {.fd = listing->out, .events = POLLIN},
                               {.fd = listing->err, .events = POLLIN}};
        int rc = poll(fds, 3, LOOK_MS) < 0 ? 0 : read_both(listing, error);
        if (rc < 0)
            return -1;
        if ((fds[0].revents & POLLIN) != 0)
            return mf_raise(error, MF_EUSAGE, "inventory %s: interrupted", listing->path);
        if (rc == 0 && waitpid(listing->pid, &status, WNOHANG) == listing->pid) {
            listing->pid = 0;
            while (rc == 0 && (rc = read_both(listing, error)) > 0) /* what it said last */
                rc = 0;
            return rc < 0 ? -1 : status;
        }
        if (mf_monotonic_us() > limit_us)
            return mf_raise(error,
                            MF_ESETUP,
                            "inventory %s: " PROGRAM " has not ended within %g s, and was ended; "
                            "if the inventory is a program, see why it hangs",
                            listing->path,
                            (double)most / 1e6);
    }
}

/* Its words on a line, without what is unprintable; what is long keeps its beginning. */
static void show(struct mf_buffer *said, char shown[SHOWN_BYTES_MAX])
{
    size_t length = 0;
    for (size_t i = 0; i < said->length && length < SHOWN_BYTES_MAX - 1; i++) {
        unsigned char c = said->data[i];
        if (c > ' ' && c != 0x7f)
            shown[length++] = (char)c;
        else if (length > 0 && shown[length - 1] != ' ')
            shown[length++] = ' ';
    }
    while (length > 0 && shown[length - 1] == ' ')
        length--;
    shown[length] = '\0';
}

static int judge(struct listing *listing, int status, struct mf_error *error)
{
    char shown[SHOWN_BYTES_MAX];
    if (listing->json->length > LIST_BYTES_MAX)
        return mf_raise(error,
                        MF_EUSAGE,
                        "inventory %s: it lists more than 64 MiB; is this the right file?",
                        listing->path);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    show(&listing->said, shown);
    return mf_raise(
        error,
        MF_EUSAGE,
        "inventory %s: " PROGRAM " %s %d: %s%s",
        listing->path,
        WIFEXITED(status) ? "ended with exit code" : "was killed by signal",
        WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
        *shown == '\0' ? "it says nothing" : shown,
        strstr(shown, "no vault secrets") == NULL
            ? ""
            : " (set ANSIBLE_VAULT_PASSWORD_FILE, or vault_password_file in ansible.cfg)");
}

/* Starts it with both streams in pipes that do not block us. */
static int open_listing(struct listing *listing, struct mf_error *error)
{
    int out[2], err[2];
    if (pipe2(out, O_CLOEXEC) < 0)
        return mf_raise_errno(error, "inventory %s: no pipe", listing->path);
    listing->out = out[0];
    if (pipe2(err, O_CLOEXEC) < 0) {
        mf_raise_errno(error, "inventory %s: no pipe", listing->path);
        close(out[1]);
        return -1;
    }
    listing->err = err[0];
    int rc = fcntl(out[0], F_SETFL, O_NONBLOCK) < 0 || fcntl(err[0], F_SETFL, O_NONBLOCK) < 0
                 ? mf_raise_errno(error, "inventory %s: its pipes", listing->path)
                 : start(listing, out[1], err[1], error);
    close(out[1]);
    close(err[1]);
    return rc;
}

static void close_listing(struct listing *listing, pid_t group)
{
    if (group > 0)
        kill(-group, SIGKILL); /* what it has left, or all of it */
    while (listing->pid > 0 && waitpid(listing->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (listing->out >= 0)
        close(listing->out);
    if (listing->err >= 0)
        close(listing->err);
    if (listing->signals >= 0)
        close(listing->signals);
    mf_buffer_fini(&listing->said);
}

int inventory_list(const char *path, struct mf_buffer *json, struct mf_error *error)
{
    struct listing listing = {.path = path, .out = -1, .err = -1, .json = json};
    sigset_t ends, before;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    sigprocmask(SIG_BLOCK, &ends, &before);
    listing.signals = signalfd(-1, &ends, SFD_CLOEXEC);
    int rc = listing.signals < 0 ? mf_raise_errno(error, "inventory %s: signals", path)
                                 : open_listing(&listing, error);
    pid_t group = listing.pid;
    int status = rc < 0 ? -1 : await(&listing, error);
    rc = status < 0 ? -1 : judge(&listing, status, error);
    close_listing(&listing, group);
    sigprocmask(SIG_SETMASK, &before, NULL); /* here a signal that has come does its work */
    return rc;
}
