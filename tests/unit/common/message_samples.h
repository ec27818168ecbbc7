/* SPDX-License-Identifier: Apache-2.0 */
/* One sample of each message with every field set, and the bytes that protocol version 1 makes of
 * it: for the tests of the codec and as seeds for its fuzzing. */
#ifndef MAYFLY_TESTS_MESSAGE_SAMPLES_H
#define MAYFLY_TESTS_MESSAGE_SAMPLES_H

#include "common/message.h"

extern const struct mf_hello sample_hello;
extern const struct mf_hello sample_rejoining; /* to the next master of the same run */
extern const struct mf_poll sample_poll;
extern const struct mf_chunk sample_chunk;
extern const struct mf_bye sample_bye;
extern const struct mf_welcome sample_welcome;
extern const struct mf_work sample_work;
extern const struct mf_refused sample_refused;
extern const struct mf_welcome sample_staged; /* a welcome to a run that stages */
extern const struct mf_welcome sample_secret; /* a welcome with secrets */
extern const struct mf_work sample_renewal;   /* work with a renewed credential and secret */
extern const struct mf_fetch sample_fetch;
extern const struct mf_piece sample_piece;

struct sample {
    const char *name;
    enum mf_message_type type;
    int (*encode)(struct mf_buffer *out, struct mf_error *error);
    const char *golden; /* hexadecimal; blanks between bytes are for the reader */
};

#define SAMPLE_COUNT 14
extern const struct sample samples[SAMPLE_COUNT];

/* Appends the bytes of a hexadecimal text. */
int sample_unhex(const char *hex, struct mf_buffer *out, struct mf_error *error);

/* Encodes a decoded message again. */
int sample_encode_again(const struct mf_message *message,
                        struct mf_buffer *out,
                        struct mf_error *error);

#endif
