/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A subtask on another host: see debug_host.h. Two logins:
 *
 *     tar of a folder of links  --ssh-->  a new folder DIR there: mayfly-worker, request, job/,
 *                                         input/; DIR comes back
 *     our streams               <-ssh->   mayfly-worker debug ... staged; DIR removed
 *
 * Nothing that is the user's goes into a line for a shell: names travel in the archive and in the
 * request alone. The request (it may hold secrets) is a link to memory here, and is removed there
 * before the command starts. The second login has a terminal when we have one; else the command
 * ends when its standard input does, which we hold open.
 */
#include "master/commands/debug_host.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/command.h"
#include "master/record/tree.h"

#define ARGUMENTS_MAX 32
#define SSH_FAILED 255
#define NO_PLACE 94

/* A POSIX line in single quotes for whatever login shell there is: without quotes of its own. */
#define MAKE_PLACE                                                                                 \
    "sh -c 'umask 077; for p in $HOME/.cache $HOME /var/tmp /tmp; do "                             \
    "d=$(mktemp -d $p/mayfly-debug.XXXXXX 2>/dev/null) || continue; "                              \
    "cd $d && tar xf - && ./mayfly-worker version >/dev/null 2>&1 && echo $d && exit 0; "          \
    "cd /; rm -rf $d; exit 94; done; exit 94'"

struct on_host {
    const struct debug_order *order;
    char *stage; /* the folder of links */
    char folder[512];
    char port[40], identity[4200], known_hosts[4200];
};

static int add_link(const char *target, const char *path, struct mf_error *error)
{
    char *parents = mf_strdup(path);
    int rc = parents == NULL ? -1 : 0;
    for (char *at = parents; rc == 0 && (at = strchr(at + 1, '/')) != NULL; *at = '/') {
        *at = '\0';
        mkdir(parents, 0700);
    }
    mf_free(parents);
    if (rc == 0 && symlink(target, path) < 0 && errno != EEXIST)
        rc = -1;
    return rc == 0 ? 0 : mf_raise_errno(error, "cannot make the link %s", path);
}

