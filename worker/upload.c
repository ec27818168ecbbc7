/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upload: see upload.h. The queue is a list of items, one an attempt; the item at the head has a
 * position (file, offset). A chunk that is under way is remembered by how far it reaches; the
 * position moves when it has arrived, so what is read again after a failure is the same.
 *
 * What attempts that run have written is a ring of entries, one an attempt, each with how much of
 * it was sent. Standard error is sent once: what went home while the attempt ran is left out at its
 * end. Standard output is sent to be shown, and again at the end, when it is known what it is.
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
#include "common/crash.h"

struct item {
    struct item *next;
    struct executed *executed;
};

struct growing {
    struct growing *next;
    struct executed_growth growth;
    uint64_t out_sent, err_sent;
};

/* What the chunk under way is of. */
enum under_way { NOTHING, A_FILE, THE_LOG, A_GROWTH };

struct upload {
    char *log_path;
    uint64_t log_sent;
    bool log_due;
    bool log_is_next;                /* a file was sent last */
    struct growing *first_growing;   /* the one whose turn it is */
    struct mf_fence fence_under_way; /* of A_GROWTH */
    struct item *delayed;            /* ended without files, but that chunk is of it */
    struct item *first, **last;
    struct item *done, **done_last;
    uint32_t file;      /* of the first item */
    uint64_t offset;    /* within that file */
    int fd;             /* that file, -1 = not open */
    struct stat opened; /* how it was then */
    struct mf_sha256 sha256;
    enum under_way under_way;
    size_t in_flight;    /* bytes of the chunk under way */
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
    free_items(upload->delayed);
    while (upload->first_growing != NULL) {
        struct growing *growing = upload->first_growing;
        upload->first_growing = growing->next;
        mf_free(growing);
    }
    mf_free(upload->log_path);
    mf_free(upload->data);
    mf_free(upload);
}

static bool is_same(const struct mf_fence *a, const struct mf_fence *b)
{
    return a->subtask == b->subtask && a->attempt == b->attempt && a->epoch == b->epoch;
}

/* Where the entry of that attempt hangs, or would. */
static struct growing **find_growing(struct upload *upload, const struct mf_fence *fence)
{
    struct growing **at = &upload->first_growing;
    while (*at != NULL && !is_same(&(*at)->growth.fence, fence))
        at = &(*at)->next;
    return at;
}

