/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a frame, or, when they do not start like one, as a type and a body that get a header
 * (a changed body would nearly always be refused for its size alone). They are refused with a
 * protocol error and a sentence, or they are a message: then it can be encoded again, and what that
 * gives decodes to what encodes to the same bytes. The one exception is a message that is too large
 * for a frame of its own, since the encoder writes every item with its defaults and deflates at
 * another level.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/frame.h"
#include "common/message.h"
#include "message_samples.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "fuzz_message: not true: %s\n", #condition);                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void encode_again(const struct mf_message *message)
{
    struct mf_buffer first = {0}, second = {0};
    struct mf_message decoded;
    struct mf_error error = {0};
    struct mf_decoder *decoder = mf_decoder_create();
    MUST(decoder != NULL);
    if (sample_encode_again(message, &first, &error) < 0) {
        MUST(strstr(error.text, "larger than the allowed") != NULL);
    } else {
        MUST(mf_decode(decoder, mf_buffer_view(&first), &decoded, &error) == 0);
        MUST(decoded.type == message->type);
        MUST(sample_encode_again(&decoded, &second, &error) == 0);
        MUST(mf_bytes_equal(mf_buffer_view(&first), mf_buffer_view(&second)));
    }
    mf_decoder_destroy(decoder);
    mf_buffer_fini(&first);
    mf_buffer_fini(&second);
}

static void try_frame(struct mf_bytes frame)
{
    struct mf_message message;
    struct mf_error error = {0};
    struct mf_decoder *decoder = mf_decoder_create();
    MUST(decoder != NULL);
    if (mf_decode(decoder, frame, &message, &error) == 0)
        encode_again(&message);
    else
        MUST(error.code == MF_EPROTOCOL && error.text[0] != '\0');
    mf_decoder_destroy(decoder);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct mf_buffer frame = {0};
    size_t start;
    if (size == 0 || data[0] == 'M') {
        try_frame(mf_bytes_of(data, size));
        return 0;
    }
    MUST(mf_frame_begin(&frame, &start, NULL) == 0);
    MUST(mf_buffer_append(&frame, data + 1, size - 1, NULL) == 0);
    if (mf_frame_finish(&frame, start, data[0], true, NULL) == 0)
        try_frame(mf_buffer_view(&frame));
    mf_buffer_fini(&frame);
    return 0;
}
