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
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/spawn.h"
#include "master/command.h"
#include "master/commands/debug_note.h"
#include "master/record/tree.h"
#include "master/remote/direct.h"
#include "master/run_folder.h"

#define NO_PLACE 94
#define LOOK_NS 20000000 /* between two looks whether ssh has ended; its SIGCHLD comes earlier */

/* A POSIX line in single quotes for whatever login shell there is: without such quotes of its own.
 * What tar reads is there only once: whether a place will do is found out before. */
#define MAKE_PLACE                                                                                 \
    "sh -c 'umask 077; for p in " DEBUG_PLACES "; do "                                             \
    "d=$p/%s; mkdir $d 2>/dev/null || continue; cd $d && echo exit 0 >try && chmod 700 try && "    \
    "./try 2>/dev/null && rm try && tar xf - && ./mayfly-worker version >/dev/null 2>&1 && "       \
    "echo $d && exit 0; cd /; rm -rf $d; done; exit 94'"

struct on_host {
    const struct debug_order *order;
    char *stage;                 /* the folder of links */
    char name[RUN_ID_SIZE + 40]; /* of the folder there, and of the note */
    char *note;
    int note_fd;   /* -1: none */
    bool is_clean; /* it is known that nothing was left there */
    char folder[512];
    struct remote_config config;
    struct direct *direct;
    struct direct_manner manner; /* as of the second login */
};

static sigset_t ending_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    return set;
}

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

/* Waits for the end of ssh, and lets those signals that end us have their effect through it. */
static int await_ssh(struct on_host *on, int *held, int *code, struct mf_error *error)
{
    sigset_t ends = ending_signals();
    pid_t pid = direct_pid(on->direct);
    siginfo_t info = {0};
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0) {
        int signal = sigtimedwait(&ends, NULL, &(struct timespec){.tv_nsec = LOOK_NS});
        if (signal <= 0 || signal == SIGCHLD)
            continue;
        if (*held >=
            0) { /* the command gets TERM, says what it has to say, and is cleaned up after */
            close(*held);
            *held = -1;
        } else {
            kill(pid, SIGTERM);
        }
    }
    return direct_wait(on->direct, code, error);
}

