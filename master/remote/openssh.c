/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second back end: each command is a process of its own of OpenSSH's client, with all that this
 * can and libssh2 can't. The connection of remote.h is then only the queue and the settings.
 *
 *     openssh_idle --a command--> openssh_login --"Authenticated"--> openssh_run --over--> idle
 *
 * Three streams are those of the command. What ssh itself has to say goes to a fourth one: ssh
 * closes every other descriptor at its start, but opens its log by name, so it gets the name of our
 * pipe in /proc. That keeps its words apart from those of the host, and tells how far it came:
 * whether the host has let us in, and whether an exit code 255 is the command's or ssh's own.
 *
 * ssh is the leader of a process group, so that proxies that it starts end with it. It is over when
 * it has exited and its standard output has ended; then the group is killed before ssh is reaped,
 * so that the number still is ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/spawn.h"
#include "master/remote/remote_internal.h"

#define LOG_MAX (64u << 10)
#define READ_TURNS 32

bool openssh_is_there(void)
{
    char path[512];
    return mf_program_find("ssh", path, sizeof path);
}

void openssh_init(struct remote *remote)
{
    remote->openssh = (struct openssh){
        .pidfd = -1, .input = -1, .output = -1, .problem = -1, .log = -1, .log_end = -1};
}

static void close_watched(struct remote *remote, int *fd)
{
    if (*fd < 0)
        return;
    mf_loop_remove(remote->loop, *fd);
    close(*fd);
    *fd = -1;
}

/* Ends what it has started, too, and reaps it. */
static void reap(struct openssh *ssh)
{
    if (ssh->pid <= 0)
        return;
    kill(-ssh->pid, SIGKILL);
    while (waitpid(ssh->pid, &ssh->status, 0) < 0 && errno == EINTR) {
    }
    ssh->pid = 0;
}

void openssh_end(struct remote *remote)
{
    struct openssh *ssh = &remote->openssh;
    reap(ssh);
    close_watched(remote, &ssh->pidfd);
    close_watched(remote, &ssh->input);
    close_watched(remote, &ssh->output);
    close_watched(remote, &ssh->problem);
    close_watched(remote, &ssh->log);
    if (ssh->log_end >= 0)
        close(ssh->log_end);
    ssh->log_end = -1;
    mf_buffer_fini(&ssh->said);
}

/* A stream of the child: *ours is watched, the other end is the child's. A socket, since writing
 * into a pipe that nobody reads any more would raise a signal. */
static int make_input(int *ours, int *theirs, struct mf_error *error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return mf_raise_errno(error, "cannot make a socket to ssh");
    *ours = pair[0];
    *theirs = pair[1];
    return 0;
}

static int make_pipe(int *ours, int *theirs, struct mf_error *error)
{
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) < 0)
        return mf_raise_errno(error, "cannot make a pipe to ssh");
    *ours = pair[0];
    *theirs = pair[1];
    return 0;
}

static int watch(struct remote *remote, int fd, uint32_t events, struct mf_error *error)
{
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return mf_loop_add(remote->loop, fd, events, remote_on_event, remote, error);
}

static int spawn(struct remote *remote, char *const *argv, char *const *env, const int streams[3])
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < 3; i++)
        posix_spawn_file_actions_adddup2(&actions, streams[i], i);
    int rc = mf_spawn(argv, env, &actions, POSIX_SPAWN_SETPGROUP, &remote->openssh.pid);
    posix_spawn_file_actions_destroy(&actions);
    if (rc == 0)
        return 0;
    remote->openssh.pid = 0;
    errno = rc;
    if (rc == ENOENT)
        return mf_raise(&remote->error,
                        MF_ESETUP,
                        "OpenSSH's client, ssh, is not installed here: install openssh-client");
    return mf_raise_errno(&remote->error, "cannot start ssh");
}

