/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.seg: the durable plan of a split that can't be derived again. Append-only; a record a
 * subtask (and one an input), each with length and checksum, after a versioned header; format in
 * docs/plan-seg.md. A torn tail (cut anywhere) is detected and dropped by the reader, which
 * says how many records are whole; damage before the tail is an error. Not thread-safe.
 */
#ifndef MAYFLY_MASTER_SPLIT_PLAN_SEG_H
#define MAYFLY_MASTER_SPLIT_PLAN_SEG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/message.h"

struct plan_writer;
struct plan_writer *plan_writer_create(const char *path,
                                       struct mf_error *error); /* the file must not exist */
/* Goes on with a file that a reader has read to its end, which was no whole plan: what is behind
 * `size` (plan_reader_size) is cut off. */
struct plan_writer *plan_writer_continue(const char *path, uint64_t size, struct mf_error *error);
int plan_writer_append(struct plan_writer *writer,
                       const struct mf_subtask *piece,
                       struct mf_error *error);
/* Marks the plan as complete: the split has ended and `total` pieces are in it. */
int plan_writer_end(struct plan_writer *writer, uint64_t total, struct mf_error *error);
/* Writes out what is buffered; with `sync`, to the disk too. Before what was appended is offered.
 */
int plan_writer_flush(struct plan_writer *writer, bool sync, struct mf_error *error);
void plan_writer_destroy(struct plan_writer *writer);

struct plan_reader;
struct plan_reader *plan_reader_open(const char *path, struct mf_error *error);
/* The next piece in plan order: 1, 0 at the end, -1 and MF_EINPUT on damage. Borrows until the next
 * call. */
int plan_reader_next(struct plan_reader *reader, struct mf_subtask *piece, struct mf_error *error);
/* After the end: whether plan_writer_end was reached. */
bool plan_reader_complete(const struct plan_reader *reader);
/* How many bytes of the file are whole records, up to where it has been read. */
uint64_t plan_reader_size(const struct plan_reader *reader);
void plan_reader_destroy(struct plan_reader *reader);

#endif
