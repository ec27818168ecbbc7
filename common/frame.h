/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The envelope of every message: twelve bytes of header and a body, deflated when that gains.
 *
 *     'M' 'F' | version | type | flags | 0 0 0 | size of the inflated body, 4 bytes big endian
 *
 * The header's shape is the same in every protocol version. Caps (message.h) are checked before
 * anything is allocated. Any thread, except that an inflater serves one at a time.
 */
#ifndef MAYFLY_COMMON_FRAME_H
#define MAYFLY_COMMON_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

#define MF_FRAME_HEADER 12
#define MF_FRAME_DEFLATED 1u  /* flag: the body is a zlib stream */
#define MF_DEFLATE_FROM 65536 /* smaller bodies go as they are: see frame.c */

struct mf_frame {
    unsigned version;
    unsigned type;
    bool deflated;
    uint32_t size;        /* of the body, inflated */
    struct mf_bytes body; /* as it is on the wire; borrowed from the frame */
};

/* Reads and checks the header. -1 with MF_EPROTOCOL. Any version and type is accepted here. */
int mf_frame_parse(struct mf_bytes bytes, struct mf_frame *frame, struct mf_error *error);

/* Of a frame that this side made; false for an empty one. */
static inline bool mf_frame_is_deflated(struct mf_bytes frame)
{
    return frame.length >= MF_FRAME_HEADER && (frame.data[4] & MF_FRAME_DEFLATED) != 0;
}

/* Makes room for a header at the end of `out`; the body is to be appended behind it. */
int mf_frame_begin(struct mf_buffer *out, size_t *start, struct mf_error *error);
/* Deflates the body that was appended since mf_frame_begin if it may and that gains, and
 * writes the header. MF_EPROTOCOL when the frame is over a cap. */
int mf_frame_finish(
    struct mf_buffer *out, size_t start, unsigned type, bool may_deflate, struct mf_error *error);
/* Whether deflating data like this gains; looks at no more than its first MF_SAMPLE bytes. When
 * memory is exhausted it does not. */
#define MF_SAMPLE 16384
bool mf_frame_gains(struct mf_bytes data);

/* zlib's state for inflating, reused from frame to frame. */
struct mf_inflater;
struct mf_inflater *mf_inflater_create(struct mf_error *error);
void mf_inflater_destroy(struct mf_inflater *inflater);
/* Replaces the content of `into` by the inflated body. MF_EPROTOCOL when the stream is damaged or
 * its size is not the declared one: never more than the declared size is written. */
int mf_inflater_run(struct mf_inflater *inflater,
                    const struct mf_frame *frame,
                    struct mf_buffer *into,
                    struct mf_error *error);

#endif
