/* SPDX-License-Identifier: Apache-2.0 */
/* The set of finished subtasks: see final_set.h. Costs a bit a subtask, 8 KiB at a time. */
#include "master/record/final_set.h"

#include <string.h>

#include "common/alloc.h"

void final_set_fini(struct final_set *set)
{
    for (size_t i = 0; i < set->chunk_count; i++)
        mf_free(set->chunks[i]);
    mf_free(set->chunks);
    mf_free(set->added);
    memset(set, 0, sizeof *set);
}

bool final_set_has(const struct final_set *set, uint64_t subtask)
{
    uint64_t chunk = subtask / FINAL_SET_CHUNK;
    if (chunk >= set->chunk_count || set->chunks[chunk] == NULL)
        return false;
    uint64_t bit = subtask % FINAL_SET_CHUNK;
    return set->chunks[chunk][bit / 8] >> (bit % 8) & 1;
}

static int reserve_chunk(struct final_set *set, uint64_t chunk)
{
    if (chunk >= set->chunk_count) {
        if (chunk >= SIZE_MAX / sizeof *set->chunks - 64)
            return -1;
        size_t count = (size_t)chunk + 64;
        unsigned char **chunks = mf_realloc(set->chunks, count * sizeof *chunks);
        if (chunks == NULL)
            return -1;
        memset(chunks + set->chunk_count, 0, (count - set->chunk_count) * sizeof *chunks);
        set->chunks = chunks;
        set->chunk_count = count;
    }
    if (set->chunks[chunk] == NULL)
        set->chunks[chunk] = mf_calloc(FINAL_SET_CHUNK / 8, 1);
    return set->chunks[chunk] == NULL ? -1 : 0;
}

int final_set_add(struct final_set *set, uint64_t subtask)
{
    if (reserve_chunk(set, subtask / FINAL_SET_CHUNK) < 0)
        return -1;
    if (set->added_count == set->added_capacity) {
        size_t capacity = set->added_capacity != 0 ? set->added_capacity * 2 : 4096;
        uint64_t *added = mf_realloc(set->added, capacity * sizeof *added);
        if (added == NULL)
            return -1;
        set->added = added;
        set->added_capacity = capacity;
    }
    set->added[set->added_count++] = subtask;
    uint64_t bit = subtask % FINAL_SET_CHUNK;
    set->chunks[subtask / FINAL_SET_CHUNK][bit / 8] |= (unsigned char)(1u << (bit % 8));
    return 0;
}

void final_set_keep(struct final_set *set)
{
    set->added_count = 0;
}

void final_set_undo(struct final_set *set)
{
    while (set->added_count > 0) {
        uint64_t subtask = set->added[--set->added_count];
        uint64_t bit = subtask % FINAL_SET_CHUNK;
        set->chunks[subtask / FINAL_SET_CHUNK][bit / 8] &= (unsigned char)~(1u << (bit % 8));
    }
}
