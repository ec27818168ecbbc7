/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segment files of captured streams, as the worker counts them: one is removed when its slot
 * has gone on to another and all attempts that lie in it are released.
 */
#ifndef MAYFLY_WORKER_SEGMENTS_H
#define MAYFLY_WORKER_SEGMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct segment {
    struct segment_list *list;
    struct segment *next;
    uint32_t number;
    uint32_t references;
    char *path;
};

/* Those of one stream of one slot; the first is the one that is written to. */
struct segment_list {
    struct segment *first;
};

/* The segment with that number, which is the current one from now on; one reference more. `folder`
 * is the worker's. NULL: out of memory. */
struct segment *segments_refer(struct segment_list *list,
                               uint32_t number,
                               const char *folder,
                               uint32_t slot,
                               const char *suffix,
                               struct mf_error *error);
void segment_release(struct segment *segment);
/* Frees all, whatever refers to them; files stay. */
void segments_fini(struct segment_list *list);

#endif