static int run_ssh(struct remote *remote, const int streams[3])
{
    struct openssh_command command = {0};
    int rc = remote->openssh.command == &remote->asking
                 ? openssh_question(remote, &command, &remote->error)
                 : openssh_command(remote, remote->openssh.log_end, &command, &remote->error);
    if (rc == 0)
        rc = spawn(remote, command.argv, command.env == NULL ? environ : command.env, streams);
    openssh_command_fini(&command);
    return rc;
}

static int watch_all(struct remote *remote)
{
    struct openssh *ssh = &remote->openssh;
    struct mf_error *error = &remote->error;
    ssh->pidfd = pidfd_open(ssh->pid, 0);
    if (ssh->pidfd < 0)
        return mf_raise_errno(error, "cannot watch process %d", (int)ssh->pid);
    if (mf_loop_add(remote->loop, ssh->pidfd, EPOLLIN, remote_on_event, remote, error) < 0 ||
        (ssh->input >= 0 && watch(remote, ssh->input, EPOLLOUT, error) < 0) ||
        (ssh->output >= 0 && watch(remote, ssh->output, EPOLLIN, error) < 0) ||
        watch(remote, ssh->problem, EPOLLIN, error) < 0 ||
        watch(remote, ssh->log, EPOLLIN, error) < 0)
        return -1;
    return 0;
}

/* Both its streams are the socket itself. */
static int start_forwarding(struct remote *remote)
{
    struct openssh *ssh = &remote->openssh;
    int streams[3] = {remote->tunnel.fd, remote->tunnel.fd, -1};
    int rc = -1;
    if (make_pipe(&ssh->problem, &streams[2], &remote->error) == 0 &&
        make_pipe(&ssh->log, &ssh->log_end, &remote->error) == 0)
        rc = run_ssh(remote, streams);
    if (streams[2] >= 0)
        close(streams[2]);
    tunnel_fini(remote);
    return rc < 0 ? -1 : watch_all(remote);
}

static int start(struct remote *remote, struct command *command)
{
    struct openssh *ssh = &remote->openssh;
    ssh->command = command;
    int streams[3] = {-1, -1, -1};
    int rc = -1;
    if (command == &remote->forwarding)
        return start_forwarding(remote);
    if (make_input(&ssh->input, &streams[0], &remote->error) == 0 &&
        make_pipe(&ssh->output, &streams[1], &remote->error) == 0 &&
        make_pipe(&ssh->problem, &streams[2], &remote->error) == 0 &&
        make_pipe(&ssh->log, &ssh->log_end, &remote->error) == 0)
        rc = run_ssh(remote, streams);
    for (int i = 0; i < 3; i++)
        if (streams[i] >= 0)
            close(streams[i]);
    return rc < 0 ? -1 : watch_all(remote);
}

int openssh_ask(struct remote *remote)
{
    return start(remote, &remote->asking);
}

enum remote_step step_openssh_idle(struct remote *remote)
{
    struct command *command = remote->tunnel.is_wanted ? &remote->forwarding : remote->first;
    if (command == NULL)
        return STEP_WAIT;
    if (start(remote, command) < 0) {
        remote->again = false;
        return STEP_FAILED;
    }
    remote_set_deadline(remote);
    remote_set_state(remote, REMOTE_OPENSSH_LOGIN);
    return STEP_ON;
}

/* -1: no memory. Closes the stream at its end; what is beyond `most` is read and dropped. */
static int read_stream(struct remote *remote, int *fd, struct mf_buffer *buffer, size_t most)
{
    char data[16384];
    for (unsigned turn = 0; *fd >= 0 && turn < READ_TURNS; turn++) {
        ssize_t got = read(*fd, data, sizeof data);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (got <= 0) {
            close_watched(remote, fd);
            return 0;
        }
        size_t room = most - buffer->length, n = (size_t)got;
        if (mf_buffer_append(buffer, data, n < room ? n : room, &remote->error) < 0)
            return -1;
    }
    return 0;
}

