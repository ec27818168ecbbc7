/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upload: see upload.h. The queue is a list of items, one an attempt; the item at the head has a
 * position (file, offset). A chunk that is under way is remembered by how far it reaches; the
 * position moves when it has arrived, so what is read again after a failure is the same.
 */
#include "worker/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/checksum.h"

struct item {
    struct item *next;
    struct executed *executed;
};

struct upload {
    char *log_path;
    uint64_t log_sent;
    bool log_due;
    bool log_in_flight;
    struct item *first, **last;
    struct item *done, **done_last;
    uint32_t file;   /* of the first item */
    uint64_t offset; /* within that file */
    int fd;          /* that file, -1 = not open */
    struct mf_sha256 sha256;
    size_t in_flight; /* bytes of the chunk under way */
    bool is_in_flight;
    unsigned char *data; /* MF_CHUNK_MAX */
};

struct upload *upload_create(const char *worker_log, struct mf_error *error)
{
    struct upload *upload = mf_calloc(1, sizeof *upload);
    if (upload == NULL)
        goto fail;
    upload->fd = -1;
    upload->last = &upload->first;
    upload->done_last = &upload->done;
    upload->log_path = mf_strdup(worker_log);
    upload->data = mf_malloc(MF_CHUNK_MAX);
    if (upload->log_path == NULL || upload->data == NULL)
        goto fail;
    return upload;
fail:
    mf_raise(error, MF_ENOMEM, "out of memory: the queue of files for the master");
    upload_destroy(upload);
    return NULL;
}

static void close_file(struct upload *upload)
{
    if (upload->fd >= 0)
        close(upload->fd);
    upload->fd = -1;
    upload->offset = 0;
}

static void free_items(struct item *item)
{
    while (item != NULL) {
        struct item *next = item->next;
        mf_free(item);
        item = next;
    }
}

void upload_destroy(struct upload *upload)
{
    if (upload == NULL)
        return;
    close_file(upload);
    free_items(upload->first);
    free_items(upload->done);
    mf_free(upload->log_path);
    mf_free(upload->data);
    mf_free(upload);
}

