/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Globs become input files: see inputs.h. glob(3) works on bytes and sorts by locale, so it is told
 * not to sort. A pattern is made absolute first (the folder's own special characters escaped),
 * since the process's working directory is not the job's folder.
 */
#include "master/split/inputs.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/buffer.h"

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory while listing the input files");
}

/* The folder, with what glob(3) would take as a pattern escaped. */
static int append_escaped(struct mf_buffer *out, const char *folder, struct mf_error *error)
{
    for (; *folder != '\0'; folder++) {
        if (strchr("*?[]\\", *folder) != NULL && mf_buffer_append(out, "\\", 1, error) < 0)
            return -1;
        if (mf_buffer_append(out, folder, 1, error) < 0)
            return -1;
    }
    return 0;
}

/* The part of a glob behind $MAYFLY_PREPARED, NULL when it does not start so. */
static const char *behind_prepared(const char *pattern)
{
    static const char *const names[] = {"$MAYFLY_PREPARED", "${MAYFLY_PREPARED}"};
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(names[i]);
        if (strncmp(pattern, names[i], length) == 0 &&
            (pattern[length] == '/' || pattern[length] == '\0'))
            return pattern + length;
    }
    return NULL;
}

static int make_pattern(struct mf_buffer *out,
                        const char *pattern,
                        const char *folder,
                        const char *prepared,
                        struct mf_error *error)
{
    const char *rest = behind_prepared(pattern);
    if (rest != NULL && prepared == NULL)
        return mf_raise(
            error,
            MF_EUSAGE,
            "split: '%s' needs the folder that 'prepare' makes, and no such command has run",
            pattern);
    if (rest != NULL)
        folder = prepared;
    else if (*pattern != '/')
        rest = pattern;
    if (rest != NULL &&
        (append_escaped(out, folder, error) < 0 || mf_buffer_append(out, "/", 1, error) < 0))
        return -1;
    return mf_buffer_append_text(out, rest == NULL ? pattern : rest + strspn(rest, "/"), error);
}

static bool has_dot_dot(const char *path)
{
    for (const char *p = strstr(path, ".."); p != NULL; p = strstr(p + 1, "..")) {
        if ((p == path || p[-1] == '/') && (p[2] == '/' || p[2] == '\0'))
            return true;
    }
    return false;
}

/* A path below the job's folder is named relative to it, any other stays absolute. */
static const char *relative(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    if (length == 1) /* the root */
        length = 0;
    if (strncmp(path, folder, length) != 0 || path[length] != '/' || has_dot_dot(path + length))
        return path;
    const char *rest = path + length;
    rest += strspn(rest, "/");
    return *rest == '\0' ? path : rest;
}

char *inputs_name(const char *path, const char *folder)
{
    char *absolute = *path == '/' ? mf_strdup(path) : mf_format("%s/%s", folder, path);
    char *name = absolute == NULL ? NULL : mf_strdup(relative(absolute, folder));
    mf_free(absolute);
    return name;
}

static int add(struct inputs *inputs, const char *path, struct mf_error *error)
{
    if (inputs->count == inputs->capacity) {
        size_t capacity = inputs->capacity == 0 ? 16 : inputs->capacity * 2;
        char **paths = mf_realloc(inputs->paths, capacity * sizeof *paths);
        if (paths == NULL)
            return raise_memory(error);
        inputs->paths = paths;
        inputs->capacity = capacity;
    }
    char *copy = mf_strdup(path);
    if (copy == NULL)
        return raise_memory(error);
    inputs->paths[inputs->count++] = copy;
    return 0;
}

/* A match: 1 taken, 0 a folder, -1 not usable. */
static int
take_match(struct inputs *inputs, const char *path, bool is_relative, struct mf_error *error)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return mf_raise(
            error, MF_EINPUT, "the input '%s' cannot be used: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return 0;
    if (!S_ISREG(status.st_mode))
        return mf_raise(
            error, MF_EINPUT, "the input '%s' is not a regular file; a file is expected", path);
    if (access(path, R_OK) < 0)
        return mf_raise(
            error, MF_EINPUT, "the input '%s' cannot be read: %s", path, strerror(errno));
    return add(inputs, is_relative ? relative(path, inputs->folder) : path, error) < 0 ? -1 : 1;
}

