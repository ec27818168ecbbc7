/* SPDX-License-Identifier: Apache-2.0 */
/* The one allocator: the C library's, with a counter that lets tests fail the n-th request. See
 * alloc.h. */
#include "common/alloc.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Counting is off (fail_at 0) outside tests, so the hot path reads one word that nobody writes. */
static atomic_ulong fail_at;
static atomic_ulong asked;

static int must_fail(void)
{
    unsigned long n = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (n == 0)
        return 0;
    return atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) + 1 == n;
}

void *mf_malloc(size_t size)
{
    return must_fail() ? NULL : malloc(size == 0 ? 1 : size);
}

void *mf_calloc(size_t count, size_t size)
{
    if (must_fail())
        return NULL;
    return count == 0 || size == 0 ? calloc(1, 1) : calloc(count, size);
}

void *mf_realloc(void *old, size_t size)
{
    return must_fail() ? NULL : realloc(old, size == 0 ? 1 : size);
}

void mf_free(void *memory)
{
    free(memory);
}

void *mf_memdup(const void *bytes, size_t size)
{
    if (size == (size_t)-1)
        return NULL;
    char *copy = mf_malloc(size + 1);
    if (copy == NULL)
        return NULL;
    if (size > 0)
        memcpy(copy, bytes, size);
    copy[size] = '\0';
    return copy;
}

char *mf_strdup(const char *text)
{
    return mf_memdup(text, strlen(text));
}

char *mf_format(const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : mf_malloc((size_t)n + 1);
    if (text != NULL)
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

void mf_alloc_fail_at(unsigned long n)
{
    atomic_store(&asked, 0);
    atomic_store(&fail_at, n);
}

unsigned long mf_alloc_count(void)
{
    return atomic_load(&asked);
}
