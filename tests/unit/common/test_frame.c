/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: the header's checks, deflating only when it gains, and inflation bombs. */
#include "common/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/message.h"

static void put_size(unsigned char *header, uint32_t size)
{
    header[8] = (unsigned char)(size >> 24);
    header[9] = (unsigned char)(size >> 16);
    header[10] = (unsigned char)(size >> 8);
    header[11] = (unsigned char)size;
}

/* A frame around a body of `size` times `byte`. */
static void make_frame(struct mf_buffer *frame, size_t size, int byte)
{
    struct mf_error error = {0};
    size_t start;
    assert_int_equal(mf_frame_begin(frame, &start, &error), 0);
    assert_int_equal(mf_buffer_reserve(frame, size, &error), 0);
    memset(frame->data + frame->length, byte, size);
    frame->length += size;
    assert_int_equal(mf_frame_finish(frame, start, MF_WORK, true, &error), 0);
}

static void assert_parse_fails(struct mf_bytes bytes, const char *expectation)
{
    struct mf_frame frame;
    struct mf_error error = {0};
    assert_int_equal(mf_frame_parse(bytes, &frame, &error), -1);
    assert_int_equal(error.code, MF_EPROTOCOL);
    if (strstr(error.text, expectation) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, expectation);
}

static void small_bodies_go_as_they_are(void **state)
{
    struct mf_buffer bytes = {0};
    struct mf_frame frame;
    struct mf_error error = {0};
    (void)state;
    make_frame(&bytes, 100, 'x');
    assert_int_equal(bytes.length, MF_FRAME_HEADER + 100);
    assert_int_equal(mf_frame_parse(mf_buffer_view(&bytes), &frame, &error), 0);
    assert_int_equal(frame.version, MF_PROTOCOL);
    assert_int_equal(frame.type, MF_WORK);
    assert_false(frame.deflated);
    assert_int_equal(frame.size, 100);
    assert_int_equal(frame.body.length, 100);
    mf_buffer_fini(&bytes);
}

static void large_bodies_are_deflated_and_inflated(void **state)
{
    struct mf_inflater *inflater = mf_inflater_create(NULL);
    struct mf_buffer bytes = {0}, into = {0};
    struct mf_frame frame;
    struct mf_error error = {0};
    (void)state;
    make_frame(&bytes, MF_DEFLATE_FROM, 'x');
    for (int i = 0; i < 2; i++) { /* the inflater serves again */
        assert_int_equal(mf_frame_parse(mf_buffer_view(&bytes), &frame, &error), 0);
        assert_true(frame.deflated);
        assert_int_equal(frame.size, MF_DEFLATE_FROM);
        assert_int_equal(mf_inflater_run(inflater, &frame, &into, &error), 0);
        assert_int_equal(into.length, MF_DEFLATE_FROM);
        assert_true(into.data[0] == 'x' && memcmp(into.data, into.data + 1, into.length - 1) == 0);
    }
    mf_inflater_destroy(inflater);
    mf_buffer_fini(&into);
    mf_buffer_fini(&bytes);
}

static void headers_are_checked(void **state)
{
    struct mf_buffer bytes = {0};
    (void)state;
    make_frame(&bytes, 3, 'x');
    assert_parse_fails(mf_bytes_of(NULL, 0), "shorter than its header");
    assert_parse_fails(mf_bytes_of(bytes.data, 11), "shorter than its header");
    assert_parse_fails(mf_bytes_of(bytes.data, 14), "declares a body of 3 bytes but holds 2");
    bytes.data[0] = 'G';
    assert_parse_fails(mf_buffer_view(&bytes), "does not start with MF");
    bytes.data[0] = 'M';
    bytes.data[4] = 2;
    assert_parse_fails(mf_buffer_view(&bytes), "flags that are not known");
    bytes.data[4] = 0;
    bytes.data[7] = 1;
    assert_parse_fails(mf_buffer_view(&bytes), "flags that are not known");
    mf_buffer_fini(&bytes);
}

