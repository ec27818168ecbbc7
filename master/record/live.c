/* SPDX-License-Identifier: Apache-2.0 */
/*
 * live/: see live.h. A table of what is there, searched one by one: it is short, and empty where
 * subtasks are.
 *
 * A file goes only after what replaces it can be read, as far as the order of calls here tells: a
 * reader that saw it go finds the rest in the log store.
 */
#include "master/record/live.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "master/record/tree.h"

#define PIECE (256u << 10)
#define NAME "%llu-%u-%u-%u.out"

struct entry {
    struct mf_fence fence;
    uint32_t worker;
    uint64_t length;
    uint64_t kept; /* of it, is in the log store */
};

struct live {
    char *folder;
    struct log_writer *logs;
    uint64_t most;
    bool has_failed; /* that was said */
    uint32_t count;
    struct entry entries[LIVE_MAX];
};

static bool is_of(const struct entry *entry, uint32_t worker, const struct mf_fence *fence)
{
    return entry->worker == worker && entry->fence.subtask == fence->subtask &&
           entry->fence.attempt == fence->attempt && entry->fence.epoch == fence->epoch;
}

static struct entry *find(struct live *live, uint32_t worker, const struct mf_fence *fence)
{
    for (uint32_t i = 0; i < live->count; i++)
        if (is_of(&live->entries[i], worker, fence))
            return &live->entries[i];
    return NULL;
}

static struct entry *
add(struct live *live, uint32_t worker, const struct mf_fence *fence, uint64_t length)
{
    if (live->count == LIVE_MAX)
        return NULL;
    struct entry *entry = &live->entries[live->count++];
    *entry = (struct entry){.fence = *fence, .worker = worker, .length = length};
    return entry;
}

static char *path_of(const struct live *live, const struct entry *entry)
{
    return mf_format("%s/" NAME,
                     live->folder,
                     (unsigned long long)entry->fence.subtask,
                     entry->fence.attempt,
                     entry->fence.epoch,
                     entry->worker);
}

static void forget(struct live *live, struct entry *entry)
{
    char *path = path_of(live, entry);
    if (path != NULL)
        unlink(path); /* what stays goes with the folder */
    mf_free(path);
    *entry = live->entries[--live->count];
}

/* What a file's name says: false when it is none of ours. */
static bool read_name(const char *name, struct mf_fence *fence, uint32_t *worker)
{
    unsigned long long numbers[4] = {0};
    char *end = (char *)(uintptr_t)name, again[96];
    for (int i = 0; i < 4 && (i == 0 || *end++ == '-'); i++)
        numbers[i] = strtoull(end, &end, 10);
    *fence = (struct mf_fence){
        .subtask = numbers[0], .attempt = (uint32_t)numbers[1], .epoch = (uint32_t)numbers[2]};
    *worker = (uint32_t)numbers[3];
    snprintf(again, sizeof again, NAME, numbers[0], fence->attempt, fence->epoch, *worker);
    return strcmp(again, name) == 0;
}

