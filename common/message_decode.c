/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames into structs: one walk that checks the whole body without allocating, then one pass along
 * the tables of message_shape.c. Keys come in rising order, so table and map are merged: a key that
 * is not in the table is skipped, one of the table that does not come is absent. Every read is
 * checked against the end again: memory safety does not rest on the walk.
 */
#include "common/message.h"

#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/frame.h"
#include "common/message_arena.h"
#include "common/message_shape.h"
#include "common/wire.h"

struct mf_decoder {
    struct mf_arena arena;
    struct mf_buffer inflated;
    struct mf_inflater *inflater; /* made for the first deflated frame */
};

/* One decoding: where it stands, and what items take over from their message or the item before. */
struct pass {
    struct mf_decoder *decoder;
    struct mf_wire_reader reader;
    struct mf_error *error;
    const char *message;
    const char *list; /* the list that is read, NULL outside of any */
    uint32_t index;
    uint32_t epoch;
    uint64_t subtask;
    uint64_t number;
};

static int refuse(const struct pass *pass, const struct mf_field *field, const char *expectation)
{
    char item[64] = "";
    if (pass->list != NULL)
        snprintf(item, sizeof(item), " %s[%u]", pass->list, pass->index);
    return mf_raise(pass->error,
                    MF_EPROTOCOL,
                    "%s message:%s key %u (%s) %s",
                    pass->message,
                    item,
                    field->key,
                    field->name,
                    expectation);
}

static int refuse_type(const struct pass *pass,
                       const struct mf_field *field,
                       const char *wanted,
                       const struct mf_wire_token *token)
{
    char text[96];
    snprintf(text, sizeof(text), "must be %s, not %s", wanted, mf_wire_type_name(token->type));
    return refuse(pass, field, text);
}

static int no_memory(const struct pass *pass)
{
    return mf_raise(pass->error, MF_ENOMEM, "out of memory: decoding a %s message", pass->message);
}

static int check_range(const struct pass *pass, const struct mf_field *field, uint64_t value)
{
    char text[96];
    if (value >= field->min && value <= field->max)
        return 0;
    snprintf(text,
             sizeof(text),
             "must be from %llu to %llu, not %llu",
             (unsigned long long)field->min,
             (unsigned long long)field->max,
             (unsigned long long)value);
    return refuse(pass, field, text);
}

static int read_unsigned(struct pass *pass, const struct mf_field *field, uint64_t *value)
{
    struct mf_wire_token token;
    if (mf_wire_next(&pass->reader, &token, pass->error) < 0)
        return -1;
    if (token.type != MF_WIRE_UINT)
        return refuse_type(pass, field, "an integer from 0", &token);
    *value = token.number;
    return check_range(pass, field, *value);
}

static int
read_signed(struct pass *pass, const struct mf_field *field, int64_t min, int64_t max, int64_t *out)
{
    struct mf_wire_token token;
    if (mf_wire_next(&pass->reader, &token, pass->error) < 0)
        return -1;
    if (token.type != MF_WIRE_UINT && token.type != MF_WIRE_INT)
        return refuse_type(pass, field, "an integer", &token);
    if (token.type == MF_WIRE_UINT && token.number > INT64_MAX)
        return refuse(pass, field, "does not fit into 64 signed bits");
    *out = token.type == MF_WIRE_UINT ? (int64_t)token.number : token.negative;
    if (*out < min || *out > max)
        return refuse(pass, field, "does not fit into 32 signed bits");
    return 0;
}

static int read_bool(struct pass *pass, const struct mf_field *field, bool *value)
{
    struct mf_wire_token token;
    if (mf_wire_next(&pass->reader, &token, pass->error) < 0)
        return -1;
    if (token.type != MF_WIRE_BOOL)
        return refuse_type(pass, field, "a boolean", &token);
    *value = token.number != 0;
    return 0;
}

