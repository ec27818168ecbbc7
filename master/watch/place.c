/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock of a watcher: see place.h. It is an open file description's lock, so that no child has
 * it and closing another descriptor of the file does not drop it.
 *
 * A second lock, on the folder itself, keeps watchers apart that have different state folders (of
 * two users, say): each of them would run every job. Whoever has it stands in /proc/locks.
 */
#include "master/watch/place.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/checksum.h"

#define DIGEST_DIGITS 16

char *place_path(const char *state, const char *folder, struct mf_error *error)
{
    struct mf_sha256 sum;
    unsigned char digest[MF_SHA256_SIZE];
    char text[MF_SHA256_TEXT];
    mf_sha256_init(&sum);
    mf_sha256_update(&sum, mf_bytes_text(folder));
    mf_sha256_finish(&sum, digest);
    char *path = mf_format("%s/watchers/%.*s", state, DIGEST_DIGITS, mf_sha256_text(digest, text));
    if (path == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    return path;
}

static int make_folders(const char *path, struct mf_error *error)
{
    char *copy = mf_strdup(path);
    if (copy == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int rc = 0;
    for (char *slash = strchr(copy + 1, '/'); rc == 0; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST)
            rc = mf_raise_write(error, "cannot make the folder %s", copy);
        if (slash == NULL)
            break;
        *slash = '/';
    }
    mf_free(copy);
    return rc;
}

static long read_pid(int fd)
{
    char text[32] = "";
    return pread(fd, text, sizeof text - 1, 0) < 0 ? 0 : strtol(text, NULL, 10);
}

/* Who holds the other lock, by its inode; 0 = not to be seen from here. */
static long pid_of_folder_lock(int fd)
{
    struct stat facts;
    char line[256], wanted[64];
    long pid = 0;
    FILE *locks = fstat(fd, &facts) < 0 ? NULL : fopen("/proc/locks", "re");
    if (locks == NULL)
        return 0;
    snprintf(wanted,
             sizeof wanted,
             " %02x:%02x:%" PRIuMAX " ",
             major(facts.st_dev),
             minor(facts.st_dev),
             (uintmax_t)facts.st_ino);
    while (pid == 0 && fgets(line, sizeof line, locks) != NULL) {
        const char *write = strstr(line, " WRITE ");
        if (strstr(line, "FLOCK") != NULL && write != NULL && strstr(line, wanted) != NULL)
            pid = strtol(write + 7, NULL, 10);
    }
    fclose(locks);
    return pid;
}

static int raise_taken(const char *folder, long pid, struct mf_error *error)
{
    if (pid <= 0)
        return mf_raise(error,
                        MF_EUSAGE,
                        "another watcher serves %s already (its process cannot be seen from here)",
                        folder);
    return mf_raise(error,
                    MF_EUSAGE,
                    "another watcher serves %s already: process %ld (kill %ld ends it; its runs go "
                    "on)",
                    folder,
                    pid,
                    pid);
}

static int take_state_lock(const char *place, const char *folder, struct mf_error *error)
{
    char *path = mf_format("%s/lock", place), *text = mf_format("%d\n%s\n", (int)getpid(), folder);
    int fd = path == NULL || text == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (path == NULL || text == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a watcher's lock");
    } else if (fd < 0) {
        mf_raise_write(error, "cannot open %s", path);
    } else if (fcntl(fd, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK}) < 0) {
        int saved = errno;
        if (saved == EAGAIN || saved == EACCES)
            raise_taken(folder, read_pid(fd), error);
        else
            mf_raise_errno(error, "cannot lock %s", path);
        close(fd);
        fd = -1;
    } else if (ftruncate(fd, 0) < 0 || pwrite(fd, text, strlen(text), 0) < 0) {
        errno = 0; /* a full disk: the lock holds all the same, only nobody can say who has it */
    }
    mf_free(path);
    mf_free(text);
    return fd;
}

/* 0; -1 only when somebody else has it. */
static int take_folder_lock(const char *folder, int *out, struct mf_error *error)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *out = fd;
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    int rc = errno == EWOULDBLOCK ? raise_taken(folder, pid_of_folder_lock(fd), error) : 0;
    close(fd);
    *out = -1;
    return rc;
}

int place_take(const char *place,
               const char *folder,
               struct place_lock *lock,
               struct mf_error *error)
{
    *lock = (struct place_lock){-1, -1};
    if (make_folders(place, error) < 0)
        return -1;
    lock->state_fd = take_state_lock(place, folder, error);
    if (lock->state_fd < 0)
        return -1;
    if (take_folder_lock(folder, &lock->folder_fd, error) == 0)
        return 0;
    place_release(lock);
    return -1;
}

void place_release(struct place_lock *lock)
{
    if (lock->state_fd >= 0)
        close(lock->state_fd);
    if (lock->folder_fd >= 0)
        close(lock->folder_fd);
    *lock = (struct place_lock){-1, -1};
}

bool place_is_live(const char *state, const char *folder, long *pid)
{
    char *place = place_path(state, folder, NULL);
    char *path = place == NULL ? NULL : mf_format("%s/lock", place);
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    mf_free(place);
    mf_free(path);
    if (fd < 0)
        return false;
    struct flock lock = {.l_type = F_WRLCK};
    bool live = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (pid != NULL)
        *pid = live ? read_pid(fd) : 0;
    close(fd);
    return live;
}
