/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads plan.seg: see plan_seg.h. A record that is not whole is the torn tail if nothing whole
 * comes behind it, and damage otherwise: a plan with a hole must not be taken for a shorter plan.
 *
 * One kind of hole is a torn tail, too: a power cut may take any part of what was written since the
 * last sync, and leave what stands behind it. Nothing of that was offered, it is less than
 * TAIL_MAX, and the plan was not finished: it has no end.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/checksum.h"
#include "master/split/plan_format.h"
#include "master/split/plan_seg.h"

#define READ_SIZE (256u << 10)
#define TAIL_MAX (8u << 20)

struct plan_reader {
    int fd;
    char *path;
    struct mf_buffer window; /* bytes of the file from `offset` on */
    uint64_t offset;
    size_t at;              /* place within the window */
    struct mf_buffer input; /* the last input's record, which `last` borrows from */
    struct mf_subtask last;
    uint64_t count;
    bool has_ended, is_complete;
};

/* Makes `size` bytes available at the place, if the file has them. How many there are, or -1. */
static ssize_t need(struct plan_reader *reader, size_t size, struct mf_error *error)
{
    while (reader->window.length - reader->at < size) {
        size_t left = reader->window.length - reader->at;
        if (reader->at > 0) {
            memmove(reader->window.data, reader->window.data + reader->at, left);
            reader->window.length = left;
            reader->offset += reader->at;
            reader->at = 0;
        }
        if (mf_buffer_reserve(&reader->window, READ_SIZE, error) < 0)
            return -1;
        ssize_t n = pread(
            reader->fd, reader->window.data + left, READ_SIZE, (off_t)(reader->offset + left));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mf_raise_errno(error, "cannot read the plan %s", reader->path);
        if (n == 0)
            return (ssize_t)left;
        reader->window.length += (size_t)n;
    }
    return (ssize_t)size;
}

static int raise_damage(const struct plan_reader *reader, struct mf_error *error)
{
    return mf_raise(error,
                    MF_EINPUT,
                    "the plan %s is damaged at byte %" PRIu64 ", behind %" PRIu64
                    " subtasks; start a new run from the job file",
                    reader->path,
                    reader->offset + reader->at,
                    reader->count);
}

/* A whole record at the place: 1 and its payload, 0 when it is none, -1. */
static int
whole_record(struct plan_reader *reader, struct mf_bytes *payload, struct mf_error *error)
{
    uint32_t length, checksum;
    ssize_t got = need(reader, PLAN_FRAME_SIZE, error);
    if (got < PLAN_FRAME_SIZE)
        return got < 0 ? -1 : 0;
    if (!plan_take_frame(reader->window.data + reader->at, &length, &checksum))
        return 0;
    got = need(reader, PLAN_FRAME_SIZE + (size_t)length, error);
    if (got < (ssize_t)(PLAN_FRAME_SIZE + length))
        return got < 0 ? -1 : 0;
    *payload = mf_bytes_of(reader->window.data + reader->at + PLAN_FRAME_SIZE, length);
    return mf_crc32(*payload) == checksum ? 1 : 0;
}

/* No whole record at the place: 0 if the rest is a torn tail, -1 if it is damage. */
static int judge_tail(struct plan_reader *reader, struct mf_error *error)
{
    struct plan_reader probe = {
        .fd = reader->fd, .path = reader->path, .offset = reader->offset + reader->at};
    uint64_t start = probe.offset;
    struct mf_bytes payload;
    bool has_whole = false, has_end = false;
    ssize_t got = 0;
    int rc = 0;
    while (rc == 0 && (got = need(&probe, 1, error)) > 0) {
        int found = whole_record(&probe, &payload, error);
        uint64_t behind = probe.offset + probe.at - start;
        has_whole |= found > 0;
        has_end |= found > 0 && payload.data[0] == PLAN_END;
        if (found < 0)
            rc = -1;
        else if (has_end || (has_whole && behind > TAIL_MAX))
            rc = raise_damage(reader, error);
        probe.at += found > 0 ? PLAN_FRAME_SIZE + payload.length : 1;
    }
    mf_buffer_fini(&probe.window);
    return got < 0 ? -1 : rc;
}