static int read_bytes(struct pass *pass,
                      const struct mf_field *field,
                      enum mf_wire_type type,
                      struct mf_bytes *bytes)
{
    struct mf_wire_token token;
    if (mf_wire_next(&pass->reader, &token, pass->error) < 0)
        return -1;
    if (token.type != type)
        return refuse_type(pass, field, mf_wire_type_name(type), &token);
    if (token.bytes.length > field->max) {
        char text[96];
        snprintf(text,
                 sizeof(text),
                 "has %zu bytes, more than the allowed %llu",
                 token.bytes.length,
                 (unsigned long long)field->max);
        return refuse(pass, field, text);
    }
    *bytes = token.bytes;
    return 0;
}

static int
check_no_nul(const struct pass *pass, const struct mf_field *field, struct mf_bytes bytes)
{
    if (bytes.length > 0 && memchr(bytes.data, '\0', bytes.length) != NULL)
        return refuse(pass, field, "must have no NUL inside");
    return 0;
}

/* A C string: copied, since the wire has no NUL behind it. */
static int read_text(struct pass *pass,
                     const struct mf_field *field,
                     enum mf_wire_type type,
                     const char **text)
{
    struct mf_bytes bytes;
    if (read_bytes(pass, field, type, &bytes) < 0 || check_no_nul(pass, field, bytes) < 0)
        return -1;
    char *copy = mf_arena_take(&pass->decoder->arena, bytes.length + 1);
    if (copy == NULL)
        return no_memory(pass);
    if (bytes.length > 0)
        memcpy(copy, bytes.data, bytes.length);
    *text = copy;
    return 0;
}

static int read_exactly(struct pass *pass, const struct mf_field *field, struct mf_bytes *bytes)
{
    if (read_bytes(pass, field, MF_WIRE_BIN, bytes) < 0)
        return -1;
    if (bytes->length != field->max) {
        char text[64];
        snprintf(text,
                 sizeof(text),
                 "must have %llu bytes, not %zu",
                 (unsigned long long)field->max,
                 bytes->length);
        return refuse(pass, field, text);
    }
    return 0;
}

static int read_token(struct pass *pass, const struct mf_field *field, unsigned char *token)
{
    struct mf_bytes bytes;
    if (read_exactly(pass, field, &bytes) < 0)
        return -1;
    memcpy(token, bytes.data, bytes.length);
    return 0;
}

/* The named fields of an item: whoever expands placeholders may rely on their form. */
static int read_fields(struct pass *pass, const struct mf_field *field, struct mf_bytes *bytes)
{
    if (read_bytes(pass, field, MF_WIRE_BIN, bytes) < 0)
        return -1;
    struct mf_wire_reader inner = mf_wire_reader_of(*bytes);
    struct mf_wire_token token;
    if (mf_wire_next(&inner, &token, NULL) < 0 || token.type != MF_WIRE_MAP)
        return refuse(pass, field, "must hold a map of strings");
    for (uint64_t left = 2 * (uint64_t)token.count; left > 0; left--)
        if (mf_wire_next(&inner, &token, NULL) < 0 ||
            (token.type != MF_WIRE_STR && token.type != MF_WIRE_BIN))
            return refuse(pass, field, "must hold a map of strings");
    return inner.at == inner.end ? 0 : refuse(pass, field, "must hold one map and nothing behind");
}

static int read_count(struct pass *pass, const struct mf_field *field, uint32_t *count)
{
    struct mf_wire_token token;
    if (mf_wire_next(&pass->reader, &token, pass->error) < 0)
        return -1;
    if (token.type != MF_WIRE_ARRAY)
        return refuse_type(pass, field, "an array", &token);
    if (token.count > field->max)
        return refuse(pass, field, "has more elements than are allowed");
    *count = token.count;
    return 0;
}

