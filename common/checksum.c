/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums by zlib and mbed TLS: see checksum.h. The library's return codes are not looked at: in
 * software, without an alternative engine, these functions cannot fail. */
#include "common/checksum.h"

#include <errno.h>
#include <unistd.h>
#include <zlib.h>

#include "common/alloc.h"

#define FILE_BLOCK (128u << 10)

uint32_t mf_crc32(struct mf_bytes bytes)
{
    if (bytes.length == 0)
        return 0; /* zlib takes a NULL pointer as a request for its initial value: the same */
    return (uint32_t)crc32_z(0, bytes.data, bytes.length);
}

void mf_sha256_init(struct mf_sha256 *sum)
{
    mbedtls_sha256_init(&sum->state);
    mbedtls_sha256_starts_ret(&sum->state, 0);
}

void mf_sha256_update(struct mf_sha256 *sum, struct mf_bytes bytes)
{
    if (bytes.length > 0)
        mbedtls_sha256_update_ret(&sum->state, bytes.data, bytes.length);
}

void mf_sha256_finish(struct mf_sha256 *sum, unsigned char digest[MF_SHA256_SIZE])
{
    mbedtls_sha256_finish_ret(&sum->state, digest);
    mbedtls_sha256_free(&sum->state);
}

int mf_sha256_file(int fd,
                   const char *name,
                   unsigned char digest[MF_SHA256_SIZE],
                   struct mf_error *error)
{
    unsigned char *block = mf_malloc(FILE_BLOCK);
    if (block == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: reading %s", name);
    struct mf_sha256 sum;
    mf_sha256_init(&sum);
    off_t at = 0;
    ssize_t n;
    while ((n = pread(fd, block, FILE_BLOCK, at)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            mf_raise_errno(error, "cannot read %s for its checksum", name);
            mf_free(block);
            return -1;
        }
        mf_sha256_update(&sum, mf_bytes_of(block, (size_t)n));
        at += n;
    }
    mf_sha256_finish(&sum, digest);
    mf_free(block);
    return 0;
}

const char *mf_sha256_text(const unsigned char digest[MF_SHA256_SIZE], char text[MF_SHA256_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < MF_SHA256_SIZE; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    text[2 * MF_SHA256_SIZE] = '\0';
    return text;
}
