/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of folders: see tree.h. */
#include "master/record/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"

int tree_make_parents(const char *path, size_t known, struct mf_error *error)
{
    char *copy = mf_strdup(path);
    if (copy == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int rc = 0;
    for (char *slash = strchr(copy + known + 1, '/'); rc == 0 && slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST)
            rc = mf_raise_write(error, "cannot make the folder %s", copy);
        *slash = '/';
    }
    mf_free(copy);
    return rc;
}

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *position)
{
    (void)stat;
    (void)kind;
    (void)position;
    return remove(path) < 0 && errno != ENOENT ? errno : 0;
}

int tree_remove(const char *path, struct mf_error *error)
{
    int rc = nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (rc > 0)
        errno = rc;
    if (rc == 0 || errno == ENOENT)
        return 0;
    return mf_raise_errno(error, "cannot remove %s", path);
}

/* 0, or errno. EINVAL: a file system that can't sync a folder; there is nothing more to be done. */
static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int number = fd < 0 || (fsync(fd) < 0 && errno != EINVAL) ? errno : 0;
    if (fd >= 0)
        close(fd);
    return number;
}

int tree_sync_parent(const char *path, struct mf_error *error)
{
    char *folder = mf_strdup(path);
    if (folder == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        slash[slash == folder] = '\0';
    errno = sync_folder(folder);
    int rc =
        errno != 0 ? mf_raise_errno(error, "cannot write the folder %s to the disk", folder) : 0;
    mf_free(folder);
    return rc;
}

static int sync_entry(const char *path, const struct stat *stat, int kind, struct FTW *position)
{
    (void)stat;
    (void)position;
    return kind == FTW_DP || kind == FTW_D ? sync_folder(path) : 0;
}

int tree_sync_folders(const char *path, struct mf_error *error)
{
    int rc = nftw(path, sync_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (rc > 0)
        errno = rc;
    return rc == 0 ? 0 : mf_raise_errno(error, "cannot write the folder %s to the disk", path);
}
