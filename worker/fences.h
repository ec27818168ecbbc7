/* SPDX-License-Identifier: Apache-2.0 */
/* A list of fences that is added to at its end and told from its start. Zero-initialised is empty.
 * Not thread-safe. */
#ifndef MAYFLY_WORKER_FENCES_H
#define MAYFLY_WORKER_FENCES_H

#include "common/error.h"
#include "common/message.h"

struct fences {
    struct mf_fence *items;
    uint32_t count, capacity;
};

int fences_add(struct fences *fences, const struct mf_fence *fence, struct mf_error *error);
/* Drops the first `count`. */
void fences_drop(struct fences *fences, uint32_t count);
void fences_fini(struct fences *fences);

#endif
