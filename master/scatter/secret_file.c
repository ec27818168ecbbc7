/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with secrets: see secret_file.h. Killed anywhere, a write leaves the old file or the new
 * one, and at most a temporary name that the next write of the same file or its removal takes away.
 * Overwriting before unlinking is best effort: a file system that copies on write keeps old blocks.
 */
#include "master/scatter/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mbedtls/platform_util.h>

#include "common/alloc.h"
#include "common/write.h"

#define SIZE_MAX_BYTES (64u << 10)

/* The name while it is written: one temporary name a file, so that a crash leaves at most one. */
static void temporary_name(const char *name, char *text, size_t size)
{
    snprintf(text, size, ".%s.new", name);
}

int secret_folder_open(const char *folder, struct mf_error *error)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return mf_raise_errno(error, "cannot open the folder %s", folder);
    return fd;
}

int secret_folder_make(const char *folder, struct mf_error *error)
{
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return mf_raise_errno(error, "cannot make the folder %s", folder);
    int fd = secret_folder_open(folder, error);
    if (fd >= 0 && fchmod(fd, 0700) < 0) {
        mf_raise_errno(error, "cannot keep the folder %s to its owner", folder);
        close(fd);
        return -1;
    }
    return fd;
}

int secret_file_write(int folder, const char *name, const char *text, struct mf_error *error)
{
    char temporary[64];
    temporary_name(name, temporary, sizeof(temporary));
    if (secret_file_remove(folder, temporary, error) < 0)
        return -1;
    int fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return mf_raise_errno(error, "cannot write the file %s", name);
    bool written = mf_write_all(fd, mf_bytes_text(text)) == 0 && fsync(fd) == 0;
    if (!written)
        mf_raise_errno(error, "cannot write the file %s", name);
    close(fd);
    if (written && renameat(folder, temporary, folder, name) == 0 && fsync(folder) == 0)
        return 0;
    if (written)
        mf_raise_errno(error, "cannot put the file %s in place", name);
    secret_file_remove(folder, temporary, NULL);
    return -1;
}

static char *read_all(int fd, size_t size)
{
    char *text = mf_malloc(size + 1);
    size_t at = 0;
    while (text != NULL && at < size) {
        ssize_t n = read(fd, text + at, size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    if (text != NULL)
        text[at] = '\0';
    return text;
}

char *secret_file_read(int folder, const char *name, struct mf_error *error)
{
    struct stat status;
    char *text = NULL;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT)
            mf_raise(error, MF_EINPUT, "the file %s is not there", name);
        else
            mf_raise_errno(error, "cannot open the file %s", name);
        return NULL;
    }
    if (fstat(fd, &status) < 0)
        mf_raise_errno(error, "cannot look at the file %s", name);
    else if (status.st_size > (off_t)SIZE_MAX_BYTES || !S_ISREG(status.st_mode))
        mf_raise(error, MF_EINPUT, "the file %s is too large or not a plain file", name);
    else if ((text = read_all(fd, (size_t)status.st_size)) == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: reading the file %s", name);
    close(fd);
    return text;
}

void secret_text_free(char *text)
{
    if (text == NULL)
        return;
    mbedtls_platform_zeroize(text, strlen(text));
    mf_free(text);
}

static void overwrite(int fd)
{
    static const char zeros[4096];
    struct stat status;
    off_t left = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? status.st_size : 0;
    while (left > 0) {
        ssize_t n = write(fd, zeros, left < (off_t)sizeof(zeros) ? (size_t)left : sizeof(zeros));
        if (n <= 0)
            break;
        left -= n;
    }
    fsync(fd);
}

int secret_file_remove(int folder, const char *name, struct mf_error *error)
{
    int fd = openat(folder, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) {
        overwrite(fd);
        close(fd);
    }
    if (unlinkat(folder, name, 0) < 0 && errno != ENOENT)
        return mf_raise_errno(error, "cannot remove the file %s", name);
    return 0;
}
