/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attempt's folder: see folder.h.
 *
 * Making and removing a folder costs a tenth of a millisecond on a journalling file system, a tenth
 * of what starting a small process does. Most commands leave their folder as they found it, so one
 * that is provably untouched is renamed for the next attempt. Any doubt, and it is removed.
 */
#include "worker/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "worker/place.h"

/* An untouched folder; "" = none. */
static char spare[SLOT_NAME_SIZE];

static int take_spare(const char *name)
{
    if (spare[0] == '\0' || rename(spare, name) < 0)
        return -1;
    spare[0] = '\0';
    return 0;
}

static bool holds_entries(int fd)
{
    union {
        struct dirent64 entry; /* for its alignment */
        char bytes[512];
    } entries;
    bool found = false;
    ssize_t n = getdents64(fd, &entries, sizeof entries);
    for (ssize_t at = 0; at < n;) {
        const struct dirent64 *entry = (const void *)(entries.bytes + at);
        found = found || (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0);
        at += entry->d_reclen;
    }
    return n <= 0 || found;
}

/* Whether the folder is as mkdir makes it: empty, with its owner, mode and no more. */
static bool is_untouched(const char *name)
{
    struct stat st;
    int fd = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool untouched = fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0700 &&
                     st.st_uid == geteuid() && !holds_entries(fd) && flistxattr(fd, NULL, 0) <= 0;
    close(fd);
    return untouched;
}

/* Makes the folders above the last component of `path`, which is cut and mended meanwhile. */
static int make_parents(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = mkdir(path, 0700);
        *slash = '/';
        if (rc < 0 && errno != EEXIST)
            return -1;
    }
    return 0;
}

static int
make_link(const char *folder, const char *name, const char *target, struct failure *failure)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        errno = ENAMETOOLONG;
        return fail_attempt_errno(
            failure, MF_CAUSE_WORKER_ERROR, "cannot link \"%s\" into the attempt's folder", name);
    }
    int rc = symlink(target, path);
    if (rc < 0 && errno == ENOENT && make_parents(path) == 0)
        rc = symlink(target, path);
    /* The same file may be named twice, by files: and as the input. */
    if (rc < 0 && errno != EEXIST)
        return fail_attempt_errno(
            failure, MF_CAUSE_WORKER_ERROR, "cannot link \"%s\" into the attempt's folder", name);
    return 0;
}

static int make_cwd(const struct unpacked *request, struct failure *failure)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", request->folder, request->cwd);
    struct stat st;
    if (request->cwd[0] == '/' || (n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0))
        return 0;
    if (n < 0 || (size_t)n >= sizeof path || make_parents(path) < 0 ||
        (mkdir(path, 0700) < 0 && errno != EEXIST))
        return fail_attempt_errno(failure,
                                  MF_CAUSE_NOT_STARTED,
                                  "cannot make cwd: \"%s\" in the attempt's folder",
                                  request->cwd);
    return 0;
}

int folder_make(const struct unpacked *request, struct failure *failure)
{
    if (take_spare(request->folder) < 0 && mkdir(request->folder, 0700) < 0)
        return fail_attempt_errno(failure,
                                  MF_CAUSE_WORKER_ERROR,
                                  "cannot make the attempt's folder %s in the worker's folder",
                                  request->folder);
    const char *name = request->links;
    for (uint32_t i = 0; i < request->start->link_count; i++) {
        const char *target = unpack_next(name);
        if (make_link(request->folder, name, target, failure) < 0)
            return -1;
        name = unpack_next(target);
    }
    return request->cwd[0] == '\0' ? 0 : make_cwd(request, failure);
}

void folder_remove(const struct unpacked *request)
{
    const char *link = request->links;
    for (uint32_t i = 0; i < request->start->link_count; i++) {
        char path[PATH_MAX];
        int n = snprintf(path, sizeof path, "%s/%s", request->folder, link);
        /* Only what is directly in it: the command may have put a link where a folder was. */
        if (n > 0 && (size_t)n < sizeof path && strchr(link, '/') == NULL)
            unlink(path);
        link = unpack_next(unpack_next(link));
    }
    if (spare[0] == '\0' && is_untouched(request->folder))
        snprintf(spare, sizeof spare, "%s", request->folder);
    else if (rmdir(request->folder) < 0 && errno != ENOENT)
        /* What can't be removed goes with the worker's folder, or is found by the sweep. */
        place_remove(request->folder, NULL, NULL);
}

void folder_forget_spare(void)
{
    if (spare[0] != '\0')
        rmdir(spare);
    spare[0] = '\0';
}
