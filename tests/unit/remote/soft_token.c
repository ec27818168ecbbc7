/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FIDO token in software, for ssh and ssh-keygen (SecurityKeyProvider): what a token does behind
 * its button, without one. Its keys are P-256; the handle of a key is its secret, where a true
 * token has that locked up. The functions and structures are those of version 10 of OpenSSH's
 * interface to such libraries (PROTOCOL.u2f, sk-api.h); only what is needed of them is here.
 */
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/entropy.h>
#include <mbedtls/sha256.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define VERSION 0x000a0000u
#define ALGORITHM_ECDSA 0u
#define FLAG_TOUCHED 1u
#define FAILED (-1)
#define UNSUPPORTED (-2)
#define SECRET 32u
#define POINT 65u

struct sk_option;
struct sk_resident_key;

struct sk_enroll_response {
    uint8_t flags;
    uint8_t *public_key;
    size_t public_key_len;
    uint8_t *key_handle;
    size_t key_handle_len;
    uint8_t *signature;
    size_t signature_len;
    uint8_t *attestation_cert;
    size_t attestation_cert_len;
    uint8_t *authdata;
    size_t authdata_len;
};

struct sk_sign_response {
    uint8_t flags;
    uint32_t counter;
    uint8_t *sig_r;
    size_t sig_r_len;
    uint8_t *sig_s;
    size_t sig_s_len;
};

EXPORT uint32_t sk_api_version(void);
EXPORT int sk_enroll(uint32_t algorithm,
                     const uint8_t *challenge,
                     size_t challenge_len,
                     const char *application,
                     uint8_t flags,
                     const char *pin,
                     struct sk_option **options,
                     struct sk_enroll_response **response);
EXPORT int sk_sign(uint32_t algorithm,
                   const uint8_t *data,
                   size_t data_len,
                   const char *application,
                   const uint8_t *handle,
                   size_t handle_len,
                   uint8_t flags,
                   const char *pin,
                   struct sk_option **options,
                   struct sk_sign_response **response);
EXPORT int sk_load_resident_keys(const char *pin,
                                 struct sk_option **options,
                                 struct sk_resident_key ***keys,
                                 size_t *count);

struct token {
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_ecdsa_context key;
};

static int token_init(struct token *token)
{
    mbedtls_entropy_init(&token->entropy);
    mbedtls_ctr_drbg_init(&token->random);
    mbedtls_ecdsa_init(&token->key);
    return mbedtls_ctr_drbg_seed(&token->random, mbedtls_entropy_func, &token->entropy, NULL, 0);
}

static void token_fini(struct token *token)
{
    mbedtls_ecdsa_free(&token->key);
    mbedtls_ctr_drbg_free(&token->random);
    mbedtls_entropy_free(&token->entropy);
}

uint32_t sk_api_version(void)
{
    return VERSION;
}

static void free_enrolled(struct sk_enroll_response *made)
{
    if (made == NULL)
        return;
    free(made->public_key);
    free(made->key_handle);
    free(made->signature);
    free(made);
}

/* A new key: its point, and its secret as the handle. What it signs to prove its maker is empty. */
static struct sk_enroll_response *enroll(struct token *token)
{
    struct sk_enroll_response *made = calloc(1, sizeof *made);
    if (made == NULL)
        return NULL;
    made->public_key = calloc(1, made->public_key_len = POINT);
    made->key_handle = calloc(1, made->key_handle_len = SECRET);
    made->signature = calloc(1, made->signature_len = 1);
    size_t length;
    if (made->public_key != NULL && made->key_handle != NULL && made->signature != NULL &&
        mbedtls_ecdsa_genkey(
            &token->key, MBEDTLS_ECP_DP_SECP256R1, mbedtls_ctr_drbg_random, &token->random) == 0 &&
        mbedtls_ecp_point_write_binary(&token->key.grp,
                                       &token->key.Q,
                                       MBEDTLS_ECP_PF_UNCOMPRESSED,
                                       &length,
                                       made->public_key,
                                       POINT) == 0 &&
        mbedtls_mpi_write_binary(&token->key.d, made->key_handle, SECRET) == 0)
        return made;
    free_enrolled(made);
    return NULL;
}

