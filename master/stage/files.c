/* SPDX-License-Identifier: Apache-2.0 */
/* The job's own files: see files.h. */
#include "master/stage/files.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"

#define DEPTH_MAX 64

/* A folder on the way down: what leads back to one of them would never end. */
struct above {
    const struct above *above;
    dev_t device;
    ino_t inode;
    unsigned depth;
};

struct walk {
    struct stage_files *files;
    const struct job *job;
    struct mf_error *error;
};

static int out_of_memory(struct walk *walk)
{
    return mf_raise(walk->error, MF_ENOMEM, "out of memory: the job's own files");
}

static int refuse(struct walk *walk, const char *path, const char *why)
{
    return mf_raise(walk->error,
                    MF_EUSAGE,
                    "%s: task.files: '%s' cannot travel to the workers: %s",
                    walk->job->path,
                    path,
                    why);
}

static bool is_listed(const struct stage_files *files, struct mf_bytes path)
{
    for (uint32_t i = 0; i < files->count; i++)
        if (mf_bytes_equal(files->items[i].path, path))
            return true;
    return false;
}

static int add(struct walk *walk, const char *path, const struct stat *st)
{
    struct stage_files *files = walk->files;
    if (files->count == STAGE_FILES_MAX || files->names + strlen(path) > STAGE_NAMES_MAX)
        return refuse(
            walk,
            path,
            "the job has more than 4,096 files and folders of its own, or more than 1 MiB "
            "of names; pack them into an archive, or name fewer");
    if (files->count == files->capacity) {
        uint32_t capacity = files->capacity == 0 ? 16 : files->capacity * 2;
        struct mf_task_file *items = mf_realloc(files->items, capacity * sizeof *items);
        if (items == NULL)
            return out_of_memory(walk);
        files->items = items;
        files->capacity = capacity;
    }
    char *copy = mf_strdup(path);
    if (copy == NULL)
        return out_of_memory(walk);
    bool is_folder = S_ISDIR(st->st_mode);
    files->items[files->count++] = (struct mf_task_file){
        .path = mf_bytes_text(copy),
        .size = is_folder ? 0 : (uint64_t)st->st_size,
        .mtime_ns = is_folder ? 0 : (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .inode = is_folder ? 0 : (uint64_t)st->st_ino,
        /* Whoever stores it must be able to read it. */
        .mode = (st->st_mode & 0777) | 0400,
        .is_folder = is_folder,
    };
    files->names += strlen(path);
    return 0;
}

static int add_path(struct walk *walk, const char *path, const struct above *above);

static int
add_entries(struct walk *walk, const char *path, const char *absolute, const struct above *self)
{
    DIR *folder = opendir(absolute);
    int rc = folder == NULL ? refuse(walk, path, strerror(errno)) : 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *name = mf_format("%s/%s", path, entry->d_name);
        rc = name == NULL ? out_of_memory(walk) : add_path(walk, name, self);
        mf_free(name);
    }
    if (folder != NULL)
        closedir(folder);
    return rc;
}

static int add_folder(struct walk *walk,
                      const char *path,
                      const char *absolute,
                      const struct stat *st,
                      const struct above *above)
{
    struct above self = {above, st->st_dev, st->st_ino, above == NULL ? 1 : above->depth + 1};
    for (const struct above *at = above; at != NULL; at = at->above)
        if (at->device == st->st_dev && at->inode == st->st_ino)
            return refuse(walk, path, "it is a link to a folder that it is in");
    if (self.depth > DEPTH_MAX)
        return refuse(walk, path, "it is nested too deep");
    return add(walk, path, st) < 0 ? -1 : add_entries(walk, path, absolute, &self);
}

static int add_path(struct walk *walk, const char *path, const struct above *above)
{
    struct stat st;
    char *absolute = mf_format("%s/%s", walk->job->folder, path);
    int rc = absolute == NULL ? out_of_memory(walk) : 0;
    if (rc < 0 || is_listed(walk->files, mf_bytes_text(path))) {
        mf_free(absolute);
        return rc;
    }
    if (stat(absolute, &st) < 0 || (S_ISREG(st.st_mode) && access(absolute, R_OK) < 0))
        rc = refuse(walk, path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        rc = add_folder(walk, path, absolute, &st, above);
    else if (!S_ISREG(st.st_mode))
        rc = refuse(walk, path, "it is neither a file nor a folder");
    else
        rc = add(walk, path, &st);
    mf_free(absolute);
    return rc;
}

/* The path as it is compared and stored: without "." and doubled slashes. */
static void tidy(char *path)
{
    char *out = path;
    for (const char *at = path; *at != '\0';) {
        size_t length = strcspn(at, "/");
        if (length > 0 && !(length == 1 && *at == '.')) {
            if (out != path)
                *out++ = '/';
            memmove(out, at, length);
            out += length;
        }
        at += length;
        at += strspn(at, "/");
    }
    *out = '\0';
}

int stage_files_list(struct stage_files *files, const struct job *job, struct mf_error *error)
{
    struct walk walk = {files, job, error};
    for (size_t i = 0; i < job->files.count; i++) {
        char *path = mf_strdup(job->files.items[i]);
        if (path == NULL)
            return out_of_memory(&walk);
        tidy(path);
        int rc = *path == '\0' ? refuse(&walk,
                                        job->files.items[i],
                                        "it is the job's folder itself; name what is in it")
                               : add_path(&walk, path, NULL);
        mf_free(path);
        if (rc < 0)
            return -1;
    }
    return 0;
}

void stage_files_fini(struct stage_files *files)
{
    for (uint32_t i = 0; i < files->count; i++)
        mf_free((void *)(uintptr_t)files->items[i].path.data);
    mf_free(files->items);
    *files = (struct stage_files){0};
}
