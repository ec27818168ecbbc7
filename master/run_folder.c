/* SPDX-License-Identifier: Apache-2.0 */
/* Run folders: see run_folder.h. The folder's exclusive mkdir is what makes a run id unique. */
#include "master/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/record/tree.h"

#define STAMP_LENGTH 15 /* of "20261122-084512" */

char *run_path(const char *folder, const char *name)
{
    return mf_format("%s/%s", folder, name);
}

static char *runs_folder(struct mf_error *error)
{
    char *state = state_folder(error);
    if (state == NULL)
        return NULL;
    char *runs = run_path(state, "runs");
    if (runs == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    mf_free(state);
    return runs;
}

/* The folder of this id in `runs` (heap): 1 and *folder, 0 when it is there already, -1. A power
 * cut takes no run that has begun. */
static int make_folder(const char *runs, const char *run_id, char **folder, struct mf_error *error)
{
    *folder = run_path(runs, run_id);
    if (*folder == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    if (mkdir(*folder, 0700) == 0) {
        if (tree_sync_parent(*folder, error) == 0)
            return 1;
        rmdir(*folder);
    } else if (errno == EEXIST) {
        return 0;
    } else {
        mf_raise_errno(error, "cannot make a run folder in %s", runs);
        if (error != NULL)
            error->code = MF_ESETUP;
    }
    mf_free(*folder);
    *folder = NULL;
    return -1;
}

char *run_folder_create(const char *job_name, char run_id[RUN_ID_SIZE], struct mf_error *error)
{
    char *runs = runs_folder(error), *folder = NULL;
    int rc = runs == NULL ? -1 : state_folder_make(runs, error);
    for (int attempt = 0; rc == 0 && attempt < 100; attempt++) {
        mf_free(folder);
        run_id_make(job_name, RUN_ID_BY_HAND, run_id);
        rc = make_folder(runs, run_id, &folder, error);
    }
    if (rc == 0) {
        mf_raise(error, MF_ESETUP, "cannot make a run folder in %s: %s", runs, strerror(EEXIST));
        mf_free(folder);
        folder = NULL;
    }
    mf_free(runs);
    return folder;
}

char *run_folder_create_as(const char *run_id, struct mf_error *error)
{
    char *runs = runs_folder(error), *folder = NULL;
    if (runs != NULL && state_folder_make(runs, error) == 0)
        make_folder(runs, run_id, &folder, error);
    mf_free(runs);
    return folder;
}

/* When the run was made: its job file is written once. */
static struct timespec made_at(const char *runs, const char *id)
{
    struct stat facts = {0};
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s/job.yaml", runs, id);
    if (length < 0 || (size_t)length >= sizeof path || stat(path, &facts) < 0)
        facts.st_mtim = (struct timespec){0};
    return facts.st_mtim;
}

/* Oldest first. The stamp of an id counts seconds: within one, the folder tells. */
static int compare_ids(const void *left, const void *right, void *runs)
{
    const char *a = *(char *const *)left, *b = *(char *const *)right;
    int by_stamp = strncmp(a, b, STAMP_LENGTH);
    if (by_stamp != 0)
        return by_stamp;
    struct timespec made_a = made_at(runs, a), made_b = made_at(runs, b);
    if (made_a.tv_sec != made_b.tv_sec)
        return made_a.tv_sec < made_b.tv_sec ? -1 : 1;
    if (made_a.tv_nsec != made_b.tv_nsec)
        return made_a.tv_nsec < made_b.tv_nsec ? -1 : 1;
    return strcmp(a, b);
}

static int add_id(char ***ids, size_t *count, const char *name)
{
    char **more = mf_realloc(*ids, (*count + 1) * sizeof *more);
    if (more == NULL)
        return -1;
    *ids = more;
    more[*count] = mf_strdup(name);
    if (more[*count] == NULL)
        return -1;
    (*count)++;
    return 0;
}

char **run_folder_list(size_t *count, struct mf_error *error)
{
    *count = 0;
    char *runs = runs_folder(error);
    if (runs == NULL)
        return NULL;
    char **ids = mf_calloc(1, sizeof *ids);
    DIR *dir = opendir(runs);
    struct dirent *entry;
    while (ids != NULL && dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (add_id(&ids, count, entry->d_name) < 0) {
            run_folder_list_free(ids, *count);
            ids = NULL;
        }
    }
    if (dir != NULL)
        closedir(dir);
    if (ids == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: the list of runs");
    else
        qsort_r(ids, *count, sizeof *ids, compare_ids, runs);
    mf_free(runs);
    return ids;
}

void run_folder_list_free(char **ids, size_t count)
{
    for (size_t i = 0; ids != NULL && i < count; i++)
        mf_free(ids[i]);
    mf_free(ids);
}

bool run_folder_is_id(const char *name)
{
    static const char shape[] = "dddddddd-dddddd-";
    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (shape[i] == 'd' ? name[i] < '0' || name[i] > '9' : name[i] != shape[i])
            return false;
    return strlen(name) < RUN_ID_SIZE;
}

/* The index of the newest run: what others have put beside the runs does not count. */
static int newest(char *const *ids, size_t count, struct mf_error *error)
{
    for (size_t i = count; i > 0; i--)
        if (run_folder_is_id(ids[i - 1]))
            return (int)(i - 1);
    return mf_raise(error, MF_EUSAGE, "there are no runs yet");
}

/* The index of the run that `name` means, or -1. */
static int pick(char *const *ids, size_t count, const char *name, struct mf_error *error)
{
    if (count == 0)
        return mf_raise(error, MF_EUSAGE, "there are no runs yet");
    if (strcmp(name, "last") == 0)
        return newest(ids, count, error);
    int found = -1;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(ids[i], name) == 0)
            return (int)i;
        if (strncmp(ids[i], name, strlen(name)) != 0)
            continue;
        if (found >= 0)
            return mf_raise(
                error, MF_EUSAGE, "\"%s\" means several runs: %s and %s", name, ids[found], ids[i]);
        found = (int)i;
    }
    if (found >= 0 && name[0] != '\0')
        return found;
    int last = newest(ids, count, error);
    if (last < 0)
        return -1;
    return mf_raise(error,
                    MF_EUSAGE,
                    "there is no run \"%s\" (mayfly ls shows all, the newest is %s)",
                    name,
                    ids[last]);
}

char *run_folder_path(const char *run_id, struct mf_error *error)
{
    char *runs = runs_folder(error);
    if (runs == NULL)
        return NULL;
    char *folder = run_path(runs, run_id);
    if (folder == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    mf_free(runs);
    return folder;
}

char *run_folder_find(const char *name, char run_id[RUN_ID_SIZE], struct mf_error *error)
{
    size_t count;
    char **ids = run_folder_list(&count, error);
    if (ids == NULL)
        return NULL;
    char *folder = NULL;
    int i = pick(ids, count, name, error);
    if (i >= 0) {
        snprintf(run_id, RUN_ID_SIZE, "%s", ids[i]);
        folder = run_folder_path(ids[i], error);
    }
    run_folder_list_free(ids, count);
    return folder;
}

/* Which process holds the lock, as it has written there; 0 = it is not known here (another host, an
 * older master). */
static long holder_of(int fd)
{
    char text[32] = "";
    if (pread(fd, text, sizeof text - 1, 0) < 0)
        return 0;
    long pid = strtol(text, NULL, 10);
    return pid > 0 && kill((pid_t)pid, 0) == 0 ? pid : 0;
}

static bool is_stopped(long pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    const char *after = n < 0 ? NULL : strrchr(text, ')');
    return after != NULL && strlen(after) > 2 && (after[2] == 'T' || after[2] == 't');
}

static void raise_locked(int fd, const char *path, struct mf_error *error)
{
    long pid = holder_of(fd);
    if (pid == 0)
        mf_raise(error, MF_ESETUP, "another master works on this run (%s is locked)", path);
    else if (is_stopped(pid))
        mf_raise(error,
                 MF_ESETUP,
                 "another master works on this run: process %ld, which is stopped (kill -CONT %ld "
                 "lets it go on, kill -KILL %ld ends it)",
                 pid,
                 pid,
                 pid);
    else
        mf_raise(error, MF_ESETUP, "another master works on this run: process %ld", pid);
}

int run_folder_lock(const char *folder, struct mf_error *error)
{
    char text[32], *path = run_path(folder, "master.lock");
    int length = snprintf(text, sizeof text, "%d\n", (int)getpid());
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        mf_raise_errno(error, "cannot open %s", path == NULL ? "master.lock" : path);
    } else if (fcntl(fd, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK}) < 0) {
        raise_locked(fd, path, error);
        close(fd);
        fd = -1;
    } else if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)length, 0) != length) {
        errno = 0; /* a full disk: the lock holds all the same, only nobody can say who has it */
    }
    mf_free(path);
    return fd;
}