static int
read_paths(struct pass *pass, const struct mf_field *field, const char ***paths, uint32_t *count)
{
    const struct mf_field element = {.key = field->key, .name = field->name, .max = MF_STRING_MAX};
    uint32_t n;
    if (read_count(pass, field, &n) < 0)
        return -1;
    const char **list = mf_arena_take(&pass->decoder->arena, n * sizeof(*list));
    if (list == NULL)
        return no_memory(pass);
    for (uint32_t i = 0; i < n; i++)
        if (read_text(pass, &element, MF_WIRE_BIN, &list[i]) < 0)
            return -1;
    *paths = list;
    *count = n;
    return 0;
}

static int read_map(struct pass *pass, const struct mf_shape *shape, unsigned char *into);

static int read_list(struct pass *pass, const struct mf_field *field, void *items, uint32_t *count)
{
    uint32_t n;
    if (read_count(pass, field, &n) < 0)
        return -1;
    unsigned char *list = mf_arena_take(&pass->decoder->arena, n * field->shape->size);
    if (list == NULL)
        return no_memory(pass);
    pass->list = field->name;
    pass->subtask = 0;
    pass->number = 0;
    for (uint32_t i = 0; i < n; i++) {
        pass->index = i;
        if (read_map(pass, field->shape, list + i * field->shape->size) < 0)
            return -1;
    }
    pass->list = NULL;
    memcpy(items, &list, sizeof(list)); /* a pointer to whatever struct the list is of */
    *count = n;
    return 0;
}

static int read_u32(struct pass *pass, const struct mf_field *field, uint32_t *out)
{
    uint64_t value;
    if (read_unsigned(pass, field, &value) < 0)
        return -1;
    *out = (uint32_t)value;
    return 0;
}

static int read_number(struct pass *pass, const struct mf_field *field, unsigned char *into)
{
    int64_t step;
    if (read_signed(pass, field, INT64_MIN, INT64_MAX, &step) < 0)
        return -1;
    pass->number += (uint64_t)step; /* modulo 2^64, as it was made */
    *(int64_t *)(void *)(into + field->offset) = (int64_t)pass->number;
    *(bool *)(void *)(into + field->count_offset) = true;
    return 0;
}

static int read_i32(struct pass *pass, const struct mf_field *field, int32_t *out)
{
    int64_t value;
    if (read_signed(pass, field, INT32_MIN, INT32_MAX, &value) < 0)
        return -1;
    *out = (int32_t)value;
    return 0;
}

static int read_value(struct pass *pass, const struct mf_field *field, unsigned char *into)
{
    void *at = into + field->offset;
    void *count = into + field->count_offset;
    switch ((enum mf_kind)field->kind) {
    case MF_KIND_U32:
    case MF_KIND_EPOCH:
        return read_u32(pass, field, at);
    case MF_KIND_REQUEST_EPOCH:
        return read_u32(pass, field, at) < 0 ? -1 : (pass->epoch = *(uint32_t *)at, 0);
    case MF_KIND_DEFAULT_EPOCH:
        return read_u32(pass, field, &pass->epoch);
    case MF_KIND_U64:
        return read_unsigned(pass, field, at);
    case MF_KIND_SUBTASK:
        return read_unsigned(pass, field, at) < 0 ? -1 : (pass->subtask = *(uint64_t *)at, 0);
    case MF_KIND_I32:
        return read_i32(pass, field, at);
    case MF_KIND_I64:
        return read_signed(pass, field, INT64_MIN, INT64_MAX, at);
    case MF_KIND_NUMBER:
        return read_number(pass, field, into);
    case MF_KIND_BOOL:
        return read_bool(pass, field, at);
    case MF_KIND_TEXT:
        return read_text(pass, field, MF_WIRE_STR, at);
    case MF_KIND_PATH:
        return read_text(pass, field, MF_WIRE_BIN, at);
    case MF_KIND_BYTES:
        return read_bytes(pass, field, MF_WIRE_BIN, at);
    case MF_KIND_NAME:
        return read_bytes(pass, field, MF_WIRE_BIN, at) < 0
                   ? -1
                   : check_no_nul(pass, field, *(struct mf_bytes *)at);
    case MF_KIND_FIELDS:
        return read_fields(pass, field, at);
    case MF_KIND_DIGEST:
        return read_exactly(pass, field, at);
    case MF_KIND_TOKEN:
        return read_token(pass, field, at);
    case MF_KIND_PATHS:
        return read_paths(pass, field, at, count);
    case MF_KIND_LIST:
        return read_list(pass, field, at, count);
    case MF_KIND_MAP:
        return read_map(pass, field->shape, at);
    }
    return refuse(pass, field, "is of a kind that the decoder does not know");
}

