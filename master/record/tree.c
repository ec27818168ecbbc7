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
            rc = mf_raise_errno(error, "cannot make the folder %s", copy);
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

int tree_sync_parent(const char *path, struct mf_error *error)
{
    char *folder = mf_strdup(path);
    if (folder == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) < 0
                 ? mf_raise_errno(error, "cannot write the folder %s to the disk", folder)
                 : 0;
    if (fd >= 0)
        close(fd);
    mf_free(folder);
    return rc;
}
