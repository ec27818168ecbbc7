/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a worker lives, and how trees are removed: see place.h.
 *
 * /tmp and /var/tmp belong to everybody: a folder there is used only when it is ours and nobody
 * else can write to it. Removal holds one descriptor a level; what is nested deeper than DEPTH_MAX
 * is first moved up to the root of the tree, so that no tree is too deep. Killed in the middle, it
 * can be repeated.
 */
#include "worker/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/buffer.h"

#define DEPTH_MAX 32
#define PLACES_MAX 4
#define PASSES_MAX 16 /* that moved nothing up */

struct removal {
    int root_fd;
    dev_t device;
    uint32_t count;
    unsigned moved;
};

static int open_folder(int parent, const char *name)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(parent, name, flags);
    if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, 0) == 0)
        fd = openat(parent, name, flags);
    return fd;
}

/* As unlinkat; when the folder does not let us, it is made to. */
static int unlink_entry(int parent, const char *name, int flags)
{
    if (unlinkat(parent, name, flags) == 0 || errno == ENOENT)
        return 0;
    if (errno != EACCES || fchmod(parent, 0700) < 0)
        return -1;
    return unlinkat(parent, name, flags);
}

static int empty_folder(struct removal *removal, int fd, unsigned depth, struct mf_error *error);

static int remove_folder(
    struct removal *removal, int parent, const char *name, unsigned depth, struct mf_error *error)
{
    if (depth >= DEPTH_MAX) {
        char moved[64];
        snprintf(moved, sizeof moved, ".mayfly-removed-%d-%u", (int)getpid(), removal->moved++);
        if (renameat(parent, name, removal->root_fd, moved) < 0)
            return mf_raise_errno(
                error, "cannot move the folder \"%s\" out of its deep tree", name);
        return 0;
    }
    int fd = open_folder(parent, name);
    if (fd < 0)
        return errno == ENOENT ? 0 : mf_raise_errno(error, "cannot open the folder \"%s\"", name);
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_dev != removal->device) {
        close(fd);
        return mf_raise(
            error, MF_ESYSTEM, "\"%s\" is the root of another file system: unmount it first", name);
    }
    if (empty_folder(removal, fd, depth + 1, error) < 0)
        return -1;
    if (unlink_entry(parent, name, AT_REMOVEDIR) < 0)
        return mf_raise_errno(error, "cannot remove the folder \"%s\"", name);
    removal->count++;
    return 0;
}

static int remove_entry(
    struct removal *removal, int parent, const char *name, unsigned depth, struct mf_error *error)
{
    if (unlink_entry(parent, name, 0) == 0) {
        removal->count++;
        return 0;
    }
    if (errno == EISDIR || errno == EPERM)
        return remove_folder(removal, parent, name, depth, error);
    return mf_raise_errno(error, "cannot remove \"%s\"", name);
}

/* Takes fd. Goes on after a failure, and reports the first. */
static int empty_folder(struct removal *removal, int fd, unsigned depth, struct mf_error *error)
{
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        mf_raise_errno(error, "cannot list a folder");
        close(fd);
        return -1;
    }
    int rc = 0;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (remove_entry(removal, fd, name, depth, rc == 0 ? error : NULL) < 0)
            rc = -1;
    }
    closedir(folder);
    return rc;
}

/* One pass over the whole tree; moved-up folders are left for the next. */
static int remove_pass(const char *path, struct removal *removal, struct mf_error *error)
{
    removal->root_fd = open_folder(AT_FDCWD, path);
    if (removal->root_fd < 0)
        return mf_raise_errno(error, "cannot open the folder \"%s\"", path);
    struct stat st;
    int copy = dup(removal->root_fd);
    if (copy < 0 || fstat(copy, &st) < 0) {
        mf_raise_errno(error, "cannot look into the folder \"%s\"", path);
        if (copy >= 0)
            close(copy);
        close(removal->root_fd);
        return -1;
    }
    removal->device = st.st_dev;
    int rc = empty_folder(removal, copy, 1, error);
    close(removal->root_fd);
    return rc;
}

