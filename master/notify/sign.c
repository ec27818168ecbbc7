/* SPDX-License-Identifier: Apache-2.0 */
/* The signature of a webhook: see sign.h. */
#include "master/notify/sign.h"

#include <stdio.h>
#include <string.h>

#include <mbedtls/md.h>

int sign_body(struct mf_bytes key,
              const char *timestamp,
              struct mf_bytes body,
              char hex[SIGN_SIZE],
              struct mf_error *error)
{
    unsigned char mac[32];
    mbedtls_md_context_t context;
    mbedtls_md_init(&context);
    int rc = mbedtls_md_setup(&context, mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), 1);
    if (rc == 0)
        rc = mbedtls_md_hmac_starts(&context, key.data, key.length);
    if (rc == 0)
        rc = mbedtls_md_hmac_update(&context, (const unsigned char *)timestamp, strlen(timestamp));
    if (rc == 0)
        rc = mbedtls_md_hmac_update(&context, (const unsigned char *)".", 1);
    if (rc == 0)
        rc = mbedtls_md_hmac_update(&context, body.data, body.length);
    if (rc == 0)
        rc = mbedtls_md_hmac_finish(&context, mac);
    mbedtls_md_free(&context); /* which also wipes the key */
    if (rc != 0)
        return mf_raise(error, MF_ESYSTEM, "the signature cannot be made (mbed TLS: %d)", rc);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * (size_t)i, 3, "%02x", mac[i]);
    return 0;
}
