/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of a captured stream an earlier master has put into the log store. Its worker sends the
 * stream again from its beginning, and what is there already must not be there twice. Looked up
 * once a stream, before anything of it is written by this master. Loop thread only.
 */
#ifndef MAYFLY_MASTER_RECORD_STORED_H
#define MAYFLY_MASTER_RECORD_STORED_H

#include <stdint.h>

#include "common/error.h"
#include "master/record/log_store.h"

struct stored;

struct stored *stored_create(const char *logs_folder, struct mf_error *error);
void stored_destroy(struct stored *stored); /* NULL is fine */

/* Bytes of that stream. 0 also when the store cannot be read: then it may be there twice. */
uint64_t stored_length(struct stored *stored,
                       uint64_t subtask,
                       uint32_t attempt,
                       uint32_t worker,
                       enum log_stream stream);

#endif
