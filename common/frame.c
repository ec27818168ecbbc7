/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames: see frame.h. zlib works at level 1, and only on bodies from MF_DEFLATE_FROM. Deflating
 * costs about 10 ns a byte, more than a local or fast network takes for it: batches of small
 * subtasks and results, which are packed tightly anyway, would be six times as slow (measured), so
 * they stay as they are. It pays for logs, files and long items.
 */
#include "common/frame.h"

#include <string.h>
#include <zlib.h>

#include "common/alloc.h"
#include "common/message.h"

/* deflate cannot pack tighter than this: a larger claim is false, and known before allocating. */
#define INFLATION_MAX 1032

struct mf_inflater {
    z_stream stream;
};

static void *zlib_alloc(void *opaque, unsigned count, unsigned size)
{
    (void)opaque;
    return mf_malloc((size_t)count * size);
}

static void zlib_free(void *opaque, void *memory)
{
    (void)opaque;
    mf_free(memory);
}

static int check_sizes(const struct mf_frame *frame, struct mf_error *error)
{
    if (frame->size > MF_INFLATED_MAX)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "the frame declares a body of %u bytes, more than the allowed %u",
                        frame->size,
                        MF_INFLATED_MAX);
    if (!frame->deflated && frame->size != frame->body.length)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "the frame declares a body of %u bytes but holds %zu",
                        frame->size,
                        frame->body.length);
    if (frame->deflated && frame->size / INFLATION_MAX > frame->body.length)
        return mf_raise(
            error,
            MF_EPROTOCOL,
            "the frame declares a body of %u bytes, which %zu deflated ones cannot hold",
            frame->size,
            frame->body.length);
    return 0;
}

int mf_frame_parse(struct mf_bytes bytes, struct mf_frame *frame, struct mf_error *error)
{
    const unsigned char *at = bytes.data;
    if (bytes.length < MF_FRAME_HEADER)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "a frame of %zu bytes is shorter than its header of %d",
                        bytes.length,
                        MF_FRAME_HEADER);
    if (bytes.length > MF_FRAME_MAX)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "a frame of %zu bytes is larger than the allowed %u",
                        bytes.length,
                        MF_FRAME_MAX);
    if (at[0] != 'M' || at[1] != 'F')
        return mf_raise(error, MF_EPROTOCOL, "the frame does not start with MF: no Mayfly peer");
    if ((at[4] & ~MF_FRAME_DEFLATED) != 0 || at[5] != 0 || at[6] != 0 || at[7] != 0)
        return mf_raise(error, MF_EPROTOCOL, "the frame's header has flags that are not known");
    frame->version = at[2];
    frame->type = at[3];
    frame->deflated = (at[4] & MF_FRAME_DEFLATED) != 0;
    frame->size = (uint32_t)at[8] << 24 | (uint32_t)at[9] << 16 | (uint32_t)at[10] << 8 | at[11];
    frame->body = mf_bytes_of(at + MF_FRAME_HEADER, bytes.length - MF_FRAME_HEADER);
    return check_sizes(frame, error);
}

int mf_frame_begin(struct mf_buffer *out, size_t *start, struct mf_error *error)
{
    static const unsigned char empty[MF_FRAME_HEADER];
    *start = out->length;
    return mf_buffer_append(out, empty, sizeof(empty), error);
}

/* Deflates `size` bytes at `body` into the free space behind them. The deflated size, 0 when it
 * does not gain at least a sixteenth, -1 when memory is exhausted. */
static int64_t deflate_behind(unsigned char *body, size_t size, struct mf_error *error)
{
    z_stream stream = {.zalloc = zlib_alloc, .zfree = zlib_free};
    if (deflateInit(&stream, 1) != Z_OK)
        return mf_raise(error, MF_ENOMEM, "out of memory: deflating a message");
    stream.next_in = body;
    stream.avail_in = (unsigned)size;
    stream.next_out = body + size;
    stream.avail_out = (unsigned)(size - size / 16);
    int64_t deflated = deflate(&stream, Z_FINISH) == Z_STREAM_END ? (int64_t)stream.total_out : 0;
    deflateEnd(&stream);
    return deflated;
}