int sk_enroll(uint32_t algorithm,
              const uint8_t *challenge,
              size_t challenge_len,
              const char *application,
              uint8_t flags,
              const char *pin,
              struct sk_option **options,
              struct sk_enroll_response **response)
{
    (void)challenge, (void)challenge_len, (void)application, (void)pin, (void)options;
    struct token token;
    if (algorithm != ALGORITHM_ECDSA)
        return UNSUPPORTED;
    *response = token_init(&token) == 0 ? enroll(&token) : NULL;
    token_fini(&token);
    if (*response == NULL)
        return FAILED;
    (*response)->flags = flags;
    return 0;
}

/* Of SHA256(application), flags, counter, SHA256(data). */
static int digest(
    const char *application, uint32_t counter, const uint8_t *data, size_t length, uint8_t out[32])
{
    uint8_t text[32 + 1 + 4 + 32] = {[32] = FLAG_TOUCHED, [36] = (uint8_t)counter};
    if (mbedtls_sha256_ret((const unsigned char *)application, strlen(application), text, 0) != 0 ||
        mbedtls_sha256_ret(data, length, text + 37, 0) != 0)
        return -1;
    return mbedtls_sha256_ret(text, sizeof text, out, 0);
}

static int sign(struct token *token,
                const uint8_t *handle,
                const uint8_t hash[32],
                struct sk_sign_response *made)
{
    mbedtls_mpi r, s;
    mbedtls_mpi_init(&r);
    mbedtls_mpi_init(&s);
    made->sig_r = calloc(1, made->sig_r_len = SECRET);
    made->sig_s = calloc(1, made->sig_s_len = SECRET);
    int rc = FAILED;
    if (made->sig_r != NULL && made->sig_s != NULL &&
        mbedtls_ecp_group_load(&token->key.grp, MBEDTLS_ECP_DP_SECP256R1) == 0 &&
        mbedtls_mpi_read_binary(&token->key.d, handle, SECRET) == 0 &&
        mbedtls_ecdsa_sign(&token->key.grp,
                           &r,
                           &s,
                           &token->key.d,
                           hash,
                           32,
                           mbedtls_ctr_drbg_random,
                           &token->random) == 0 &&
        mbedtls_mpi_write_binary(&r, made->sig_r, SECRET) == 0 &&
        mbedtls_mpi_write_binary(&s, made->sig_s, SECRET) == 0)
        rc = 0;
    mbedtls_mpi_free(&r);
    mbedtls_mpi_free(&s);
    return rc;
}

int sk_sign(uint32_t algorithm,
            const uint8_t *data,
            size_t data_len,
            const char *application,
            const uint8_t *handle,
            size_t handle_len,
            uint8_t flags,
            const char *pin,
            struct sk_option **options,
            struct sk_sign_response **response)
{
    (void)flags, (void)pin, (void)options;
    struct token token;
    uint8_t hash[32];
    if (algorithm != ALGORITHM_ECDSA || handle_len != SECRET)
        return UNSUPPORTED;
    struct sk_sign_response *made = calloc(1, sizeof *made);
    if (made == NULL)
        return FAILED;
    made->flags = FLAG_TOUCHED;
    made->counter = 1;
    int rc = token_init(&token);
    if (rc == 0)
        rc = digest(application, made->counter, data, data_len, hash);
    if (rc == 0)
        rc = sign(&token, handle, hash, made);
    token_fini(&token);
    if (rc == 0) {
        *response = made;
        return 0;
    }
    free(made->sig_r);
    free(made->sig_s);
    free(made);
    return FAILED;
}

int sk_load_resident_keys(const char *pin,
                          struct sk_option **options,
                          struct sk_resident_key ***keys,
                          size_t *count)
{
    (void)pin, (void)options, (void)keys, (void)count;
    return UNSUPPORTED;
}
