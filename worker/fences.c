/* SPDX-License-Identifier: Apache-2.0 */
/* Fences in a row: see fences.h. */
#include "worker/fences.h"

#include <string.h>

#include "common/alloc.h"

int fences_add(struct fences *fences, const struct mf_fence *fence, struct mf_error *error)
{
    if (fences->count == fences->capacity) {
        uint32_t capacity = fences->capacity < 64 ? 64 : fences->capacity * 2;
        struct mf_fence *items = mf_realloc(fences->items, capacity * sizeof *items);
        if (items == NULL)
            return mf_raise(error, MF_ENOMEM, "out of memory: subtasks that go back to the master");
        fences->items = items;
        fences->capacity = capacity;
    }
    fences->items[fences->count++] = *fence;
    return 0;
}

void fences_drop(struct fences *fences, uint32_t count)
{
    fences->count -= count;
    if (fences->count > 0)
        memmove(fences->items, fences->items + count, fences->count * sizeof *fences->items);
}

void fences_fini(struct fences *fences)
{
    mf_free(fences->items);
    *fences = (struct fences){0};
}
