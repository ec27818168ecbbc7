/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All allocation of ours goes through here, so that a test can make the n-th one fail. Library code
 * reports exhaustion (NULL); only the command line may exit. Any thread.
 */
#ifndef MAYFLY_COMMON_ALLOC_H
#define MAYFLY_COMMON_ALLOC_H

#include <stddef.h>

/* size 0 is allowed and yields a pointer that can be freed. NULL when memory is exhausted. */
void *mf_malloc(size_t size);
void *mf_calloc(size_t count, size_t size);
void *mf_realloc(void *old, size_t size);
void mf_free(void *memory);
char *mf_strdup(const char *text);
/* A copy of size bytes with a NUL behind them. */
void *mf_memdup(const void *bytes, size_t size);
/* A formatted string on the heap, NULL when memory is exhausted. */
char *mf_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For tests: the n-th allocation from now on (1 = the next) fails, once; 0 switches it off. Not
 * thread-safe. */
void mf_alloc_fail_at(unsigned long n);
/* For tests: how many allocations were asked for since mf_alloc_fail_at was last called. */
unsigned long mf_alloc_count(void);

#endif
