/* SPDX-License-Identifier: Apache-2.0 */
/* The codec with bad messages: each cap, each wrong type, messages that end early, false counts,
 * and memory that runs out. Nothing may be read outside the frame (the frames stand at the end of
 * blocks of their own, where the address sanitizer looks), nothing may leak. */
#include "common/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/frame.h"
#include "message_samples.h"

/* Decodes a copy that has exactly its own length. */
static int decode_exact(struct mf_bytes frame, struct mf_error *error)
{
    struct mf_decoder *decoder = mf_decoder_create();
    unsigned char *copy = mf_malloc(frame.length);
    struct mf_message message;
    assert_non_null(decoder);
    assert_non_null(copy);
    if (frame.length > 0)
        memcpy(copy, frame.data, frame.length);
    int rc = mf_decode(decoder, mf_bytes_of(copy, frame.length), &message, error);
    mf_free(copy);
    mf_decoder_destroy(decoder);
    return rc;
}

/* A frame of a type with a body in hexadecimal. */
static int decode_body(enum mf_message_type type, const char *hex, struct mf_error *error)
{
    struct mf_buffer frame = {0};
    size_t start;
    assert_int_equal(mf_frame_begin(&frame, &start, error), 0);
    assert_int_equal(sample_unhex(hex, &frame, error), 0);
    assert_int_equal(mf_frame_finish(&frame, start, type, true, error), 0);
    int rc = decode_exact(mf_buffer_view(&frame), error);
    mf_buffer_fini(&frame);
    return rc;
}

static void assert_refused(enum mf_message_type type, const char *hex, const char *expectation)
{
    struct mf_error error = {0};
    assert_int_equal(decode_body(type, hex, &error), -1);
    assert_int_equal(error.code, MF_EPROTOCOL);
    if (strstr(error.text, expectation) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, expectation);
}

static void assert_accepted(enum mf_message_type type, const char *hex)
{
    struct mf_error error = {0};
    if (decode_body(type, hex, &error) < 0)
        fail_msg("%s", error.text);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        struct mf_buffer golden = {0};
        struct mf_error error = {0};
        assert_int_equal(sample_unhex(samples[i].golden, &golden, &error), 0);
        for (size_t length = 0; length < golden.length; length++) {
            error = (struct mf_error){0};
            assert_int_equal(decode_exact(mf_bytes_of(golden.data, length), &error), -1);
            assert_int_equal(error.code, MF_EPROTOCOL);
        }
        /* The same with a header that tells the truth: now the body itself is cut off. */
        for (size_t length = MF_FRAME_HEADER; length < golden.length; length++) {
            golden.data[11] = (unsigned char)(length - MF_FRAME_HEADER);
            error = (struct mf_error){0};
            assert_int_equal(decode_exact(mf_bytes_of(golden.data, length), &error), -1);
            assert_int_equal(error.code, MF_EPROTOCOL);
        }
        mf_buffer_fini(&golden);
    }
}

/* No byte that is changed may do more than make the message refused or another message. */
static void every_changed_byte_is_survived(void **state)
{
    static const unsigned char changes[] = {0x00, 0x7f, 0x80, 0xc1, 0xc6, 0xdb, 0xdd, 0xdf, 0xff};
    (void)state;
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        struct mf_buffer golden = {0};
        struct mf_error error = {0};
        assert_int_equal(sample_unhex(samples[i].golden, &golden, &error), 0);
        for (size_t at = 0; at < golden.length; at++) {
            unsigned char was = golden.data[at];
            for (size_t k = 0; k < sizeof(changes); k++) {
                golden.data[at] = changes[k];
                error = (struct mf_error){0};
                int rc = decode_exact(mf_buffer_view(&golden), &error);
                assert_true(rc == 0 || error.code == MF_EPROTOCOL);
            }
            golden.data[at] = was;
        }
        mf_buffer_fini(&golden);
    }
}