/* A field that did not come. Memory is zeroed, so only defaults that are not zero are written. */
static int absent(struct pass *pass, const struct mf_field *field, unsigned char *into)
{
    void *at = into + field->offset;
    if (field->required)
        return refuse(pass, field, "is missing");
    switch ((enum mf_kind)field->kind) {
    case MF_KIND_U32:
        *(uint32_t *)at = (uint32_t)field->absent;
        return 0;
    case MF_KIND_EPOCH:
        *(uint32_t *)at = pass->epoch;
        return check_range(pass, field, pass->epoch);
    case MF_KIND_SUBTASK:
        *(uint64_t *)at = ++pass->subtask;
        return check_range(pass, field, pass->subtask);
    default:
        return 0;
    }
}

static int read_key(struct pass *pass, uint64_t *key, int64_t last)
{
    struct mf_wire_token token;
    if (mf_wire_next(&pass->reader, &token, pass->error) < 0)
        return -1;
    if (token.type != MF_WIRE_UINT || token.number > INT32_MAX)
        return mf_raise(pass->error,
                        MF_EPROTOCOL,
                        "%s message: a key must be a small integer, not %s",
                        pass->message,
                        mf_wire_type_name(token.type));
    if ((int64_t)token.number <= last)
        return mf_raise(pass->error,
                        MF_EPROTOCOL,
                        "%s message: key %u comes twice or after a higher one",
                        pass->message,
                        (unsigned)token.number);
    *key = token.number;
    return 0;
}

static int read_map(struct pass *pass, const struct mf_shape *shape, unsigned char *into)
{
    const struct mf_field *field = shape->fields;
    const struct mf_field *end = shape->count == 0 ? field : field + shape->count;
    struct mf_wire_token head;
    uint64_t key = 0;
    if (mf_wire_next(&pass->reader, &head, pass->error) < 0)
        return -1;
    if (head.type != MF_WIRE_MAP)
        return mf_raise(pass->error,
                        MF_EPROTOCOL,
                        "%s message: a %s must be a map, not %s",
                        pass->message,
                        shape->name,
                        mf_wire_type_name(head.type));
    for (uint32_t i = 0; i < head.count; i++) {
        if (read_key(pass, &key, i == 0 ? -1 : (int64_t)key) < 0)
            return -1;
        for (; field < end && field->key < key; field++)
            if (absent(pass, field, into) < 0)
                return -1;
        bool known = field < end && field->key == key;
        int rc = known ? read_value(pass, field++, into)
                       : mf_wire_skip(&pass->reader, MF_DEPTH_MAX, pass->error);
        if (rc < 0)
            return -1;
    }
    for (; field < end; field++)
        if (absent(pass, field, into) < 0)
            return -1;
    return 0;
}

/* The table for a type and the place of its struct in the message; NULL for an unknown type. */
static const struct mf_shape *
shape_of(unsigned type, struct mf_message *message, unsigned char **into)
{
    switch (type) {
    case MF_HELLO:
        *into = (unsigned char *)&message->hello;
        return &mf_shape_hello;
    case MF_POLL:
        *into = (unsigned char *)&message->poll;
        return &mf_shape_poll;
    case MF_CHUNK:
        *into = (unsigned char *)&message->chunk;
        return &mf_shape_chunk;
    case MF_BYE:
        *into = (unsigned char *)&message->bye;
        return &mf_shape_bye;
    case MF_FETCH:
        *into = (unsigned char *)&message->fetch;
        return &mf_shape_fetch;
    case MF_WELCOME:
        *into = (unsigned char *)&message->welcome;
        return &mf_shape_welcome;
    case MF_WORK:
        *into = (unsigned char *)&message->work;
        return &mf_shape_work;
    case MF_RECEIVED:
        *into = (unsigned char *)&message->hello; /* nothing is written: its table is empty */
        return &mf_shape_received;
    case MF_REFUSED:
        *into = (unsigned char *)&message->refused;
        return &mf_shape_refused;
    case MF_PIECE:
        *into = (unsigned char *)&message->piece;
        return &mf_shape_piece;
    default:
        return NULL;
    }
}