/* Sampling costs a thirtieth of deflating a piece in vain. */
bool mf_frame_gains(struct mf_bytes data)
{
    unsigned char both[2 * MF_SAMPLE];
    size_t size = data.length < MF_SAMPLE ? data.length : MF_SAMPLE;
    if (size == 0)
        return false;
    memcpy(both, data.data, size);
    return deflate_behind(both, size, NULL) > 0;
}

int mf_frame_finish(
    struct mf_buffer *out, size_t start, unsigned type, bool may_deflate, struct mf_error *error)
{
    size_t size = out->length - start - MF_FRAME_HEADER;
    int64_t deflated = 0;
    if (size > MF_INFLATED_MAX)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "a message of %zu bytes is larger than the allowed %u",
                        size,
                        MF_INFLATED_MAX);
    if (may_deflate && size >= MF_DEFLATE_FROM) {
        if (mf_buffer_reserve(out, size, error) < 0)
            return -1;
        unsigned char *body = out->data + start + MF_FRAME_HEADER;
        deflated = deflate_behind(body, size, error);
        if (deflated < 0)
            return -1;
        if (deflated > 0) {
            memmove(body, body + size, (size_t)deflated);
            out->length = start + MF_FRAME_HEADER + (size_t)deflated;
        }
    }
    if (out->length - start > MF_FRAME_MAX)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "a frame of %zu bytes is larger than the allowed %u",
                        out->length - start,
                        MF_FRAME_MAX);
    unsigned char header[MF_FRAME_HEADER] = {
        'M',
        'F',
        MF_PROTOCOL,
        (unsigned char)type,
        deflated > 0 ? MF_FRAME_DEFLATED : 0,
        0,
        0,
        0,
        (unsigned char)(size >> 24),
        (unsigned char)(size >> 16),
        (unsigned char)(size >> 8),
        (unsigned char)size,
    };
    memcpy(out->data + start, header, sizeof(header));
    return 0;
}

struct mf_inflater *mf_inflater_create(struct mf_error *error)
{
    struct mf_inflater *inflater = mf_calloc(1, sizeof(*inflater));
    if (inflater != NULL) {
        inflater->stream.zalloc = zlib_alloc;
        inflater->stream.zfree = zlib_free;
        if (inflateInit(&inflater->stream) == Z_OK)
            return inflater;
    }
    mf_free(inflater);
    mf_raise(error, MF_ENOMEM, "out of memory: inflating a message");
    return NULL;
}

void mf_inflater_destroy(struct mf_inflater *inflater)
{
    if (inflater == NULL)
        return;
    inflateEnd(&inflater->stream);
    mf_free(inflater);
}

int mf_inflater_run(struct mf_inflater *inflater,
                    const struct mf_frame *frame,
                    struct mf_buffer *into,
                    struct mf_error *error)
{
    z_stream *stream = &inflater->stream;
    mf_buffer_clear(into);
    if (mf_buffer_reserve(into, frame->size, error) < 0)
        return -1;
    inflateReset(stream);
    stream->next_in = (unsigned char *)(uintptr_t)frame->body.data;
    stream->avail_in = (unsigned)frame->body.length;
    stream->next_out = into->data;
    stream->avail_out = frame->size;
    int rc = inflate(stream, Z_FINISH);
    if (rc == Z_MEM_ERROR)
        return mf_raise(error, MF_ENOMEM, "out of memory: inflating a message");
    if (rc != Z_STREAM_END || stream->avail_out != 0 || stream->avail_in != 0)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "the deflated body is damaged or not of the declared size of %u bytes",
                        frame->size);
    into->length = frame->size;
    return 0;
}