static void false_counts_cost_nothing(void **state)
{
    static const char *const bodies[] = {
        "81 02 dd 1fffffff",    /* work: an array of half a thousand million subtasks */
        "dd 1fffffff",          /* that array alone, five bytes */
        "df 7fffffff",          /* a map of two thousand million pairs */
        "81 02 c6 1fffffff",    /* a binary of half a gigabyte */
        "81 02 db 1fffffff",    /* a string of the same */
        "81 02 c9 ffffffff 01", /* an extension of four gigabytes */
        "81 02 dc 1000",        /* 4,096 subtasks in no byte at all */
    };
    (void)state;
    struct mf_decoder *decoder = mf_decoder_create();
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct mf_buffer frame = {0};
        struct mf_message message;
        struct mf_error error = {0};
        size_t start;
        assert_int_equal(mf_frame_begin(&frame, &start, &error), 0);
        assert_int_equal(sample_unhex(bodies[i], &frame, &error), 0);
        assert_int_equal(mf_frame_finish(&frame, start, MF_WORK, true, &error), 0);
        mf_alloc_fail_at(1000000);
        assert_int_equal(mf_decode(decoder, mf_buffer_view(&frame), &message, &error), -1);
        unsigned long asked = mf_alloc_count();
        mf_alloc_fail_at(0);
        assert_int_equal(asked, 0);
        assert_int_equal(error.code, MF_EPROTOCOL);
        mf_buffer_fini(&frame);
    }
    mf_decoder_destroy(decoder);
}

#define TOKEN "c420 0000000000000000000000000000000000000000000000000000000000000000"
#define REQUEST "01 01 02 " TOKEN " 04 01 06 05 "

static void wrong_types_are_named(void **state)
{
    (void)state;
    assert_refused(MF_WORK, "90", "work message: a work must be a map, not an array");
    assert_refused(MF_WORK, "81 a161 01", "a key must be a small integer, not a string");
    assert_refused(MF_WORK, "81 ff 01", "a key must be a small integer, not a negative integer");
    assert_refused(MF_WORK, "81 01 a0", "work message: key 1 (epoch) must be an integer");
    assert_refused(MF_WORK, "81 02 80", "key 2 (subtasks) must be an array, not a map");
    assert_refused(MF_WORK, "81 02 91 01", "a subtask must be a map, not an integer");
    assert_refused(MF_WORK, "81 05 01", "key 5 (drain) must be a boolean, not an integer");
    assert_refused(MF_WORK,
                   "82 01 01 02 92 80 81 04 c0",
                   "work message: subtasks[1] key 4 (number) must be an integer, not nil");
    assert_refused(MF_WORK, "82 01 01 02 91 81 05 a161", "key 5 (item) must be a binary");
    assert_refused(MF_WORK, "82 01 01 02 91 81 07 cb3ff0000000000000", "from 0, not a float");
    assert_refused(MF_WORK, "82 01 01 02 91 81 07 ff", "from 0, not a negative integer");
    assert_refused(MF_REFUSED, "82 01 02 02 c40161", "key 2 (text) must be a string, not a binary");
    assert_refused(MF_REFUSED, "82 01 02 02 d40561", "must be a string, not an extension");
    assert_refused(MF_POLL, "84 01 01 02 a0 04 01 06 01", "key 2 (request.token) must be a binary");
    assert_refused(MF_WELCOME, "84 01 01 02 01 03 01 04 01", "a task must be a map");
    assert_refused(
        MF_WELCOME, "84 01 01 02 01 03 01 04 82 01 01 02 91 01", "(argv) must be a binary");
    assert_refused(
        MF_WELCOME, "84 01 01 02 01 03 01 04 82 01 01 02 c400", "(argv) must be an array");
    assert_refused(MF_RECEIVED, "91 01", "received message");
}

static void missing_and_repeated_keys_are_named(void **state)
{
    (void)state;
    assert_refused(MF_HELLO, "80", "hello message: key 1 (request.worker) is missing");
    assert_refused(MF_POLL, "81 01 01", "key 2 (request.token) is missing");
    assert_refused(MF_POLL, "83 01 01 02 " TOKEN " 04 01", "key 6 (request.session) is missing");
    assert_refused(MF_BYE, "84 " REQUEST, "key 7 (reason) is missing");
    assert_refused(MF_CHUNK, "84 " REQUEST, "key 7 (kind) is missing");
    assert_refused(MF_REFUSED, "81 01 02", "key 2 (text) is missing");
    assert_refused(MF_WELCOME, "83 01 01 02 01 03 01", "key 4 (task) is missing");
    assert_refused(MF_WORK, "82 05 c3 05 c3", "key 5 comes twice or after a higher one");
    assert_refused(MF_WORK, "82 06 c3 05 c3", "key 5 comes twice or after a higher one");
    assert_refused(MF_WORK, "82 63 00 63 00", "key 99 comes twice or after a higher one");
    assert_refused(MF_WORK, "81 02 91 80", "subtasks[0] key 3 (epoch) must be from 1");
    assert_refused(MF_WORK, "80 80", "1 bytes follow the end of the body");
}

