/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes: a borrowed view (struct mf_bytes) and a growing buffer (struct mf_buffer). Paths are bytes
 * too: they may hold anything but NUL. Not thread-safe.
 */
#ifndef MAYFLY_COMMON_BUFFER_H
#define MAYFLY_COMMON_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

/* Borrowed: whoever hands it out says how long it lives. data may be NULL when length is 0. */
struct mf_bytes {
    const unsigned char *data;
    size_t length;
};

/* Zero-initialised is empty and valid. Owns data; release with mf_buffer_fini. */
struct mf_buffer {
    unsigned char *data;
    size_t length;
    size_t capacity;
};

struct mf_bytes mf_bytes_of(const void *data, size_t length);
struct mf_bytes mf_bytes_text(const char *text); /* without its NUL; NULL gives the empty view */
bool mf_bytes_equal(struct mf_bytes a, struct mf_bytes b);

void mf_buffer_fini(struct mf_buffer *buffer);
void mf_buffer_clear(struct mf_buffer *buffer); /* keeps the capacity */
/* Makes room for `more` bytes behind length. 0, or -1 and MF_ENOMEM; the content stays in either
 * case. */
int mf_buffer_reserve(struct mf_buffer *buffer, size_t more, struct mf_error *error);
int mf_buffer_append(struct mf_buffer *buffer,
                     const void *data,
                     size_t length,
                     struct mf_error *error);
int mf_buffer_append_text(struct mf_buffer *buffer, const char *text, struct mf_error *error);
int mf_buffer_printf(struct mf_buffer *buffer, struct mf_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A NUL behind the content (not counted in length); the content as text, or NULL when memory is
 * exhausted. */
const char *mf_buffer_text(struct mf_buffer *buffer);
struct mf_bytes mf_buffer_view(const struct mf_buffer *buffer);

#endif