int upload_add(struct upload *upload, struct executed *executed, struct mf_error *error)
{
    struct item *item = mf_calloc(1, sizeof *item);
    if (item == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the queue of files for the master");
    item->executed = executed;
    *upload->last = item;
    upload->last = &item->next;
    return 0;
}

static bool is_checksummed(const struct executed_file *file)
{
    return file->kind == MF_CHUNK_RESULT || file->kind == MF_CHUNK_OUTPUT;
}

static int
open_file(struct upload *upload, const struct executed_file *file, struct mf_error *error)
{
    upload->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (upload->fd < 0)
        return mf_raise_errno(error, "cannot open %s to send it", file->path);
    upload->offset = 0;
    mf_sha256_init(&upload->sha256);
    return 0;
}

static int read_piece(struct upload *upload,
                      const struct executed_file *file,
                      size_t length,
                      struct mf_error *error)
{
    size_t n = 0;
    while (n < length) {
        ssize_t got = pread(
            upload->fd, upload->data + n, length - n, (off_t)(file->offset + upload->offset + n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mf_raise_errno(error, "cannot read %s to send it", file->path);
        if (got == 0)
            return mf_raise(error, MF_EINPUT, "%s became shorter while it was sent", file->path);
        n += (size_t)got;
    }
    if (is_checksummed(file))
        mf_sha256_update(&upload->sha256, mf_bytes_of(upload->data, length));
    return 0;
}

static int encode_file(struct upload *upload,
                       const struct mf_request *request,
                       struct mf_buffer *frame,
                       struct mf_error *error)
{
    struct executed *executed = upload->first->executed;
    const struct executed_file *file = &executed->files[upload->file];
    if (upload->fd < 0 && open_file(upload, file, error) < 0)
        return -1;
    uint64_t left = file->length - upload->offset;
    size_t length = left < MF_CHUNK_MAX ? (size_t)left : MF_CHUNK_MAX;
    if (read_piece(upload, file, length, error) < 0)
        return -1;
    struct mf_chunk chunk = {.request = *request,
                             .kind = file->kind,
                             .subtask = executed->result.subtask,
                             .attempt = executed->result.attempt,
                             .epoch = executed->result.epoch,
                             .path = mf_bytes_text(file->name),
                             .mode = file->mode,
                             .offset = upload->offset,
                             .data = mf_bytes_of(upload->data, length),
                             .last = length == left};
    unsigned char digest[32];
    if (chunk.last) {
        chunk.cut_bytes = file->cut_bytes;
        if (is_checksummed(file)) {
            mf_sha256_finish(&upload->sha256, digest);
            chunk.sha256 = mf_bytes_of(digest, sizeof digest);
        }
    }
    if (mf_encode_chunk(&chunk, frame, error) < 0)
        return -1;
    upload->in_flight = length;
    upload->is_in_flight = true;
    return 1;
}

static void finish_item(struct upload *upload)
{
    struct item *item = upload->first;
    upload->first = item->next;
    if (upload->first == NULL)
        upload->last = &upload->first;
    item->next = NULL;
    *upload->done_last = item;
    upload->done_last = &item->next;
    upload->file = 0;
}

/* The attempt did its work, but what it made cannot be sent: that is this worker's failure, with
 * its cause. */
static void fail_item(struct upload *upload, const struct mf_error *why)
{
    struct executed *executed = upload->first->executed;
    close_file(upload);
    if (executed->result.cause == MF_CAUSE_NONE) {
        executed->result.cause = MF_CAUSE_WORKER_ERROR;
        executed->result.inline_result = (struct mf_bytes){0};
        executed->result.result_bytes = 0;
        executed->result.output_count = 0;
        executed->failure = mf_strdup(why->text);
        executed->result.detail = mf_bytes_text(executed->failure);
    }
    finish_item(upload);
}

static int encode_log(struct upload *upload,
                      const struct mf_request *request,
                      struct mf_buffer *frame,
                      struct mf_error *error)
{
    upload->log_due = false;
    int fd = open(upload->log_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = pread(fd, upload->data, MF_CHUNK_MAX, (off_t)upload->log_sent);
    close(fd);
    if (got <= 0)
        return 0;
    struct mf_chunk chunk = {.request = *request,
                             .kind = MF_CHUNK_WORKER_LOG,
                             .offset = upload->log_sent,
                             .data = mf_bytes_of(upload->data, (size_t)got)};
    if (mf_encode_chunk(&chunk, frame, error) < 0)
        return -1;
    upload->in_flight = (size_t)got;
    upload->log_in_flight = true;
    upload->log_due = (size_t)got == MF_CHUNK_MAX;
    return 1;
}

int upload_next(struct upload *upload,
                const struct mf_request *request,
                struct mf_buffer *frame,
                struct mf_error *error)
{
    mf_buffer_clear(frame);
    while (upload->first != NULL) {
        if (upload->file >= upload->first->executed->file_count) {
            finish_item(upload);
            continue;
        }
        struct mf_error why;
        int rc = encode_file(upload, request, frame, &why);
        if (rc > 0)
            return rc;
        mf_buffer_clear(frame);
        fail_item(upload, &why);
    }
    return upload->log_due ? encode_log(upload, request, frame, error) : 0;
}

void upload_received(struct upload *upload)
{
    if (upload->log_in_flight) {
        upload->log_sent += upload->in_flight;
        upload->log_in_flight = false;
        return;
    }
    if (!upload->is_in_flight)
        return;
    upload->is_in_flight = false;
    upload->offset += upload->in_flight;
    const struct executed *executed = upload->first->executed;
    if (upload->offset < executed->files[upload->file].length)
        return;
    close_file(upload);
    if (++upload->file == executed->file_count)
        finish_item(upload);
}

struct executed *upload_next_done(struct upload *upload)
{
    struct item *item = upload->done;
    if (item == NULL)
        return NULL;
    upload->done = item->next;
    if (upload->done == NULL)
        upload->done_last = &upload->done;
    struct executed *executed = item->executed;
    mf_free(item);
    return executed;
}

bool upload_is_idle(const struct upload *upload)
{
    return upload->first == NULL && upload->done == NULL && !upload->log_due &&
           !upload->log_in_flight;
}

void upload_log_due(struct upload *upload)
{
    upload->log_due = true;
}
