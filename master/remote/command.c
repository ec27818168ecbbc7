/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command on a channel: open, exec, both directions at once, exit code, free.
 *
 * libssh2 holds one packet that could not be written whole, and wants the call that made it again
 * before any other that writes (a read may: it widens the window). So a call that is stuck in
 * writing is remembered and done first, and nothing else until it got through. A read takes in
 * whatever has come, also for the other stream; so after everything that was written both streams
 * are read again before the descriptor is waited for.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/alloc.h"
#include "master/remote/remote_internal.h"

#define WINDOW (512u << 10) /* what a host may send ahead: bounds the memory of a connection */
#define READ_TURNS 32       /* reads and writes of 32 KiB before others in the loop have a turn */
#define WRITE_TURNS 32

void command_free(struct command *command)
{
    mf_buffer_fini(&command->output);
    mf_buffer_fini(&command->problem);
    mf_free(command->text);
    mf_free(command);
}

void command_answer(struct remote *remote, struct remote_result *result)
{
    struct command *command = remote->first;
    remote->first = command->next;
    if (remote->first == NULL)
        remote->last = &remote->first;
    remote->called = true;
    command->done(command->arg, result);
    command_free(command);
}

static bool has_hung_up(const struct remote *remote)
{
    struct pollfd poller = {.fd = remote->fd, .events = POLLRDHUP};
    return poll(&poller, 1, 0) > 0;
}

enum remote_step step_idle(struct remote *remote)
{
    if (has_hung_up(remote)) {
        remote->lost = LOST_END;
        return session_broke(remote, "idle");
    }
    if (remote->tunnel.is_wanted)
        return tunnel_begin(remote);
    if (remote->first == NULL) {
        /* Not for input: what a host says unasked can wait for the next command. */
        remote->wanted = EPOLLRDHUP;
        return STEP_WAIT;
    }
    remote_set_state(remote, REMOTE_OPEN);
    return STEP_ON;
}

enum remote_step step_open(struct remote *remote)
{
    remote->channel = libssh2_channel_open_ex(remote->session,
                                              "session",
                                              sizeof "session" - 1,
                                              WINDOW,
                                              LIBSSH2_CHANNEL_PACKET_DEFAULT,
                                              NULL,
                                              0);
    if (remote->channel != NULL) {
        remote->stuck = STUCK_NOT;
        remote_set_state(remote, REMOTE_EXEC);
        return STEP_ON;
    }
    int code = libssh2_session_last_errno(remote->session);
    if (remote_blocked(code))
        return STEP_WAIT;
    if (code == LIBSSH2_ERROR_CHANNEL_FAILURE && remote->lost == 0 && remote->farewell[0] == '\0')
        return remote_fail(remote,
                           false,
                           "%s lets %s log in but opens no session: look at MaxSessions in its "
                           "sshd_config",
                           remote->place,
                           remote->user);
    return session_broke(remote, "opening a session");
}

enum remote_step step_exec(struct remote *remote)
{
    struct command *command = remote->first;
    command->begun = true;
    int rc = libssh2_channel_process_startup(
        remote->channel, "exec", sizeof "exec" - 1, command->text, (unsigned)strlen(command->text));
    if (remote_blocked(rc))
        return STEP_WAIT;
    if (rc == 0) {
        remote_set_state(remote, REMOTE_TRANSFER);
        return STEP_ON;
    }
    if (rc != LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED)
        return session_broke(remote, "starting a command");
    command->begun = false;
    return remote_fail(remote,
                       false,
                       "%s lets %s log in but runs no command for it: look at the account's "
                       "authorized_keys and at sshd_config there",
                       remote->place,
                       remote->user);
}

/* What is beyond the limit is read and dropped. */
static int keep(struct mf_buffer *buffer, const char *data, size_t length, struct mf_error *error)
{
    size_t room = REMOTE_OUTPUT_MAX - buffer->length;
    return mf_buffer_append(buffer, data, length < room ? length : room, error);
}

