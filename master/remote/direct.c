/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct commands: see direct.h. The connection of remote.h is used as far as its settings; from
 * there on a process of ssh is ours. Its log, by which an exit code 255 of the command is told from
 * one of ssh itself, is a file in memory that ssh opens by its name in /proc.
 */
#include "master/remote/direct.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/spawn.h"
#include "master/remote/remote_internal.h"

#define LOG_MAX (64u << 10)

struct direct {
    struct mf_loop *loop;
    struct remote_config config;
    struct remote *remote;
    struct command command; /* stands for the one that runs: only its text, and how far it came */
    int log;                /* -1: none */
    pid_t pid;
};

/* Until the settings are known. */
static int settle(struct direct *direct, struct mf_error *error)
{
    struct remote *remote = direct->remote;
    while (remote->state != REMOTE_OPENSSH_IDLE && remote->state != REMOTE_FAILED) {
        int64_t due_us = remote_tick(remote, mf_monotonic_us());
        if (remote->state != REMOTE_OPENSSH_IDLE && remote->state != REMOTE_FAILED &&
            mf_loop_step(direct->loop, due_us, error) < 0)
            return -1;
    }
    if (remote->state == REMOTE_OPENSSH_IDLE)
        return 0;
    *error = remote->error;
    return -1;
}

struct direct *direct_open(const struct remote_config *config,
                           const struct remote_target *target,
                           struct mf_error *error)
{
    struct direct *direct = mf_calloc(1, sizeof *direct);
    if (direct == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a connection to %s", target->host);
        return NULL;
    }
    direct->log = -1;
    direct->config = *config;
    direct->config.client = REMOTE_OPENSSH;
    direct->config.book = NULL;
    if (!openssh_is_there()) {
        mf_raise(error,
                 MF_ESETUP,
                 "%s is reached by OpenSSH's client, ssh, which is not installed here: install "
                 "openssh-client",
                 target->host);
    } else if ((direct->loop = mf_loop_create(error)) != NULL &&
               (direct->config.book = remote_book_create(error)) != NULL &&
               (direct->remote = remote_open(direct->loop, &direct->config, target, error)) !=
                   NULL &&
               settle(direct, error) == 0) {
        return direct;
    }
    direct_close(direct);
    return NULL;
}

static void drop_log(struct direct *direct)
{
    if (direct->log >= 0)
        close(direct->log);
    direct->log = -1;
}

static int reap(struct direct *direct)
{
    int status = 0;
    while (waitpid(direct->pid, &status, 0) < 0 && errno == EINTR) {
    }
    direct->pid = 0;
    return status;
}

void direct_close(struct direct *direct)
{
    if (direct == NULL)
        return;
    if (direct->pid > 0) {
        kill(direct->pid, SIGTERM);
        reap(direct);
    }
    drop_log(direct);
    mf_free(direct->command.text);
    mf_buffer_fini(&direct->command.problem);
    if (direct->remote != NULL)
        direct->remote->openssh.command = NULL;
    remote_close(direct->remote);
    remote_book_destroy(direct->config.book);
    mf_loop_destroy(direct->loop);
    mf_free(direct);
}

static int spawn(struct direct *direct,
                 const struct openssh_command *command,
                 const struct direct_manner *manner)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (manner->in >= 0)
        posix_spawn_file_actions_adddup2(&actions, manner->in, 0);
    if (manner->out >= 0)
        posix_spawn_file_actions_adddup2(&actions, manner->out, 1);
    int rc = mf_spawn(command->argv,
                      command->env == NULL ? environ : command->env,
                      &actions,
                      manner->is_apart ? POSIX_SPAWN_SETPGROUP : 0,
                      &direct->pid);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        direct->pid = 0;
    errno = rc;
    return rc == 0 ? 0 : -1;
}

int direct_start(struct direct *direct,
                 const char *command,
                 const struct direct_manner *manner,
                 struct mf_error *error)
{
    struct remote *remote = direct->remote;
    struct openssh_command line = {0};
    mf_free(direct->command.text);
    direct->command.text = mf_strdup(command);
    direct->command.begun = false;
    remote->openssh.command = &direct->command;
    remote->openssh.has_terminal = manner->has_terminal;
    remote->openssh.may_ask = manner->may_ask;
    direct->log = memfd_create("mayfly-ssh-log", MFD_CLOEXEC);
    if (direct->command.text == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a command for %s", remote->place);
    if (direct->log < 0)
        return mf_raise_errno(error, "cannot make a file in memory");
    int rc = openssh_command(remote, direct->log, &line, error);
    if (rc == 0 && (rc = spawn(direct, &line, manner)) < 0)
        mf_raise_errno(error, "cannot start ssh");
    openssh_command_fini(&line);
    if (rc < 0)
        drop_log(direct);
    return rc;
}

pid_t direct_pid(const struct direct *direct)
{
    return direct->pid;
}

/* What ssh logged, for openssh_words.c. */
static int read_log(struct direct *direct, struct mf_error *error)
{
    struct mf_buffer *said = &direct->remote->openssh.said;
    ssize_t got = 1;
    mf_buffer_fini(said);
    while (got > 0 && said->length < LOG_MAX) {
        if (mf_buffer_reserve(said, 4096, error) < 0)
            return -1;
        got = pread(direct->log, said->data + said->length, 4096, (off_t)said->length);
        said->length += got > 0 ? (size_t)got : 0;
    }
    return mf_buffer_text(said) == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: what ssh says")
                                        : 0;
}

int direct_wait(struct direct *direct, int *code, struct mf_error *error)
{
    struct remote *remote = direct->remote;
    int status = reap(direct);
    int rc = read_log(direct, error);
    drop_log(direct);
    if (rc < 0)
        return -1;
    const char *said = mf_buffer_text(&remote->openssh.said);
    direct->command.begun = openssh_let_in(said) != NULL;
    if ((*code = openssh_exit_code(said, status)) >= 0)
        return 0;
    openssh_failed(remote);
    *error = remote->error;
    return -1;
}

bool direct_has_begun(const struct direct *direct)
{
    return direct->command.begun;
}