static int expand_glob(struct inputs *inputs,
                       const struct job *job,
                       const char *pattern,
                       const char *prepared,
                       struct mf_error *error)
{
    struct mf_buffer absolute = {0};
    glob_t found = {0};
    size_t taken = 0;
    int rc = make_pattern(&absolute, pattern, job->folder, prepared, error);
    const char *text = rc < 0 ? NULL : mf_buffer_text(&absolute);
    if (text == NULL) {
        mf_buffer_fini(&absolute);
        return rc < 0 ? -1 : raise_memory(error);
    }
    bool is_relative = *pattern != '/' && behind_prepared(pattern) == NULL;
    int code = glob(text, GLOB_NOSORT, NULL, &found);
    if (code == GLOB_NOSPACE)
        rc = raise_memory(error);
    for (size_t i = 0; rc == 0 && code == 0 && i < found.gl_pathc; i++) {
        int took = take_match(inputs, found.gl_pathv[i], is_relative, error);
        rc = took < 0 ? -1 : 0;
        taken += took > 0 ? 1 : 0;
    }
    if (rc == 0 && taken == 0 && !job->split.allow_empty)
        rc = mf_raise(error,
                      MF_EUSAGE,
                      "%s: split: the glob '%s' matches no file%s in %s",
                      job->path,
                      pattern,
                      found.gl_pathc > 0 ? ", only folders," : "",
                      behind_prepared(pattern) != NULL ? prepared : job->folder);
    globfree(&found);
    mf_buffer_fini(&absolute);
    return rc;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* strcmp compares as unsigned bytes: sorted bytewise in every locale. */
static void sort_once(struct inputs *inputs)
{
    size_t kept = 0;
    if (inputs->count > 1)
        qsort(inputs->paths, inputs->count, sizeof *inputs->paths, compare_paths);
    for (size_t i = 0; i < inputs->count; i++) {
        if (kept > 0 && strcmp(inputs->paths[kept - 1], inputs->paths[i]) == 0)
            mf_free(inputs->paths[i]);
        else
            inputs->paths[kept++] = inputs->paths[i];
    }
    inputs->count = kept;
}

int inputs_expand(struct inputs *inputs,
                  const struct job *job,
                  const char *prepared,
                  struct mf_error *error)
{
    inputs->folder = job->folder;
    for (size_t i = 0; i < job->split.globs.count; i++) {
        if (expand_glob(inputs, job, job->split.globs.items[i], prepared, error) < 0)
            return -1;
    }
    sort_once(inputs);
    return 0;
}

void inputs_fini(struct inputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++)
        mf_free(inputs->paths[i]);
    mf_free(inputs->paths);
    *inputs = (struct inputs){0};
}

char *inputs_absolute(const struct inputs *inputs, size_t index)
{
    const char *path = inputs->paths[index];
    if (*path == '/')
        return mf_strdup(path);
    return mf_format("%s/%s", inputs->folder, path);
}

int inputs_stat(
    const struct inputs *inputs, size_t index, int fd, struct stat *status, struct mf_error *error)
{
    int rc;
    if (fd >= 0) {
        rc = fstat(fd, status);
    } else {
        char *path = inputs_absolute(inputs, index);
        if (path == NULL)
            return raise_memory(error);
        rc = stat(path, status);
        mf_free(path);
    }
    if (rc < 0)
        return mf_raise(error,
                        MF_EINPUT,
                        "the input '%s' was there when the run began and cannot be used now: %s; "
                        "bring it back and "
                        "start a new run",
                        inputs->paths[index],
                        strerror(errno));
    if (!S_ISREG(status->st_mode))
        return mf_raise(
            error, MF_EINPUT, "the input '%s' is no regular file any more", inputs->paths[index]);
    return 0;
}

void inputs_describe(const struct stat *status, struct mf_subtask *piece)
{
    piece->input_size = (uint64_t)status->st_size;
    piece->input_mtime_ns = (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;
    piece->input_inode = (uint64_t)status->st_ino;
}
