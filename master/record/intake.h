/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes home from workers besides results: captured streams go to the log store, large results
 * and outputs become files. A file is received below incoming/, checked against its sha256, and
 * moved to its place by rename when the scheduler accepts the attempt, before its row is written: a
 * row never names a file that is not whole. Standard output of attempts that run is kept in live/
 * to be shown (live.h).
 *
 *     incoming/<subtask>-<attempt>-<epoch>-<worker>/result        ->
 * outputs/<subtask/1000>/<subtask>.result
 *     incoming/<subtask>-<attempt>-<epoch>-<worker>/files/<path>  ->
 * outputs/<subtask/1000>/<subtask>/<path>
 *
 * Loop thread only.
 */
#ifndef MAYFLY_MASTER_RECORD_INTAKE_H
#define MAYFLY_MASTER_RECORD_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/message.h"
#include "master/record/log_store.h"

struct intake;

/* Borrows logs. `sync`: files go to the disk before they are accepted. `log_max`: what is kept of
 * the standard output of an attempt that runs. */
struct intake *intake_create(const char *run_folder,
                             struct log_writer *logs,
                             bool sync,
                             uint64_t log_max,
                             struct mf_error *error);
/*
 * This master, of `epoch`, goes on after another one. What was received and never accepted is
 * removed: it is sent again. Of the streams that come again, what is in the log store is left out.
 */
int intake_resume(struct intake *intake, uint32_t epoch, struct mf_error *error);
/* Removes what was received and never accepted; what is left of attempts that ran goes into the log
 * store. */
void intake_destroy(struct intake *intake);

/* One chunk of `worker`. -1: MF_EPROTOCOL when it does not fit what came before, MF_EFULL when
 * there is no room (the same chunk may be given again), else the disk's error. */
int intake_chunk(struct intake *intake,
                 uint32_t worker,
                 const struct mf_chunk *chunk,
                 struct mf_error *error);
/* Moves the files of an accepted attempt to their places. `again`: it has failed for them before
 * (MF_EFULL), and a part may be in its place already. */
int intake_accept(struct intake *intake,
                  uint32_t worker,
                  const struct mf_fence *fence,
                  bool has_result,
                  bool has_outputs,
                  bool again,
                  struct mf_error *error);
/* The end of an attempt has arrived, whatever it is: nothing of it is shown as running. */
void intake_ended(struct intake *intake, uint32_t worker, const struct mf_fence *fence);
/* A worker is lost: what it sent of attempts that ran goes into the log store. */
int intake_lost(struct intake *intake, uint32_t worker, struct mf_error *error);
/* Drops the files of an attempt that was not accepted. */
void intake_drop(struct intake *intake, uint32_t worker, const struct mf_fence *fence);

#endif
