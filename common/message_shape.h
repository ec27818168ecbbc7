/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages as tables: which key holds which member of which struct, of what kind, in what
 * range. Encoder and decoder both walk these tables, so that they cannot disagree; docs/protocol.md
 * lists the same keys for readers. Private to the codec.
 *
 * A table's fields stand in the order of their keys, and keys are written and accepted in that
 * order only: bytes are the same for the same struct, and a key that comes twice is refused.
 */
#ifndef MAYFLY_COMMON_MESSAGE_SHAPE_H
#define MAYFLY_COMMON_MESSAGE_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mf_kind {
    MF_KIND_U32 = 1,       /* min..max; absent = `absent` */
    MF_KIND_U64,           /* the same */
    MF_KIND_I32,           /* any; absent = 0 */
    MF_KIND_I64,           /* any; absent = 0 */
    MF_KIND_BOOL,          /* true when there */
    MF_KIND_TEXT,          /* msgpack string, a C string; absent = NULL */
    MF_KIND_PATH,          /* msgpack binary, a C string; absent = NULL */
    MF_KIND_BYTES,         /* msgpack binary; absent = empty */
    MF_KIND_NAME,          /* msgpack binary without NUL inside; absent = empty */
    MF_KIND_FIELDS,        /* msgpack binary that holds a msgpack map of strings; absent = empty */
    MF_KIND_DIGEST,        /* msgpack binary of exactly max bytes; absent = empty */
    MF_KIND_TOKEN,         /* msgpack binary of exactly max bytes, an array in the struct */
    MF_KIND_PATHS,         /* array of MF_KIND_PATH, its count at count_offset */
    MF_KIND_LIST,          /* array of maps of `shape`, its count at count_offset */
    MF_KIND_MAP,           /* one map of `shape` */
    MF_KIND_REQUEST_EPOCH, /* u32, and what MF_KIND_EPOCH is when absent in this message */
    MF_KIND_DEFAULT_EPOCH, /* the same, but without a member of the struct */
    MF_KIND_EPOCH,         /* u32; absent = the message's epoch */
    MF_KIND_SUBTASK,       /* u64; absent = one more than in the item before (0 before the first) */
    MF_KIND_NUMBER         /* i64, as the difference to the item before; has_number at
                              count_offset says whether it is there */
};

struct mf_shape;

struct mf_field {
    unsigned char key;
    unsigned char kind; /* enum mf_kind */
    bool required;      /* always written, refused when absent */
    unsigned short offset;
    unsigned short count_offset;
    uint64_t min, max; /* of a number; max also of bytes, elements */
    uint64_t absent;   /* U32, U64 */
    const struct mf_shape *shape;
    const char *name;
};

struct mf_shape {
    const char *name;
    size_t size;
    unsigned count;
    const struct mf_field *fields;
};

extern const struct mf_shape mf_shape_hello;
extern const struct mf_shape mf_shape_poll;
extern const struct mf_shape mf_shape_chunk;
extern const struct mf_shape mf_shape_bye;
extern const struct mf_shape mf_shape_fetch;
extern const struct mf_shape mf_shape_welcome;
extern const struct mf_shape mf_shape_work;
extern const struct mf_shape mf_shape_received;
extern const struct mf_shape mf_shape_refused;
extern const struct mf_shape mf_shape_piece;

#endif
