/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes plan.seg: see plan_seg.h. Whole records gather in a buffer. A failed write (a full disk)
 * loses nothing: what was written is remembered, and the next flush goes on behind it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/split/plan_format.h"
#include "master/split/plan_seg.h"

#define FLUSH_AT (256u << 10)

struct plan_writer {
    int fd;
    char *path;
    struct mf_buffer pending; /* whole records */
    size_t written;           /* bytes of pending that are in the file */
    struct mf_buffer payload; /* of the record being made */
    struct mf_buffer input;   /* path of the input that was written last */
    struct mf_subtask last;   /* its size, time and inode */
    bool is_folder_synced;
};

static struct plan_writer *alloc_writer(const char *path, struct mf_error *error)
{
    struct plan_writer *writer = mf_calloc(1, sizeof *writer);
    if (writer == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory for the plan %s", path);
        return NULL;
    }
    writer->fd = -1;
    writer->path = mf_strdup(path);
    if (writer->path == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory for the plan %s", path);
        goto fail;
    }
    return writer;
fail:
    plan_writer_destroy(writer);
    return NULL;
}

struct plan_writer *plan_writer_create(const char *path, struct mf_error *error)
{
    struct plan_writer *writer = alloc_writer(path, error);
    if (writer == NULL)
        return NULL;
    if (mf_buffer_append(&writer->pending, PLAN_MAGIC, PLAN_MAGIC_SIZE, error) < 0)
        goto fail;
    writer->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (writer->fd >= 0)
        return writer;
    mf_raise_write(error, "cannot make the plan %s", path);
fail:
    plan_writer_destroy(writer);
    return NULL;
}

struct plan_writer *plan_writer_continue(const char *path, uint64_t size, struct mf_error *error)
{
    struct plan_writer *writer = alloc_writer(path, error);
    if (writer == NULL)
        return NULL;
    if (size == 0 && mf_buffer_append(&writer->pending, PLAN_MAGIC, PLAN_MAGIC_SIZE, error) < 0)
        goto fail;
    writer->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (writer->fd >= 0 && ftruncate(writer->fd, (off_t)size) == 0)
        return writer;
    mf_raise_errno(error, "cannot go on with the plan %s", path);
fail:
    plan_writer_destroy(writer);
    return NULL;
}

static bool is_last_input(const struct plan_writer *writer, const struct mf_subtask *piece)
{
    return mf_bytes_equal(mf_buffer_view(&writer->input), piece->path) &&
           writer->last.input_size == piece->input_size &&
           writer->last.input_mtime_ns == piece->input_mtime_ns &&
           writer->last.input_inode == piece->input_inode;
}

static int
append_input(struct plan_writer *writer, const struct mf_subtask *piece, struct mf_error *error)
{
    mf_buffer_clear(&writer->payload);
    if (plan_put_input(&writer->payload, piece, error) < 0)
        return -1;
    mf_buffer_clear(&writer->input);
    if (mf_buffer_append(&writer->input, piece->path.data, piece->path.length, error) < 0)
        return -1;
    writer->last = *piece;
    if (plan_put_record(&writer->pending, mf_buffer_view(&writer->payload), error) == 0)
        return 0;
    mf_buffer_clear(&writer->input); /* not written: the next piece says it again */
    return -1;
}

int plan_writer_append(struct plan_writer *writer,
                       const struct mf_subtask *piece,
                       struct mf_error *error)
{
    if (piece->path.length > 0 && !is_last_input(writer, piece) &&
        append_input(writer, piece, error) < 0)
        return -1;
    mf_buffer_clear(&writer->payload);
    if (plan_put_piece(&writer->payload, piece, error) < 0 ||
        plan_put_record(&writer->pending, mf_buffer_view(&writer->payload), error) < 0)
        return -1;
    /* A failure here is not lost: the records stay, and the flush before they are offered reports
     * it. */
    if (writer->pending.length - writer->written >= FLUSH_AT)
        (void)plan_writer_flush(writer, false, NULL);
    return 0;
}

int plan_writer_end(struct plan_writer *writer, uint64_t total, struct mf_error *error)
{
    mf_buffer_clear(&writer->payload);
    if (plan_put_end(&writer->payload, total, error) < 0)
        return -1;
    return plan_put_record(&writer->pending, mf_buffer_view(&writer->payload), error);
}

/* The file's name is in its folder, once, after the first data. */
static int sync_folder(struct plan_writer *writer, struct mf_error *error)
{
    char *slash = strrchr(writer->path, '/'), kept = '\0';
    if (slash != NULL && slash != writer->path) {
        kept = *slash;
        *slash = '\0';
    }
    int fd = open(slash == NULL           ? "."
                  : slash == writer->path ? "/"
                                          : writer->path,
                  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (kept != '\0')
        *slash = kept;
    int rc = fd < 0 ? -1 : fsync(fd);
    /* EINVAL: a file system that can't sync a folder; there is nothing more to be done. */
    if (rc < 0 && errno == EINVAL)
        rc = 0;
    if (rc < 0)
        mf_raise_errno(error, "cannot sync the folder of the plan %s", writer->path);
    if (fd >= 0)
        close(fd);
    writer->is_folder_synced = rc == 0;
    return rc;
}

int plan_writer_flush(struct plan_writer *writer, bool sync, struct mf_error *error)
{
    while (writer->written < writer->pending.length) {
        ssize_t n = write(writer->fd,
                          writer->pending.data + writer->written,
                          writer->pending.length - writer->written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mf_raise_write(error, "cannot write the plan %s", writer->path);
        writer->written += (size_t)n;
    }
    mf_buffer_clear(&writer->pending);
    writer->written = 0;
    if (!sync)
        return 0;
    if (fdatasync(writer->fd) < 0)
        return mf_raise_errno(error, "cannot sync the plan %s", writer->path);
    return writer->is_folder_synced ? 0 : sync_folder(writer, error);
}

void plan_writer_destroy(struct plan_writer *writer)
{
    if (writer == NULL)
        return;
    if (writer->fd >= 0)
        close(writer->fd);
    mf_buffer_fini(&writer->pending);
    mf_buffer_fini(&writer->payload);
    mf_buffer_fini(&writer->input);
    mf_free(writer->path);
    mf_free(writer);
}