bool run_folder_is_live(const char *folder)
{
    char *path = run_path(folder, "master.lock");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    mf_free(path);
    if (fd < 0)
        return false;
    /* Only asks: a lock that is taken to try it could refuse a master that starts just now. */
    struct flock lock = {.l_type = F_WRLCK};
    bool live = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(fd);
    return live;
}

int write_file(const char *path, const void *data, size_t length, bool sync, struct mf_error *error)
{
    char *temporary = mf_format("%s.new", path);
    if (temporary == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 ? mf_raise_write(error, "cannot write %s", temporary) : 0;
    for (size_t n = 0; rc == 0 && n < length;) {
        ssize_t written = write(fd, (const char *)data + n, length - n);
        if (written < 0 && errno != EINTR)
            rc = mf_raise_write(error, "cannot write %s", temporary);
        else if (written > 0)
            n += (size_t)written;
    }
    if (rc == 0 && sync && fsync(fd) < 0)
        rc = mf_raise_errno(error, "cannot write %s to the disk", temporary);
    if (fd >= 0 && close(fd) < 0 && rc == 0)
        rc = mf_raise_write(error, "cannot write %s", temporary);
    if (rc == 0 && rename(temporary, path) < 0)
        rc = mf_raise_write(error, "cannot rename %s to %s", temporary, path);
    if (rc < 0)
        unlink(temporary);
    else if (sync)
        rc = tree_sync_parent(path, error);
    mf_free(temporary);
    return rc;
}
