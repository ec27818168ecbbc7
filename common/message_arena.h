/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder's memory: pieces that are handed out one behind the other and all taken back at once.
 * Private to the codec. Not thread-safe.
 */
#ifndef MAYFLY_COMMON_MESSAGE_ARENA_H
#define MAYFLY_COMMON_MESSAGE_ARENA_H

#include <stddef.h>

struct mf_arena_block;

/* Zero-initialised is empty and valid. */
struct mf_arena {
    struct mf_arena_block *first; /* the newest, the one that is filled */
};

/* size bytes, zeroed, aligned for anything; NULL when memory is exhausted. */
void *mf_arena_take(struct mf_arena *arena, size_t size);
/* Takes all back; keeps the newest block, which is the largest. */
void mf_arena_clear(struct mf_arena *arena);
void mf_arena_fini(struct mf_arena *arena);

#endif
