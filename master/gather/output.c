/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `result` is written as `result.tmp`, synced, renamed, and its folder synced. Killed before the
 * rename, a run has no result; the next gather begins anew.
 */
#include "master/gather/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/crash.h"

#define BUFFER_SIZE (256 * 1024)

struct output {
    char *folder, *path, *temporary;
    int fd;
    uint64_t written;
    size_t filled;
    unsigned char buffer[BUFFER_SIZE];
};

static int raise_write(const struct output *output, struct mf_error *error)
{
    return mf_raise_write(error, "cannot write %s", output->path);
}

struct output *output_open(const char *run_folder, struct mf_error *error)
{
    struct output *output = mf_calloc(1, sizeof *output);
    if (output == NULL)
        goto no_memory;
    output->fd = -1;
    output->folder = mf_strdup(run_folder);
    output->path = mf_format("%s/result", run_folder);
    output->temporary = mf_format("%s/result.tmp", run_folder);
    if (output->folder == NULL || output->path == NULL || output->temporary == NULL)
        goto no_memory;
    output->fd = open(output->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (output->fd < 0) {
        raise_write(output, error);
        goto fail;
    }
    return output;
no_memory:
    mf_raise(error, MF_ENOMEM, "memory is exhausted while gathering %s", run_folder);
fail:
    output_close(output);
    return NULL;
}

static int
write_all(struct output *output, const unsigned char *data, size_t length, struct mf_error *error)
{
    while (length > 0) {
        ssize_t done = write(output->fd, data, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return raise_write(output, error);
        data += done;
        length -= (size_t)done;
    }
    return 0;
}

static int drain(struct output *output, struct mf_error *error)
{
    size_t filled = output->filled;
    output->filled = 0;
    return write_all(output, output->buffer, filled, error);
}

int output_write(struct output *output, struct mf_bytes bytes, struct mf_error *error)
{
    output->written += bytes.length;
    if (bytes.length > BUFFER_SIZE - output->filled && drain(output, error) < 0)
        return -1;
    if (bytes.length >= BUFFER_SIZE)
        return write_all(output, bytes.data, bytes.length, error);
    if (bytes.length > 0)
        memcpy(output->buffer + output->filled, bytes.data, bytes.length);
    output->filled += bytes.length;
    return 0;
}

int output_text(struct output *output, const char *text, struct mf_error *error)
{
    return output_write(output, mf_bytes_text(text), error);
}

static int sync_folder(const struct output *output, struct mf_error *error)
{
    int fd = open(output->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return mf_raise_errno(error, "cannot open the folder %s", output->folder);
    int result = fsync(fd) < 0 ? mf_raise_errno(error, "cannot sync %s", output->folder) : 0;
    close(fd);
    return result;
}

int output_finish(struct output *output, uint64_t *bytes, struct mf_error *error)
{
    if (drain(output, error) < 0)
        return -1;
    if (fsync(output->fd) < 0)
        return raise_write(output, error);
    MF_CRASH(MASTER_BEFORE_RESULT);
    if (rename(output->temporary, output->path) < 0)
        return mf_raise_write(error, "cannot rename %s", output->temporary);
    MF_CRASH(MASTER_AFTER_RESULT);
    close(output->fd);
    output->fd = -1;
    if (sync_folder(output, error) < 0) {
        unlink(output->path); /* no result without the promise that it stays */
        return -1;
    }
    *bytes = output->written;
    return 0;
}

void output_close(struct output *output)
{
    if (output == NULL)
        return;
    if (output->fd >= 0) {
        close(output->fd);
        unlink(output->temporary);
    }
    mf_free(output->folder);
    mf_free(output->path);
    mf_free(output->temporary);
    mf_free(output);
}