/* A program that does not want the rest of its input is no failure. */
static void write_input(struct remote *remote)
{
    struct command *command = remote->openssh.command;
    int fd = remote->openssh.input;
    while (fd >= 0 && command->sent < command->input.length) {
        ssize_t n = send(fd,
                         command->input.data + command->sent,
                         command->input.length - command->sent,
                         MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0)
            break;
        command->sent += (size_t)n;
    }
    close_watched(remote, &remote->openssh.input);
}

int openssh_pump(struct remote *remote)
{
    struct openssh *ssh = &remote->openssh;
    struct command *command = ssh->command;
    siginfo_t info = {0};
    /* Before the streams are read: what it said before its end is there then. */
    bool exited = waitid(P_PID, (id_t)ssh->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                  info.si_pid == ssh->pid;
    write_input(remote);
    if (read_stream(remote, &ssh->output, &command->output, REMOTE_OUTPUT_MAX) < 0 ||
        read_stream(remote, &ssh->problem, &command->problem, REMOTE_OUTPUT_MAX) < 0 ||
        read_stream(remote, &ssh->log, &ssh->said, LOG_MAX) < 0 ||
        mf_buffer_text(&ssh->said) == NULL) {
        remote->again = false;
        return -1;
    }
    if (!exited)
        return 0;
    if (ssh->output >= 0) { /* readable as long as its end was not reached */
        close_watched(remote, &ssh->pidfd);
        return 0;
    }
    reap(ssh);
    return 1;
}

/* The address of an end that ssh names "host ([address]:port)"; through a proxy it names none. */
static void note_address(struct remote *remote, const char *line)
{
    const char *from = strstr(line, "([");
    const char *to = from == NULL ? NULL : strstr(from, "]:");
    const char *end = strchr(line, '\n');
    if (to == NULL || (end != NULL && to > end))
        return;
    remote_print(
        remote->peer_address, sizeof remote->peer_address, from + 2, (size_t)(to - from - 2));
}

static void log_words(struct remote *remote)
{
    mf_log(MF_DEBUG,
           "ssh %s@%s: OpenSSH's client says: %s",
           remote->user,
           remote->place,
           (const char *)remote->openssh.said.data);
}

/* The program is over. */
static enum remote_step conclude(struct remote *remote)
{
    struct openssh *ssh = &remote->openssh;
    struct command *command = ssh->command;
    const char *said = mf_buffer_text(&ssh->said);
    log_words(remote);
    int code = openssh_exit_code(said, ssh->status);
    if (code < 0)
        return openssh_failed(remote);
    if (command == &remote->forwarding) /* a side has ended */
        return remote_fail(remote, true, "the channel to %s has ended", remote->place);
    const char *output = mf_buffer_text(&command->output);
    const char *problem = mf_buffer_text(&command->problem);
    struct remote_result result = {.code = code,
                                   .output = output == NULL ? "" : output,
                                   .problem = problem == NULL ? "" : problem};
    openssh_end(remote);
    remote->answered = true;
    remote_set_state(remote, REMOTE_OPENSSH_IDLE);
    command_answer(remote, &result);
    return STEP_ON;
}

enum remote_step step_openssh_login(struct remote *remote)
{
    int rc = openssh_pump(remote);
    if (rc < 0)
        return STEP_FAILED;
    const char *line = openssh_let_in((const char *)remote->openssh.said.data);
    if (line != NULL) {
        note_address(remote, line);
        remote->openssh.command->begun = true;
        remote_set_state(remote, REMOTE_OPENSSH_RUN);
    }
    return rc > 0 ? conclude(remote) : STEP_WAIT;
}

enum remote_step step_openssh_run(struct remote *remote)
{
    int rc = openssh_pump(remote);
    return rc < 0 ? STEP_FAILED : rc > 0 ? conclude(remote) : STEP_WAIT;
}
