/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job files of a folder: see files.h.
 *
 * Watches are put up anew with each look, before the folders are read: adding one that is there
 * already changes nothing, and a folder that took another's place is watched from then on. So
 * nothing can happen unseen between a look and a watch.
 */
#include "master/watch/files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"

#define SUFFIX ".yaml"
#define IN_SUBFOLDER "job.yaml"
#define EVENTS                                                                                     \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB |            \
     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct files {
    char *folder;
    int fd;
    int top; /* the watch of the folder itself; -1 = none */
    bool is_blind;
    int64_t first_us, last_us; /* of what has happened since the last look; MF_NEVER = nothing */
};

struct files *files_open(const char *folder, struct mf_error *error)
{
    struct files *files = mf_calloc(1, sizeof *files);
    if (files == NULL || (files->folder = mf_strdup(folder)) == NULL) {
        mf_free(files);
        mf_raise(error, MF_ENOMEM, "out of memory: a watched folder");
        return NULL;
    }
    files->first_us = files->last_us = MF_NEVER;
    files->top = -1;
    files->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (files->fd >= 0)
        return files;
    mf_raise_errno(error,
                   "cannot watch %s (fs.inotify.max_user_instances is how many watchers a user may "
                   "have)",
                   folder);
    files_close(files);
    return NULL;
}

void files_close(struct files *files)
{
    if (files == NULL)
        return;
    if (files->fd >= 0)
        close(files->fd);
    mf_free(files->folder);
    mf_free(files);
}

int files_fd(const struct files *files)
{
    return files->fd;
}

bool files_is_blind(const struct files *files)
{
    return files->is_blind;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

static bool is_job_name(const char *name, bool in_top)
{
    if (name[0] == '.')
        return false;
    return in_top ? ends_with(name, SUFFIX) : strcmp(name, IN_SUBFOLDER) == 0;
}

/* Job files, folders that may have some, and the watched folders themselves; not what else happens
 * there (files that arrive in a spool folder). */
static bool matters(const struct files *files, const struct inotify_event *event)
{
    if (event->mask & IN_Q_OVERFLOW)
        return true;
    if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT))
        return true;
    if (event->len == 0)
        return false;
    /* A file that was made counts once it is closed; a link is there at once. */
    if (event->mask & IN_ISDIR)
        return event->wd == files->top && event->name[0] != '.';
    return is_job_name(event->name, event->wd == files->top);
}

void files_take(struct files *files, int64_t now_us)
{
    char buffer[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t got;
    while ((got = read(files->fd, buffer, sizeof buffer)) > 0) {
        for (char *at = buffer; at < buffer + got;) {
            const struct inotify_event *event = (const void *)at;
            at += sizeof *event + event->len;
            if (!matters(files, event))
                continue;
            if (files->first_us == MF_NEVER)
                files->first_us = now_us;
            files->last_us = now_us;
        }
    }
}

int64_t files_due_us(const struct files *files)
{
    if (files->first_us == MF_NEVER)
        return MF_NEVER;
    int64_t settled = files->last_us + FILES_SETTLE_US,
            latest = files->first_us + FILES_SETTLE_MOST_US;
    return settled < latest ? settled : latest;
}

/* A folder that cannot be watched is looked at all the same. */
static int put_watch(struct files *files, const char *folder)
{
    int watch = inotify_add_watch(files->fd, folder, EVENTS);
    if (watch < 0 && (errno == ENOSPC || errno == ENOMEM))
        files->is_blind = true;
    return watch;
}

struct list {
    struct job_file *items;
    size_t count;
};

static int add_file(struct list *list, const char *path, struct mf_error *error)
{
    struct stat facts;
    if (stat(path, &facts) < 0 || !S_ISREG(facts.st_mode))
        return 0;
    struct job_file *more = mf_realloc(list->items, (list->count + 1) * sizeof *more);
    if (more != NULL)
        list->items = more;
    char *copy = more == NULL ? NULL : mf_strdup(path);
    if (copy == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the list of job files");
    more[list->count++] = (struct job_file){.path = copy,
                                            .version = {.device = facts.st_dev,
                                                        .inode = facts.st_ino,
                                                        .size = facts.st_size,
                                                        .modified = facts.st_mtim,
                                                        .changed = facts.st_ctim}};
    return 0;
}

static bool is_folder(const char *path, const struct dirent *entry)
{
    struct stat facts;
    if (entry->d_type != DT_UNKNOWN && entry->d_type != DT_LNK)
        return entry->d_type == DT_DIR;
    return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

static int
add_subfolder(struct files *files, struct list *list, const char *folder, struct mf_error *error)
{
    char *path = mf_format("%s/%s", folder, IN_SUBFOLDER);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    put_watch(files, folder);
    int rc = add_file(list, path, error);
    mf_free(path);
    return rc;
}

static int add_entry(struct files *files,
                     struct list *list,
                     const struct dirent *entry,
                     struct mf_error *error)
{
    if (entry->d_name[0] == '.')
        return 0;
    char *path = mf_format("%s/%s", files->folder, entry->d_name);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int rc = 0;
    if (is_folder(path, entry))
        rc = add_subfolder(files, list, path, error);
    else if (is_job_name(entry->d_name, true))
        rc = add_file(list, path, error);
    mf_free(path);
    return rc;
}

static int by_path(const void *left, const void *right)
{
    return strcmp(((const struct job_file *)left)->path, ((const struct job_file *)right)->path);
}

static int read_folder(struct files *files, DIR *dir, struct list *list, struct mf_error *error)
{
    struct dirent *entry;
    int rc = 0;
    errno = 0;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        rc = add_entry(files, list, entry, error);
        errno = 0;
    }
    if (rc == 0 && errno != 0)
        rc = mf_raise_errno(error, "cannot read the folder %s", files->folder);
    return rc;
}

struct job_file *files_list(struct files *files, size_t *count, struct mf_error *error)
{
    struct list list = {.items = mf_calloc(1, sizeof *list.items)};
    *count = 0;
    if (list.items == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the list of job files");
        return NULL;
    }
    files_take(files, 0);
    files->first_us = files->last_us = MF_NEVER;
    files->is_blind = false;
    files->top = put_watch(files, files->folder);
    DIR *dir = opendir(files->folder);
    int rc = dir == NULL ? mf_raise_errno(error, "cannot read the folder %s", files->folder)
                         : read_folder(files, dir, &list, error);
    if (dir == NULL && error != NULL)
        error->code = MF_ESETUP;
    if (dir != NULL)
        closedir(dir);
    if (rc < 0) {
        files_free_list(list.items, list.count);
        return NULL;
    }
    qsort(list.items, list.count, sizeof *list.items, by_path);
    *count = list.count;
    return list.items;
}

void files_free_list(struct job_file *list, size_t count)
{
    for (size_t i = 0; list != NULL && i < count; i++)
        mf_free(list[i].path);
    mf_free(list);
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool file_version_equal(const struct file_version *a, const struct file_version *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}
