/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a command: see start.h.
 *
 * The command gets a session of its own (in the foreground only a process group), default signals,
 * an empty mask, three descriptors (all others close on exec), and the attempt's folder or cwd. A
 * name without a slash is searched in the attempt's own PATH; the last search is remembered, since
 * most runs execute one command.
 */
#include "worker/start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    char name[NAME_MAX + 1];
    char path_variable[PATH_MAX];
    char found[PATH_MAX];
} last_search;

static const char *variable(const struct unpacked *request, const char *name)
{
    size_t length = strlen(name);
    for (char **at = request->env; *at != NULL; at++)
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=')
            return *at + length + 1;
    return NULL;
}

/* The folder in which the command will stand, relative to the current one. */
static const char *working_folder(const struct unpacked *request)
{
    static char path[PATH_MAX];
    if (request->cwd[0] == '\0')
        return request->folder;
    if (request->cwd[0] == '/')
        return request->cwd;
    int n = snprintf(path, sizeof path, "%s/%s", request->folder, request->cwd);
    return n < 0 || (size_t)n >= sizeof path ? NULL : path;
}

/* 0 when it can be executed; otherwise errno as exec would have it. */
static int try_candidate(const char *folder, const char *candidate)
{
    char path[PATH_MAX];
    struct stat st;
    int n = candidate[0] == '/' ? snprintf(path, sizeof path, "%s", candidate)
                                : snprintf(path, sizeof path, "%s/%s", folder, candidate);
    if (n < 0 || (size_t)n >= sizeof path)
        return ENAMETOOLONG;
    if (stat(path, &st) < 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return EACCES;
    return access(path, X_OK) < 0 ? errno : 0;
}

/* Sets last_search.found; 0 or errno. */
static int search(const struct unpacked *request, const char *folder, const char *name)
{
    const char *list = variable(request, "PATH");
    if (list == NULL)
        list = "/usr/local/bin:/usr/bin:/bin";
    size_t name_size = strlen(name) + 1, list_size = strlen(list) + 1;
    if (name_size > sizeof last_search.name || list_size > sizeof last_search.path_variable)
        return ENAMETOOLONG;
    if (last_search.found[0] == '/' && strcmp(last_search.name, name) == 0 &&
        strcmp(last_search.path_variable, list) == 0)
        return 0;
    memcpy(last_search.name, name, name_size);
    memcpy(last_search.path_variable, list, list_size);
    int reason = ENOENT;
    for (const char *at = list, *end; at != NULL; at = end == NULL ? NULL : end + 1) {
        end = strchr(at, ':');
        int size = end == NULL ? (int)strlen(at) : (int)(end - at);
        snprintf(last_search.found,
                 sizeof last_search.found,
                 "%.*s/%s",
                 size == 0 ? 1 : size,
                 size == 0 ? "." : at,
                 name);
        int result = try_candidate(folder, last_search.found);
        if (result == 0)
            return 0;
        if (result != ENOENT && result != ENOTDIR)
            reason = result;
    }
    last_search.found[0] = '\0';
    return reason;
}

static int fail_start(const struct unpacked *request,
                      const char *folder,
                      const char *command,
                      int reason,
                      struct failure *failure)
{
    const char *remedy = "";
    last_search.found[0] = '\0'; /* what was found once may be gone */
    if (reason == ENOENT && strchr(command, '/') == NULL)
        remedy = "; it is searched in the PATH of env:";
    else if (reason == ENOENT && try_candidate(folder, command) == 0)
        remedy = "; the file is there, but the interpreter that its first line names, or its "
                 "loader, is not";
    else if (reason == EACCES)
        remedy = "; is it an executable file (chmod +x)?";
    else if (reason == ENOEXEC)
        remedy = "; a script needs a first line such as #!/bin/sh";
    else if (reason == E2BIG)
        remedy = "; the arguments are too long: use stdin: or an input file";
    return fail_attempt(failure,
                        MF_CAUSE_NOT_STARTED,
                        "cannot start \"%s\": %s%s",
                        request->argv[0],
                        strerror(reason),
                        remedy);
}

static int spawn(const struct unpacked *request,
                 const char *folder,
                 const char *path,
                 const int streams[3],
                 short apart,
                 int terminal,
                 pid_t *pid)
{
    static posix_spawnattr_t attributes;
    static bool prepared;
    posix_spawn_file_actions_t actions;
    if (!prepared) {
        sigset_t none, all;
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setflags(&attributes,
                                 (short)(apart | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK));
        prepared = true;
    }
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc == 0 && terminal >= 0) /* before its first word, to which somebody may say Ctrl-C */
        rc = posix_spawn_file_actions_addtcsetpgrp_np(&actions, terminal);
    for (int i = 0; rc == 0 && i < 3; i++)
        rc = posix_spawn_file_actions_adddup2(&actions, streams[i], i);
    if (rc == 0)
        rc = posix_spawn_file_actions_addchdir_np(&actions, folder);
    if (rc == 0)
        rc = posix_spawn(pid, path, &actions, &attributes, request->argv, request->env);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* apart: how it is apart from this process, POSIX_SPAWN_SETSID or _SETPGROUP; always the same.
 * terminal: its group is in the foreground of that one then; -1 = none. */
static int start(const struct unpacked *request,
                 const int streams[3],
                 short apart,
                 int terminal,
                 pid_t *pid,
                 struct failure *failure)
{
    const char *command = request->argv[0], *folder = working_folder(request);
    const char *path = command;
    struct stat st;
    if (command == NULL || command[0] == '\0')
        return fail_attempt(failure, MF_CAUSE_NOT_STARTED, "the command is an empty name");
    if (folder == NULL)
        return fail_attempt(failure, MF_CAUSE_NOT_STARTED, "cwd: \"%s\" is too long", request->cwd);
    if (strchr(command, '/') == NULL) {
        int rc = search(request, folder, command);
        if (rc != 0)
            return fail_start(request, folder, command, rc, failure);
        path = last_search.found;
    }
    int rc = spawn(request, folder, path, streams, apart, terminal, pid);
    if (rc == 0)
        return 0;
    if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode))
        return fail_attempt(
            failure, MF_CAUSE_NOT_STARTED, "cwd: \"%s\" is not a folder", request->cwd);
    if (rc == EAGAIN || rc == ENOMEM || rc == EMFILE || rc == ENFILE) {
        errno = rc;
        return fail_attempt_errno(
            failure, MF_CAUSE_WORKER_ERROR, "cannot start \"%s\" on this host", command);
    }
    char found[PATH_MAX];
    snprintf(found, sizeof found, "%s", path);
    return fail_start(request, folder, found, rc, failure);
}

int start_command(
    const struct unpacked *request, int in, int out, int err, pid_t *pid, struct failure *failure)
{
    const int streams[3] = {in, out, err};
    return start(request, streams, POSIX_SPAWN_SETSID, -1, pid, failure);
}

int start_in_foreground(
    const struct unpacked *request, int in, int terminal, pid_t *pid, struct failure *failure)
{
    const int streams[3] = {in, 1, 2};
    return start(request, streams, POSIX_SPAWN_SETPGROUP, terminal, pid, failure);
}