static void unknown_keys_are_skipped(void **state)
{
    (void)state;
    assert_accepted(MF_WORK, "80");
    assert_accepted(MF_WORK, "83 00 c0 01 01 05 c3");
    assert_accepted(MF_WORK, "83 05 c3 14 82 01 c3 a16b 92 01 c0 cd1000 cb3ff0000000000000");
    assert_accepted(MF_WORK, "82 01 01 02 91 82 05 c40161 14 d40161");
    assert_accepted(MF_RECEIVED, "81 01 01");
    assert_refused(MF_WORK, "81 ce80000000 c3", "a key must be a small integer");
}

static void renewals_and_secrets_are_checked(void **state)
{
    (void)state;
    assert_refused(MF_WORK, "81 0a 92 80 80", "(renewals) has more elements than are allowed");
    assert_refused(MF_WORK, "81 0a 91 83 01 a143 02 a14b 03 c40161", "must have 32 bytes, not 1");
    assert_refused(MF_WORK, "81 0a 91 82 01 a143 02 a14b", "is missing");
    assert_refused(MF_WORK, "81 0b 91 82 01 a141 02 00", "must be from 1");
    assert_refused(MF_WORK, "81 0b 91 81 01 a141", "is missing");
    assert_refused(MF_WORK, "81 0b 91 82 01 a24100 02 01", "must have no NUL inside");
    assert_refused(MF_WORK, "81 0b dc 0021", "");
}

