/* SPDX-License-Identifier: Apache-2.0 */
/* The msgpack cursor against what the library packs, form by form. */
#include "common/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/message.h"

static const int64_t numbers[] = {
    0,         1,  127, 128, 255,  256,  65535,  65536,  4294967295, 4294967296,
    INT64_MAX, -1, -32, -33, -128, -129, -32768, -32769, INT32_MIN,  INT64_C(-2147483649),
    INT64_MIN};
#define NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

static struct mf_wire_token next(struct mf_wire_reader *reader)
{
    struct mf_wire_token token;
    struct mf_error error = {0};
    if (mf_wire_next(reader, &token, &error) < 0)
        fail_msg("%s", error.text);
    return token;
}

static void assert_number(struct mf_wire_token token, int64_t want)
{
    if (want < 0) {
        assert_int_equal(token.type, MF_WIRE_INT);
        assert_true(token.negative == want);
    } else {
        assert_int_equal(token.type, MF_WIRE_UINT);
        assert_true(token.number == (uint64_t)want);
    }
}

static void integers_of_every_width(void **state)
{
    struct mf_buffer bytes = {0};
    struct mf_wire_packer packer;
    (void)state;
    mf_wire_packer_init(&packer, &bytes);
    for (size_t i = 0; i < NUMBERS; i++)
        assert_int_equal(msgpack_pack_int64(&packer.library, numbers[i]), 0);
    for (size_t i = 0; i < NUMBERS; i++) /* also in forms that are wider than needed */
        assert_int_equal(msgpack_pack_fix_int64(&packer.library, numbers[i]), 0);
    struct mf_wire_reader reader = mf_wire_reader_of(mf_buffer_view(&bytes));
    for (size_t i = 0; i < NUMBERS; i++)
        assert_number(next(&reader), numbers[i]);
    for (size_t i = 0; i < NUMBERS; i++)
        assert_number(next(&reader), numbers[i]);
    assert_ptr_equal(reader.at, reader.end);
    mf_buffer_fini(&bytes);
}

static void bytes_of_every_width(void **state)
{
    static const size_t lengths[] = {0, 1, 4, 8, 16, 31, 32, 255, 256, 65535, 65536, 1u << 19};
    unsigned char *content = mf_calloc(1, 1u << 19);
    struct mf_buffer bytes = {0};
    struct mf_wire_packer packer;
    (void)state;
    mf_wire_packer_init(&packer, &bytes);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        msgpack_pack_str_with_body(&packer.library, content, lengths[i]);
        msgpack_pack_bin_with_body(&packer.library, content, lengths[i]);
        msgpack_pack_ext_with_body(&packer.library, content, lengths[i], 5);
    }
    struct mf_wire_reader reader = mf_wire_reader_of(mf_buffer_view(&bytes));
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct mf_wire_token token = next(&reader);
        assert_int_equal(token.type, MF_WIRE_STR);
        assert_int_equal(token.bytes.length, lengths[i]);
        token = next(&reader);
        assert_int_equal(token.type, MF_WIRE_BIN);
        assert_int_equal(token.bytes.length, lengths[i]);
        token = next(&reader);
        assert_int_equal(token.type, MF_WIRE_EXT);
        assert_int_equal(token.bytes.length, lengths[i] + 1);
        assert_int_equal(token.bytes.data[0], 5);
    }
    assert_ptr_equal(reader.at, reader.end);
    mf_buffer_fini(&bytes);
    mf_free(content);
}

static void containers_and_the_rest(void **state)
{
    struct mf_buffer bytes = {0};
    struct mf_wire_packer packer;
    struct mf_error error = {0};
    (void)state;
    mf_wire_packer_init(&packer, &bytes);
    msgpack_pack_array(&packer.library, 5);
    msgpack_pack_nil(&packer.library);
    msgpack_pack_true(&packer.library);
    msgpack_pack_false(&packer.library);
    msgpack_pack_float(&packer.library, 1.5f);
    msgpack_pack_map(&packer.library, 16);
    for (int i = 0; i < 16; i++) {
        msgpack_pack_int(&packer.library, i);
        msgpack_pack_double(&packer.library, 1.5);
    }
    assert_int_equal(mf_wire_check(mf_buffer_view(&bytes), 2, &error), 0);
    assert_int_equal(mf_wire_check(mf_buffer_view(&bytes), 1, &error), -1);
    struct mf_wire_reader reader = mf_wire_reader_of(mf_buffer_view(&bytes));
    struct mf_wire_token token = next(&reader);
    assert_int_equal(token.type, MF_WIRE_ARRAY);
    assert_int_equal(token.count, 5);
    assert_int_equal(next(&reader).type, MF_WIRE_NIL);
    token = next(&reader);
    assert_true(token.type == MF_WIRE_BOOL && token.number == 1);
    token = next(&reader);
    assert_true(token.type == MF_WIRE_BOOL && token.number == 0);
    assert_int_equal(next(&reader).type, MF_WIRE_FLOAT);
    token = next(&reader);
    assert_int_equal(token.type, MF_WIRE_MAP);
    assert_int_equal(token.count, 16);
    mf_buffer_fini(&bytes);
}

static void an_empty_body_is_no_value(void **state)
{
    struct mf_error error = {0};
    (void)state;
    assert_int_equal(mf_wire_check(mf_bytes_of(NULL, 0), MF_DEPTH_MAX, &error), -1);
    assert_int_equal(error.code, MF_EPROTOCOL);
}

static void packing_reports_exhausted_memory(void **state)
{
    struct mf_buffer bytes = {0};
    struct mf_wire_packer packer;
    (void)state;
    mf_wire_packer_init(&packer, &bytes);
    mf_alloc_fail_at(1);
    assert_int_not_equal(msgpack_pack_int(&packer.library, 1), 0);
    mf_alloc_fail_at(0);
    assert_int_equal(msgpack_pack_int(&packer.library, 1), 0);
    mf_buffer_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_width),
        cmocka_unit_test(bytes_of_every_width),
        cmocka_unit_test(containers_and_the_rest),
        cmocka_unit_test(an_empty_body_is_no_value),
        cmocka_unit_test(packing_reports_exhausted_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
