/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums: crc32 for what travels and is stored inline, sha256 for files. Any thread; a struct
 * mf_sha256 belongs to one. */
#ifndef MAYFLY_COMMON_CHECKSUM_H
#define MAYFLY_COMMON_CHECKSUM_H

#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

#define MF_SHA256_SIZE 32
#define MF_SHA256_TEXT 65 /* 64 hexadecimal digits and a NUL */

uint32_t mf_crc32(struct mf_bytes bytes); /* as zlib and gzip; 0 of nothing */

/* Embedded; between init and finish it holds no memory of its own, so it may be dropped any time.
 */
struct mf_sha256 {
    uint64_t state[14]; /* the library's own struct, which its header should not bring here */
};
void mf_sha256_init(struct mf_sha256 *sum);
void mf_sha256_update(struct mf_sha256 *sum, struct mf_bytes bytes);
void mf_sha256_finish(struct mf_sha256 *sum, unsigned char digest[MF_SHA256_SIZE]);

/* Of a whole file, from its start; the descriptor's own position is neither used nor moved. `name`
 * is for the error's sentence. */
int mf_sha256_file(int fd,
                   const char *name,
                   unsigned char digest[MF_SHA256_SIZE],
                   struct mf_error *error);

/* Lower-case hexadecimal; returns text. */
const char *mf_sha256_text(const unsigned char digest[MF_SHA256_SIZE], char text[MF_SHA256_TEXT]);

#endif
