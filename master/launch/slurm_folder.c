/* SPDX-License-Identifier: Apache-2.0 */
/* The shared folder: see slurm_folder.h. It is flat. */
#include "master/launch/slurm_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/write.h"
#include "master/launch/answer.h"

static char *path_of(const char *folder, const char *name, uint32_t worker)
{
    return mf_format("%s/%s.%u", folder, name, worker);
}

static int copy_program(const char *binary, int to, struct mf_error *error)
{
    struct stat facts;
    int from = open(binary, O_RDONLY | O_CLOEXEC);
    if (from < 0 || fstat(from, &facts) < 0) {
        mf_raise_errno(error, "the worker's program %s cannot be read", binary);
        if (from >= 0)
            close(from);
        return -1;
    }
    ssize_t n = 1;
    while (n > 0)
        n = sendfile(to, from, NULL, 1u << 30);
    close(from);
    return n < 0 ? mf_raise_errno(error, "the worker's program cannot be copied") : 0;
}

/* In place whole or not at all. */
static int install(const char *folder, const char *path, const char *binary, struct mf_error *error)
{
    char *temporary = mf_format("%s.new", path);
    int fd = temporary == NULL
                 ? -1
                 : open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0700);
    int rc = fd < 0 ? mf_raise_errno(error, "cannot write into the folder %s", folder)
                    : copy_program(binary, fd, error);
    if (fd >= 0 && close(fd) < 0 && rc == 0)
        rc = mf_raise_errno(error, "cannot write %s", temporary);
    if (rc == 0 && rename(temporary, path) < 0)
        rc = mf_raise_errno(error, "cannot write %s", path);
    if (rc < 0 && temporary != NULL)
        unlink(temporary);
    mf_free(temporary);
    return rc;
}

int slurm_folder_make(const char *folder, const char *binary, struct mf_error *error)
{
    struct stat facts;
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return mf_raise_errno(error, "cannot make the folder %s (workers.slurm.folder)", folder);
    if (lstat(folder, &facts) < 0 || !S_ISDIR(facts.st_mode) || facts.st_uid != geteuid() ||
        (facts.st_mode & 077) != 0)
        return mf_raise(error,
                        MF_ESETUP,
                        "%s is not a folder of yours alone: remove it, or name another place by "
                        "workers.slurm.folder",
                        folder);
    char *path = mf_format("%s/mayfly-worker", folder);
    int rc = path == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path")
                          : install(folder, path, binary, error);
    mf_free(path);
    return rc;
}

int slurm_folder_put_input(const char *folder,
                           uint32_t worker,
                           const char *input,
                           struct mf_error *error)
{
    char *path = path_of(folder, "input", worker);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd < 0 || mf_write_all(fd, mf_bytes_text(input)) < 0 ? -1 : 0;
    if (rc < 0)
        mf_raise_errno(error, "cannot write %s", path);
    if (fd >= 0 && close(fd) < 0 && rc == 0) /* NFS tells here that there is no room */
        rc = mf_raise_errno(error, "cannot write %s", path);
    if (rc < 0)
        unlink(path);
    mf_free(path);
    return rc;
}

void slurm_folder_drop_input(const char *folder, uint32_t worker)
{
    char *path = path_of(folder, "input", worker);
    if (path != NULL)
        unlink(path);
    mf_free(path);
}

static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return rc;
}

static int
append(const char *folder, const char *path, struct mf_bytes lines, struct mf_error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc =
        fd < 0 || mf_write_all(fd, lines) < 0 || fsync(fd) < 0 || sync_folder(folder) < 0 ? -1 : 0;
    if (rc < 0)
        mf_raise_errno(error, "cannot write %s", path);
    if (fd >= 0)
        close(fd);
    return rc;
}

int slurm_folder_note_job(const char *folder,
                          uint32_t job,
                          const uint32_t *workers,
                          uint32_t count,
                          struct mf_error *error)
{
    struct mf_buffer lines = {0};
    char *path = mf_format("%s/jobs", folder);
    /* The first line end ends what an earlier note may have left torn. */
    int rc = path == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path")
                          : mf_buffer_printf(&lines, error, "\n");
    for (uint32_t i = 0; rc >= 0 && i < count; i++)
        rc = mf_buffer_printf(&lines, error, "%u %u %u .\n", workers[i], job, i);
    if (rc >= 0)
        rc = append(folder, path, mf_buffer_view(&lines), error);
    mf_buffer_fini(&lines);
    mf_free(path);
    return rc < 0 ? -1 : 0;
}

static bool find_in_notes(const char *folder, uint32_t worker, uint32_t *job, uint32_t *index)
{
    char *path = mf_format("%s/jobs", folder);
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    char line[80], dot;
    uint32_t w, j, i;
    bool is_there = false;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%u %u %u %c", &w, &j, &i, &dot) == 4 && w == worker && dot == '.') {
            *job = j;
            *index = i;
            is_there = true;
        }
    if (file != NULL)
        fclose(file);
    mf_free(path);
    return is_there;
}

bool slurm_folder_find_job(const char *folder, uint32_t worker, uint32_t *job, uint32_t *index)
{
    char output[1024], text[64];
    return find_in_notes(folder, worker, job, index) ||
           (slurm_folder_read_output(folder, worker, output, sizeof output) &&
            answer_line(output, "job", text, sizeof text) &&
            sscanf(text, "%u %u", job, index) == 2);
}

bool slurm_folder_has_input(const char *folder, uint32_t worker)
{
    char *path = path_of(folder, "input", worker);
    bool is_there = path != NULL && access(path, F_OK) == 0;
    mf_free(path);
    return is_there;
}

bool slurm_folder_read_output(const char *folder, uint32_t worker, char *text, size_t size)
{
    char *path = path_of(folder, "out", worker);
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
    mf_free(path);
    return n >= 0;
}

int slurm_folder_remove(const char *folder, uint32_t *removed, struct mf_error *error)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *all = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int rc = 0;
    *removed = 0;
    if (all == NULL && fd >= 0)
        close(fd);
    if (all == NULL)
        return errno == ENOENT ? 0 : mf_raise_errno(error, "cannot look into %s", folder);
    while ((entry = readdir(all)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(all), entry->d_name, 0) == 0)
            ++*removed;
        else if (errno != ENOENT)
            rc = mf_raise_errno(error, "cannot remove %s/%s", folder, entry->d_name);
    }
    closedir(all);
    if (rc == 0 && rmdir(folder) < 0 && errno != ENOENT)
        rc = mf_raise_errno(error, "cannot remove the folder %s", folder);
    return rc;
}
