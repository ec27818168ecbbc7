/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ChaCha20-Poly1305: see aead.h.
 *
 * It is the cipher that mbed TLS prefers, and nng does not let one choose. Debian's mbed TLS has it
 * in plain C: 300 MB/s, which made encrypting two thirds of all that sending inputs costs. The very
 * same by libcrypto's assembler takes a tenth of the time. Its two parts are not in libcrypto's
 * public headers, but what is declared here has not changed since they came (1.1.0), and the test
 * compares each byte with mbed TLS. The public interface would bring the whole library along: more
 * than the worker has altogether.
 */
#include "common/aead/aead.h"

#include <stdint.h>
#include <string.h>

#include <openssl/crypto.h>

/* libcrypto: XORs the key stream from counter[0] on; words are in the processor's order. */
void ChaCha20_ctr32(unsigned char *out,
                    const unsigned char *in,
                    size_t length,
                    const unsigned int key[8],
                    const unsigned int counter[4]);
size_t Poly1305_ctx_size(void);
void Poly1305_Init(void *state, const unsigned char key[32]);
void Poly1305_Update(void *state, const unsigned char *in, size_t length);
void Poly1305_Final(void *state, unsigned char tag[16]);

#define STATE_MAX 512 /* of Poly1305: 248 in OpenSSL 3.0 */

static const unsigned char zeros[64];

/* One message: its cipher's counter block, and the authenticator under way. */
struct box {
    const uint32_t *key;
    uint32_t counter[4];
    _Alignas(64) unsigned char poly[STATE_MAX];
};

static uint32_t little_endian(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Fills up to a whole block of 16. */
static void pad(struct box *box, size_t length)
{
    if (length % 16 != 0)
        Poly1305_Update(box->poly, zeros, 16 - length % 16);
}

static int begin(struct box *box,
                 const mbedtls_chachapoly_context *context,
                 const unsigned char nonce[12],
                 const unsigned char *aad,
                 size_t aad_length)
{
    unsigned char once[64];
    if (Poly1305_ctx_size() > STATE_MAX)
        return MBEDTLS_ERR_CHACHAPOLY_BAD_STATE;
    box->key = context->chacha20_ctx.state + 4; /* as mbedtls_chachapoly_setkey left it */
    box->counter[0] = 0;
    for (int i = 0; i < 3; i++)
        box->counter[i + 1] = little_endian(nonce + 4 * i);
    ChaCha20_ctr32(once, zeros, sizeof once, box->key, box->counter);
    box->counter[0] = 1;
    Poly1305_Init(box->poly, once);
    OPENSSL_cleanse(once, sizeof once);
    if (aad_length > 0)
        Poly1305_Update(box->poly, aad, aad_length);
    pad(box, aad_length);
    return 0;
}

static void put_length(unsigned char *at, size_t length)
{
    for (int i = 0; i < 8; i++)
        at[i] = (unsigned char)((uint64_t)length >> (8 * i));
}

/* The tag over what was encrypted. */
static void authenticate(struct box *box,
                         const unsigned char *encrypted,
                         size_t length,
                         size_t aad_length,
                         unsigned char tag[16])
{
    unsigned char lengths[16];
    if (length > 0)
        Poly1305_Update(box->poly, encrypted, length);
    pad(box, length);
    put_length(lengths, aad_length);
    put_length(lengths + 8, length);
    Poly1305_Update(box->poly, lengths, sizeof lengths);
    Poly1305_Final(box->poly, tag);
    OPENSSL_cleanse(box->poly, sizeof box->poly);
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
    struct box box;
    int rc = begin(&box, context, nonce, aad, aad_length);
    if (rc != 0)
        return rc;
    if (length > 0)
        ChaCha20_ctr32(output, input, length, box.key, box.counter);
    authenticate(&box, output, length, aad_length, tag);
    return 0;
}

int mf_aead_open(mbedtls_chachapoly_context *context,
                 size_t length,
                 const unsigned char nonce[12],
                 const unsigned char *aad,
                 size_t aad_length,
                 const unsigned char tag[16],
                 const unsigned char *input,
                 unsigned char *output)
{
    struct box box;
    unsigned char wanted[16];
    int rc = begin(&box, context, nonce, aad, aad_length);
    if (rc != 0)
        return rc;
    /* Before anything is decrypted: the input may be where the output goes. */
    authenticate(&box, input, length, aad_length, wanted);
    if (CRYPTO_memcmp(wanted, tag, sizeof wanted) != 0) {
        memset(output, 0, length);
        return MBEDTLS_ERR_CHACHAPOLY_AUTH_FAILED;
    }
    if (length > 0)
        ChaCha20_ctr32(output, input, length, box.key, box.counter);
    return 0;
}