static void ranges_are_checked(void **state)
{
    (void)state;
    assert_refused(MF_POLL, "84 01 00 02 " TOKEN " 04 01 06 05", "must be from 1 to 4294967295");
    assert_refused(
        MF_POLL, "84 01 cf0000000100000000 02 " TOKEN " 04 01 06 05", "(request.worker)");
    assert_refused(
        MF_POLL, "85 01 01 02 " TOKEN " 03 05 04 01 06 05", "(request.lane) must be from 0");
    assert_refused(
        MF_POLL, "84 01 01 02 " TOKEN " 04 00 06 05", "(request.sequence) must be from 1");
    assert_refused(MF_POLL,
                   "84 01 01 02 c41f "
                   "00000000000000000000000000000000000000000000000000000000000000 04 01 06 05",
                   "must have 32 bytes, not 31");
    assert_refused(MF_CHUNK, "85 " REQUEST " 07 07", "key 7 (kind) must be from 1 to 6, not 7");
    assert_refused(
        MF_CHUNK, "86 " REQUEST " 07 01 0c cd1000", "key 12 (mode) must be from 0 to 4095");
    assert_refused(MF_CHUNK, "86 " REQUEST " 07 01 0d cf8000000000000000", "key 13 (offset)");
    assert_refused(
        MF_CHUNK, "86 " REQUEST " 07 01 11 c40101", "(sha256) must have 32 bytes, not 1");
    assert_refused(MF_CHUNK, "86 " REQUEST " 07 01 0b c4036100 62", "must have no NUL inside");
    assert_refused(MF_BYE, "85 " REQUEST " 07 a3610062", "(reason) must have no NUL inside");
    assert_refused(MF_WORK, "82 01 01 02 91 81 01 00", "(id) must be from 1 to 140737488355327");
    assert_refused(MF_WORK, "82 01 01 02 92 81 01 cf00007fffffffffff 80", "subtasks[1] key 1 (id)");
    assert_refused(MF_WORK, "82 01 01 02 91 81 02 00", "(attempt) must be from 1 to 65535, not 0");
    assert_refused(MF_WORK, "82 01 01 02 91 81 02 ce00010000", "(attempt) must be from 1 to 65535");
    assert_refused(MF_WORK, "82 01 01 02 91 81 04 cf8000000000000000", "64 signed bits");
    assert_refused(MF_WORK, "82 01 01 02 91 81 0d c401 90", "(fields) must hold a map of strings");
    assert_refused(MF_WORK, "82 01 01 02 91 81 0d c403 8101 a0", "must hold a map of strings");
    assert_refused(MF_WORK, "82 01 01 02 91 81 0d c402 80 00", "one map and nothing behind");
    assert_refused(MF_POLL, "86 " REQUEST " 05 01 0a 91 81 04 0d", "comes twice or after");
    assert_refused(MF_WELCOME, "84 01 00 02 01 03 01 04 80", "key 1 (epoch) must be from 1");
    assert_refused(
        MF_WELCOME, "84 01 01 02 01 03 01 04 81 01 04", "(executor) must be from 1 to 3");
    assert_refused(MF_FETCH, "85 " REQUEST " 0b ce00080001", "(length) must be from 0 to 524288");
    assert_refused(MF_FETCH, "85 " REQUEST " 08 cd1001", "(file) must be from 0 to 4096");
    assert_refused(MF_FETCH, "85 " REQUEST " 0a cf8000000000000000", "key 10 (offset)");
    assert_refused(MF_PIECE, "81 01 0b", "(cause) must be from 0 to 10, not 11");
    assert_refused(MF_PIECE, "81 04 cf0000000100000000", "(checksum) must be from 0");
#define TASK "84 01 01 02 01 03 01 04 "
    assert_refused(
        MF_WELCOME, TASK "83 01 01 08 c4012f 28 03", "key 40 (staging) must be from 0 to 2, not 3");
    assert_refused(
        MF_WELCOME, TASK "83 01 01 08 c4012f 29 91 80", "own_files[0] key 1 (path) is missing");
    assert_refused(MF_WELCOME,
                   TASK "83 01 01 08 c4012f 29 91 81 01 c4036100 62",
                   "(path) must have no NUL inside");
    assert_refused(MF_WELCOME,
                   TASK "83 01 01 08 c4012f 29 91 82 01 c40161 05 cd1000",
                   "(mode) must be from 0 to 4095");
}