/* `name` within the stage leads to a file, relative to the job's folder unless it is absolute. */
static int
stage_link(const struct on_host *on, const char *name, struct mf_bytes file, struct mf_error *error)
{
    bool is_absolute = file.length > 0 && file.data[0] == '/';
    char *path = mf_format("%s/%s", on->stage, name);
    char *target = mf_format("%s%s%.*s",
                             is_absolute ? "" : on->order->job->folder,
                             is_absolute ? "" : "/",
                             (int)file.length,
                             (const char *)file.data);
    int rc = path == NULL || target == NULL
                 ? mf_raise(error, MF_ENOMEM, "out of memory: the files of a subtask")
                 : add_link(target, path, error);
    mf_free(path);
    mf_free(target);
    return rc;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static int
stage_input(const struct on_host *on, unsigned number, struct mf_bytes path, struct mf_error *error)
{
    char *text = mf_format("%.*s", (int)path.length, (const char *)path.data);
    char *name = text == NULL ? NULL : mf_format("input/%u/%s", number, base_name(text));
    int rc = name == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: an input")
                          : stage_link(on, name, path, error);
    mf_free(name);
    mf_free(text);
    return rc;
}

/* One input, or those of a group: absolute paths, each ended by NUL. */
static int stage_inputs(const struct on_host *on, bool is_grouped, struct mf_error *error)
{
    const struct mf_subtask *piece = on->order->piece;
    const char *at = (const char *)piece->item.data, *end = at + piece->item.length;
    if (!is_grouped)
        return piece->path.length == 0 ? 0 : stage_input(on, 0, piece->path, error);
    for (unsigned i = 0; at < end; i++, at += strlen(at) + 1)
        if (stage_input(on, i, mf_bytes_text(at), error) < 0)
            return -1;
    return 0;
}

static int make_stage(struct on_host *on, bool is_grouped, struct mf_error *error)
{
    const struct job *job = on->order->job;
    const char *base = getenv("TMPDIR");
    char request[64];
    on->stage = mf_format("%s/mayfly-debug.XXXXXX", base == NULL ? "/tmp" : base);
    if (on->stage == NULL || mkdtemp(on->stage) == NULL) {
        mf_raise_errno(error, "cannot make a folder in %s", base == NULL ? "/tmp" : base);
        mf_free(on->stage);
        on->stage = NULL;
        return -1;
    }
    snprintf(request, sizeof request, "/proc/%d/fd/%d", (int)getpid(), on->order->request_fd);
    char *binary = command_worker_binary(error);
    int rc = binary == NULL ? -1 : stage_link(on, "mayfly-worker", mf_bytes_text(binary), error);
    if (rc == 0)
        rc = stage_link(on, "request", mf_bytes_text(request), error);
    for (size_t i = 0; rc == 0 && i < job->files.count; i++) {
        char *name = mf_format("job/%s", job->files.items[i]);
        rc = name == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a file's name")
                          : stage_link(on, name, mf_bytes_text(job->files.items[i]), error);
        mf_free(name);
    }
    mf_free(binary);
    return rc < 0 ? -1 : stage_inputs(on, is_grouped, error);
}

/* The client's arguments up to the command, as the run logged in. */
static size_t ssh_arguments(struct on_host *on, bool has_terminal, const char **argv)
{
    const struct job_host *host = on->order->host;
    const struct job_ssh *ssh = &on->order->job->ssh;
    const char *identity = host->identity != NULL ? host->identity : ssh->identity;
    size_t n = 0;
    argv[n++] = "ssh";
    argv[n++] = has_terminal ? "-tt" : "-T";
    argv[n++] = "-o";
    argv[n++] = "LogLevel=ERROR";
    if (host->port != 0) {
        snprintf(on->port, sizeof on->port, "Port=%u", host->port);
        argv[n++] = "-o";
        argv[n++] = on->port;
    }
    if (identity != NULL) {
        argv[n++] = "-o";
        argv[n++] = "IdentitiesOnly=yes";
        argv[n++] = "-i";
        argv[n++] = identity;
    }
    if (ssh->known_hosts != NULL) {
        snprintf(
            on->known_hosts, sizeof on->known_hosts, "UserKnownHostsFile=%s", ssh->known_hosts);
        argv[n++] = "-o";
        argv[n++] = on->known_hosts;
    }
    argv[n++] = "-o";
    argv[n++] = ssh->accept_new ? "StrictHostKeyChecking=accept-new" : "StrictHostKeyChecking=yes";
    if (host->user != NULL) {
        argv[n++] = "-l";
        argv[n++] = host->user;
    }
    argv[n++] = "--";
    argv[n++] = host->host;
    return n;
}

/* in, out: -1 = ours. */
static int start(const char *const *argv, int in, int out, pid_t *pid, struct mf_error *error)
{
    posix_spawn_file_actions_t actions;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc == 0 && in >= 0)
        rc = posix_spawn_file_actions_adddup2(&actions, in, 0);
    if (rc == 0 && out >= 0)
        rc = posix_spawn_file_actions_adddup2(&actions, out, 1);
    if (rc == 0)
        rc = posix_spawnp(pid, argv[0], &actions, NULL, (char **)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc == 0)
        return 0;
    errno = rc;
    return mf_raise(error,
                    MF_ESETUP,
                    "cannot start %s, which mayfly debug needs to reach a host: %s",
                    argv[0],
                    strerror(rc));
}

