/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files of a spool folder have arrived: see spool.h. The rule, in this order:
 *
 *   1. Hidden names, *.part and *.tmp do not count, nor does anything but a regular file.
 *   2. A read lease (fcntl(2)) is granted by the kernel only while nobody has the file open for
 *      writing, and keeps others from opening it so until it is given up, after the rename. Asking
 *      for one says yes or no.
 *   3. Where no lease can be had (a file of somebody else, for whom this process is not root; a
 *      file system without leases) or where it says nothing (NFS and the like: others write where
 *      this kernel does not see it), what inotify has told of it counts: closed, or renamed in.
 *   4. Else it has to be quiet: its status change time, which every write moves and nobody can set,
 *      is 10 s ago.
 */
#include "master/source/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "common/alloc.h"
#include "common/clock.h"

/* Of <linux/magic.h> these are missing in some versions. */
#define CIFS_MAGIC 0xff534d42
#define SMB2_MAGIC 0xfe534d42
#define CEPH_MAGIC 0x00c36400
#define FUSE_MAGIC 0x65735546

void spool_names_fini(struct spool_names *names)
{
    mf_buffer_fini(&names->bytes);
    names->count = 0;
}

int spool_names_add(struct spool_names *names, const char *name, struct mf_error *error)
{
    if (mf_buffer_append(&names->bytes, name, strlen(name) + 1, error) < 0)
        return -1;
    names->count++;
    return 0;
}

const char *spool_names_next(const struct spool_names *names, const char *name)
{
    const char *first = (const char *)names->bytes.data;
    const char *next = name == NULL ? first : name + strlen(name) + 1;
    return names->count == 0 || next == first + names->bytes.length ? NULL : next;
}

bool spool_names_has(const struct spool_names *names, const char *name)
{
    const char *one = NULL;
    while ((one = spool_names_next(names, one)) != NULL)
        if (strcmp(one, name) == 0)
            return true;
    return false;
}

static bool ends_with(const char *name, const char *ending)
{
    size_t length = strlen(name), of_ending = strlen(ending);
    return length >= of_ending && strcmp(name + length - of_ending, ending) == 0;
}

bool spool_is_name(const char *name)
{
    return name[0] != '.' && !ends_with(name, ".part") && !ends_with(name, ".tmp");
}

bool spool_is_remote(int folder)
{
    struct statfs status;
    if (fstatfs(folder, &status) < 0)
        return true;
    switch ((unsigned)status.f_type) {
    case NFS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case AFS_SUPER_MAGIC:
    case V9FS_MAGIC:
    case CIFS_MAGIC:
    case SMB2_MAGIC:
    case CEPH_MAGIC:
    case FUSE_MAGIC:
        return true;
    default:
        return false;
    }
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int sort(struct spool_names *names, struct mf_error *error)
{
    struct mf_buffer sorted = {0};
    const char **list = mf_malloc((names->count + 1) * sizeof *list), *name = NULL;
    if (list == NULL || mf_buffer_reserve(&sorted, names->bytes.length, error) < 0) {
        mf_free(list);
        return mf_raise(error, MF_ENOMEM, "out of memory: the names in a spool folder");
    }
    size_t count = 0;
    while ((name = spool_names_next(names, name)) != NULL)
        list[count++] = name;
    qsort(list, count, sizeof *list, compare);
    for (size_t i = 0; i < count; i++)
        mf_buffer_append(&sorted, list[i], strlen(list[i]) + 1, NULL); /* there is room */
    mf_free(list);
    mf_buffer_fini(&names->bytes);
    names->bytes = sorted;
    return 0;
}

static int
list_from(DIR *folder, const char *path, struct spool_names *names, struct mf_error *error)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL)
            return errno == 0 ? 0 : mf_raise_errno(error, "cannot read the spool folder %s", path);
        if ((entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN) ||
            !spool_is_name(entry->d_name))
            continue;
        if (spool_names_add(names, entry->d_name, error) < 0)
            return -1;
    }
}

int spool_list(int folder, const char *path, struct spool_names *names, struct mf_error *error)
{
    int own = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = own < 0 ? NULL : fdopendir(own);
    if (entries == NULL) {
        mf_raise_errno(error, "cannot read the spool folder %s", path);
        if (own >= 0)
            close(own);
        return -1;
    }
    int rc = list_from(entries, path, names, error);
    closedir(entries);
    return rc < 0 ? -1 : sort(names, error);
}

/* 1 granted, 0 somebody writes, -1 cannot be said. */
static int ask_lease(int fd)
{
    /* Who opens the file meanwhile has the kernel tell us, by SIGIO, which would be our end. */
    if (fcntl(fd, F_SETSIG, SIGURG) < 0)
        return -1;
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0)
        return 1;
    return errno == EAGAIN ? 0 : -1;
}

static bool is_quiet(struct spool_scan *scan, const struct stat *status)
{
    int64_t changed_us = (int64_t)status->st_ctim.tv_sec * 1000000 + status->st_ctim.tv_nsec / 1000;
    int64_t left_us = changed_us + scan->quiet_us - mf_wall_us();
    if (left_us <= 0)
        return true;
    if (left_us > scan->quiet_us) /* the clock was set back */
        left_us = scan->quiet_us;
    int64_t ready_us = mf_monotonic_us() + left_us;
    if (ready_us < scan->ready_us)
        scan->ready_us = ready_us;
    return false;
}

int spool_is_complete(struct spool_scan *scan, const char *name, int *fd)
{
    struct stat status;
    *fd = -1;
    if (fstatat(scan->folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(status.st_mode))
        return 0;
    int own = scan->is_remote
                  ? -1
                  : openat(scan->folder, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    int granted = own < 0 ? -1 : ask_lease(own);
    if (granted == 1) {
        *fd = own;
        return 1;
    }
    if (own >= 0)
        close(own);
    if (granted == 0)
        return 0;
    if (scan->closed != NULL && spool_names_has(scan->closed, name))
        return 1;
    return is_quiet(scan, &status);
}
