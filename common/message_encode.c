/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structs into frames, along the tables of message_shape.c, packed by msgpack-c. Values that equal
 * their default are left out. The same struct always gives the same bytes. Sizes, counts and
 * ranges that a decoder would refuse are refused here already, so that the mistake shows on the
 * side that made it; `out` is left as it was on failure.
 */
#include "common/message.h"

#include <stdio.h>
#include <string.h>

#include "common/frame.h"
#include "common/message_shape.h"
#include "common/wire.h"

/* One encoding: what items take over from their message or the item before. */
struct pass {
    struct mf_wire_packer packer;
    struct mf_error *error;
    const char *message;
    uint32_t epoch;
    uint64_t subtask;
    uint64_t number;
};

static int refuse(const struct pass *pass, const struct mf_field *field, const char *expectation)
{
    return mf_raise(pass->error,
                    MF_EPROTOCOL,
                    "cannot send a %s message: %s %s",
                    pass->message,
                    field->name,
                    expectation);
}

/* The packer's return code as ours. */
static int packed(const struct pass *pass, int rc)
{
    if (rc == 0)
        return 0;
    return mf_raise(pass->error, MF_ENOMEM, "out of memory: encoding a %s message", pass->message);
}

static int write_unsigned(struct pass *pass, const struct mf_field *field, uint64_t value)
{
    if (value < field->min || value > field->max) {
        char text[96];
        snprintf(text,
                 sizeof(text),
                 "must be from %llu to %llu, not %llu",
                 (unsigned long long)field->min,
                 (unsigned long long)field->max,
                 (unsigned long long)value);
        return refuse(pass, field, text);
    }
    return packed(pass, msgpack_pack_uint64(&pass->packer.library, value));
}

static int check_length(const struct pass *pass, const struct mf_field *field, size_t length)
{
    if (length <= field->max)
        return 0;
    char text[96];
    snprintf(text,
             sizeof(text),
             "has %zu bytes, more than the allowed %llu",
             length,
             (unsigned long long)field->max);
    return refuse(pass, field, text);
}

static int write_bytes(struct pass *pass, const struct mf_field *field, struct mf_bytes bytes)
{
    if (check_length(pass, field, bytes.length) < 0)
        return -1;
    return packed(pass,
                  msgpack_pack_bin_with_body(&pass->packer.library, bytes.data, bytes.length));
}

static int write_name(struct pass *pass, const struct mf_field *field, struct mf_bytes bytes)
{
    if (memchr(bytes.data, '\0', bytes.length) != NULL)
        return refuse(pass, field, "must have no NUL inside");
    return write_bytes(pass, field, bytes);
}

static int write_exactly(struct pass *pass, const struct mf_field *field, struct mf_bytes bytes)
{
    if (bytes.length != field->max)
        return refuse(pass, field, "has not the length that it must have");
    return write_bytes(pass, field, bytes);
}

static int write_text(struct pass *pass, const struct mf_field *field, const char *text)
{
    size_t length = text == NULL ? 0 : strlen(text);
    if (check_length(pass, field, length) < 0)
        return -1;
    return packed(pass, msgpack_pack_str_with_body(&pass->packer.library, text, length));
}

static int write_count(struct pass *pass, const struct mf_field *field, uint32_t count)
{
    if (count > field->max)
        return refuse(pass, field, "has more elements than are allowed in one message");
    return packed(pass, msgpack_pack_array(&pass->packer.library, count));
}

static int
write_paths(struct pass *pass, const struct mf_field *field, const char **paths, uint32_t count)
{
    const struct mf_field element = {.name = field->name, .max = MF_STRING_MAX};
    if (write_count(pass, field, count) < 0)
        return -1;
    for (uint32_t i = 0; i < count; i++)
        if (write_bytes(pass, &element, mf_bytes_text(paths[i])) < 0)
            return -1;
    return 0;
}

static int write_map(struct pass *pass, const struct mf_shape *shape, const unsigned char *from);

static int
write_list(struct pass *pass, const struct mf_field *field, const void *at, uint32_t count)
{
    const unsigned char *items;
    memcpy(&items, at, sizeof(items)); /* a pointer to whatever struct the list is of */
    if (write_count(pass, field, count) < 0)
        return -1;
    pass->subtask = 0;
    pass->number = 0;
    for (uint32_t i = 0; i < count; i++)
        if (write_map(pass, field->shape, items + i * field->shape->size) < 0)
            return -1;
    return 0;
}