static int await(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void read_line(int fd, char *text, size_t size)
{
    size_t length = 0;
    ssize_t got;
    while (length + 1 < size &&
           ((got = read(fd, text + length, size - 1 - length)) > 0 || (got < 0 && errno == EINTR)))
        length += got > 0 ? (size_t)got : 0;
    text[length] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

/* A path that was made by mktemp and is to stand in a line for a shell. */
static bool is_plain(const char *path)
{
    return path[0] == '/' && path[strspn(path,
                                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789/._-+@")] == '\0';
}

static int said(const struct on_host *on, int code, struct mf_error *error)
{
    const char *name = on->order->host->name;
    if (code == SSH_FAILED)
        return mf_raise(error, MF_ESETUP, "ssh did not get through to %s, or was cut off", name);
    if (code == NO_PLACE)
        return mf_raise(error,
                        MF_ESETUP,
                        "%s has no folder where mayfly debug can put its files and execute the "
                        "worker's program (tried ~/.cache, ~, /var/tmp, /tmp), or no tar",
                        name);
    return mf_raise(error, MF_ESETUP, "the files did not get to %s (exit code %d)", name, code);
}

static int send_stage(struct on_host *on, struct mf_error *error)
{
    const char *const tar[] = {"tar", "-C", on->stage, "-chf", "-", ".", NULL};
    const char *ssh[ARGUMENTS_MAX] = {NULL};
    int archive[2] = {-1, -1}, answer[2] = {-1, -1}, code = 0;
    pid_t tar_pid = 0, ssh_pid = 0;
    ssh[ssh_arguments(on, false, ssh)] = MAKE_PLACE;
    if (pipe2(archive, O_CLOEXEC) < 0 || pipe2(answer, O_CLOEXEC) < 0)
        mf_raise_errno(error, "cannot make a pipe");
    else if (start(ssh, archive[0], answer[1], &ssh_pid, error) == 0)
        start(tar, -1, archive[1], &tar_pid, error);
    for (int i = 0; i < 2; i++)
        if (archive[i] >= 0)
            close(archive[i]);
    if (answer[1] >= 0)
        close(answer[1]);
    int tar_code = tar_pid > 0 ? await(tar_pid) : -1;
    if (ssh_pid > 0) {
        read_line(answer[0], on->folder, sizeof on->folder);
        code = await(ssh_pid);
    }
    if (answer[0] >= 0)
        close(answer[0]);
    if (ssh_pid == 0 || tar_pid == 0)
        return -1;
    if (code != 0)
        return said(on, code, error);
    if (tar_code != 0)
        return mf_raise(error, MF_ESETUP, "the files of the subtask cannot be packed by tar");
    if (!is_plain(on->folder))
        return mf_raise(error, MF_ESETUP, "%s gave an unusable folder", on->order->host->name);
    return 0;
}

static int run_there(struct on_host *on, bool has_terminal, int *code, struct mf_error *error)
{
    const struct debug_order *order = on->order;
    const char *ssh[ARGUMENTS_MAX] = {NULL};
    bool is_tied = !has_terminal && !order->wants_shell;
    char *line = mf_format("sh -c 'cd %s && exec 9<request && rm -f request && "
                           "./mayfly-worker debug %s %u 1 /proc/self/fd/9 staged%s%s%s; c=$?; "
                           "cd /; %s%s; exit $c'",
                           on->folder,
                           order->run_id,
                           order->worker,
                           order->wants_shell ? " shell" : "",
                           order->keeps ? " keep" : "",
                           is_tied ? " tied" : "",
                           order->keeps ? "true kept " : "rm -rf ",
                           on->folder);
    int held[2] = {-1, -1}, rc = -1;
    pid_t pid;
    if (line == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a command");
    ssh[ssh_arguments(on, has_terminal, ssh)] = line;
    if (is_tied && pipe2(held, O_CLOEXEC) < 0)
        mf_raise_errno(error, "cannot make a pipe");
    else
        rc = start(ssh, held[0], -1, &pid, error);
    if (rc == 0) {
        *code = await(pid);
        rc = *code == SSH_FAILED ? said(on, *code, error) : 0;
    }
    for (int i = 0; i < 2; i++)
        if (held[i] >= 0)
            close(held[i]);
    mf_free(line);
    return rc;
}

int debug_on_host(const struct debug_order *order, int *code, struct mf_error *error)
{
    struct on_host on = {.order = order};
    struct mf_error ignored;
    bool has_terminal = isatty(0) && isatty(1);
    bool is_grouped = order->job->split.group_bytes > 0;
    int rc = make_stage(&on, is_grouped, error);
    if (rc == 0)
        rc = send_stage(&on, error);
    if (on.stage != NULL)
        tree_remove(on.stage, &ignored);
    mf_free(on.stage);
    return rc < 0 ? -1 : run_there(&on, has_terminal, code, error);
}