static bool is_zero(const unsigned char *bytes, size_t length)
{
    while (length > 0 && *bytes == 0)
        bytes++, length--;
    return length == 0;
}

static int take_input(struct plan_reader *reader, struct mf_bytes payload, struct mf_error *error)
{
    mf_buffer_clear(&reader->input);
    if (mf_buffer_append(&reader->input, payload.data, payload.length, error) < 0)
        return -1;
    struct mf_bytes kept = mf_bytes_of(reader->input.data + 1, reader->input.length - 1);
    return plan_take_input(kept, &reader->last) ? 0 : raise_damage(reader, error);
}

static int take_end(struct plan_reader *reader, struct mf_bytes body, struct mf_error *error)
{
    uint64_t total;
    if (!plan_take_end(body, &total) || total != reader->count)
        return raise_damage(reader, error);
    reader->is_complete = true;
    return 0;
}

/* A whole record: 1 for a piece, 0 for what is none, -1. */
static int take_record(struct plan_reader *reader,
                       struct mf_bytes payload,
                       struct mf_subtask *piece,
                       struct mf_error *error)
{
    struct mf_bytes body = mf_bytes_of(payload.data + 1, payload.length - 1);
    if (reader->is_complete)
        return raise_damage(reader, error);
    switch (payload.data[0]) {
    case PLAN_INPUT:
        return take_input(reader, payload, error);
    case PLAN_PIECE:
        if (!plan_take_piece(body, &reader->last, piece))
            return raise_damage(reader, error);
        piece->id = ++reader->count;
        return 1;
    case PLAN_END:
        return take_end(reader, body, error);
    default:
        return raise_damage(reader, error);
    }
}

struct plan_reader *plan_reader_open(const char *path, struct mf_error *error)
{
    struct plan_reader *reader = mf_calloc(1, sizeof *reader);
    if (reader == NULL || (reader->path = mf_strdup(path)) == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory for the plan %s", path);
        mf_free(reader);
        return NULL;
    }
    reader->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0) {
        mf_raise_errno(error, "cannot open the plan %s", path);
        goto fail;
    }
    ssize_t got = need(reader, PLAN_MAGIC_SIZE, error);
    if (got < 0)
        goto fail;
    if (got > 0 && is_zero(reader->window.data, (size_t)got)) {
        reader->has_ended = true; /* lost before it was synced: so is all behind it */
        return reader;
    }
    if (memcmp(reader->window.data, PLAN_MAGIC, (size_t)got) != 0) {
        mf_raise(error,
                 MF_EINPUT,
                 "%s is not a plan of version 1, the only one that this program knows",
                 path);
        goto fail;
    }
    reader->at = (size_t)got;
    reader->has_ended = got < PLAN_MAGIC_SIZE; /* torn in its first bytes: no piece is in it */
    return reader;
fail:
    plan_reader_destroy(reader);
    return NULL;
}

int plan_reader_next(struct plan_reader *reader, struct mf_subtask *piece, struct mf_error *error)
{
    while (!reader->has_ended) {
        struct mf_bytes payload;
        int rc = whole_record(reader, &payload, error);
        if (rc < 0)
            return -1;
        if (rc == 0) {
            if (judge_tail(reader, error) < 0)
                return -1;
            reader->has_ended = true;
            break;
        }
        rc = take_record(reader, payload, piece, error);
        if (rc < 0)
            return -1;
        reader->at += PLAN_FRAME_SIZE + payload.length;
        if (rc == 1)
            return 1;
    }
    return 0;
}

bool plan_reader_complete(const struct plan_reader *reader)
{
    return reader->is_complete;
}

uint64_t plan_reader_size(const struct plan_reader *reader)
{
    uint64_t size = reader->offset + reader->at;
    return size < PLAN_MAGIC_SIZE ? 0 : size;
}

void plan_reader_destroy(struct plan_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->fd >= 0)
        close(reader->fd);
    mf_buffer_fini(&reader->window);
    mf_buffer_fini(&reader->input);
    mf_free(reader->path);
    mf_free(reader);
}
