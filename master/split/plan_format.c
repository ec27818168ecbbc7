/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding of plan.seg: see plan_format.h. Numbers are LEB128, signed ones zigzag; frames are
 * little-endian. */
#include "master/split/plan_format.h"

#include <string.h>

#include "common/checksum.h"

/* What a piece's record holds besides offset, length and header length. */
enum {
    HAS_INPUT = 1,
    HAS_ITEM = 2,
    HAS_NUMBER = 4,
    HAS_FIELDS = 8,
    HAS_MESSAGE = 16,
    ALL_FLAGS = 31
};

static void put_u32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

static uint32_t get_u32(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static int put_number(struct mf_buffer *out, uint64_t value, struct mf_error *error)
{
    unsigned char bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (unsigned char)(value | 0x80);
    bytes[n++] = (unsigned char)value;
    return mf_buffer_append(out, bytes, n, error);
}

static uint64_t zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static int64_t unzigzag(uint64_t value)
{
    return (int64_t)((value >> 1) ^ (0 - (value & 1)));
}

static int put_bytes(struct mf_buffer *out, struct mf_bytes bytes, struct mf_error *error)
{
    if (put_number(out, bytes.length, error) < 0)
        return -1;
    return mf_buffer_append(out, bytes.data, bytes.length, error);
}

/* Takes from the front of *from. */
static bool take_number(struct mf_bytes *from, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && from->length > 0; shift += 7) {
        unsigned char byte = *from->data++;
        from->length--;
        if (shift == 63 && byte > 1)
            return false;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool take_bytes(struct mf_bytes *from, struct mf_bytes *out)
{
    uint64_t length;
    if (!take_number(from, &length) || length > from->length)
        return false;
    *out = mf_bytes_of(from->data, (size_t)length);
    from->data += length;
    from->length -= (size_t)length;
    return true;
}

int plan_put_record(struct mf_buffer *out, struct mf_bytes payload, struct mf_error *error)
{
    unsigned char frame[PLAN_FRAME_SIZE];
    if (payload.length > PLAN_PAYLOAD_MAX)
        return mf_raise(
            error, MF_EINPUT, "a subtask of %zu bytes is too large for the plan", payload.length);
    put_u32(frame, (uint32_t)payload.length);
    put_u32(frame + 4, mf_crc32(payload));
    put_u32(frame + 8, mf_crc32(mf_bytes_of(frame, 8)));
    /* Both or none: what is in the buffer are whole records. */
    if (mf_buffer_reserve(out, sizeof frame + payload.length, error) < 0)
        return -1;
    if (mf_buffer_append(out, frame, sizeof frame, error) < 0)
        return -1;
    return mf_buffer_append(out, payload.data, payload.length, error);
}

bool plan_take_frame(const unsigned char frame[PLAN_FRAME_SIZE],
                     uint32_t *length,
                     uint32_t *checksum)
{
    *length = get_u32(frame);
    *checksum = get_u32(frame + 4);
    return *length > 0 && *length <= PLAN_PAYLOAD_MAX &&
           get_u32(frame + 8) == mf_crc32(mf_bytes_of(frame, 8));
}

int plan_put_input(struct mf_buffer *out, const struct mf_subtask *piece, struct mf_error *error)
{
    unsigned char type = PLAN_INPUT;
    if (mf_buffer_append(out, &type, 1, error) < 0 ||
        put_number(out, piece->input_size, error) < 0 ||
        put_number(out, zigzag(piece->input_mtime_ns), error) < 0 ||
        put_number(out, piece->input_inode, error) < 0)
        return -1;
    return put_bytes(out, piece->path, error);
}

bool plan_take_input(struct mf_bytes payload, struct mf_subtask *input)
{
    uint64_t mtime;
    *input = (struct mf_subtask){0};
    if (!take_number(&payload, &input->input_size) || !take_number(&payload, &mtime) ||
        !take_number(&payload, &input->input_inode) || !take_bytes(&payload, &input->path))
        return false;
    input->input_mtime_ns = unzigzag(mtime);
    return payload.length == 0;
}

int plan_put_piece(struct mf_buffer *out, const struct mf_subtask *piece, struct mf_error *error)
{
    unsigned char head[2] = {PLAN_PIECE, 0};
    head[1] |= piece->path.length > 0 ? HAS_INPUT : 0;
    head[1] |= piece->has_number ? HAS_NUMBER : 0;
    head[1] |= !piece->has_number && !mf_bytes_equal(piece->item, piece->path) ? HAS_ITEM : 0;
    head[1] |= piece->fields.length > 0 ? HAS_FIELDS : 0;
    head[1] |= piece->message != 0 ? HAS_MESSAGE : 0;
    if (mf_buffer_append(out, head, sizeof head, error) < 0 ||
        put_number(out, piece->offset, error) < 0 || put_number(out, piece->length, error) < 0 ||
        put_number(out, piece->header_length, error) < 0)
        return -1;
    if ((head[1] & HAS_NUMBER) != 0 && put_number(out, zigzag(piece->number), error) < 0)
        return -1;
    if ((head[1] & HAS_ITEM) != 0 && put_bytes(out, piece->item, error) < 0)
        return -1;
    if ((head[1] & HAS_FIELDS) != 0 && put_bytes(out, piece->fields, error) < 0)
        return -1;
    return (head[1] & HAS_MESSAGE) != 0 ? put_number(out, zigzag(piece->message), error) : 0;
}

bool plan_take_piece(struct mf_bytes payload,
                     const struct mf_subtask *input,
                     struct mf_subtask *piece)
{
    uint64_t number = 0, message = 0;
    unsigned char flags = payload.length > 0 ? *payload.data++ : 0xff;
    *piece = (struct mf_subtask){0};
    if (flags > ALL_FLAGS)
        return false;
    payload.length--;
    if ((flags & HAS_INPUT) != 0) {
        if (input->path.length == 0)
            return false;
        *piece = *input;
        piece->item = input->path;
    }
    if (!take_number(&payload, &piece->offset) || !take_number(&payload, &piece->length) ||
        !take_number(&payload, &piece->header_length) ||
        ((flags & HAS_NUMBER) != 0 && !take_number(&payload, &number)) ||
        ((flags & HAS_ITEM) != 0 && !take_bytes(&payload, &piece->item)) ||
        ((flags & HAS_FIELDS) != 0 && !take_bytes(&payload, &piece->fields)) ||
        ((flags & HAS_MESSAGE) != 0 && !take_number(&payload, &message)))
        return false;
    piece->message = unzigzag(message);
    piece->has_number = (flags & HAS_NUMBER) != 0;
    piece->number = unzigzag(number);
    if (piece->has_number)
        piece->item = mf_bytes_of(NULL, 0);
    return payload.length == 0;
}

int plan_put_end(struct mf_buffer *out, uint64_t total, struct mf_error *error)
{
    unsigned char type = PLAN_END;
    if (mf_buffer_append(out, &type, 1, error) < 0)
        return -1;
    return put_number(out, total, error);
}

bool plan_take_end(struct mf_bytes payload, uint64_t *total)
{
    return take_number(&payload, total) && payload.length == 0;
}
