/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ChaCha20-Poly1305: see aead.h.
 *
 * It is the cipher that mbed TLS prefers, and nng does not let one choose. Debian's mbed TLS has it
 * in plain C: 350 MB/s, which made encrypting two thirds of all that sending inputs costs.
 * libsodium has the very same for this processor, several times as fast; nothing is computed here.
 */
#include "common/aead/aead.h"

#include <pthread.h>
#include <sodium.h>
#include <stdint.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose_code(void)
{
    if (sodium_init() < 0) /* it then stays with its plain C, which is right, too */
        return;
}

/* The key as mbedtls_chachapoly_setkey has put it into the cipher's state: words 4 to 11. */
static void take_key(const mbedtls_chachapoly_context *context, unsigned char key[32])
{
    pthread_once(&once, choose_code);
    for (unsigned i = 0; i < 8; i++) {
        uint32_t word = context->chacha20_ctx.state[4 + i];
        for (unsigned byte = 0; byte < 4; byte++)
            key[4 * i + byte] = (unsigned char)(word >> (8 * byte));
    }
}

int mf_aead_seal(mbedtls_chachapoly_context *context,
                 size_t length,
                 const unsigned char nonce[12],
                 const unsigned char *aad,
                 size_t aad_length,
                 const unsigned char *input,
                 unsigned char *output,
                 unsigned char tag[16])
{
    unsigned char key[crypto_aead_chacha20poly1305_ietf_KEYBYTES];
    take_key(context, key);
    int rc = crypto_aead_chacha20poly1305_ietf_encrypt_detached(
        output, tag, NULL, input, length, aad, aad_length, NULL, nonce, key);
    sodium_memzero(key, sizeof key);
    return rc == 0 ? 0 : MBEDTLS_ERR_CHACHAPOLY_BAD_STATE;
}

/* libsodium checks the tag before it decrypts, so that both may be in one place; when the tag is
 * wrong it leaves nothing but zeros. */
int mf_aead_open(mbedtls_chachapoly_context *context,
                 size_t length,
                 const unsigned char nonce[12],
                 const unsigned char *aad,
                 size_t aad_length,
                 const unsigned char tag[16],
                 const unsigned char *input,
                 unsigned char *output)
{
    unsigned char key[crypto_aead_chacha20poly1305_ietf_KEYBYTES];
    take_key(context, key);
    int rc = crypto_aead_chacha20poly1305_ietf_decrypt_detached(
        output, NULL, input, length, tag, aad, aad_length, nonce, key);
    sodium_memzero(key, sizeof key);
    return rc == 0 ? 0 : MBEDTLS_ERR_CHACHAPOLY_AUTH_FAILED;
}
