/* SPDX-License-Identifier: Apache-2.0 */
/* Marks of entries: see mark.h. */
#include "master/install/mark.h"

#include <stdio.h>
#include <string.h>

#include "common/checksum.h"

#define WORD_LENGTH (sizeof MARK_WORD - 1)
#define SUM_LENGTH 9 /* eight digits and a blank */

int mark_append(struct mf_buffer *out,
                struct mf_bytes content,
                const char *owner,
                struct mf_error *error)
{
    return mf_buffer_printf(out, error, "%s%08x %s", MARK_WORD, mf_crc32(content), owner);
}

enum mark_state mark_look(struct mf_bytes text, struct mf_bytes content, const char *owner)
{
    char sum[SUM_LENGTH + 1];
    size_t length = strlen(owner);
    if (text.length != WORD_LENGTH + SUM_LENGTH + length ||
        memcmp(text.data, MARK_WORD, WORD_LENGTH) != 0 ||
        memcmp(text.data + WORD_LENGTH + SUM_LENGTH, owner, length) != 0)
        return MARK_NONE;
    snprintf(sum, sizeof sum, "%08x ", mf_crc32(content));
    return memcmp(text.data + WORD_LENGTH, sum, SUM_LENGTH) == 0 ? MARK_INTACT : MARK_EDITED;
}
