/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes and growing buffers: see buffer.h. Capacity doubles, so appending is constant time on
 * average. */
#include "common/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"

struct mf_bytes mf_bytes_of(const void *data, size_t length)
{
    return (struct mf_bytes){.data = data, .length = length};
}

struct mf_bytes mf_bytes_text(const char *text)
{
    return mf_bytes_of(text, text == NULL ? 0 : strlen(text));
}

bool mf_bytes_equal(struct mf_bytes a, struct mf_bytes b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

void mf_buffer_fini(struct mf_buffer *buffer)
{
    mf_free(buffer->data);
    *buffer = (struct mf_buffer){0};
}

void mf_buffer_clear(struct mf_buffer *buffer)
{
    buffer->length = 0;
}

int mf_buffer_reserve(struct mf_buffer *buffer, size_t more, struct mf_error *error)
{
    if (buffer->capacity - buffer->length >= more)
        return 0;
    if (more > SIZE_MAX / 2 - buffer->length)
        return mf_raise(error,
                        MF_ENOMEM,
                        "a buffer of %zu bytes and %zu more is too large",
                        buffer->length,
                        more);
    size_t wanted = buffer->length + more;
    size_t capacity = buffer->capacity < 256 ? 256 : buffer->capacity;
    while (capacity < wanted)
        capacity *= 2;
    unsigned char *data = mf_realloc(buffer->data, capacity);
    if (data == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a buffer of %zu bytes", capacity);
    buffer->data = data;
    buffer->capacity = capacity;
    return 0;
}

int mf_buffer_append(struct mf_buffer *buffer,
                     const void *data,
                     size_t length,
                     struct mf_error *error)
{
    if (mf_buffer_reserve(buffer, length, error) < 0)
        return -1;
    if (length > 0)
        memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
    return 0;
}

int mf_buffer_append_text(struct mf_buffer *buffer, const char *text, struct mf_error *error)
{
    return mf_buffer_append(buffer, text, strlen(text), error);
}

int mf_buffer_printf(struct mf_buffer *buffer, struct mf_error *error, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    int rc = n < 0 ? mf_raise_errno(error, "formatting failed")
                   : mf_buffer_reserve(buffer, (size_t)n + 1, error);
    if (rc == 0) {
        vsnprintf((char *)buffer->data + buffer->length, (size_t)n + 1, format, again);
        buffer->length += (size_t)n;
    }
    va_end(again);
    return rc;
}

const char *mf_buffer_text(struct mf_buffer *buffer)
{
    if (mf_buffer_reserve(buffer, 1, NULL) < 0)
        return NULL;
    buffer->data[buffer->length] = '\0';
    return (const char *)buffer->data;
}

struct mf_bytes mf_buffer_view(const struct mf_buffer *buffer)
{
    return mf_bytes_of(buffer->data, buffer->length);
}