int live_list(const char *run_folder, live_found_f *found, void *arg, struct mf_error *error)
{
    char *folder = mf_format("%s/live", run_folder);
    if (folder == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    DIR *dir = opendir(folder);
    int rc = dir == NULL && errno != ENOENT ? mf_raise_errno(error, "cannot read %s", folder) : 0;
    const struct dirent *entry;
    while (rc == 0 && dir != NULL && (entry = readdir(dir)) != NULL) {
        struct mf_fence fence;
        uint32_t worker;
        if (!read_name(entry->d_name, &fence, &worker))
            continue;
        char *path = mf_format("%s/%s", folder, entry->d_name);
        if (path == NULL)
            rc = mf_raise(error, MF_ENOMEM, "out of memory: a path");
        else
            found(arg, &fence, worker, path);
        mf_free(path);
    }
    if (dir != NULL)
        closedir(dir);
    mf_free(folder);
    return rc;
}

static void take_over(void *arg, const struct mf_fence *fence, uint32_t worker, const char *path)
{
    struct live *live = arg;
    struct stat facts;
    if (stat(path, &facts) == 0 && S_ISREG(facts.st_mode))
        add(live, worker, fence, (uint64_t)facts.st_size);
}

struct live *
live_create(const char *run_folder, struct log_writer *logs, uint64_t most, struct mf_error *error)
{
    struct live *live = mf_calloc(1, sizeof *live);
    if (live == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the streams of attempts that run");
        return NULL;
    }
    live->folder = mf_format("%s/live", run_folder);
    live->logs = logs;
    live->most = most;
    if (live->folder == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: the streams of attempts that run");
    else if (live_list(run_folder, take_over, live, error) == 0)
        return live;
    mf_free(live->folder);
    mf_free(live);
    return NULL;
}

static int write_piece(const struct live *live,
                       const struct entry *entry,
                       struct mf_bytes data,
                       struct mf_error *error)
{
    char *path = path_of(live, entry);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int fd = -1, rc = 0;
    if (mkdir(live->folder, 0700) < 0 && errno != EEXIST)
        rc = mf_raise_errno(error, "cannot make the folder %s", live->folder);
    else if ((fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
        rc = mf_raise_errno(error, "cannot make %s", path);
    for (size_t n = 0; rc == 0 && n < data.length;) {
        ssize_t written = pwrite(fd, data.data + n, data.length - n, (off_t)(entry->length + n));
        if (written < 0 && errno != EINTR)
            rc = mf_raise_errno(error, "cannot write %s", path);
        n += written > 0 ? (size_t)written : 0;
    }
    if (fd >= 0)
        close(fd);
    mf_free(path);
    return rc;
}

void live_append(struct live *live, uint32_t worker, const struct mf_chunk *chunk)
{
    const struct mf_fence fence = {
        .subtask = chunk->subtask, .attempt = chunk->attempt, .epoch = chunk->epoch};
    struct mf_bytes data = chunk->data;
    struct mf_error error;
    struct entry *entry = find(live, worker, &fence);
    if (entry != NULL && chunk->offset == 0) { /* again from its start: to another master */
        forget(live, entry);
        entry = NULL;
    }
    if (entry == NULL && chunk->offset == 0)
        entry = add(live, worker, &fence, 0);
    if (entry == NULL || chunk->offset != entry->length)
        return; /* there was no room for its beginning */
    if (data.length > live->most - entry->length)
        data.length = (size_t)(live->most - entry->length);
    if (write_piece(live, entry, data, &error) == 0) {
        entry->length += data.length;
        return;
    }
    forget(live, entry);
    if (!live->has_failed)
        mf_log(MF_WARNING, "what attempts write cannot be shown while they run: %s", error.text);
    live->has_failed = true;
}

void live_drop(struct live *live, uint32_t worker, const struct mf_fence *fence)
{
    struct entry *entry = live->count == 0 ? NULL : find(live, worker, fence);
    if (entry != NULL)
        forget(live, entry);
}

/* Into the log store, piece by piece. What can't be read here is lost: it was only shown. */
static int keep_file(const struct live *live,
                     struct entry *entry,
                     const char *path,
                     unsigned char *piece,
                     struct mf_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = 0;
    while (fd >= 0 && rc == 0 && entry->kept < entry->length) {
        ssize_t got = pread(fd, piece, PIECE, (off_t)entry->kept);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            mf_log(MF_WARNING, "cannot read %s: its end is lost", path);
            break;
        }
        rc = log_writer_append(live->logs,
                               entry->fence.subtask,
                               entry->fence.attempt,
                               entry->worker,
                               LOG_STDOUT,
                               mf_bytes_of(piece, (size_t)got),
                               0,
                               error);
        if (rc == 0)
            entry->kept += (uint64_t)got;
    }
    if (fd >= 0)
        close(fd);
    else
        mf_log(MF_WARNING, "cannot open %s: what a lost attempt has written is lost", path);
    return rc;
}

/* Where there is no room it stays, to be tried again. */
static int keep(struct live *live, struct entry *entry, struct mf_error *error)
{
    char *path = path_of(live, entry);
    unsigned char *piece = mf_malloc(PIECE);
    int rc = path == NULL || piece == NULL
                 ? mf_raise(error, MF_ENOMEM, "out of memory: what a lost attempt has written")
                 : keep_file(live, entry, path, piece, error);
    mf_free(piece);
    mf_free(path);
    if (rc == 0)
        forget(live, entry);
    return rc;
}

int live_lost(struct live *live, uint32_t worker, struct mf_error *error)
{
    int rc = 0;
    for (uint32_t i = live->count; i-- > 0;)
        if (live->entries[i].worker == worker && keep(live, &live->entries[i], error) < 0)
            rc = -1;
    return rc;
}

void live_destroy(struct live *live)
{
    if (live == NULL)
        return;
    struct mf_error error;
    for (uint32_t i = live->count; i-- > 0;)
        if (keep(live, &live->entries[i], &error) < 0)
            mf_log(MF_WARNING, "%s", error.text);
    if (tree_remove(live->folder, &error) < 0)
        mf_log(MF_WARNING, "%s", error.text);
    mf_free(live->folder);
    mf_free(live);
}
