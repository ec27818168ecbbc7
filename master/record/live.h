/* SPDX-License-Identifier: Apache-2.0 */
/*
 * live/: standard output of attempts that run, as far as it came home, a file an attempt, to be
 * shown by `mayfly logs`. It is removed when the attempt's end has arrived, since its standard
 * output then stands where it belongs: in the results or in the log store. What remains of an
 * attempt that was lost goes into the log store.
 *
 *     live/<subtask>-<attempt>-<epoch>-<worker>.out
 *
 * Only for the eye: what can't be kept (no room, a full disk) is left out and harms nothing. At
 * most LIVE_MAX files at a time; none is held open. Loop thread only, but for live_list.
 */
#ifndef MAYFLY_MASTER_RECORD_LIVE_H
#define MAYFLY_MASTER_RECORD_LIVE_H

#include "common/error.h"
#include "common/message.h"
#include "master/record/log_store.h"

#define LIVE_MAX 256u

struct live;

/* Borrows logs. Takes over what a killed master has left. `most`: bytes kept of one attempt. */
struct live *
live_create(const char *run_folder, struct log_writer *logs, uint64_t most, struct mf_error *error);
/* What is there yet goes into the log store; the folder is removed. */
void live_destroy(struct live *live);

void live_append(struct live *live, uint32_t worker, const struct mf_chunk *chunk);
/* The attempt's end has arrived. */
void live_drop(struct live *live, uint32_t worker, const struct mf_fence *fence);
/* The worker is lost: what it has sent goes into the log store. -1: the disk's error. */
int live_lost(struct live *live, uint32_t worker, struct mf_error *error);

/* For readers: calls for each file that is there now, in no order, with its path (borrowed). Any
 * thread, also while it is written. */
typedef void
live_found_f(void *arg, const struct mf_fence *fence, uint32_t worker, const char *path);
int live_list(const char *run_folder, live_found_f *found, void *arg, struct mf_error *error);

#endif
