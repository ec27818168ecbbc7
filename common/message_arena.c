/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks that double, so that after a few messages one block serves a whole one: see
 * message_arena.h. */
#include "common/message_arena.h"

#include <stdalign.h>
#include <string.h>

#include "common/alloc.h"

#define FIRST_BLOCK 4096

struct mf_arena_block {
    struct mf_arena_block *older;
    size_t size, used;
    alignas(max_align_t) unsigned char bytes[];
};

static struct mf_arena_block *add_block(struct mf_arena *arena, size_t wanted)
{
    size_t size = arena->first == NULL ? FIRST_BLOCK : 2 * arena->first->size;
    if (size < wanted)
        size = wanted;
    struct mf_arena_block *block = mf_malloc(sizeof(*block) + size);
    if (block == NULL)
        return NULL;
    *block = (struct mf_arena_block){.older = arena->first, .size = size};
    arena->first = block;
    return block;
}

void *mf_arena_take(struct mf_arena *arena, size_t size)
{
    size_t rounded = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct mf_arena_block *block = arena->first;
    if (block == NULL || block->size - block->used < rounded)
        block = add_block(arena, rounded);
    if (block == NULL)
        return NULL;
    void *piece = block->bytes + block->used;
    block->used += rounded;
    memset(piece, 0, size);
    return piece;
}

static void free_from(struct mf_arena_block *block)
{
    while (block != NULL) {
        struct mf_arena_block *older = block->older;
        mf_free(block);
        block = older;
    }
}

void mf_arena_clear(struct mf_arena *arena)
{
    if (arena->first == NULL)
        return;
    free_from(arena->first->older);
    arena->first->older = NULL;
    arena->first->used = 0;
}

void mf_arena_fini(struct mf_arena *arena)
{
    free_from(arena->first);
    arena->first = NULL;
}
