/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing run.db within one transaction: begin, rows, commit or roll back. The fence is here. Owns
 * the connection; belongs to one thread at a time (the recorder opens it on the loop's thread and
 * then leaves it to its own).
 */
#ifndef MAYFLY_MASTER_RECORD_RUN_WRITER_H
#define MAYFLY_MASTER_RECORD_RUN_WRITER_H

#include <stdbool.h>

#include "common/error.h"
#include "master/record/record.h"

struct run_writer;

struct run_writer *run_writer_open(const struct record_config *config,
                                   uint32_t *epoch,
                                   int *notice,
                                   struct mf_error *error);
/* Brings the write-ahead log into the file, as far as the disk allows, and closes. NULL is fine. */
void run_writer_close(struct run_writer *writer);

int run_writer_begin(struct run_writer *writer, struct mf_error *error);
int run_writer_commit(struct run_writer *writer, struct mf_error *error);
/* Nothing since begin has happened. Fine without a begin, too. */
void run_writer_rollback(struct run_writer *writer);
/* Whether the error that was returned last may pass (disk full, locked ...): what failed can be
 * tried again. */
bool run_writer_can_retry(const struct run_writer *writer);

/* Inserts the attempt, or refuses it (*fenced). -1 only when nothing can be said: roll back. */
int run_writer_attempt(struct run_writer *writer,
                       const struct record_row *row,
                       bool *fenced,
                       struct mf_error *error);
int run_writer_run(struct run_writer *writer, const struct record_run *run, struct mf_error *error);
int run_writer_worker(struct run_writer *writer,
                      const struct record_worker *worker,
                      struct mf_error *error);
int run_writer_event(struct run_writer *writer,
                     int64_t wall_us,
                     const char *kind,
                     uint32_t worker,
                     uint64_t subtask,
                     const char *text,
                     struct mf_error *error);

#endif