static pid_t start_tar(const struct on_host *on, int out, struct mf_error *error)
{
    const char *tar[] = {"tar", "-C", on->stage, "-chf", "-", ".", NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    int rc = mf_spawn((char **)(uintptr_t)tar, environ, &actions, 0, &pid);
    posix_spawn_file_actions_destroy(&actions);
    if (rc == 0)
        return pid;
    errno = rc;
    mf_raise_errno(error, "cannot start tar, which mayfly debug needs to reach a host");
    return 0;
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

/* A path that is to stand in a line for a shell. */
static bool is_plain(const char *path)
{
    return path[0] == '/' && path[strspn(path,
                                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789/._-+@")] == '\0';
}

static int said(struct on_host *on, int code, int tar_code, struct mf_error *error)
{
    const char *name = on->order->host->name;
    on->is_clean = on->is_clean || code == NO_PLACE;
    if (code == NO_PLACE)
        return mf_raise(error,
                        MF_ESETUP,
                        "%s has no folder where mayfly debug can put its files and execute the "
                        "worker's program (tried ~/.cache, ~, /var/tmp, /tmp), or no tar",
                        name);
    if (code != 0)
        return mf_raise(error, MF_ESETUP, "the files did not get to %s (exit code %d)", name, code);
    if (tar_code != 0)
        return mf_raise(error, MF_ESETUP, "the files of the subtask cannot be packed by tar");
    if (!is_plain(on->folder))
        return mf_raise(error, MF_ESETUP, "%s gave an unusable folder", name);
    return 0;
}

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
}

static int send_stage(struct on_host *on, struct mf_error *error)
{
    int archive[2] = {-1, -1}, answer[2] = {-1, -1}, code = 0, tar_code = -1, none = -1, rc = -1;
    pid_t tar_pid = 0;
    char *line = mf_format(MAKE_PLACE, on->name);
    if (line == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a command");
    } else if (pipe2(archive, O_CLOEXEC) < 0 || pipe2(answer, O_CLOEXEC) < 0) {
        mf_raise_errno(error, "cannot make a pipe");
    } else {
        struct direct_manner manner = on->manner;
        manner.has_terminal = false;
        manner.is_apart = false;
        manner.in = archive[0];
        manner.out = answer[1];
        rc = direct_start(on->direct, line, &manner, error);
    }
    if (rc == 0 && (tar_pid = start_tar(on, archive[1], error)) == 0)
        rc = -1;
    for (int i = 0; i < 2; i++)
        if (archive[i] >= 0)
            close(archive[i]);
    if (answer[1] >= 0)
        close(answer[1]);
    answer[1] = -1;
    if (direct_pid(on->direct) > 0) {
        struct mf_error reason;
        if (await_ssh(on, &none, &code, rc == 0 ? error : &reason) < 0)
            rc = -1;
        on->is_clean = !direct_has_begun(on->direct);
        read_line(answer[0], on->folder, sizeof on->folder);
    }
    if (tar_pid > 0)
        tar_code = await(tar_pid);
    close_pair(answer);
    mf_free(line);
    return rc < 0 ? -1 : said(on, code, tar_code, error);
}

static int run_there(struct on_host *on, int *code, struct mf_error *error)
{
    const struct debug_order *order = on->order;
    bool is_tied = !on->manner.has_terminal && !order->wants_shell;
    char *line = mf_format("sh -c 'trap : HUP; cd %s && exec 9<request && rm -f request && "
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
    struct direct_manner manner = on->manner;
    if (line == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a command");
    if (is_tied && pipe2(held, O_CLOEXEC) < 0) {
        mf_raise_errno(error, "cannot make a pipe");
    } else {
        manner.in = held[0];
        manner.is_apart = is_tied;
        rc = direct_start(on->direct, line, &manner, error);
    }
    if (rc == 0)
        rc = await_ssh(on, &held[1], code, error);
    close_pair(held);
    mf_free(line);
    return rc;
}

/* By a name that nobody else has, or can tell beforehand. */
static int make_note(struct on_host *on, struct mf_error *error)
{
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return mf_raise_errno(error, "no random number");
    snprintf(on->name,
             sizeof on->name,
             DEBUG_STAGE "%s.%016llx",
             on->order->run_id,
             (unsigned long long)number);
    on->note_fd =
        debug_note_make(on->order->run_folder, on->name, on->order->host->name, &on->note, error);
    return on->note_fd < 0 ? -1 : 0;
}

/* `is_left`: it may be there still. */
static void drop_note(struct on_host *on, bool is_left)
{
    if (on->note_fd < 0)
        return;
    if (!is_left)
        debug_note_remove(on->note);
    close(on->note_fd);
    mf_free(on->note);
}

struct remote_config debug_login(const struct job_ssh *ssh, const struct job_host *host)
{
    return (struct remote_config){.identity =
                                      host->identity != NULL ? host->identity : ssh->identity,
                                  .known_hosts = ssh->known_hosts,
                                  .accept_new = ssh->accept_new,
                                  .ssh_config = ssh->config};
}

static int log_in(struct on_host *on, struct mf_error *error)
{
    const struct job_host *host = on->order->host;
    const struct remote_target target = {
        .user = host->user, .host = host->host, .port = host->port};
    on->config = debug_login(&on->order->job->ssh, host);
    on->direct = direct_open(&on->config, &target, error);
    return on->direct == NULL ? -1 : 0;
}

int debug_on_host(const struct debug_order *order, int *code, struct mf_error *error)
{
    bool has_terminal = isatty(0) && isatty(1);
    struct on_host on = {.order = order,
                         .note_fd = -1,
                         .manner = {.in = -1,
                                    .out = -1,
                                    .has_terminal = has_terminal,
                                    .may_ask = has_terminal || isatty(2)}};
    struct mf_error ignored;
    sigset_t ends = ending_signals(), before;
    sigprocmask(SIG_BLOCK, &ends, &before);
    int rc = log_in(&on, error);
    if (rc == 0)
        rc = make_stage(&on, order->job->split.group_bytes > 0, error);
    if (rc == 0)
        rc = make_note(&on, error);
    if (rc == 0)
        rc = send_stage(&on, error);
    if (on.stage != NULL)
        tree_remove(on.stage, &ignored);
    mf_free(on.stage);
    if (rc == 0)
        rc = run_there(&on, code, error);
    drop_note(&on, rc < 0 && !on.is_clean);
    direct_close(on.direct);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}
