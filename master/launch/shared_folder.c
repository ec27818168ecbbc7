/* SPDX-License-Identifier: Apache-2.0 */
/* The shared folder: see shared_folder.h. It is flat. */
#include "master/launch/shared_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/write.h"

#define NOTES "jobs"

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

int shared_folder_make(const char *folder,
                       const char *binary,
                       const char *key,
                       struct mf_error *error)
{
    struct stat facts;
    if (strpbrk(folder, "'\n") != NULL)
        return mf_raise(error,
                        MF_ESETUP,
                        "the folder %s has a quote or a line end in its name: name another one by "
                        "%s",
                        folder,
                        key);
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return mf_raise_errno(error, "cannot make the folder %s (%s)", folder, key);
    if (lstat(folder, &facts) < 0 || !S_ISDIR(facts.st_mode) || facts.st_uid != geteuid() ||
        (facts.st_mode & 077) != 0)
        return mf_raise(error,
                        MF_ESETUP,
                        "%s is not a folder of yours alone: remove it, or name another place by %s",
                        folder,
                        key);
    if (binary == NULL)
        return 0;
    char *path = mf_format("%s/mayfly-worker", folder);
    int rc = path == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path")
                          : install(folder, path, binary, error);
    mf_free(path);
    return rc;
}

static int put(const char *folder,
               const char *name,
               uint32_t worker,
               struct mf_bytes text,
               mode_t mode,
               struct mf_error *error)
{
    char *path = path_of(folder, name, worker);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    int rc = fd < 0 || mf_write_all(fd, text) < 0 ? -1 : 0;
    if (rc < 0)
        mf_raise_errno(error, "cannot write %s", path);
    if (fd >= 0 && close(fd) < 0 && rc == 0) /* NFS tells here that there is no room */
        rc = mf_raise_errno(error, "cannot write %s", path);
    if (rc < 0)
        unlink(path);
    mf_free(path);
    return rc;
}

int shared_folder_put_input(const char *folder,
                            uint32_t worker,
                            const char *input,
                            struct mf_error *error)
{
    return put(folder, "input", worker, mf_bytes_text(input), 0600, error);
}

int shared_folder_put_script(const char *folder,
                             uint32_t worker,
                             struct mf_bytes script,
                             struct mf_error *error)
{
    return put(folder, "start", worker, script, 0700, error);
}

void shared_folder_drop_input(const char *folder, uint32_t worker)
{
    char *path = path_of(folder, "input", worker);
    if (path != NULL)
        unlink(path);
    mf_free(path);
}

bool shared_folder_has_input(const char *folder, uint32_t worker)
{
    char *path = path_of(folder, "input", worker);
    bool is_there = path != NULL && access(path, F_OK) == 0;
    mf_free(path);
    return is_there;
}

int shared_note_add(struct mf_buffer *notes,
                    uint32_t worker,
                    const char *text,
                    struct mf_error *error)
{
    /* The first line end ends what an earlier note may have left torn. */
    const char *begin = mf_buffer_view(notes).length == 0 ? "\n" : "";
    return mf_buffer_printf(notes, error, "%s%u %s .\n", begin, worker, text) < 0 ? -1 : 0;
}

static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return rc;
}

int shared_folder_note(const char *folder, struct mf_bytes notes, struct mf_error *error)
{
    char *path = mf_format("%s/" NOTES, folder);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc =
        fd < 0 || mf_write_all(fd, notes) < 0 || fsync(fd) < 0 || sync_folder(folder) < 0 ? -1 : 0;
    if (rc < 0)
        mf_raise_errno(error, "cannot write %s", path);
    if (fd >= 0)
        close(fd);
    mf_free(path);
    return rc;
}

bool shared_folder_has_notes(const char *folder)
{
    char *path = mf_format("%s/" NOTES, folder);
    bool is_there = path != NULL && access(path, F_OK) == 0;
    mf_free(path);
    return is_there;
}

/* The worker and the text of a line, which loses its end; NULL: it is no note, or a torn one. */
static const char *read_note(char *line, uint32_t *worker)
{
    char *end;
    size_t length = strcspn(line, "\n");
    unsigned long long value = strtoull(line, &end, 10);
    if (*line < '0' || *line > '9' || value > UINT32_MAX || *end != ' ')
        return NULL;
    char *text = end + 1, *mark = line + length - 2; /* " ." */
    if (mark < text || mark[0] != ' ' || mark[1] != '.')
        return NULL;
    *mark = '\0';
    *worker = (uint32_t)value;
    return text;
}

bool shared_folder_read_notes(const char *folder, shared_note_f *note, void *arg)
{
    char *path = mf_format("%s/" NOTES, folder), *line = NULL;
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    size_t room = 0;
    uint32_t worker;
    while (file != NULL && getline(&line, &room, file) > 0) {
        const char *text = read_note(line, &worker);
        if (text != NULL)
            note(arg, worker, text);
    }
    if (file != NULL)
        fclose(file);
    free(line);
    mf_free(path);
    return file != NULL;
}

struct search {
    uint32_t worker;
    char *text;
    size_t size;
    bool is_found;
};

static void look_at_note(void *arg, uint32_t worker, const char *text)
{
    struct search *search = arg;
    if (worker != search->worker)
        return;
    snprintf(search->text, search->size, "%s", text);
    search->is_found = true;
}

bool shared_folder_find(const char *folder, uint32_t worker, char *text, size_t size)
{
    struct search search = {.worker = worker, .text = text, .size = size};
    shared_folder_read_notes(folder, look_at_note, &search);
    return search.is_found;
}

bool shared_folder_read_output(const char *folder, uint32_t worker, char *text, size_t size)
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

int shared_folder_remove(const char *folder, uint32_t *removed, struct mf_error *error)
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