int place_remove(const char *path, uint32_t *removed, struct mf_error *error)
{
    struct removal removal = {0};
    int rc = 0;
    if (removed != NULL)
        *removed = 0;
    for (unsigned passes = 0;;) {
        if (rmdir(path) == 0) {
            removal.count++;
            break;
        }
        if (errno == ENOENT)
            break;
        if (errno == ENOTDIR) {
            rc = unlink(path) == 0 ? 0 : mf_raise_errno(error, "cannot remove \"%s\"", path);
            removal.count += rc == 0;
            break;
        }
        if (errno != ENOTEMPTY && errno != EEXIST) {
            rc = mf_raise_errno(error, "cannot remove the folder \"%s\"", path);
            break;
        }
        if (passes == PASSES_MAX) {
            rc = mf_raise(
                error, MF_ESYSTEM, "the folder \"%s\" is filled while it is removed", path);
            break;
        }
        unsigned moved = removal.moved;
        if (remove_pass(path, &removal, error) < 0) {
            rc = mf_error_prefix(error, "\"%s\" is not removed", path);
            break;
        }
        passes += moved == removal.moved;
    }
    if (removed != NULL)
        *removed = removal.count;
    return rc;
}

static const char *absolute_variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] == '/' ? value : NULL;
}

void place_candidates_free(char **places, unsigned count)
{
    for (unsigned i = 0; places != NULL && i < count; i++)
        mf_free(places[i]);
    mf_free(places);
}

char **place_candidates(unsigned *count)
{
    char **places = mf_calloc(PLACES_MAX, sizeof *places);
    const char *cache = absolute_variable("XDG_CACHE_HOME"), *home = absolute_variable("HOME");
    unsigned uid = (unsigned)geteuid(), n = 0;
    if (places == NULL)
        return NULL;
    if (cache != NULL)
        places[n++] = mf_format("%s/mayfly", cache);
    if (home != NULL)
        places[n++] = mf_format("%s/.cache/mayfly", home);
    places[n++] = mf_format("/var/tmp/mayfly-%u", uid);
    places[n++] = mf_format("/tmp/mayfly-%u", uid);
    for (unsigned i = 0; i < n; i++)
        if (places[i] == NULL) {
            place_candidates_free(places, n);
            return NULL;
        }
    *count = n;
    return places;
}

/* Makes the folder and those above it that are missing. `path` is cut and mended meanwhile. */
static int make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = mkdir(path, 0700);
        int saved = errno;
        struct stat st;
        bool there = rc == 0 || stat(path, &st) == 0;
        *slash = '/';
        if (!there) {
            errno = saved;
            return -1;
        }
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -1;
}

