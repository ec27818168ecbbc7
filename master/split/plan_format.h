/* SPDX-License-Identifier: Apache-2.0 */
/* Within the split module: the bytes of plan.seg, as docs/plan-seg.md describes them. */
#ifndef MAYFLY_MASTER_SPLIT_PLAN_FORMAT_H
#define MAYFLY_MASTER_SPLIT_PLAN_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/message.h"

#define PLAN_MAGIC "mayfly plan 1\n\0\0"
#define PLAN_MAGIC_SIZE 16
#define PLAN_FRAME_SIZE 12 /* length, checksum of the payload, checksum of these eight bytes */
#define PLAN_PAYLOAD_MAX (4u << 20)

/* The first byte of a payload. Numbers are never reused. */
enum plan_record { PLAN_INPUT = 1, PLAN_PIECE = 2, PLAN_END = 3 };

/* Appends the frame and payload of a record whose payload is `payload`. */
int plan_put_record(struct mf_buffer *out, struct mf_bytes payload, struct mf_error *error);
/* The payload's length and checksum; false when the frame is none. */
bool plan_take_frame(const unsigned char frame[PLAN_FRAME_SIZE],
                     uint32_t *length,
                     uint32_t *checksum);

int plan_put_input(struct mf_buffer *out, const struct mf_subtask *piece, struct mf_error *error);
int plan_put_piece(struct mf_buffer *out, const struct mf_subtask *piece, struct mf_error *error);
int plan_put_end(struct mf_buffer *out, uint64_t total, struct mf_error *error);

/* Each takes a payload behind its first byte; false when it is malformed. Views borrow from the
 * payload. */
bool plan_take_input(struct mf_bytes payload, struct mf_subtask *input);
bool plan_take_piece(struct mf_bytes payload,
                     const struct mf_subtask *input,
                     struct mf_subtask *piece);
bool plan_take_end(struct mf_bytes payload, uint64_t *total);

#endif
