/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msgpack on the wire: see wire.h.
 *
 * Packing is the library's. Reading is a cursor of our own instead of the library's object tree:
 * the walk that compares declared counts with the remaining bytes has to exist anyway
 * (msgpack-c 4.0 allocates for a declared count), a cursor allocates nothing, so that no failing
 * allocation hides from the tests, and making the tree alone takes as long as walk and decoding
 * together (measured: 20 to 30 million items of a batch a second for either).
 */
#include "common/wire.h"

#include "common/message.h"

static uint64_t big_endian(const unsigned char *at, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

static int cut_off(struct mf_error *error)
{
    return mf_raise(error, MF_EPROTOCOL, "the body is cut off in the middle of a value");
}

struct mf_wire_reader mf_wire_reader_of(struct mf_bytes body)
{
    const unsigned char *end = body.length == 0 ? body.data : body.data + body.length;
    return (struct mf_wire_reader){.at = body.data, .end = end};
}

/* The big-endian number of `size` bytes at the cursor, which moves on. */
static int
take_number(struct mf_wire_reader *reader, unsigned size, uint64_t *value, struct mf_error *error)
{
    if ((size_t)(reader->end - reader->at) < size)
        return cut_off(error);
    *value = big_endian(reader->at, size);
    reader->at += size;
    return 0;
}

static int take_unsigned(struct mf_wire_reader *reader,
                         unsigned size,
                         struct mf_wire_token *token,
                         struct mf_error *error)
{
    token->type = MF_WIRE_UINT;
    return take_number(reader, size, &token->number, error);
}

static int take_signed(struct mf_wire_reader *reader,
                       unsigned size,
                       struct mf_wire_token *token,
                       struct mf_error *error)
{
    uint64_t raw;
    if (take_number(reader, size, &raw, error) < 0)
        return -1;
    unsigned shift = 64 - 8 * size;
    int64_t value = (int64_t)(raw << shift) >> shift;
    token->type = value < 0 ? MF_WIRE_INT : MF_WIRE_UINT;
    if (value < 0)
        token->negative = value;
    else
        token->number = (uint64_t)value;
    return 0;
}

/* Bytes of the declared length; `extra` bytes (an extension's type) come before them and count as
 * content. */
static int take_bytes(struct mf_wire_reader *reader,
                      enum mf_wire_type type,
                      uint64_t length,
                      struct mf_wire_token *token,
                      struct mf_error *error)
{
    if (length > MF_STRING_MAX)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "%s of %llu bytes is declared, more than the allowed %u",
                        mf_wire_type_name(type),
                        (unsigned long long)length,
                        MF_STRING_MAX);
    if (length > (size_t)(reader->end - reader->at))
        return cut_off(error);
    token->type = type;
    token->bytes = mf_bytes_of(reader->at, length);
    reader->at += length;
    return 0;
}

/* As take_bytes, after a length of `size` bytes. */
static int take_sized(struct mf_wire_reader *reader,
                      enum mf_wire_type type,
                      unsigned size,
                      struct mf_wire_token *token,
                      struct mf_error *error)
{
    uint64_t length;
    if (take_number(reader, size, &length, error) < 0)
        return -1;
    return take_bytes(reader, type, length + (type == MF_WIRE_EXT), token, error);
}

/* A container's header: every member takes at least one byte, so a false count shows here. */
static int take_container(struct mf_wire_reader *reader,
                          enum mf_wire_type type,
                          uint64_t count,
                          struct mf_wire_token *token,
                          struct mf_error *error)
{
    uint64_t values = type == MF_WIRE_MAP ? 2 * count : count;
    uint64_t remaining = (uint64_t)(reader->end - reader->at);
    if (count > MF_BATCH_MAX)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "%s of %llu members is declared, more than the allowed %u",
                        mf_wire_type_name(type),
                        (unsigned long long)count,
                        MF_BATCH_MAX);
    if (values > remaining)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "%s of %llu members is declared, but only %llu bytes remain",
                        mf_wire_type_name(type),
                        (unsigned long long)count,
                        (unsigned long long)remaining);
    token->type = type;
    token->count = (uint32_t)count;
    return 0;
}

static int take_sized_container(struct mf_wire_reader *reader,
                                enum mf_wire_type type,
                                unsigned size,
                                struct mf_wire_token *token,
                                struct mf_error *error)
{
    uint64_t count;
    if (take_number(reader, size, &count, error) < 0)
        return -1;
    return take_container(reader, type, count, token, error);
}

static int take_float(struct mf_wire_reader *reader,
                      unsigned size,
                      struct mf_wire_token *token,
                      struct mf_error *error)
{
    if (take_unsigned(reader, size, token, error) < 0)
        return -1;
    token->type =
        MF_WIRE_FLOAT; /* skipped only: no field is one, so its value is never looked at */
    return 0;
}