static void results_are_checked(void **state)
{
    static const char head[] = "86 01 01 02 " TOKEN " 04 01 05 01 06 05 0a 91 81 ";
    static const struct {
        const char *item, *expectation;
    } cases[] = {
        {"04 0d", "results[0] key 4 (cause) must be from 0 to 12, not 13"},
        {"05 ce80000000", "(exit_code) does not fit into 32 signed bits"},
        {"06 d3ffffffff7fffffff", "(signal) does not fit into 32 signed bits"},
        {"08 ff", "(wall_us) must be an integer from 0, not a negative integer"},
        {"0d c5ffff", "binary"},
        {"0e cf0000000100000000", "(checksum) must be from 0 to 4294967295"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char hex[512];
        snprintf(hex, sizeof(hex), "%s%s", head, cases[i].item);
        if (strcmp(cases[i].expectation, "binary") == 0)
            assert_refused(MF_POLL, hex, "cut off in the middle of a value");
        else
            assert_refused(MF_POLL, hex, cases[i].expectation);
    }
}

static void nesting_is_capped(void **state)
{
    (void)state;
    assert_accepted(MF_WORK, "81 63 91 91 91 91 91 91 90");
    assert_refused(MF_WORK, "81 63 91 91 91 91 91 91 91 90", "nested deeper than 8 levels");
    assert_refused(MF_WORK, "81 63 81 a0 81 a0 81 a0 81 a0 81 a0 81 a0 81 a0 80", "deeper than 8");
    assert_refused(MF_WORK, "81 63 c1", "byte 0xc1 is no msgpack value");
}

static void other_versions_are_told(void **state)
{
    struct mf_buffer frame = {0};
    struct mf_error error = {0};
    (void)state;
    assert_int_equal(mf_encode_work(&sample_work, &frame, &error), 0);
    frame.data[2] = 7;
    assert_int_equal(decode_exact(mf_buffer_view(&frame), &error), -1);
    assert_non_null(strstr(error.text, "the peer speaks protocol 7, this is protocol 1"));
    mf_buffer_clear(&frame);
    assert_int_equal(mf_encode_hello(&sample_hello, &frame, &error), 0);
    frame.data[2] = 7;
    assert_int_equal(decode_exact(mf_buffer_view(&frame), &error), 0);
    frame.data[3] = 99;
    frame.data[2] = 1;
    assert_int_equal(decode_exact(mf_buffer_view(&frame), &error), -1);
    assert_string_equal(error.text, "message type 99 is not known");
    mf_buffer_fini(&frame);
}

static void too_many_items_are_not_sent(void **state)
{
    struct mf_fence *fences = mf_calloc(MF_BATCH_MAX + 1, sizeof(*fences));
    struct mf_buffer frame = {0};
    struct mf_error error = {0};
    (void)state;
    for (uint32_t i = 0; i <= MF_BATCH_MAX; i++)
        fences[i] = (struct mf_fence){.subtask = i + 1, .attempt = 1, .epoch = 1};
    struct mf_work work = {.cancel_count = MF_BATCH_MAX, .cancel = fences};
    assert_int_equal(mf_encode_work(&work, &frame, &error), 0);
    assert_int_equal(decode_exact(mf_buffer_view(&frame), &error), 0);
    mf_buffer_clear(&frame);
    work.cancel_count = MF_BATCH_MAX + 1;
    assert_int_equal(mf_encode_work(&work, &frame, &error), -1);
    assert_int_equal(error.code, MF_EPROTOCOL);
    assert_int_equal(frame.length, 0);
    assert_refused(MF_WORK, "81 04 dc1001", "more than the allowed 4096");
    mf_buffer_fini(&frame);
    mf_free(fences);
}

static void unfit_values_are_not_sent(void **state)
{
    struct mf_buffer frame = {0};
    struct mf_error error = {0};
    (void)state;
    struct mf_poll poll = sample_poll;
    poll.request.lane = MF_LANES;
    assert_int_equal(mf_encode_poll(&poll, &frame, &error), -1);
    assert_string_equal(error.text,
                        "cannot send a poll message: request.lane must be from 0 to 4, not 5");
    struct mf_chunk chunk = sample_chunk;
    chunk.sha256 = mf_bytes_text("short");
    assert_int_equal(mf_encode_chunk(&chunk, &frame, &error), -1);
    chunk = sample_chunk;
    chunk.path = mf_bytes_of("a\0b", 3);
    assert_int_equal(mf_encode_chunk(&chunk, &frame, &error), -1);
    unsigned char *large = mf_calloc(1, MF_STRING_MAX + 1);
    chunk = sample_chunk;
    chunk.data = mf_bytes_of(large, MF_CHUNK_MAX + 1);
    assert_int_equal(mf_encode_chunk(&chunk, &frame, &error), -1);
    struct mf_subtask subtask = {.id = 1, .attempt = 1, .epoch = 1};
    struct mf_work work = {.subtask_count = 1, .subtasks = &subtask};
    subtask.item = mf_bytes_of(large, MF_STRING_MAX + 1);
    assert_int_equal(mf_encode_work(&work, &frame, &error), -1);
    subtask.item.length = MF_STRING_MAX;
    assert_int_equal(mf_encode_work(&work, &frame, &error), 0);
    mf_buffer_clear(&frame);
    subtask.attempt = 0;
    assert_int_equal(mf_encode_work(&work, &frame, &error), -1);
    subtask.attempt = 1;
    subtask.epoch = 0;
    assert_int_equal(mf_encode_work(&work, &frame, &error), -1);
    subtask.epoch = 1;
    subtask.id = MF_SUBTASK_MAX + 1;
    assert_int_equal(mf_encode_work(&work, &frame, &error), -1);
    assert_int_equal(error.code, MF_EPROTOCOL);
    assert_int_equal(frame.length, 0);
    mf_free(large);
    mf_buffer_fini(&frame);
}

/* Each item is allowed, together they are more than a frame may inflate to. */
static void too_large_messages_are_not_sent(void **state)
{
    unsigned char *large = mf_calloc(1, MF_STRING_MAX);
    struct mf_subtask subtasks[9] = {0};
    struct mf_work work = {.subtask_count = 9, .subtasks = subtasks};
    struct mf_buffer frame = {0};
    struct mf_error error = {0};
    (void)state;
    for (unsigned i = 0; i < 9; i++)
        subtasks[i] = (struct mf_subtask){
            .id = i + 1, .attempt = 1, .epoch = 1, .item = mf_bytes_of(large, MF_STRING_MAX)};
    assert_int_equal(mf_encode_work(&work, &frame, &error), -1);
    assert_non_null(strstr(error.text, "cannot send a work message: a message of"));
    assert_int_equal(frame.length, 0);
    work.subtask_count = 7;
    assert_int_equal(mf_encode_work(&work, &frame, &error), 0);
    assert_int_equal(decode_exact(mf_buffer_view(&frame), &error), 0);
    uint32_t random = 1;
    for (size_t i = 0; i < MF_STRING_MAX; i++) {
        random = random * 1664525 + 1013904223;
        large[i] = (unsigned char)(random >> 24);
    }
    mf_buffer_clear(&frame);
    assert_int_equal(mf_encode_work(&work, &frame, &error), -1);
    assert_non_null(strstr(error.text, "a frame of"));
    assert_int_equal(frame.length, 0);
    mf_free(large);
    mf_buffer_fini(&frame);
}

/* Every allocation of encoding and decoding fails once; then it works as if nothing had been. */
static void exhausted_memory_is_reported(void **state)
{
    (void)state;
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        int rc = -1;
        for (unsigned long n = 1; rc != 0; n++) {
            struct mf_decoder *decoder = mf_decoder_create();
            struct mf_buffer frame = {0};
            struct mf_message message;
            struct mf_error error = {0};
            mf_alloc_fail_at(n);
            rc = samples[i].encode(&frame, &error);
            if (rc == 0)
                rc = mf_decode(decoder, mf_buffer_view(&frame), &message, &error);
            mf_alloc_fail_at(0);
            assert_true(rc == 0 || error.code == MF_ENOMEM);
            assert_true(n < 100);
            mf_buffer_fini(&frame);
            mf_decoder_destroy(decoder);
        }
    }
}

