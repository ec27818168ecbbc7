/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What killed ones have left: see debug_note.h. On this machine the worker's program knows the
 * places; on a host the one that was brought along does its part, then its folder goes. That is
 * found by its name in each of the places where mayfly debug may have made it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/spawn.h"
#include "master/command.h"
#include "master/commands/debug_host.h"
#include "master/commands/debug_note.h"
#include "master/commands/items.h"
#include "master/record/run_db.h"
#include "master/remote/direct.h"
#include "master/run_folder.h"

/* For whatever login shell there is: see debug_host.c. */
#define CLEAN_PLACE                                                                                \
    "sh -c 'for p in " DEBUG_PLACES "; do d=$p/%s; [ -O $d ] || continue; "                        \
    "[ -x $d/mayfly-worker ] && $d/mayfly-worker sweep %s --debug $d >/dev/null; "                 \
    "rm -rf $d; [ -e $d ] && exit 1; done; exit 0'"

struct cleaning {
    const char *folder, *run_id;
    struct job *job; /* read when it is needed */
};

/* By the worker's program, of the debug whose process had this number. */
static int clean_here(const struct cleaning *cleaning, const char *number, struct mf_error *error)
{
    char *binary = command_worker_binary(error);
    if (binary == NULL)
        return -1;
    const char *argv[] = {binary, "sweep", cleaning->run_id, "--debug", number, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    int rc = mf_spawn((char **)(uintptr_t)argv, environ, &actions, 0, &pid);
    posix_spawn_file_actions_destroy(&actions);
    mf_free(binary);
    if (rc == 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    if (rc == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return mf_raise(
        error,
        MF_ESYSTEM,
        "what a killed mayfly debug of run %s left on this machine could not be removed "
        "(runs/debug-%s in the worker's folder)",
        cleaning->run_id,
        cleaning->run_id);
}

static int read_job(struct cleaning *cleaning, struct mf_error *error)
{
    if (cleaning->job != NULL)
        return 0;
    char *path = run_path(cleaning->folder, "run.db");
    sqlite3 *db = path == NULL ? NULL : run_db_open(path, error);
    if (path == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    if (db != NULL)
        cleaning->job = items_job(cleaning->folder, db, error);
    run_db_close(db);
    mf_free(path);
    return cleaning->job == NULL ? -1 : 0;
}

static const struct job_host *find_host(const struct job *job, const char *name)
{
    for (size_t i = 0; i < job->hosts.count; i++)
        if (strcmp(job->hosts.items[i].name, name) == 0)
            return &job->hosts.items[i];
    return NULL;
}

static int clean_there(struct cleaning *cleaning,
                       const char *name,
                       const char *host_name,
                       struct mf_error *error)
{
    const struct job_host *host =
        read_job(cleaning, error) < 0 ? NULL : find_host(cleaning->job, host_name);
    char *line = mf_format(CLEAN_PLACE, name, cleaning->run_id);
    int rc = -1, code = 0;
    if (line == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a command");
    else if (host == NULL && cleaning->job != NULL)
        mf_raise(error, MF_ESETUP, "%s is no host of the job", host_name);
    if (line != NULL && host != NULL) {
        const struct remote_config config = debug_login(&cleaning->job->ssh, host);
        const struct remote_target target = {
            .user = host->user, .host = host->host, .port = host->port};
        const struct direct_manner manner = {.in = -1, .out = -1, .may_ask = isatty(2)};
        struct direct *direct = direct_open(&config, &target, error);
        if (direct != NULL && direct_start(direct, line, &manner, error) == 0)
            rc = direct_wait(direct, &code, error);
        if (rc == 0 && code != 0)
            rc = mf_raise(error, MF_ESYSTEM, "its folder cannot be removed (exit code %d)", code);
        direct_close(direct);
    }
    mf_free(line);
    return rc == 0
               ? 0
               : mf_error_prefix(error,
                                 "run %s stays, since what a killed mayfly debug left on %s may "
                                 "still be there (%s in ~/.cache, ~, /var/tmp or /tmp; without "
                                 "%s/" DEBUG_NOTES "/%s it would not be looked for)",
                                 cleaning->run_id,
                                 host_name,
                                 name,
                                 cleaning->folder,
                                 name);
}

/* One that lives holds its lock: that is no failure. */
static int
clean_one(struct cleaning *cleaning, const char *path, const char *name, struct mf_error *error)
{
    char host[1100];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), rc = 0;
    ssize_t length = fd < 0 ? -1 : read(fd, host, sizeof host - 1);
    if (length >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        host[length] = '\0';
        if (strncmp(name, DEBUG_STAGE, sizeof DEBUG_STAGE - 1) == 0 && host[0] != '\0')
            rc = clean_there(cleaning, name, host, error);
        else
            rc = clean_here(cleaning, name, error);
        if (rc == 0)
            debug_note_remove(path);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

/* We write these names ourselves, and they go into a line for a shell. */
static bool is_note(const char *name)
{
    return name[0] != '.' &&
           name[strspn(
               name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")] == '\0';
}

int debug_clean(const char *folder, const char *run_id, struct mf_error *error)
{
    struct cleaning cleaning = {.folder = folder, .run_id = run_id};
    char *notes = run_path(folder, DEBUG_NOTES);
    DIR *dir = notes == NULL ? NULL : opendir(notes);
    struct mf_error later;
    struct dirent *entry;
    int rc = 0;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char *path = is_note(entry->d_name) ? run_path(notes, entry->d_name) : NULL;
        if (path != NULL && clean_one(&cleaning, path, entry->d_name, rc == 0 ? error : &later) < 0)
            rc = -1;
        mf_free(path);
    }
    if (dir != NULL)
        closedir(dir);
    job_destroy(cleaning.job);
    mf_free(notes);
    return rc;
}
