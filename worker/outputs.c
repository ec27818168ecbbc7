/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outputs: see outputs.h. The globs are walked by hand, component by component: glob(3) would keep
 * all names in memory, and this process's peak shows in the peak of what it spawns. Two passes: all
 * is checked before anything is moved.
 */
#include "worker/outputs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct walk {
    const struct unpacked *request;
    struct failure *failure;
    outputs_found_f *found; /* NULL in the first pass */
    void *arg;
    const char *glob;
    uint32_t matches;
    uint32_t number;
    size_t folder_length;
    char root[PATH_MAX];     /* of the attempt's folder, resolved */
    char resolved[PATH_MAX]; /* of the file at hand */
    char path[PATH_MAX];     /* folder/name */
};

static const char *name_of(const struct walk *walk)
{
    return walk->path + walk->folder_length + 1;
}

static bool is_our_link(const struct walk *walk)
{
    const char *link = walk->request->links;
    for (uint32_t i = 0; i < walk->request->start->link_count; i++) {
        if (strcmp(link, name_of(walk)) == 0)
            return true;
        link = unpack_next(unpack_next(link));
    }
    return false;
}

static int refuse(struct walk *walk, const char *why)
{
    return fail_attempt(walk->failure,
                        MF_CAUSE_OUTPUT_MISSING,
                        "outputs: \"%s\" matches \"%s\", which %s",
                        walk->glob,
                        name_of(walk),
                        why);
}

static int check_file(struct walk *walk, struct stat *st)
{
    if (realpath(walk->path, walk->resolved) == NULL)
        return refuse(walk, "is a link that leads nowhere");
    size_t length = strlen(walk->root);
    if (strncmp(walk->resolved, walk->root, length) != 0 || walk->resolved[length] != '/')
        return refuse(walk, "leads out of the attempt's folder");
    if (stat(walk->resolved, st) < 0 || !S_ISREG(st->st_mode))
        return refuse(walk, "is not a regular file");
    return 0;
}

/* A second name for the file; where there are no hard links, it moves. */
static int keep_file(struct walk *walk, const struct stat *st)
{
    char kept[SLOT_NAME_SIZE + 32];
    struct slot_output output = {.fence = walk->request->start->fence,
                                 .size = (uint64_t)st->st_size,
                                 .mode = st->st_mode & 07777,
                                 .number = walk->number++};
    snprintf(kept, sizeof kept, "%s.out/%u", walk->request->folder, output.number);
    if (link(walk->resolved, kept) < 0 && rename(walk->resolved, kept) < 0)
        return fail_attempt_errno(
            walk->failure, MF_CAUSE_WORKER_ERROR, "cannot keep the output \"%s\"", name_of(walk));
    if ((st->st_mode & 0400) == 0 && chmod(kept, output.mode | 0400) < 0)
        return fail_attempt_errno(walk->failure,
                                  MF_CAUSE_WORKER_ERROR,
                                  "cannot make the output \"%s\" readable",
                                  name_of(walk));
    walk->found(walk->arg, &output, name_of(walk));
    return 0;
}

static int take_match(struct walk *walk)
{
    struct stat st;
    if (lstat(walk->path, &st) < 0 || is_our_link(walk))
        return 0;
    if (check_file(walk, &st) < 0)
        return -1;
    walk->matches++;
    return walk->found == NULL ? 0 : keep_file(walk, &st);
}

static int walk_glob(struct walk *walk, size_t length, const char *glob);

/* Appends one component to the path, and goes on with the rest of the glob. */
static int enter(struct walk *walk, size_t length, const char *name, size_t size, const char *rest)
{
    if (length + size + 2 > sizeof walk->path)
        return 0; /* there can be no such file */
    walk->path[length] = '/';
    memcpy(walk->path + length + 1, name, size);
    walk->path[length + 1 + size] = '\0';
    int rc = rest == NULL ? take_match(walk) : walk_glob(walk, length + 1 + size, rest);
    walk->path[length] = '\0';
    return rc;
}

static int match_entries(struct walk *walk, size_t length, const char *pattern, const char *rest)
{
    DIR *folder = opendir(walk->path);
    if (folder == NULL)
        return 0;
    int rc = 0;
    struct dirent *entry;
    while (rc == 0 && (entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
            fnmatch(pattern, name, FNM_PERIOD) == 0)
            rc = enter(walk, length, name, strlen(name), rest);
    }
    closedir(folder);
    return rc;
}

/* `length`: of the path walked so far; `glob`: what is still to match below it. */
static int walk_glob(struct walk *walk, size_t length, const char *glob)
{
    while (glob[0] == '/' || (glob[0] == '.' && glob[1] == '/'))
        glob += glob[0] == '/' ? 1 : 2;
    const char *slash = strchr(glob, '/');
    size_t size = slash == NULL ? strlen(glob) : (size_t)(slash - glob);
    const char *rest = slash == NULL ? NULL : slash + 1;
    char pattern[NAME_MAX * 4];
    if (size == 0 || size >= sizeof pattern)
        return 0;
    memcpy(pattern, glob, size);
    pattern[size] = '\0';
    if (strpbrk(pattern, "*?[\\") != NULL)
        return match_entries(walk, length, pattern, rest);
    return enter(walk, length, pattern, size, rest);
}

static int walk_all(struct walk *walk)
{
    const char *glob = walk->request->outputs;
    for (uint32_t i = 0; i < walk->request->start->output_count; i++, glob = unpack_next(glob)) {
        walk->glob = glob;
        walk->matches = 0;
        if (walk_glob(walk, walk->folder_length, glob) < 0)
            return -1;
        if (walk->matches == 0 && walk->found == NULL)
            return fail_attempt(
                walk->failure,
                MF_CAUSE_OUTPUT_MISSING,
                "outputs: \"%s\" matches nothing in the attempt's folder: mend the glob, "
                "or let the command make such a file",
                glob);
    }
    return 0;
}

int outputs_collect(const struct unpacked *request,
                    outputs_found_f *found,
                    void *arg,
                    struct failure *failure)
{
    static struct walk walk; /* some pages: not on the stack of a process that counts its own */
    char kept[SLOT_NAME_SIZE + 8];
    walk = (struct walk){.request = request, .failure = failure, .arg = arg};
    walk.folder_length = strlen(request->folder);
    snprintf(walk.path, sizeof walk.path, "%s", request->folder);
    if (realpath(walk.path, walk.root) == NULL)
        return fail_attempt_errno(
            failure, MF_CAUSE_WORKER_ERROR, "cannot find the attempt's folder again");
    if (walk_all(&walk) < 0)
        return -1;
    snprintf(kept, sizeof kept, "%s.out", request->folder);
    if (mkdir(kept, 0700) < 0)
        return fail_attempt_errno(
            failure, MF_CAUSE_WORKER_ERROR, "cannot make the folder %s for outputs", kept);
    walk.found = found;
    return walk_all(&walk);
}