/* The values 0xc0 to 0xdf, whose first byte alone says what follows. */
static int take_long_form(struct mf_wire_reader *reader,
                          unsigned char head,
                          struct mf_wire_token *token,
                          struct mf_error *error)
{
    switch (head) {
    case 0xc0:
        token->type = MF_WIRE_NIL;
        return 0;
    case 0xc2:
    case 0xc3:
        token->type = MF_WIRE_BOOL;
        token->number = head & 1;
        return 0;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return take_sized(reader, MF_WIRE_BIN, 1u << (head - 0xc4), token, error);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return take_sized(reader, MF_WIRE_EXT, 1u << (head - 0xc7), token, error);
    case 0xca:
    case 0xcb:
        return take_float(reader, 4u << (head - 0xca), token, error);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return take_unsigned(reader, 1u << (head - 0xcc), token, error);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return take_signed(reader, 1u << (head - 0xd0), token, error);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return take_bytes(reader, MF_WIRE_EXT, (1u << (head - 0xd4)) + 1, token, error);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return take_sized(reader, MF_WIRE_STR, 1u << (head - 0xd9), token, error);
    case 0xdc:
    case 0xdd:
        return take_sized_container(reader, MF_WIRE_ARRAY, 2u << (head - 0xdc), token, error);
    case 0xde:
    case 0xdf:
        return take_sized_container(reader, MF_WIRE_MAP, 2u << (head - 0xde), token, error);
    default: /* 0xc1 */
        return mf_raise(error, MF_EPROTOCOL, "byte 0x%02x is no msgpack value", head);
    }
}

int mf_wire_next(struct mf_wire_reader *reader, struct mf_wire_token *token, struct mf_error *error)
{
    if (reader->at == reader->end)
        return cut_off(error);
    unsigned char head = *reader->at++;
    if (head < 0x80) {
        token->type = MF_WIRE_UINT;
        token->number = head;
        return 0;
    }
    if (head < 0x90)
        return take_container(reader, MF_WIRE_MAP, head & 0x0f, token, error);
    if (head < 0xa0)
        return take_container(reader, MF_WIRE_ARRAY, head & 0x0f, token, error);
    if (head < 0xc0)
        return take_bytes(reader, MF_WIRE_STR, head & 0x1f, token, error);
    if (head < 0xe0)
        return take_long_form(reader, head, token, error);
    token->type = MF_WIRE_INT;
    token->negative = (int)head - 256;
    return 0;
}

int mf_wire_skip(struct mf_wire_reader *reader, unsigned depth, struct mf_error *error)
{
    uint64_t left[MF_DEPTH_MAX]; /* values still to come, a level */
    unsigned level = 0;
    if (depth > MF_DEPTH_MAX)
        depth = MF_DEPTH_MAX;
    do {
        struct mf_wire_token token;
        if (mf_wire_next(reader, &token, error) < 0)
            return -1;
        if (level > 0)
            left[level - 1]--;
        if (token.type >= MF_WIRE_ARRAY) {
            if (level == depth)
                return mf_raise(
                    error, MF_EPROTOCOL, "the body is nested deeper than %u levels", depth);
            left[level++] = token.type == MF_WIRE_MAP ? 2 * (uint64_t)token.count : token.count;
        }
        while (level > 0 && left[level - 1] == 0)
            level--;
    } while (level > 0);
    return 0;
}

int mf_wire_check(struct mf_bytes body, unsigned depth, struct mf_error *error)
{
    struct mf_wire_reader reader = mf_wire_reader_of(body);
    if (mf_wire_skip(&reader, depth, error) < 0)
        return -1;
    if (reader.at != reader.end)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "%zu bytes follow the end of the body",
                        (size_t)(reader.end - reader.at));
    return 0;
}

const char *mf_wire_type_name(enum mf_wire_type type)
{
    static const char *const names[] = {
        [MF_WIRE_UINT] = "an integer",
        [MF_WIRE_INT] = "a negative integer",
        [MF_WIRE_NIL] = "nil",
        [MF_WIRE_BOOL] = "a boolean",
        [MF_WIRE_FLOAT] = "a float",
        [MF_WIRE_STR] = "a string",
        [MF_WIRE_BIN] = "a binary",
        [MF_WIRE_EXT] = "an extension",
        [MF_WIRE_ARRAY] = "an array",
        [MF_WIRE_MAP] = "a map",
    };
    return names[type];
}

static int append(void *data, const char *bytes, size_t length)
{
    struct mf_wire_packer *packer = data;
    return mf_buffer_append(packer->out, bytes, length, NULL);
}

void mf_wire_packer_init(struct mf_wire_packer *packer, struct mf_buffer *out)
{
    packer->out = out;
    msgpack_packer_init(&packer->library, packer, append);
}