static bool is_stuck(struct remote *remote, enum stuck call)
{
    bool stuck =
        (libssh2_session_block_directions(remote->session) & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0;
    remote->stuck = stuck ? call : STUCK_NOT;
    return stuck;
}

/* -1: failed. What a stream has, or a good part of it. */
static int read_stream(struct remote *remote, enum stuck call, struct mf_buffer *buffer)
{
    char data[32768];
    for (unsigned turn = 0; turn < READ_TURNS; turn++) {
        ssize_t n = libssh2_channel_read_ex(remote->channel,
                                            call == STUCK_OUTPUT ? 0 : SSH_EXTENDED_DATA_STDERR,
                                            data,
                                            sizeof data);
        if (n == LIBSSH2_ERROR_EAGAIN)
            is_stuck(remote, call);
        else
            remote->stuck = STUCK_NOT;
        if (n == 0 || n == LIBSSH2_ERROR_EAGAIN)
            return 0;
        if (n < 0 || keep(buffer, data, (size_t)n, &remote->error) < 0)
            return -1;
    }
    remote->kicked = true; /* no event says that libssh2 holds more */
    return 0;
}

/* -1: failed; 1: something was written; 0: not. */
static int write_input(struct remote *remote)
{
    struct command *command = remote->first;
    int wrote = 0;
    for (unsigned turn = 0; turn < WRITE_TURNS && command->sent < command->input.length; turn++) {
        if (remote->stuck != STUCK_INPUT && libssh2_channel_window_write(remote->channel) == 0)
            return wrote;
        ssize_t n = libssh2_channel_write(remote->channel,
                                          (const char *)command->input.data + command->sent,
                                          command->input.length - command->sent);
        if (n == LIBSSH2_ERROR_EAGAIN) {
            is_stuck(remote, STUCK_INPUT);
            return wrote;
        }
        remote->stuck = STUCK_NOT;
        if (n < 0)
            return -1;
        command->sent += (size_t)n;
        wrote = 1;
    }
    if (command->sent < command->input.length || command->ended)
        return wrote;
    int rc = libssh2_channel_send_eof(remote->channel);
    if (remote_blocked(rc)) {
        is_stuck(remote, STUCK_END);
        return wrote;
    }
    remote->stuck = STUCK_NOT;
    command->ended = rc == 0;
    return rc == 0 ? 1 : -1;
}

/* The stuck call again. -1: failed. */
static int unstick(struct remote *remote)
{
    struct command *command = remote->first;
    if (remote->stuck == STUCK_OUTPUT)
        return read_stream(remote, STUCK_OUTPUT, &command->output);
    if (remote->stuck == STUCK_PROBLEM)
        return read_stream(remote, STUCK_PROBLEM, &command->problem);
    return remote->stuck == STUCK_NOT ? 0 : write_input(remote);
}

/* Both streams, until libssh2 holds nothing more. -1: failed. */
static int read_streams(struct remote *remote)
{
    struct command *command = remote->first;
    bool more = remote->stuck == STUCK_NOT;
    while (more) {
        if (read_stream(remote, STUCK_OUTPUT, &command->output) < 0)
            return -1;
        if (remote->stuck == STUCK_NOT && read_stream(remote, STUCK_PROBLEM, &command->problem) < 0)
            return -1;
        /* Reading the second stream takes in what has come meanwhile for the first. */
        more = remote->stuck == STUCK_NOT && !remote->kicked &&
               libssh2_poll_channel_read(remote->channel, 0) > 0;
    }
    return 0;
}

/* 1: all has been said, the exit code too; 0: not yet; -1: failed. */
static int is_closed(struct remote *remote)
{
    if (!libssh2_channel_eof(remote->channel))
        return 0;
    int rc = libssh2_channel_wait_closed(remote->channel);
    return rc == 0 ? 1 : remote_blocked(rc) ? 0 : -1;
}

static enum remote_step transfer_broke(struct remote *remote)
{
    if (remote->error.code == MF_ENOMEM)
        return STEP_FAILED;
    return session_broke(remote, "running a command");
}

enum remote_step step_transfer(struct remote *remote)
{
    int wrote = 0;
    if (unstick(remote) < 0 || read_streams(remote) < 0)
        return transfer_broke(remote);
    if (remote->stuck == STUCK_NOT && !remote->kicked) {
        int rc = is_closed(remote);
        if (rc < 0)
            return transfer_broke(remote);
        if (rc > 0) {
            remote_set_state(remote, REMOTE_FREE);
            return STEP_ON;
        }
    }
    if (remote->stuck == STUCK_NOT && (wrote = write_input(remote)) < 0)
        return transfer_broke(remote);
    if (remote->stuck != STUCK_NOT) {
        remote->wanted = EPOLLOUT;
        return STEP_WAIT;
    }
    if (wrote > 0)
        remote->kicked = true; /* read again, after the others' turn */
    remote->wanted = EPOLLIN;
    return STEP_WAIT;
}

static int signal_code(const char *name)
{
    for (int number = 1; number < NSIG; number++) {
        const char *known = sigabbrev_np(number);
        if (known != NULL && strcmp(known, name) == 0)
            return 128 + number;
    }
    return 128 + SIGKILL;
}

static int exit_code(struct remote *remote)
{
    char *name = NULL;
    size_t length = 0;
    libssh2_channel_get_exit_signal(remote->channel, &name, &length, NULL, NULL, NULL, NULL);
    if (name == NULL)
        return libssh2_channel_get_exit_status(remote->channel) & 0xff;
    int code = signal_code(name);
    libssh2_free(remote->session, name);
    return code;
}

enum remote_step step_free(struct remote *remote)
{
    struct command *command = remote->first;
    if (!remote->code_known) {
        remote->code = exit_code(remote);
        remote->code_known = true;
    }
    if (remote_blocked(libssh2_channel_free(remote->channel)))
        return STEP_WAIT;
    remote->channel = NULL;
    remote->code_known = false;
    remote->answered = true;
    const char *output = mf_buffer_text(&command->output);
    const char *problem = mf_buffer_text(&command->problem);
    struct remote_result result = {.code = remote->code,
                                   .output = output == NULL ? "" : output,
                                   .problem = problem == NULL ? "" : problem};
    remote_set_state(remote, REMOTE_IDLE);
    command_answer(remote, &result);
    return STEP_ON;
}