int upload_grew(struct upload *upload, const struct executed_growth *growth, struct mf_error *error)
{
    struct growing **at = find_growing(upload, &growth->fence);
    if (*at == NULL && (*at = mf_calloc(1, sizeof **at)) == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the streams of attempts that run");
    (*at)->growth = *growth;
    return 0;
}

/* Forgets that it runs: its files begin where what was sent ends. */
static void settle_growth(struct upload *upload, struct executed *executed)
{
    const struct mf_fence fence = {
        executed->result.subtask, executed->result.attempt, executed->result.epoch};
    struct growing **at = find_growing(upload, &fence), *growing = *at;
    if (growing == NULL)
        return;
    for (uint32_t i = 0; i < executed->file_count; i++)
        if (executed->files[i].kind == MF_CHUNK_STDERR)
            executed->files[i].sent = growing->err_sent;
    *at = growing->next;
    mf_free(growing);
}

static void append(struct item ***last, struct item *item)
{
    item->next = NULL;
    **last = item;
    *last = &item->next;
}

int upload_add(struct upload *upload, struct executed *executed, struct mf_error *error)
{
    struct item *item = mf_calloc(1, sizeof *item);
    if (item == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the queue of files for the master");
    item->executed = executed;
    settle_growth(upload, executed);
    const struct mf_fence fence = {
        executed->result.subtask, executed->result.attempt, executed->result.epoch};
    if (executed->file_count > 0)
        append(&upload->last, item);
    else if (upload->under_way == A_GROWTH && is_same(&upload->fence_under_way, &fence))
        upload->delayed = item;
    else
        append(&upload->done_last, item);
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
    if (fstat(upload->fd, &upload->opened) < 0)
        return mf_raise_errno(error, "cannot look at %s to send it", file->path);
    upload->offset = file->sent;
    mf_sha256_init(&upload->sha256);
    return 0;
}

/* Fills upload->data from that place of the file. */
static int read_piece(struct upload *upload,
                      int fd,
                      const char *path,
                      uint64_t offset,
                      size_t length,
                      struct mf_error *error)
{
    size_t n = 0;
    while (n < length) {
        ssize_t got = pread(fd, upload->data + n, length - n, (off_t)(offset + n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mf_raise_errno(error, "cannot read %s to send it", path);
        if (got == 0)
            return mf_raise(error,
                            MF_EINPUT,
                            "%s became shorter while it was sent: something on this host writes "
                            "to it after its attempt has ended",
                            path);
        n += (size_t)got;
    }
    return 0;
}

/* Whether all of an output was read as it is now: half of the old and half of the new is neither.
 * Its attempt has ended, so somebody else writes to it. */
static int check_unchanged(const struct upload *upload,
                           const struct executed_file *file,
                           struct mf_error *error)
{
    const struct stat *was = &upload->opened;
    struct stat is;
    if (file->kind != MF_CHUNK_OUTPUT)
        return 0;
    if (fstat(upload->fd, &is) < 0)
        return mf_raise_errno(error, "cannot look at %s to send it", file->path);
    if ((uint64_t)is.st_size == file->length && is.st_mtim.tv_sec == was->st_mtim.tv_sec &&
        is.st_mtim.tv_nsec == was->st_mtim.tv_nsec)
        return 0;
    return mf_raise(error,
                    MF_EINPUT,
                    "the output %s changed while it was sent: something on this host writes to it "
                    "after its attempt has ended",
                    file->path);
}

static size_t piece_size(uint64_t left)
{
    return left < MF_CHUNK_MAX ? (size_t)left : MF_CHUNK_MAX;
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
    size_t length = piece_size(left);
    uint64_t from = file->offset + upload->offset;
    if (read_piece(upload, upload->fd, file->path, from, length, error) < 0 ||
        (length == left && check_unchanged(upload, file, error) < 0))
        return -1;
    if (is_checksummed(file))
        mf_sha256_update(&upload->sha256, mf_bytes_of(upload->data, length));
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
    MF_CRASH(WORKER_BEFORE_UPLOAD);
    upload->in_flight = length;
    upload->under_way = A_FILE;
    return 1;
}

static void finish_item(struct upload *upload)
{
    struct item *item = upload->first;
    upload->first = item->next;
    if (upload->first == NULL)
        upload->last = &upload->first;
    append(&upload->done_last, item);
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
    upload->under_way = THE_LOG;
    upload->log_due = (size_t)got == MF_CHUNK_MAX;
    return 1;
}

/* The next piece of one stream of an attempt that runs. What cannot be read now is left to the
 * attempt's end, which says so. */
static int encode_growth(struct upload *upload,
                         const struct growing *growing,
                         enum mf_chunk_kind kind,
                         uint64_t sent,
                         const struct mf_request *request,
                         struct mf_buffer *frame,
                         struct mf_error *error)
{
    const struct executed_growth *growth = &growing->growth;
    bool is_err = kind == MF_CHUNK_STDERR;
    uint64_t grown = is_err ? growth->err.length : growth->out.length;
    const char *path = is_err ? growth->err.path : growth->out.path;
    uint64_t from = (is_err ? growth->err.offset : growth->out.offset) + sent;
    if (grown <= sent)
        return 0;
    size_t length = piece_size(grown - sent);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd < 0 ? -1 : read_piece(upload, fd, path, from, length, NULL);
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        return 0;
    struct mf_chunk chunk = {.request = *request,
                             .kind = kind,
                             .subtask = growth->fence.subtask,
                             .attempt = growth->fence.attempt,
                             .epoch = growth->fence.epoch,
                             .offset = sent,
                             .data = mf_bytes_of(upload->data, length)};
    if (mf_encode_chunk(&chunk, frame, error) < 0)
        return -1;
    upload->in_flight = length;
    upload->under_way = A_GROWTH;
    upload->fence_under_way = growth->fence;
    return 1;
}

/* Each entry that has something sends one piece and goes to the end of the ring. It counts as sent
 * at once: the attempt can end before the answer comes, and a chunk that is never answered ends the
 * worker. */
static int encode_growing(struct upload *upload,
                          const struct mf_request *request,
                          struct mf_buffer *frame,
                          struct mf_error *error)
{
    for (struct growing **at = &upload->first_growing, *growing; (growing = *at) != NULL;
         at = &growing->next) {
        int rc = encode_growth(
            upload, growing, MF_CHUNK_STDERR, growing->err_sent, request, frame, error);
        if (rc > 0)
            growing->err_sent += upload->in_flight;
        if (rc == 0) {
            rc = encode_growth(
                upload, growing, MF_CHUNK_LIVE, growing->out_sent, request, frame, error);
            if (rc > 0)
                growing->out_sent += upload->in_flight;
        }
        if (rc == 0)
            continue;
        *at = growing->next;
        growing->next = NULL;
        while (*at != NULL)
            at = &(*at)->next;
        *at = growing;
        return rc;
    }
    return 0;
}

int upload_next_log(struct upload *upload,
                    const struct mf_request *request,
                    struct mf_buffer *frame,
                    struct mf_error *error)
{
    mf_buffer_clear(frame);
    upload->log_is_next = false;
    int rc = upload->log_due ? encode_log(upload, request, frame, error) : 0;
    return rc != 0 ? rc : encode_growing(upload, request, frame, error);
}

int upload_next(struct upload *upload,
                const struct mf_request *request,
                struct mf_buffer *frame,
                struct mf_error *error)
{
    if (upload->log_is_next) {
        int rc = upload_next_log(upload, request, frame, error);
        if (rc != 0)
            return rc;
    }
    mf_buffer_clear(frame);
    while (upload->first != NULL) {
        if (upload->file >= upload->first->executed->file_count) {
            finish_item(upload);
            continue;
        }
        struct mf_error why;
        int rc = encode_file(upload, request, frame, &why);
        if (rc > 0) {
            upload->log_is_next = true;
            return rc;
        }
        mf_buffer_clear(frame);
        fail_item(upload, &why);
    }
    return upload_next_log(upload, request, frame, error);
}

void upload_received(struct upload *upload)
{
    enum under_way under_way = upload->under_way;
    upload->under_way = NOTHING;
    if (upload->delayed != NULL) {
        append(&upload->done_last, upload->delayed);
        upload->delayed = NULL;
    }
    if (under_way == THE_LOG)
        upload->log_sent += upload->in_flight;
    if (under_way != A_FILE)
        return;
    MF_CRASH(WORKER_AFTER_UPLOAD);
    upload->offset += upload->in_flight;
    const struct executed *executed = upload->first->executed;
    if (upload->offset < executed->files[upload->file].length)
        return;
    close_file(upload);
    if (++upload->file == executed->file_count)
        finish_item(upload);
}

void upload_restart(struct upload *upload)
{
    upload->under_way = NOTHING;
    upload->in_flight = 0;
    if (upload->delayed != NULL)
        append(&upload->done_last, upload->delayed);
    upload->delayed = NULL;
    close_file(upload);
    upload->file = 0;
    for (struct item *item = upload->first; item != NULL; item = item->next)
        for (uint32_t i = 0; i < item->executed->file_count; i++)
            item->executed->files[i].sent = 0;
    for (struct growing *growing = upload->first_growing; growing != NULL; growing = growing->next)
        growing->out_sent = growing->err_sent = 0;
    upload->log_sent = 0;
    upload->log_due = true;
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
           upload->under_way == NOTHING;
}

void upload_log_due(struct upload *upload)
{
    upload->log_due = true;
}
