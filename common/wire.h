/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msgpack as the wire uses it: a cursor that reads one value at a time from borrowed bytes, a walk
 * that checks a whole body without allocating, and the library's packer writing into a buffer.
 *
 * Nothing here allocates while reading, and no declared count or length is believed before it was
 * compared with the bytes that remain and with the caps of message.h. Any thread.
 */
#ifndef MAYFLY_COMMON_WIRE_H
#define MAYFLY_COMMON_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include <msgpack.h>

#include "common/buffer.h"
#include "common/error.h"

enum mf_wire_type {
    MF_WIRE_UINT = 1, /* zero or more */
    MF_WIRE_INT,      /* less than zero */
    MF_WIRE_NIL,
    MF_WIRE_BOOL,
    MF_WIRE_FLOAT,
    MF_WIRE_STR,
    MF_WIRE_BIN,
    MF_WIRE_EXT,
    MF_WIRE_ARRAY,
    MF_WIRE_MAP
};

/* One value; of an array or map only the header, its members follow as values of their own. */
struct mf_wire_token {
    enum mf_wire_type type;
    union {
        uint64_t number;  /* MF_WIRE_UINT; MF_WIRE_BOOL as 0 or 1 */
        int64_t negative; /* MF_WIRE_INT */
        uint32_t count;   /* members of an array, pairs of a map */
    };
    struct mf_bytes bytes; /* of a string, binary or extension; borrowed from what is read */
};

struct mf_wire_reader {
    const unsigned char *at, *end;
};

struct mf_wire_reader mf_wire_reader_of(struct mf_bytes body);

/* Reads the next value or header. -1 with MF_EPROTOCOL when it is cut off, malformed or over a cap.
 */
int mf_wire_next(struct mf_wire_reader *reader,
                 struct mf_wire_token *token,
                 struct mf_error *error);

/* Walks over one value with all its members, at most `depth` deep. */
int mf_wire_skip(struct mf_wire_reader *reader, unsigned depth, struct mf_error *error);

/* The body is exactly one well-formed value within all caps. */
int mf_wire_check(struct mf_bytes body, unsigned depth, struct mf_error *error);

/* "an integer", "a string" ...: for error sentences. */
const char *mf_wire_type_name(enum mf_wire_type type);

/* A packer that appends to `out`, which must outlive it. The library's functions return non-zero
 * when memory is exhausted. */
struct mf_wire_packer {
    msgpack_packer library;
    struct mf_buffer *out;
};
void mf_wire_packer_init(struct mf_wire_packer *packer, struct mf_buffer *out);

#endif
