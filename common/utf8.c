/* SPDX-License-Identifier: Apache-2.0 */
/* What is text: see utf8.h. */
#include "common/utf8.h"

#include <stdbool.h>
#include <string.h>

size_t mf_utf8_length(const unsigned char *at, size_t left)
{
    size_t length = at[0] < 0x80                    ? 1
                    : at[0] >= 0xc2 && at[0] < 0xe0 ? 2
                    : at[0] >= 0xe0 && at[0] < 0xf0 ? 3
                    : at[0] >= 0xf0 && at[0] < 0xf5 ? 4
                                                    : 0;
    if (length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool is_wrong =
        length > 2 && ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
                       (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f));
    return is_wrong ? 0 : length;
}

void mf_utf8_mend(char *text)
{
    size_t end = strlen(text);
    for (size_t at = 0; at < end;) {
        size_t length = mf_utf8_length((const unsigned char *)text + at, end - at);
        if (length == 0)
            text[at] = '?';
        at += length == 0 ? 1 : length;
    }
}