static void too_large_frames_are_refused(void **state)
{
    struct mf_buffer bytes = {0};
    struct mf_error error = {0};
    (void)state;
    assert_int_equal(mf_buffer_reserve(&bytes, MF_FRAME_MAX + 1, &error), 0);
    memset(bytes.data, 0, MF_FRAME_MAX + 1);
    memcpy(bytes.data, "MF\1\102", 4);
    put_size(bytes.data, MF_FRAME_MAX + 1 - MF_FRAME_HEADER);
    assert_parse_fails(mf_bytes_of(bytes.data, MF_FRAME_MAX + 1), "larger than the allowed");
    put_size(bytes.data, MF_FRAME_MAX - MF_FRAME_HEADER);
    struct mf_frame frame;
    assert_int_equal(mf_frame_parse(mf_bytes_of(bytes.data, MF_FRAME_MAX), &frame, &error), 0);
    mf_buffer_fini(&bytes);
}

/* 8 MiB of zeros in 8 KiB: refused by what they declare, before anything is allocated, or because
 * they do not keep to it. */
static void bombs_are_refused(void **state)
{
    enum { BOMB = 64 << 20 };
    struct mf_inflater *inflater = mf_inflater_create(NULL);
    struct mf_buffer bytes = {0}, into = {0};
    struct mf_frame frame;
    struct mf_error error = {0};
    unsigned char *zeros = mf_calloc(1, BOMB);
    uLongf deflated = compressBound(BOMB);
    (void)state;
    assert_int_equal(mf_buffer_reserve(&bytes, MF_FRAME_HEADER + deflated, &error), 0);
    memcpy(bytes.data, "MF\1\102\1\0\0", 8);
    assert_int_equal(compress(bytes.data + MF_FRAME_HEADER, &deflated, zeros, BOMB), Z_OK);
    bytes.length = MF_FRAME_HEADER + deflated;
    put_size(bytes.data, BOMB);
    assert_parse_fails(mf_buffer_view(&bytes), "more than the allowed");
    put_size(bytes.data, 1000);
    assert_int_equal(mf_frame_parse(mf_buffer_view(&bytes), &frame, &error), 0);
    assert_int_equal(mf_inflater_run(inflater, &frame, &into, &error), -1);
    assert_int_equal(error.code, MF_EPROTOCOL);
    assert_int_equal(into.length, 0);
    assert_true(into.capacity <= 1024);
    bytes.length = MF_FRAME_HEADER + 100;
    put_size(bytes.data, MF_INFLATED_MAX);
    assert_parse_fails(mf_buffer_view(&bytes), "which 100 deflated ones cannot hold");
    mf_free(zeros);
    mf_inflater_destroy(inflater);
    mf_buffer_fini(&into);
    mf_buffer_fini(&bytes);
}

static void damaged_bodies_are_refused(void **state)
{
    struct mf_inflater *inflater = mf_inflater_create(NULL);
    struct mf_buffer bytes = {0}, into = {0};
    struct mf_frame frame;
    struct mf_error error = {0};
    (void)state;
    make_frame(&bytes, MF_DEFLATE_FROM, 'x');
    for (size_t length = MF_FRAME_HEADER + 70; length < bytes.length; length++) {
        assert_int_equal(mf_frame_parse(mf_bytes_of(bytes.data, length), &frame, &error), 0);
        assert_int_equal(mf_inflater_run(inflater, &frame, &into, &error), -1);
        assert_int_equal(error.code, MF_EPROTOCOL);
    }
    assert_int_equal(mf_buffer_append(&bytes, "more", 4, &error), 0);
    assert_int_equal(mf_frame_parse(mf_buffer_view(&bytes), &frame, &error), 0);
    assert_int_equal(mf_inflater_run(inflater, &frame, &into, &error), -1);
    bytes.length -= 4;
    put_size(bytes.data, MF_DEFLATE_FROM + 1);
    assert_int_equal(mf_frame_parse(mf_buffer_view(&bytes), &frame, &error), 0);
    assert_int_equal(mf_inflater_run(inflater, &frame, &into, &error), -1);
    put_size(bytes.data, MF_DEFLATE_FROM - 1);
    assert_int_equal(mf_frame_parse(mf_buffer_view(&bytes), &frame, &error), 0);
    assert_int_equal(mf_inflater_run(inflater, &frame, &into, &error), -1);
    mf_inflater_destroy(inflater);
    mf_buffer_fini(&into);
    mf_buffer_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_bodies_go_as_they_are),
        cmocka_unit_test(large_bodies_are_deflated_and_inflated),
        cmocka_unit_test(headers_are_checked),
        cmocka_unit_test(too_large_frames_are_refused),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(damaged_bodies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
