/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's cache of inputs: see cache.h.
 *
 * Locks are flock: they belong to an open file, so that two entries of one worker exclude each
 * other like those of two. A lock counts only when its file still has its name, since whoever
 * removes an entry removes the lock's file while holding it. Nothing here waits for a lock.
 */
#include "worker/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/checksum.h"
#include "common/log.h"
#include "worker/place.h"

#define KEPT_BYTES (1ull << 30)
#define KEPT_MAX 64              /* entries that this worker keeps although nobody uses them */
#define RESERVE_BYTES (1u << 20) /* of the disk, for what else a worker writes */
#define SUM_TEXT (MF_SHA256_TEXT - 1)
#define SUMS_MAX (1u << 20)

struct kept {
    char key[CACHE_KEY_SIZE];
    uint64_t bytes;
};

struct cache {
    char *path; /* of inputs/, absolute */
    char *worker_folder;
    int fd;                     /* inputs/, with the shared lock */
    struct kept kept[KEPT_MAX]; /* oldest first */
    unsigned kept_count;
    uint64_t kept_bytes;
    unsigned removed; /* entries, for a name of each */
};

static bool is_same_file(int fd, int parent, const char *name)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && fstatat(parent, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

/* Opens inputs/ and holds it: again when it was taken away in between. */
static int hold_folder(struct cache *cache, struct mf_error *error)
{
    for (int tries = 0; tries < 100; tries++) {
        if (mkdir(cache->path, 0700) < 0 && errno != EEXIST)
            break;
        cache->fd = open(cache->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (cache->fd < 0 && errno != ENOENT)
            break;
        if (cache->fd >= 0 && flock(cache->fd, LOCK_SH) == 0 &&
            is_same_file(cache->fd, AT_FDCWD, cache->path))
            return 0;
        if (cache->fd >= 0)
            close(cache->fd);
        cache->fd = -1;
    }
    return mf_raise_errno(error, "cannot make the folder %s for inputs", cache->path);
}

struct cache *cache_open(const char *worker_folder, struct mf_error *error)
{
    struct cache *cache = mf_calloc(1, sizeof *cache);
    const char *slash = strrchr(worker_folder, '/');
    if (cache != NULL) {
        cache->fd = -1;
        cache->worker_folder = mf_strdup(worker_folder);
        cache->path = mf_format("%.*s/inputs", (int)(slash - worker_folder), worker_folder);
    }
    if (cache == NULL || cache->worker_folder == NULL || cache->path == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: the cache of inputs");
    else if (hold_folder(cache, error) == 0)
        return cache;
    cache_close(cache);
    return NULL;
}

void cache_close(struct cache *cache)
{
    if (cache == NULL)
        return;
    char *gone = cache->fd < 0 ? NULL : mf_format("%s/inputs", cache->worker_folder);
    if (gone != NULL && flock(cache->fd, LOCK_EX | LOCK_NB) == 0 &&
        is_same_file(cache->fd, AT_FDCWD, cache->path) && rename(cache->path, gone) < 0)
        mf_log(MF_WARNING, "cannot take %s away: %s", cache->path, strerror(errno));
    if (cache->fd >= 0)
        close(cache->fd);
    mf_free(gone);
    mf_free(cache->path);
    mf_free(cache->worker_folder);
    mf_free(cache);
}

char *cache_path(const struct cache *cache, const char *key)
{
    return mf_format("%s/%s/whole", cache->path, key);
}

/* Opens the lock's file and takes it as `operation` says (LOCK_NB is added). A descriptor; -1 with
 * errno, EWOULDBLOCK when somebody else has it or has just removed it. */
static int take_lock(const struct cache *cache, const char *key, int flags, int operation)
{
    char name[CACHE_KEY_SIZE + 8];
    snprintf(name, sizeof name, "%s/lock", key);
    int fd = openat(cache->fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (fd < 0)
        return -1;
    if (flock(fd, operation | LOCK_NB) == 0) {
        if (is_same_file(fd, cache->fd, name))
            return fd;
        errno = EWOULDBLOCK;
    }
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static bool has_whole(const struct cache *cache, const char *key)
{
    char name[CACHE_KEY_SIZE + 8];
    snprintf(name, sizeof name, "%s/whole", key);
    return faccessat(cache->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Contents that no entry has any more: only their own name is left. */
static void drop_contents(const struct cache *cache, const char *sums, size_t length)
{
    for (size_t at = 0; at + SUM_TEXT <= length; at += SUM_TEXT) {
        char name[SUM_TEXT + 8];
        struct stat st;
        snprintf(name, sizeof name, "data/%.*s", (int)SUM_TEXT, sums + at);
        if (fstatat(cache->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_nlink == 1)
            unlinkat(cache->fd, name, 0);
    }
}

static char *read_sums(int lock_fd, size_t *length)
{
    struct stat st;
    *length = 0;
    if (fstat(lock_fd, &st) < 0 || st.st_size <= 0 || st.st_size > SUMS_MAX)
        return NULL;
    char *sums = mf_malloc((size_t)st.st_size);
    ssize_t n = sums == NULL ? 0 : pread(lock_fd, sums, (size_t)st.st_size, 0);
    *length = n > 0 ? (size_t)n : 0;
    return sums;
}

/* Removes an entry that is held alone; ends the lock. It loses its name first: whoever makes a new
 * entry of that name meanwhile must not lose it again. */
static void remove_entry(struct cache *cache, const char *key, int lock_fd)
{
    size_t length;
    struct mf_error error;
    char gone[48];
    char *sums = read_sums(lock_fd, &length);
    snprintf(gone, sizeof gone, ".gone-%d-%u", (int)getpid(), cache->removed++);
    char *path = mf_format("%s/%s", cache->path, gone);
    if (renameat(cache->fd, key, cache->fd, gone) < 0)
        mf_log(MF_WARNING, "cannot remove %s/%s: %s", cache->path, key, strerror(errno));
    else if (path != NULL && place_remove(path, NULL, &error) < 0)
        mf_log(MF_WARNING, "an input that is not used any more is not removed: %s", error.text);
    if (sums != NULL)
        drop_contents(cache, sums, length);
    mf_free(sums);
    mf_free(path);
    close(lock_fd);
}

static void forget_kept(struct cache *cache, unsigned i)
{
    cache->kept_bytes -= cache->kept[i].bytes;
    cache->kept_count--;
    memmove(&cache->kept[i], &cache->kept[i + 1], (cache->kept_count - i) * sizeof *cache->kept);
}

static void remove_oldest_kept(struct cache *cache)
{
    char key[CACHE_KEY_SIZE];
    memcpy(key, cache->kept[0].key, sizeof key);
    forget_kept(cache, 0);
    int fd = take_lock(cache, key, 0, LOCK_EX);
    if (fd >= 0)
        remove_entry(cache, key, fd);
}

static void keep(struct cache *cache, const struct cache_entry *entry)
{
    if (cache->kept_count == KEPT_MAX)
        remove_oldest_kept(cache);
    struct kept *kept = &cache->kept[cache->kept_count++];
    memcpy(kept->key, entry->key, sizeof entry->key);
    kept->bytes = entry->bytes;
    cache->kept_bytes += entry->bytes;
    while (cache->kept_count > 1 && cache->kept_bytes > KEPT_BYTES)
        remove_oldest_kept(cache);
}

/* The lock is held alone. What a killed fetch left is removed. */
static int begin_part(struct cache *cache, const char *key, int lock_fd, struct mf_error *error)
{
    char *part = mf_format("%s/%s/part", cache->path, key);
    int rc = part == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: the cache of inputs")
                          : place_remove(part, NULL, error);
    if (rc == 0 && (mkdir(part, 0700) < 0 || ftruncate(lock_fd, 0) < 0))
        rc = mf_raise_errno(error, "cannot make the folder %s", part);
    mf_free(part);
    return rc;
}

int cache_take(struct cache *cache,
               const char *key,
               struct cache_entry *entry,
               struct mf_error *error)
{
    *entry = (struct cache_entry){.lock_fd = -1};
    memcpy(entry->key, key, strlen(key) + 1);
    for (unsigned i = 0; i < cache->kept_count; i++)
        if (strcmp(cache->kept[i].key, key) == 0)
            forget_kept(cache, i--);
    if (mkdirat(cache->fd, key, 0700) < 0 && errno != EEXIST)
        return mf_raise_errno(error, "cannot make the folder %s/%s", cache->path, key);
    entry->lock_fd = take_lock(cache, key, O_CREAT, LOCK_SH);
    if (entry->lock_fd >= 0 && has_whole(cache, key)) {
        entry->is_whole = true;
        return 1;
    }
    /* Not there yet: alone, if nobody else was as fast. */
    if (entry->lock_fd >= 0)
        close(entry->lock_fd);
    entry->lock_fd = take_lock(cache, key, O_CREAT, LOCK_EX);
    if (entry->lock_fd < 0)
        return errno == EWOULDBLOCK || errno == ENOENT
                   ? 0
                   : mf_raise_errno(error, "cannot lock the input %s/%s", cache->path, key);
    if (has_whole(cache, key)) {
        close(entry->lock_fd);
        entry->lock_fd = -1;
        return 0; /* it has come right now */
    }
    if (begin_part(cache, key, entry->lock_fd, error) == 0)
        return 1;
    remove_entry(cache, key, entry->lock_fd);
    entry->lock_fd = -1;
    return -1;
}

struct room {
    uint64_t total, free;
};

static void look_at_room(const struct cache *cache, struct room *room)
{
    struct statvfs fs;
    *room = (struct room){UINT64_MAX, UINT64_MAX};
    if (fstatvfs(cache->fd, &fs) < 0 || fs.f_blocks == 0)
        return;
    room->total = (uint64_t)fs.f_blocks * fs.f_frsize;
    room->free = (uint64_t)fs.f_bavail * fs.f_frsize;
    room->free = room->free > RESERVE_BYTES ? room->free - RESERVE_BYTES : 0;
}

/* The lock of the oldest entry that nobody uses, with its key; -1: there is none. *used: whether
 * there are any that somebody uses. */
static int take_oldest(struct cache *cache, char *key, bool *used)
{
    int copy = openat(cache->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), best = -1;
    DIR *folder = copy < 0 ? NULL : fdopendir(copy);
    struct timespec best_time = {0};
    *used = false;
    if (folder == NULL && copy >= 0)
        close(copy);
    for (struct dirent *at; folder != NULL && (at = readdir(folder)) != NULL;) {
        struct stat st;
        /* The job's own files are always in use, and never given back: nothing waits for them. */
        if (at->d_name[0] == '.' || strlen(at->d_name) >= CACHE_KEY_SIZE ||
            strcmp(at->d_name, CACHE_JOB_KEY) == 0)
            continue;
        int fd = take_lock(cache, at->d_name, 0, LOCK_EX);
        if (fd < 0) {
            *used = *used || errno == EWOULDBLOCK;
            continue;
        }
        bool is_better =
            fstat(fd, &st) == 0 &&
            (best < 0 || st.st_mtim.tv_sec < best_time.tv_sec ||
             (st.st_mtim.tv_sec == best_time.tv_sec && st.st_mtim.tv_nsec < best_time.tv_nsec));
        if (!is_better) {
            close(fd);
            continue;
        }
        if (best >= 0)
            close(best);
        best = fd;
        best_time = st.st_mtim;
        snprintf(key, CACHE_KEY_SIZE, "%.*s", CACHE_KEY_SIZE - 1, at->d_name);
    }
    if (folder != NULL)
        closedir(folder);
    return best;
}

int cache_make_room(struct cache *cache, uint64_t wanted, struct mf_error *error)
{
    struct room room;
    char key[CACHE_KEY_SIZE];
    bool used = false;
    look_at_room(cache, &room);
    while (room.free < wanted && wanted <= room.total) {
        int fd = take_oldest(cache, key, &used);
        if (fd < 0)
            break;
        remove_entry(cache, key, fd);
        look_at_room(cache, &room);
    }
    if (room.free >= wanted)
        return 1;
    if (used && wanted <= room.total)
        return 0;
    return mf_raise(error,
                    MF_ESETUP,
                    "%llu bytes are needed, and the disk of %s has room for %llu of %llu",
                    (unsigned long long)wanted,
                    cache->path,
                    (unsigned long long)room.free,
                    (unsigned long long)room.total);
}

/* The folder part/ of the entry. */
static int open_part(const struct cache *cache, const struct cache_entry *entry)
{
    char name[CACHE_KEY_SIZE + 8];
    snprintf(name, sizeof name, "%s/part", entry->key);
    return openat(cache->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int make_parents(int folder, const char *name)
{
    char *copy = mf_strdup(name);
    int rc = copy == NULL ? -1 : 0;
    if (copy == NULL)
        errno = ENOMEM;
    for (char *slash = rc < 0 ? NULL : strchr(copy, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdirat(folder, copy, 0700) < 0 && errno != EEXIST)
            rc = -1;
        *slash = '/';
    }
    mf_free(copy);
    return rc;
}

int cache_create_folder(struct cache *cache, const struct cache_entry *entry, const char *name)
{
    int folder = open_part(cache, entry);
    if (folder < 0)
        return -1;
    int rc = make_parents(folder, name);
    if (rc == 0 && mkdirat(folder, name, 0700) < 0 && errno != EEXIST)
        rc = -1;
    int reason = errno;
    close(folder);
    errno = reason;
    return rc;
}

int cache_create_file(struct cache *cache, const struct cache_entry *entry, const char *name)
{
    int folder = open_part(cache, entry);
    if (folder < 0)
        return -1;
    int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(folder, name, flags, 0600);
    if (fd < 0 && errno == ENOENT && make_parents(folder, name) == 0)
        fd = openat(folder, name, flags, 0600);
    int reason = errno;
    close(folder);
    errno = reason;
    return fd;
}

/* Where the same content is stored already, the file becomes another link to it. Links are a saving
 * only: without them the file stays as it is. */
static void share_content(struct cache *cache, int folder, const char *name, const char *data)
{
    struct stat mine, shared;
    if (fstatat(folder, name, &mine, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (linkat(folder, name, cache->fd, data, 0) == 0)
        return;
    if (errno == ENOENT && mkdirat(cache->fd, "data", 0700) == 0) {
        linkat(folder, name, cache->fd, data, 0);
        return;
    }
    if (errno != EEXIST || fstatat(cache->fd, data, &shared, AT_SYMLINK_NOFOLLOW) < 0 ||
        shared.st_size != mine.st_size || (shared.st_mode & 07777) != (mine.st_mode & 07777) ||
        linkat(cache->fd, data, folder, "..link", 0) < 0)
        return;
    if (renameat(folder, "..link", folder, name) < 0)
        unlinkat(folder, "..link", 0);
}

int cache_finish_file(struct cache *cache,
                      const struct cache_entry *entry,
                      const char *name,
                      uint32_t mode,
                      const char *sha256,
                      struct mf_error *error)
{
    int folder = open_part(cache, entry);
    if (folder < 0 || fchmodat(folder, name, mode, 0) < 0) {
        mf_raise_errno(error, "cannot finish the file \"%s\" in %s", name, cache->path);
        if (folder >= 0)
            close(folder);
        return -1;
    }
    if (sha256 != NULL) {
        char data[SUM_TEXT + 8];
        snprintf(data, sizeof data, "data/%s", sha256);
        share_content(cache, folder, name, data);
        struct stat st;
        off_t end = fstat(entry->lock_fd, &st) == 0 ? st.st_size : 0;
        if (end < SUMS_MAX && pwrite(entry->lock_fd, sha256, SUM_TEXT, end) < 0)
            mf_log(MF_WARNING, "cannot note a checksum in %s", cache->path);
    }
    close(folder);
    return 0;
}

int cache_publish(struct cache *cache, struct cache_entry *entry, struct mf_error *error)
{
    char part[CACHE_KEY_SIZE + 8], whole[CACHE_KEY_SIZE + 8];
    snprintf(part, sizeof part, "%s/part", entry->key);
    snprintf(whole, sizeof whole, "%s/whole", entry->key);
    if (renameat(cache->fd, part, cache->fd, whole) < 0)
        return mf_raise_errno(error, "cannot complete the input in %s/%s", cache->path, entry->key);
    entry->is_whole = true;
    /* Shared from now on. The change is no single step: whoever removes entries could have come in
     * between. */
    if (flock(entry->lock_fd, LOCK_SH | LOCK_NB) == 0 && has_whole(cache, entry->key))
        return 0;
    return mf_raise(error, MF_ESYSTEM, "the input in %s/%s was removed", cache->path, entry->key);
}

void cache_give_back(struct cache *cache, struct cache_entry *entry)
{
    if (entry->lock_fd < 0)
        return;
    if (!entry->is_whole) {
        remove_entry(cache, entry->key, entry->lock_fd);
        entry->lock_fd = -1;
        return;
    }
    futimens(entry->lock_fd, NULL); /* the time of its last use */
    close(entry->lock_fd);
    entry->lock_fd = -1;
    keep(cache, entry);
}