/* Whether the value differs from what the decoder takes for an absent one. */
static bool
is_present(const struct pass *pass, const struct mf_field *field, const unsigned char *from)
{
    const void *at = from + field->offset;
    if (field->required)
        return true;
    switch ((enum mf_kind)field->kind) {
    case MF_KIND_U32:
    case MF_KIND_REQUEST_EPOCH:
        return *(const uint32_t *)at != field->absent;
    case MF_KIND_U64:
        return *(const uint64_t *)at != field->absent;
    case MF_KIND_I32:
        return *(const int32_t *)at != 0;
    case MF_KIND_I64:
        return *(const int64_t *)at != 0;
    case MF_KIND_BOOL:
        return *(const bool *)at;
    case MF_KIND_TEXT:
    case MF_KIND_PATH:
        return *(const char *const *)at != NULL;
    case MF_KIND_BYTES:
    case MF_KIND_NAME:
    case MF_KIND_FIELDS:
    case MF_KIND_DIGEST:
        return ((const struct mf_bytes *)at)->length > 0;
    case MF_KIND_PATHS:
    case MF_KIND_LIST:
        return *(const uint32_t *)(const void *)(from + field->count_offset) > 0;
    case MF_KIND_NUMBER:
        return *(const bool *)(const void *)(from + field->count_offset);
    case MF_KIND_DEFAULT_EPOCH:
        return pass->epoch != 0;
    case MF_KIND_EPOCH:
        return *(const uint32_t *)at != pass->epoch || pass->epoch < field->min;
    case MF_KIND_SUBTASK:
        return *(const uint64_t *)at != pass->subtask + 1 || pass->subtask >= field->max;
    case MF_KIND_TOKEN:
    case MF_KIND_MAP:
        return true;
    }
    return true;
}

static int write_value(struct pass *pass, const struct mf_field *field, const unsigned char *from)
{
    const void *at = from + field->offset;
    const void *count = from + field->count_offset;
    msgpack_packer *library = &pass->packer.library;
    switch ((enum mf_kind)field->kind) {
    case MF_KIND_U32:
    case MF_KIND_EPOCH:
    case MF_KIND_REQUEST_EPOCH:
        return write_unsigned(pass, field, *(const uint32_t *)at);
    case MF_KIND_DEFAULT_EPOCH:
        return write_unsigned(pass, field, pass->epoch);
    case MF_KIND_U64:
    case MF_KIND_SUBTASK:
        return write_unsigned(pass, field, *(const uint64_t *)at);
    case MF_KIND_I32:
        return packed(pass, msgpack_pack_int32(library, *(const int32_t *)at));
    case MF_KIND_I64:
        return packed(pass, msgpack_pack_int64(library, *(const int64_t *)at));
    case MF_KIND_NUMBER:
        return packed(pass,
                      msgpack_pack_int64(library, (int64_t)(*(const uint64_t *)at - pass->number)));
    case MF_KIND_BOOL:
        return packed(pass, msgpack_pack_true(library));
    case MF_KIND_TEXT:
        return write_text(pass, field, *(const char *const *)at);
    case MF_KIND_PATH:
        return write_bytes(pass, field, mf_bytes_text(*(const char *const *)at));
    case MF_KIND_BYTES:
    case MF_KIND_FIELDS:
        return write_bytes(pass, field, *(const struct mf_bytes *)at);
    case MF_KIND_NAME:
        return write_name(pass, field, *(const struct mf_bytes *)at);
    case MF_KIND_DIGEST:
        return write_exactly(pass, field, *(const struct mf_bytes *)at);
    case MF_KIND_TOKEN:
        return write_bytes(pass, field, mf_bytes_of(at, field->max));
    case MF_KIND_PATHS:
        return write_paths(pass, field, *(const char **const *)at, *(const uint32_t *)count);
    case MF_KIND_LIST:
        return write_list(pass, field, at, *(const uint32_t *)count);
    case MF_KIND_MAP:
        return write_map(pass, field->shape, at);
    }
    return refuse(pass, field, "is of a kind that the encoder does not know");
}

