/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ChaCha20-Poly1305 (RFC 8439) as TLS uses it, by libsodium. Programs
 * that are linked with mbed TLS get these two in place of mbed TLS's own, by the linker; nobody
 * else calls them. Any thread.
 */
#ifndef MAYFLY_COMMON_AEAD_H
#define MAYFLY_COMMON_AEAD_H

#include <stddef.h>

#include <mbedtls/chachapoly.h>

/* The linker's --wrap gives these names to the calls of the functions that they replace, whose
 * contract they keep. */
int mf_aead_seal(mbedtls_chachapoly_context *context,
                 size_t length,
                 const unsigned char nonce[12],
                 const unsigned char *aad,
                 size_t aad_length,
                 const unsigned char *input,
                 unsigned char *output,
                 unsigned char tag[16]) __asm__("__wrap_mbedtls_chachapoly_encrypt_and_tag");

/* MBEDTLS_ERR_CHACHAPOLY_AUTH_FAILED, and nothing but zeros in `output`, when the tag is not that
 * of the input. */
int mf_aead_open(mbedtls_chachapoly_context *context,
                 size_t length,
                 const unsigned char nonce[12],
                 const unsigned char *aad,
                 size_t aad_length,
                 const unsigned char tag[16],
                 const unsigned char *input,
                 unsigned char *output) __asm__("__wrap_mbedtls_chachapoly_auth_decrypt");

#endif