/* A hello and a refusal are read whatever their version: both sides can then say what is wrong. */
static int check_version(const struct mf_frame *frame, struct mf_error *error)
{
    if (frame->version == MF_PROTOCOL || frame->type == MF_HELLO || frame->type == MF_REFUSED)
        return 0;
    return mf_raise(error,
                    MF_EPROTOCOL,
                    "the peer speaks protocol %u, this is protocol %u: use the same version of "
                    "Mayfly on both sides",
                    frame->version,
                    MF_PROTOCOL);
}

/* The body to read: the frame's own bytes, or inflated into the decoder's memory. */
static int open_body(struct mf_decoder *decoder,
                     const struct mf_frame *frame,
                     struct mf_bytes *body,
                     struct mf_error *error)
{
    *body = frame->body;
    if (!frame->deflated)
        return 0;
    if (decoder->inflater == NULL)
        decoder->inflater = mf_inflater_create(error);
    if (decoder->inflater == NULL ||
        mf_inflater_run(decoder->inflater, frame, &decoder->inflated, error) < 0)
        return -1;
    *body = mf_buffer_view(&decoder->inflated);
    return 0;
}

static int read_body(struct mf_decoder *decoder,
                     struct mf_bytes body,
                     const struct mf_shape *shape,
                     unsigned char *into,
                     struct mf_error *error)
{
    struct pass pass = {.decoder = decoder,
                        .reader = mf_wire_reader_of(body),
                        .error = error,
                        .message = shape->name};
    if (mf_wire_check(body, MF_DEPTH_MAX, error) < 0)
        return mf_error_prefix(error, "%s message", shape->name);
    return read_map(&pass, shape, into);
}

int mf_decode(struct mf_decoder *decoder,
              struct mf_bytes frame,
              struct mf_message *message,
              struct mf_error *error)
{
    struct mf_frame head;
    struct mf_bytes body;
    unsigned char *into = NULL;
    mf_arena_clear(&decoder->arena);
    *message = (struct mf_message){0};
    if (mf_frame_parse(frame, &head, error) < 0 || check_version(&head, error) < 0)
        return -1;
    const struct mf_shape *shape = shape_of(head.type, message, &into);
    if (shape == NULL)
        return mf_raise(error, MF_EPROTOCOL, "message type %u is not known", head.type);
    message->type = (enum mf_message_type)head.type;
    if (open_body(decoder, &head, &body, error) < 0)
        return mf_error_prefix(error, "%s message", shape->name);
    return read_body(decoder, body, shape, into, error);
}

struct mf_decoder *mf_decoder_create(void)
{
    return mf_calloc(1, sizeof(struct mf_decoder));
}

void mf_decoder_destroy(struct mf_decoder *decoder)
{
    if (decoder == NULL)
        return;
    mf_arena_fini(&decoder->arena);
    mf_buffer_fini(&decoder->inflated);
    mf_inflater_destroy(decoder->inflater);
    mf_free(decoder);
}

struct mf_decoder *mf_decoder_detach(struct mf_decoder *decoder)
{
    struct mf_decoder *detached = mf_decoder_create();
    if (detached == NULL)
        return NULL;
    detached->arena = decoder->arena;
    detached->inflated = decoder->inflated;
    decoder->arena = (struct mf_arena){0};
    decoder->inflated = (struct mf_buffer){0};
    return detached;
}