static void exhausted_memory_is_reported_when_deflating(void **state)
{
    unsigned char *data = mf_calloc(1, MF_CHUNK_MAX);
    struct mf_chunk chunk = sample_chunk;
    int rc = -1;
    (void)state;
    chunk.data = mf_bytes_of(data, MF_CHUNK_MAX);
    for (unsigned long n = 1; rc != 0; n++) {
        struct mf_decoder *decoder = mf_decoder_create();
        struct mf_buffer frame = {0};
        struct mf_message message;
        struct mf_error error = {0};
        mf_alloc_fail_at(n);
        rc = mf_encode_chunk(&chunk, &frame, &error);
        if (rc == 0)
            rc = mf_decode(decoder, mf_buffer_view(&frame), &message, &error);
        mf_alloc_fail_at(0);
        assert_true(rc == 0 || error.code == MF_ENOMEM);
        assert_true(n < 100);
        mf_buffer_fini(&frame);
        mf_decoder_destroy(decoder);
    }
    mf_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_changed_byte_is_survived),
        cmocka_unit_test(false_counts_cost_nothing),
        cmocka_unit_test(wrong_types_are_named),
        cmocka_unit_test(missing_and_repeated_keys_are_named),
        cmocka_unit_test(unknown_keys_are_skipped),
        cmocka_unit_test(renewals_and_secrets_are_checked),
        cmocka_unit_test(ranges_are_checked),
        cmocka_unit_test(results_are_checked),
        cmocka_unit_test(nesting_is_capped),
        cmocka_unit_test(other_versions_are_told),
        cmocka_unit_test(too_many_items_are_not_sent),
        cmocka_unit_test(unfit_values_are_not_sent),
        cmocka_unit_test(too_large_messages_are_not_sent),
        cmocka_unit_test(exhausted_memory_is_reported),
        cmocka_unit_test(exhausted_memory_is_reported_when_deflating),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
