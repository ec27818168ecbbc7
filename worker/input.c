/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs: see input.h.
 *
 * Inputs are read in place, so that what the plan says of them is checked right before use, and
 * once more after a piece was copied out of one. Pieces and items are files without a name, not
 * pipes: a command that does not read costs nothing, and one that seeks can.
 */
#include "worker/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/write.h"

/* Standard input up to this size is kept in memory, more in a file. */
#define MEMORY_MAX (1u << 20)
#define COPY_SIZE (64u << 10)

static unsigned char copy_buffer[COPY_SIZE];

static int
check_identity(const struct unpacked *request, const struct stat *st, struct failure *failure)
{
    const struct slot_start *plan = request->start;
    int64_t mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    if (!S_ISREG(st->st_mode))
        return fail_attempt(failure,
                            MF_CAUSE_INPUT_CHANGED,
                            "the input \"%s\" is not a regular file",
                            request->input);
    if (plan->input_inode == 0)
        return 0;
    if ((uint64_t)st->st_size != plan->input_size)
        return fail_attempt(failure,
                            MF_CAUSE_INPUT_CHANGED,
                            "the input \"%s\" has changed since the plan was made: it had %llu "
                            "bytes and has %llu now",
                            request->input,
                            (unsigned long long)plan->input_size,
                            (unsigned long long)st->st_size);
    if (mtime_ns != plan->input_mtime_ns)
        return fail_attempt(failure,
                            MF_CAUSE_INPUT_CHANGED,
                            "the input \"%s\" was written to since the plan was made: its time of "
                            "modification differs",
                            request->input);
    if ((uint64_t)st->st_ino != plan->input_inode)
        return fail_attempt(failure,
                            MF_CAUSE_INPUT_CHANGED,
                            "the input \"%s\" was replaced since the plan was made: it is another "
                            "file of the same name",
                            request->input);
    return 0;
}

static int fail_unreadable(const struct unpacked *request, struct failure *failure)
{
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
        return fail_attempt(failure,
                            MF_CAUSE_INPUT_MISSING,
                            "the input \"%s\" is missing: it was there when the plan was made",
                            request->input);
    return fail_attempt_errno(
        failure, MF_CAUSE_INPUT_MISSING, "the input \"%s\" cannot be read", request->input);
}

/* The input, checked. O_NONBLOCK so that what has become a pipe does not stop the slot. */
static int open_input(const struct unpacked *request, struct failure *failure)
{
    struct stat st;
    int fd = open(request->input, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_unreadable(request, failure);
    if (fstat(fd, &st) < 0 || check_identity(request, &st, failure) < 0 ||
        fcntl(fd, F_SETFL, 0) < 0) {
        fail_attempt_errno(
            failure, MF_CAUSE_WORKER_ERROR, "cannot look at the input \"%s\"", request->input);
        close(fd);
        return -1;
    }
    return fd;
}

/* A file without a name in attempts/, or in memory. */
static int open_nameless(uint64_t size, struct failure *failure)
{
    int fd = -1;
    if (size <= MEMORY_MAX)
        fd = memfd_create("mayfly-stdin", MFD_CLOEXEC);
    if (fd < 0)
        fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        char name[] = ".stdin-XXXXXX"; /* a file system without O_TMPFILE */
        fd = mkostemp(name, O_CLOEXEC);
        if (fd >= 0)
            unlink(name);
    }
    if (fd < 0)
        fail_attempt_errno(
            failure, MF_CAUSE_WORKER_ERROR, "cannot make a file for the attempt's standard input");
    return fd;
}

static int
write_all(int fd, const unsigned char *data, size_t length, off_t at, struct failure *failure)
{
    if (mf_pwrite_all(fd, mf_bytes_of(data, length), (uint64_t)at) == 0)
        return 0;
    return fail_attempt_errno(
        failure, MF_CAUSE_WORKER_ERROR, "cannot write the attempt's standard input");
}

/* As much as the kernel copies by itself (sharing blocks where the file system can). */
static uint64_t copy_in_kernel(int from, off_t *offset, uint64_t length, int to, off_t *at)
{
    uint64_t left = length;
    while (left > MEMORY_MAX) {
        ssize_t n = copy_file_range(from, offset, to, at, left, 0);
        if (n <= 0)
            break;
        left -= (uint64_t)n;
    }
    return left;
}

/* Copies a range of the input to position *at of `to`, which it advances. */
static int copy_range(const struct unpacked *request,
                      int from,
                      uint64_t offset,
                      uint64_t length,
                      int to,
                      off_t *at,
                      struct failure *failure)
{
    off_t position = (off_t)offset;
    uint64_t left = copy_in_kernel(from, &position, length, to, at);
    while (left > 0) {
        size_t wanted = left < COPY_SIZE ? (size_t)left : COPY_SIZE;
        ssize_t n = pread(from, copy_buffer, wanted, position);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_attempt_errno(
                failure, MF_CAUSE_INPUT_MISSING, "the input \"%s\" cannot be read", request->input);
        if (n == 0)
            return fail_attempt(failure,
                                MF_CAUSE_INPUT_CHANGED,
                                "the input \"%s\" has changed since the plan was made: it ends "
                                "%llu bytes before the end of this piece",
                                request->input,
                                (unsigned long long)left);
        if (write_all(to, copy_buffer, (size_t)n, *at, failure) < 0)
            return -1;
        *at += n;
        position += n;
        left -= (uint64_t)n;
    }
    return 0;
}

static int open_piece(const struct unpacked *request, struct failure *failure)
{
    const struct slot_start *plan = request->start;
    off_t at = 0;
    struct stat st;
    int from = open_input(request, failure);
    if (from < 0)
        return -1;
    int to = open_nameless(plan->header_length + plan->length, failure);
    if (to < 0)
        goto fail;
    if (copy_range(request, from, 0, plan->header_length, to, &at, failure) < 0 ||
        copy_range(request, from, plan->offset, plan->length, to, &at, failure) < 0)
        goto fail;
    if (fstat(from, &st) < 0 || check_identity(request, &st, failure) < 0)
        goto fail;
    close(from);
    return to;
fail:
    if (to >= 0)
        close(to);
    close(from);
    return -1;
}

static int open_item(const struct unpacked *request, struct failure *failure)
{
    size_t length = (size_t)request->start->item_length;
    int fd = open_nameless(length, failure);
    if (fd < 0)
        return -1;
    if (write_all(fd, request->item, length, 0, failure) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int input_open(const struct unpacked *request, int *fd, struct failure *failure)
{
    uint32_t mode = request->start->stdin_mode;
    struct stat st;
    *fd = -1;
    if ((mode == MF_STDIN_PIECE || mode == MF_STDIN_INPUT) && request->input[0] == '\0')
        return fail_attempt(failure,
                            MF_CAUSE_NOT_STARTED,
                            "the subtask has no input file that could be its standard input");
    if (mode == MF_STDIN_PIECE)
        *fd = open_piece(request, failure);
    else if (mode == MF_STDIN_INPUT)
        *fd = open_input(request, failure);
    else {
        if (request->input[0] != '\0' && stat(request->input, &st) < 0)
            return fail_unreadable(request, failure);
        if (request->input[0] != '\0' && check_identity(request, &st, failure) < 0)
            return -1;
        if (mode != MF_STDIN_ITEM)
            return 0;
        *fd = open_item(request, failure);
    }
    return *fd < 0 ? -1 : 0;
}
