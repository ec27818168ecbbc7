/* SPDX-License-Identifier: Apache-2.0 */
/* What is text. Any thread. */
#ifndef MAYFLY_COMMON_UTF8_H
#define MAYFLY_COMMON_UTF8_H

#include <stddef.h>

/* The length of the UTF-8 sequence that begins at `at`, of which `left` (not 0) bytes are there; 0
 * when there is none (overlong forms and surrogates are none). NUL is one, of length 1. */
size_t mf_utf8_length(const unsigned char *at, size_t left);

/* In place: each byte that belongs to no sequence becomes '?', so that it can stand in JSON. For
 * sentences that quote bytes of others, or were cut within a character. */
void mf_utf8_mend(char *text);

#endif
