/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claiming files of a spool folder: see spool.h for what lies where.
 *
 *     BATCH.open made, BATCH/ made, both durable
 *     NAME renamed into BATCH/, for each; durable, with what is in them
 *     a message for each, in one transaction
 *     BATCH.open removed
 *
 * Whoever is killed in between leaves BATCH.open, and the next one who claims pushes a message for
 * each file in BATCH/: the keys of those that have one are known. A lock keeps the next one away
 * while the first lives.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/crash.h"
#include "master/source/spool.h"

#define OPEN_MARK ".open"
#define BATCH_MAX (FEED_CONSUMER_MAX + 48u)
#define FEW 32u /* files that are synced one by one */
#define KEY_MAX (BATCH_MAX + 512u)

static int raise_claimed(const struct spool_claim *claim, const char *what, struct mf_error *error)
{
    return mf_raise_write(error, "%s %s/" SPOOL_CLAIMED, what, claim->path);
}

/* A folder of its own beside the files, and never on another file system: renames have to work. */
static int open_claimed(struct spool_claim *claim, struct mf_error *error)
{
    struct stat folder, claimed;
    if (mkdirat(claim->folder, SPOOL_CLAIMED, 0777) < 0 && errno != EEXIST)
        return raise_claimed(claim, "cannot make", error);
    claim->claimed =
        openat(claim->folder, SPOOL_CLAIMED, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (claim->claimed < 0)
        return mf_raise(error,
                        MF_ESETUP,
                        "%s/" SPOOL_CLAIMED " is not a folder that can be opened (%s): move what "
                        "is there out of the way",
                        claim->path,
                        strerror(errno));
    if (fstat(claim->folder, &folder) == 0 && fstat(claim->claimed, &claimed) == 0 &&
        folder.st_dev != claimed.st_dev)
        return mf_raise(error,
                        MF_ESETUP,
                        "%s/" SPOOL_CLAIMED " is on another file system than %s: files are claimed "
                        "by renaming them, so both have to be on one",
                        claim->path,
                        claim->path);
    return 0;
}

int spool_claim_begin(struct spool_claim *claim, struct mf_error *error)
{
    char name[FEED_CONSUMER_MAX + 8];
    if (open_claimed(claim, error) < 0)
        return -1;
    snprintf(name, sizeof name, "%s.lock", claim->feed->consumer);
    claim->lock = openat(claim->claimed, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (claim->lock < 0)
        return raise_claimed(claim, "cannot write to", error);
    if (flock(claim->lock, LOCK_EX | LOCK_NB) == 0)
        return 1;
    return errno == EWOULDBLOCK ? 0 : raise_claimed(claim, "cannot lock a file in", error);
}

void spool_claim_end(struct spool_claim *claim)
{
    if (claim->lock >= 0)
        close(claim->lock);
    if (claim->claimed >= 0)
        close(claim->claimed);
}

static int push_file(struct spool_claim *claim,
                     const char *batch,
                     const char *name,
                     struct feed_count *count,
                     struct mf_error *error)
{
    char key[KEY_MAX];
    char *path = mf_format("%s/" SPOOL_CLAIMED "/%s/%s", claim->path, batch, name);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the path of a claimed file");
    snprintf(key, sizeof key, "spool:%s/%s", batch, name);
    int rc = feed_push(claim->feed, key, mf_bytes_text(path), count, error);
    mf_free(path);
    return rc;
}

/* A message for each of the names, all or none. */
static int push_names(struct spool_claim *claim,
                      const char *batch,
                      const struct spool_names *names,
                      struct mf_error *error)
{
    struct feed_count count = {0};
    const char *name = NULL;
    if (feed_begin(claim->feed, error) < 0)
        return -1;
    while ((name = spool_names_next(names, name)) != NULL)
        if (push_file(claim, batch, name, &count, error) < 0) {
            queues_rollback(claim->feed->queues);
            return -1;
        }
    return feed_commit(claim->feed, &count, error);
}

/* The batch has its messages, or no files. Its mark may come back after a power cut: that does
 * no harm. */
static void end_batch(const struct spool_claim *claim, const char *batch)
{
    char mark[BATCH_MAX + sizeof OPEN_MARK];
    unlinkat(claim->claimed, batch, AT_REMOVEDIR); /* if it is empty */
    snprintf(mark, sizeof mark, "%s" OPEN_MARK, batch);
    unlinkat(claim->claimed, mark, 0);
}

static int heal_batch(struct spool_claim *claim, const char *batch, struct mf_error *error)
{
    struct spool_names names = {0};
    int folder = openat(claim->claimed, batch, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc = 0;
    if (folder >= 0) {
        rc = spool_list(folder, claim->path, &names, error);
        if (rc == 0 && names.count > 0 && syncfs(folder) < 0)
            rc = raise_claimed(claim, "cannot sync", error);
        if (rc == 0 && names.count > 0)
            rc = push_names(claim, batch, &names, error);
        close(folder);
    } else if (errno != ENOENT) {
        rc = raise_claimed(claim, "cannot read a batch in", error);
    }
    if (rc == 0)
        end_batch(claim, batch);
    spool_names_fini(&names);
    return rc;
}

/* The names of batches of ours that are open. */
static int list_open(struct spool_claim *claim, struct spool_names *open, struct mf_error *error)
{
    const char *consumer = claim->feed->consumer;
    int own = openat(claim->claimed, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *entries = own < 0 ? NULL : fdopendir(own);
    const struct dirent *entry;
    if (entries == NULL) {
        if (own >= 0)
            close(own);
        return raise_claimed(claim, "cannot read", error);
    }
    while (rc == 0 && (entry = readdir(entries)) != NULL) {
        char name[sizeof entry->d_name];
        size_t length = strlen(entry->d_name), of_mark = sizeof OPEN_MARK - 1;
        if (length <= of_mark || strcmp(entry->d_name + length - of_mark, OPEN_MARK) != 0 ||
            strncmp(entry->d_name, consumer, strlen(consumer)) != 0 ||
            entry->d_name[strlen(consumer)] != '@')
            continue;
        memcpy(name, entry->d_name, length - of_mark);
        name[length - of_mark] = '\0';
        rc = spool_names_add(open, name, error);
    }
    closedir(entries);
    return rc;
}

int spool_claim_heal(struct spool_claim *claim, struct mf_error *error)
{
    struct spool_names open = {0};
    const char *batch = NULL;
    int rc = list_open(claim, &open, error);
    while (rc == 0 && (batch = spool_names_next(&open, batch)) != NULL)
        rc = heal_batch(claim, batch, error);
    spool_names_fini(&open);
    return rc;
}

/* A new batch; its folder. */
static int begin_batch(const struct spool_claim *claim, char *batch, struct mf_error *error)
{
    char mark[BATCH_MAX + sizeof OPEN_MARK];
    /* The lock is ours, so nobody else makes one; a clock that was set back is found out. */
    for (int64_t time_us = mf_wall_us();; time_us++) {
        snprintf(batch, BATCH_MAX, "%s@%" PRId64, claim->feed->consumer, time_us);
        snprintf(mark, sizeof mark, "%s" OPEN_MARK, batch);
        struct stat status;
        if (fstatat(claim->claimed, batch, &status, AT_SYMLINK_NOFOLLOW) < 0)
            break;
    }
    int fd = openat(claim->claimed, mark, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return raise_claimed(claim, "cannot write to", error);
    close(fd);
    if (mkdirat(claim->claimed, batch, 0777) < 0 || fsync(claim->claimed) < 0)
        return raise_claimed(claim, "cannot make a folder in", error);
    int folder = openat(claim->claimed, batch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return folder >= 0 ? folder : raise_claimed(claim, "cannot open a folder in", error);
}

/* A batch that is being filled; its folder is made for the first file. */
struct batch {
    char name[BATCH_MAX];
    int folder; /* -1 = not there yet */
    struct spool_names claimed;
};

/* 0 also when it was not to be had. */
static int rename_into(struct spool_claim *claim,
                       const char *name,
                       struct batch *batch,
                       struct mf_error *error)
{
    if (batch->folder < 0)
        batch->folder = begin_batch(claim, batch->name, error);
    if (batch->folder < 0)
        return -1;
    if (renameat(claim->folder, name, batch->folder, name) == 0)
        return spool_names_add(&batch->claimed, name, error);
    if (errno == ENOSPC || errno == EDQUOT || errno == EROFS || errno == EIO)
        return raise_claimed(claim, "cannot rename a file into", error);
    if (errno != ENOENT)
        feed_leave(claim->feed,
                   "%s/%s cannot be claimed (%s): see who owns the file and its folder",
                   claim->path,
                   name,
                   strerror(errno));
    return 0;
}

/* Before a message speaks of them: what is in the files, and both folders. */
static int sync_few(const struct spool_claim *claim, const struct batch *batch)
{
    const char *name = NULL;
    while ((name = spool_names_next(&batch->claimed, name)) != NULL) {
        int fd = openat(batch->folder, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
        int rc = fd < 0 ? -1 : fdatasync(fd);
        if (fd >= 0)
            close(fd);
        if (rc < 0)
            return -1;
    }
    return fsync(batch->folder) < 0 || fsync(claim->folder) < 0 ? -1 : 0;
}

/* Many at once, or those that may not be read, by their whole file system. */
static int
sync_batch(const struct spool_claim *claim, const struct batch *batch, struct mf_error *error)
{
    if (batch->claimed.count == 0 || (batch->claimed.count <= FEW && sync_few(claim, batch) == 0) ||
        syncfs(batch->folder) == 0)
        return 0;
    return raise_claimed(claim, "cannot sync", error);
}

static int fill_batch(struct spool_claim *claim,
                      struct spool_scan *scan,
                      const struct spool_names *names,
                      uint64_t most,
                      struct batch *batch,
                      struct mf_error *error)
{
    const char *name = NULL;
    int rc = 0;
    while (rc == 0 && batch->claimed.count < most &&
           (name = spool_names_next(names, name)) != NULL) {
        int guard;
        if (spool_is_complete(scan, name, &guard) == 1)
            rc = rename_into(claim, name, batch, error);
        if (guard >= 0)
            close(guard);
    }
    return rc < 0 ? -1 : sync_batch(claim, batch, error);
}

int spool_claim_names(struct spool_claim *claim,
                      struct spool_scan *scan,
                      const struct spool_names *names,
                      uint64_t most,
                      bool *more,
                      struct mf_error *error)
{
    struct batch batch = {.folder = -1};
    int rc = fill_batch(claim, scan, names, most, &batch, error);
    *more = batch.claimed.count == most;
    if (batch.folder >= 0)
        close(batch.folder);
    if (rc == 0)
        MF_CRASH(SOURCE_AFTER_TAKE);
    if (rc == 0 && batch.claimed.count > 0)
        rc = push_names(claim, batch.name, &batch.claimed, error);
    if (rc == 0)
        MF_CRASH(SOURCE_AFTER_COMMIT);
    if (rc == 0 && batch.folder >= 0)
        end_batch(claim, batch.name);
    spool_names_fini(&batch.claimed);
    return rc;
}
