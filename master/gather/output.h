/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file `result`: written beside its place, and there as a whole or not at all. One thread.
 */
#ifndef MAYFLY_MASTER_GATHER_OUTPUT_H
#define MAYFLY_MASTER_GATHER_OUTPUT_H

#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

struct output;

/* Begins a new result. */
struct output *output_open(const char *run_folder, struct mf_error *error);
int output_write(struct output *output, struct mf_bytes bytes, struct mf_error *error);
int output_text(struct output *output, const char *text, struct mf_error *error);
/* Makes it durable and gives it its name; *bytes is its size. */
int output_finish(struct output *output, uint64_t *bytes, struct mf_error *error);
/* Frees it; removes what is not finished. NULL is fine. */
void output_close(struct output *output);

#endif
