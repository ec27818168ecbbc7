/* SPDX-License-Identifier: Apache-2.0 */
/* The cipher of the wire: the vector of RFC 8439, and each byte as mbed TLS has it. */
#include "common/aead/aead.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST 16500 /* more than a TLS record */

static const unsigned char key[32] = "0123456789abcdef0123456789abcdef";

/* Bytes that do not deflate, always the same. */
static unsigned char next_byte(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (unsigned char)(*seed >> 24);
}

/* mbed TLS's own, piece by piece: the linker replaces only the calls in one go. */
static void seal_by_mbedtls(mbedtls_chachapoly_context *context,
                            const unsigned char *nonce,
                            const unsigned char *aad,
                            size_t aad_length,
                            const unsigned char *input,
                            size_t length,
                            unsigned char *output,
                            unsigned char *tag)
{
    assert_int_equal(mbedtls_chachapoly_starts(context, nonce, MBEDTLS_CHACHAPOLY_ENCRYPT), 0);
    assert_int_equal(mbedtls_chachapoly_update_aad(context, aad, aad_length), 0);
    assert_int_equal(mbedtls_chachapoly_update(context, length, input, output), 0);
    assert_int_equal(mbedtls_chachapoly_finish(context, tag), 0);
}

static void it_is_what_mbedtls_makes(void **state)
{
    static const size_t lengths[] = {0, 1, 15, 16, 17, 63, 64, 65, 255, 1000, 4096, 16384, MOST};
    static const size_t aads[] = {0, 1, 13, 16, 40};
    static unsigned char plain[MOST], ours[MOST], theirs[MOST], opened[MOST];
    unsigned char aad[40], nonce[12], tag[16], their_tag[16];
    mbedtls_chachapoly_context context;
    (void)state;
    mbedtls_chachapoly_init(&context);
    assert_int_equal(mbedtls_chachapoly_setkey(&context, key), 0);
    uint32_t seed = 7;
    for (size_t i = 0; i < MOST; i++)
        plain[i] = next_byte(&seed);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t k = 0; k < sizeof aads / sizeof *aads; k++) {
            for (size_t n = 0; n < sizeof nonce; n++)
                nonce[n] = next_byte(&seed);
            memset(aad, (int)k + 1, sizeof aad);
            seal_by_mbedtls(&context, nonce, aad, aads[k], plain, lengths[i], theirs, their_tag);
            assert_int_equal(mbedtls_chachapoly_encrypt_and_tag(
                                 &context, lengths[i], nonce, aad, aads[k], plain, ours, tag),
                             0);
            assert_memory_equal(ours, theirs, lengths[i]);
            assert_memory_equal(tag, their_tag, sizeof tag);
            memcpy(opened, ours, lengths[i]); /* in place, as TLS does */
            assert_int_equal(mbedtls_chachapoly_auth_decrypt(
                                 &context, lengths[i], nonce, aad, aads[k], tag, opened, opened),
                             0);
            assert_memory_equal(opened, plain, lengths[i]);
        }
    mbedtls_chachapoly_free(&context);
}

/* RFC 8439, 2.8.2: what counts is the tag, which is made of all the rest. */
static void it_is_what_the_standard_says(void **state)
{
    static const char text[] =
        "Ladies and Gentlemen of the class of '99: If I could offer you only "
        "one tip for the future, sunscreen would be it.";
    static const unsigned char aad[] = {
        0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7};
    static const unsigned char nonce[12] = {
        0x07, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47};
    static const unsigned char wanted[16] = {0x1a,
                                             0xe1,
                                             0x0b,
                                             0x59,
                                             0x4f,
                                             0x09,
                                             0xe2,
                                             0x6a,
                                             0x7e,
                                             0x90,
                                             0x2e,
                                             0xcb,
                                             0xd0,
                                             0x60,
                                             0x06,
                                             0x91};
    unsigned char rfc_key[32], out[sizeof text - 1], tag[16];
    mbedtls_chachapoly_context context;
    (void)state;
    for (int i = 0; i < 32; i++)
        rfc_key[i] = (unsigned char)(0x80 + i);
    mbedtls_chachapoly_init(&context);
    assert_int_equal(mbedtls_chachapoly_setkey(&context, rfc_key), 0);
    assert_int_equal(
        mbedtls_chachapoly_encrypt_and_tag(
            &context, sizeof out, nonce, aad, sizeof aad, (const unsigned char *)text, out, tag),
        0);
    assert_memory_equal(tag, wanted, sizeof tag);
    mbedtls_chachapoly_free(&context);
}

static void what_was_changed_is_not_opened(void **state)
{
    unsigned char plain[100], sealed[100], out[100], tag[16], nonce[12] = {1}, aad[13] = {2};
    static const unsigned char nothing[100];
    mbedtls_chachapoly_context context;
    (void)state;
    memset(plain, 'x', sizeof plain);
    mbedtls_chachapoly_init(&context);
    assert_int_equal(mbedtls_chachapoly_setkey(&context, key), 0);
    assert_int_equal(mbedtls_chachapoly_encrypt_and_tag(
                         &context, sizeof plain, nonce, aad, sizeof aad, plain, sealed, tag),
                     0);
    unsigned char *const places[] = {&sealed[0], &sealed[99], &tag[15], &nonce[0], &aad[12]};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        *places[i] ^= 1;
        memset(out, 'y', sizeof out);
        assert_int_equal(mbedtls_chachapoly_auth_decrypt(
                             &context, sizeof sealed, nonce, aad, sizeof aad, tag, sealed, out),
                         MBEDTLS_ERR_CHACHAPOLY_AUTH_FAILED);
        assert_memory_equal(out, nothing, sizeof out);
        *places[i] ^= 1;
    }
    mbedtls_chachapoly_free(&context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_what_mbedtls_makes),
        cmocka_unit_test(it_is_what_the_standard_says),
        cmocka_unit_test(what_was_changed_is_not_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