static int check_base(const char *base, bool executable, struct mf_error *error)
{
    struct stat st;
    struct statvfs fs;
    if (lstat(base, &st) < 0 || statvfs(base, &fs) < 0)
        return mf_raise_errno(error, "%s", base);
    if (!S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
        return mf_raise(error, MF_ESETUP, "%s is not a folder", base);
    if (st.st_uid != geteuid())
        return mf_raise(error, MF_ESETUP, "%s belongs to user %u", base, (unsigned)st.st_uid);
    if (S_ISDIR(st.st_mode) && (st.st_mode & 022) != 0)
        return mf_raise(error, MF_ESETUP, "%s can be written by others", base);
    if (executable && (fs.f_flag & ST_NOEXEC) != 0)
        return mf_raise(error, MF_ESETUP, "%s is on a file system mounted noexec", base);
    if (access(base, W_OK | X_OK) < 0)
        return mf_raise_errno(error, "%s", base);
    return 0;
}

/* Takes back a folder that was made and will not do, and ~/.cache when it is empty then. */
static void leave_base(char *base)
{
    char *slash = strrchr(base, '/');
    if (rmdir(base) < 0 || slash == NULL)
        return;
    *slash = '\0';
    const char *above = strrchr(base, '/');
    if (above != NULL && strcmp(above, "/.cache") == 0)
        rmdir(base);
    *slash = '/';
}

static char *
make_below(char *base, bool executable, const char *run_id, uint32_t worker, struct mf_error *error)
{
    if (make_folders(base) < 0) {
        mf_raise_errno(error, "%s", base);
        return NULL;
    }
    if (check_base(base, executable, error) < 0) {
        leave_base(base);
        return NULL;
    }
    char *run = mf_format("%s/runs/%s", base, run_id);
    char *path = mf_format("%s/runs/%s/%u", base, run_id, worker);
    int rc = -1;
    errno = ENOENT;
    /* Another run's sweep may remove what is still empty. */
    for (int tries = 0; run != NULL && path != NULL && rc < 0 && errno == ENOENT && tries < 5;
         tries++)
        rc = make_folders(run) < 0 ? -1 : mkdir(path, 0700);
    if (run == NULL || path == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a worker's folder");
    else if (rc < 0)
        mf_raise_errno(error, "%s", path);
    else {
        mf_free(run);
        return path;
    }
    mf_free(run);
    mf_free(path);
    return NULL;
}

char *place_make_in(char *base, const char *run_id, uint32_t worker, struct mf_error *error)
{
    return make_below(base, false, run_id, worker, error);
}

char *place_of_secrets(void)
{
    return mf_format("/dev/shm/mayfly-%u", (unsigned)geteuid());
}

void place_leave(const char *path, bool base)
{
    char *above = mf_strdup(path);
    for (int level = 0; above != NULL && level < (base ? 3 : 2); level++) {
        char *slash = strrchr(above, '/');
        if (slash == NULL || slash == above)
            break;
        *slash = '\0';
        if (rmdir(above) < 0)
            break;
    }
    mf_free(above);
}

/* Whether the program of this process lies in that place: bin/<version>/mayfly-worker. */
static bool has_own_program(const char *place, const char *program)
{
    struct stat there, own;
    const char *version = strrchr(program, '/');
    while (version != NULL && version > program && version[-1] != '/')
        version--;
    char *path = version == NULL ? NULL : mf_format("%s/bin/%s", place, version);
    bool is_same = path != NULL && stat(path, &there) == 0 && stat("/proc/self/exe", &own) == 0 &&
                   there.st_dev == own.st_dev && there.st_ino == own.st_ino;
    mf_free(path);
    return is_same;
}

/* Puts the place first to which this program was copied: there is room for it there, and whoever
 * removes the program looks there for runs that need it. */
static void prefer_own(char **places, unsigned count)
{
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0)
        return;
    program[length] = '\0';
    for (unsigned i = 1; i < count; i++) {
        if (!has_own_program(places[i], program))
            continue;
        char *own = places[i];
        memmove(places + 1, places, i * sizeof *places);
        places[0] = own;
        return;
    }
}

char *place_make(const char *run_id, uint32_t worker, struct mf_error *error)
{
    if (run_id[0] == '\0' || run_id[0] == '.' || strchr(run_id, '/') != NULL) {
        mf_raise(error, MF_EUSAGE, "\"%s\" is not the id of a run", run_id);
        return NULL;
    }
    unsigned count = 0;
    char **places = place_candidates(&count);
    char *path = NULL;
    struct mf_buffer reasons = {0};
    if (places == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the places of a worker");
        return NULL;
    }
    prefer_own(places, count);
    for (unsigned i = 0; i < count && path == NULL; i++) {
        struct mf_error reason = {0};
        path = make_below(places[i], true, run_id, worker, &reason);
        if (path == NULL)
            mf_buffer_printf(&reasons, NULL, "%s%s", i == 0 ? "" : "; ", reason.text);
    }
    if (path == NULL)
        mf_raise(error,
                 MF_ESETUP,
                 "no place on this host is writable and executable for a worker: %s; "
                 "set XDG_CACHE_HOME to a folder that is",
                 reasons.length == 0 ? "out of memory" : mf_buffer_text(&reasons));
    mf_buffer_fini(&reasons);
    place_candidates_free(places, count);
    return path;
}
