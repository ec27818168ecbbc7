/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is gathered: the results that count (done, not superseded) in plan order, each as a sequence
 * of pieces, whether it lies in run.db or in a file. One snapshot of run.db; constant memory. One
 * thread.
 */
#ifndef MAYFLY_MASTER_GATHER_SOURCE_H
#define MAYFLY_MASTER_GATHER_SOURCE_H

#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

struct source;

/* `stop` may be NULL; non-zero ends source_next and source_read with an error. */
struct source *
source_open(const char *run_folder, const volatile int *stop, struct mf_error *error);
void source_close(struct source *source);
/* The next result: 1 and its subtask, 0 at the end, -1. */
int source_next(struct source *source, uint64_t *subtask, struct mf_error *error);
/* The next piece of that result, never empty: 1, 0 at its end, -1. Borrowed until the next call. */
int source_read(struct source *source, struct mf_bytes *piece, struct mf_error *error);
/* The subtask of the current result. */
uint64_t source_subtask(const struct source *source);

#endif
