/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logs/: the captured streams of all attempts, packed: append-only segments of compressed blocks
 * with an index, no file a subtask (docs/results-table.md). Readable while it is written; a torn
 * tail is dropped by the reader. The writer belongs to one thread; readers are independent.
 */
#ifndef MAYFLY_MASTER_RECORD_LOG_STORE_H
#define MAYFLY_MASTER_RECORD_LOG_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

enum log_stream { LOG_STDOUT = 1, LOG_STDERR = 2, LOG_WORKER = 3 };

struct log_writer;
/* `folder` is made if it is not there; an existing store is continued (its torn tail cut off). */
struct log_writer *log_writer_open(const char *folder, struct mf_error *error);
/* Appends data at the end of that attempt's stream. cut_bytes > 0: so much was dropped here (marked
 * when read). */
int log_writer_append(struct log_writer *writer,
                      uint64_t subtask,
                      uint32_t attempt,
                      uint32_t worker,
                      enum log_stream stream,
                      struct mf_bytes data,
                      uint64_t cut_bytes,
                      struct mf_error *error);
int log_writer_flush(struct log_writer *writer, struct mf_error *error);
void log_writer_close(struct log_writer *writer);

struct log_reader;
/* A store that is not there yet is an empty one. */
struct log_reader *log_reader_open(const char *folder, struct mf_error *error);
struct log_piece {
    uint64_t subtask;
    uint32_t attempt, worker;
    enum log_stream stream;
    struct mf_bytes data; /* borrowed until the next call */
    uint64_t cut_bytes;
};
/* Next piece in the order of writing that matches (0 = any): 1, 0 at the end (what is written later
 * comes with later calls), -1. With MF_EINPUT it is damage, named once: the next call goes on with
 * what is whole behind it. */
int log_reader_next(struct log_reader *reader,
                    uint64_t subtask,
                    uint32_t attempt,
                    uint32_t worker,
                    unsigned streams /* bit 1 << enum log_stream; 0 = any */,
                    struct log_piece *piece,
                    struct mf_error *error);
void log_reader_close(struct log_reader *reader);

#endif