/* What the next item's absent keys will stand for. */
static void carry_over(struct pass *pass, const struct mf_field *field, const unsigned char *from)
{
    const void *at = from + field->offset;
    if (field->kind == MF_KIND_SUBTASK)
        pass->subtask = *(const uint64_t *)at;
    else if (field->kind == MF_KIND_NUMBER &&
             *(const bool *)(const void *)(from + field->count_offset))
        pass->number = *(const uint64_t *)at;
}

static int write_map(struct pass *pass, const struct mf_shape *shape, const unsigned char *from)
{
    uint32_t present = 0, pairs = 0;
    for (unsigned i = 0; i < shape->count; i++)
        if (is_present(pass, &shape->fields[i], from)) {
            present |= 1u << i;
            pairs++;
        }
    if (packed(pass, msgpack_pack_map(&pass->packer.library, pairs)) < 0)
        return -1;
    for (unsigned i = 0; i < shape->count; i++) {
        const struct mf_field *field = &shape->fields[i];
        if ((present & 1u << i) != 0 &&
            (packed(pass, msgpack_pack_uint8(&pass->packer.library, field->key)) < 0 ||
             write_value(pass, field, from) < 0))
            return -1;
        carry_over(pass, field, from);
    }
    return 0;
}

static int encode(enum mf_message_type type,
                  const struct mf_shape *shape,
                  const void *from,
                  uint32_t epoch,
                  bool deflate,
                  struct mf_buffer *out,
                  struct mf_error *error)
{
    struct pass pass = {.error = error, .message = shape->name, .epoch = epoch};
    size_t before = out->length, start;
    mf_wire_packer_init(&pass.packer, out);
    if (mf_frame_begin(out, &start, error) < 0 || write_map(&pass, shape, from) < 0)
        goto fail;
    if (mf_frame_finish(out, start, type, deflate, error) < 0) {
        mf_error_prefix(error, "cannot send a %s message", shape->name);
        goto fail;
    }
    return 0;
fail:
    out->length = before;
    return -1;
}

int mf_encode_hello(const struct mf_hello *hello, struct mf_buffer *out, struct mf_error *error)
{
    return encode(MF_HELLO, &mf_shape_hello, hello, 0, true, out, error);
}

int mf_encode_poll(const struct mf_poll *poll, struct mf_buffer *out, struct mf_error *error)
{
    return encode(MF_POLL, &mf_shape_poll, poll, poll->request.epoch, true, out, error);
}

int mf_encode_chunk(const struct mf_chunk *chunk, struct mf_buffer *out, struct mf_error *error)
{
    return encode(MF_CHUNK, &mf_shape_chunk, chunk, chunk->request.epoch, true, out, error);
}

int mf_encode_bye(const struct mf_bye *bye, struct mf_buffer *out, struct mf_error *error)
{
    return encode(MF_BYE, &mf_shape_bye, bye, 0, true, out, error);
}

int mf_encode_fetch(const struct mf_fetch *fetch, struct mf_buffer *out, struct mf_error *error)
{
    return encode(MF_FETCH, &mf_shape_fetch, fetch, fetch->request.epoch, true, out, error);
}

int mf_encode_welcome(const struct mf_welcome *welcome,
                      struct mf_buffer *out,
                      struct mf_error *error)
{
    return encode(MF_WELCOME, &mf_shape_welcome, welcome, 0, true, out, error);
}

int mf_encode_work(const struct mf_work *work, struct mf_buffer *out, struct mf_error *error)
{
    uint32_t epoch = 0;
    if (work->subtask_count > 0)
        epoch = work->subtasks[0].epoch;
    else if (work->take_back_count > 0)
        epoch = work->take_back[0].epoch;
    else if (work->cancel_count > 0)
        epoch = work->cancel[0].epoch;
    return encode(MF_WORK, &mf_shape_work, work, epoch, true, out, error);
}

int mf_encode_received(struct mf_buffer *out, struct mf_error *error)
{
    return encode(MF_RECEIVED, &mf_shape_received, NULL, 0, true, out, error);
}

int mf_encode_refused(const struct mf_refused *refused,
                      struct mf_buffer *out,
                      struct mf_error *error)
{
    return encode(MF_REFUSED, &mf_shape_refused, refused, 0, true, out, error);
}

int mf_encode_piece(const struct mf_piece *piece,
                    bool deflate,
                    struct mf_buffer *out,
                    struct mf_error *error)
{
    return encode(MF_PIECE, &mf_shape_piece, piece, 0, deflate, out, error);
}
