/* SPDX-License-Identifier: Apache-2.0 */
/* A child process and its three streams on the loop: see child.h. It is over when pidfd and both
 * pipes have said so. */
#include "master/launch/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/spawn.h"

#define STREAM_MAX (1u << 20)

struct child {
    struct mf_loop *loop;
    child_f *done;
    void *arg;
    pid_t pid;
    int pidfd, out_fd, err_fd; /* -1 when over */
    int status;
    bool is_reaped;
    struct mf_buffer out, err;
    bool is_cut; /* of `out` something was dropped */
};

static void close_watched(struct child *child, int *fd)
{
    if (*fd < 0)
        return;
    mf_loop_remove(child->loop, *fd);
    close(*fd);
    *fd = -1;
}

static void free_child(struct child *child)
{
    close_watched(child, &child->pidfd);
    close_watched(child, &child->out_fd);
    close_watched(child, &child->err_fd);
    mf_buffer_fini(&child->out);
    mf_buffer_fini(&child->err);
    mf_free(child);
}

static void finish_if_over(struct child *child)
{
    if (child->pidfd >= 0 || child->out_fd >= 0 || child->err_fd >= 0)
        return;
    const char *out = mf_buffer_text(&child->out), *err = mf_buffer_text(&child->err);
    struct child_result result = {.code = WIFEXITED(child->status) ? WEXITSTATUS(child->status)
                                                                   : 128 + WTERMSIG(child->status),
                                  .output = out == NULL ? "" : out,
                                  .is_cut = child->is_cut || out == NULL,
                                  .problem = err == NULL ? "" : err};
    child->done(child->arg, &result);
    free_child(child);
}

static void on_exit(void *arg, uint32_t events)
{
    (void)events;
    struct child *child = arg;
    if (waitpid(child->pid, &child->status, WNOHANG) == 0)
        return;
    child->is_reaped = true;
    close_watched(child, &child->pidfd);
    finish_if_over(child);
}

/* What is beyond STREAM_MAX is read and dropped. */
static void read_stream(struct child *child, int *fd, struct mf_buffer *buffer)
{
    char data[4096];
    ssize_t got = read(*fd, data, sizeof data);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        close_watched(child, fd);
        finish_if_over(child);
        return;
    }
    if (buffer->length >= STREAM_MAX || mf_buffer_append(buffer, data, (size_t)got, NULL) < 0)
        child->is_cut = child->is_cut || buffer == &child->out;
}

static void on_output(void *arg, uint32_t events)
{
    (void)events;
    struct child *child = arg;
    read_stream(child, &child->out_fd, &child->out);
}

static void on_problem(void *arg, uint32_t events)
{
    (void)events;
    struct child *child = arg;
    read_stream(child, &child->err_fd, &child->err);
}

static int spawn(struct child *child,
                 const char *folder,
                 const char *const *argv,
                 char *const *envp,
                 const int in[2],
                 const int out[2],
                 const int err[2],
                 struct mf_error *error)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    int rc = folder == NULL ? 0 : posix_spawn_file_actions_addchdir_np(&actions, folder);
    if (rc == 0)
        rc = mf_spawn((char *const *)argv, envp, &actions, POSIX_SPAWN_SETPGROUP, &child->pid);
    posix_spawn_file_actions_destroy(&actions);
    if (rc == 0)
        return 0;
    errno = rc;
    return mf_raise_errno(error, "cannot start %s", argv[0]);
}

static int make_pipe(int fds[2], struct mf_error *error)
{
    if (pipe2(fds, O_CLOEXEC) < 0)
        return mf_raise_errno(error, "cannot make a pipe to a child process");
    return 0;
}

static void close_both(const int fds[2])
{
    if (fds[0] >= 0)
        close(fds[0]);
    if (fds[1] >= 0)
        close(fds[1]);
}

static int watch(struct child *child, struct mf_error *error)
{
    fcntl(child->out_fd, F_SETFL, O_NONBLOCK);
    fcntl(child->err_fd, F_SETFL, O_NONBLOCK);
    child->pidfd = pidfd_open(child->pid, 0);
    if (child->pidfd < 0)
        return mf_raise_errno(error, "cannot watch process %d", (int)child->pid);
    if (mf_loop_add(child->loop, child->pidfd, EPOLLIN, on_exit, child, error) < 0 ||
        mf_loop_add(child->loop, child->out_fd, EPOLLIN, on_output, child, error) < 0 ||
        mf_loop_add(child->loop, child->err_fd, EPOLLIN, on_problem, child, error) < 0)
        return -1;
    return 0;
}

/* A pipe holds 64 KiB, so the whole input fits without waiting for the reader. */
static int feed(const int in[2], struct mf_bytes input, struct mf_error *error)
{
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    ssize_t written = input.length == 0 ? 0 : write(in[1], input.data, input.length);
    if (written < 0 || (size_t)written != input.length)
        return mf_raise(
            error, MF_ESYSTEM, "cannot hand over %zu bytes of standard input", input.length);
    return 0;
}

struct child *child_start_in(struct mf_loop *loop,
                             const char *folder,
                             const char *const *argv,
                             char *const *envp,
                             struct mf_bytes input,
                             child_f *done,
                             void *arg,
                             struct mf_error *error)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
    struct child *child = mf_calloc(1, sizeof *child);
    if (child == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a child process");
        return NULL;
    }
    *child = (struct child){
        .loop = loop, .done = done, .arg = arg, .pid = -1, .pidfd = -1, .out_fd = -1, .err_fd = -1};
    if (make_pipe(in, error) < 0 || make_pipe(out, error) < 0 || make_pipe(err, error) < 0 ||
        feed(in, input, error) < 0 || spawn(child, folder, argv, envp, in, out, err, error) < 0)
        goto fail;
    child->out_fd = out[0];
    child->err_fd = err[0];
    out[0] = err[0] = -1;
    if (watch(child, error) < 0)
        goto fail;
    close_both(in);
    close_both(out);
    close_both(err);
    return child;
fail:
    close_both(in);
    close_both(out);
    close_both(err);
    child_abandon(child);
    return NULL;
}

struct child *child_start(struct mf_loop *loop,
                          const char *const *argv,
                          char *const *envp,
                          struct mf_bytes input,
                          child_f *done,
                          void *arg,
                          struct mf_error *error)
{
    return child_start_in(loop, NULL, argv, envp, input, done, arg, error);
}

static void abandon(struct child *child, bool whole_group)
{
    if (child == NULL)
        return;
    if (child->pid > 0 && !child->is_reaped) {
        kill(whole_group ? -child->pid : child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
    }
    free_child(child);
}

void child_abandon(struct child *child)
{
    abandon(child, false);
}

void child_abandon_group(struct child *child)
{
    abandon(child, true);
}

pid_t child_pid(const struct child *child)
{
    return child->pid;
}

bool child_has_exited(const struct child *child)
{
    return child->is_reaped;
}

void child_settle(struct child *child)
{
    close_watched(child, &child->out_fd);
    close_watched(child, &child->err_fd);
    finish_if_over(child);
}
