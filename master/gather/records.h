/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of one result: lines, or rows of CSV (RFC 4180, quotes honoured, LF or CR LF) or TSV
 * (no quoting). A byte order mark at the start is skipped. Memory: one record. One thread.
 */
#ifndef MAYFLY_MASTER_GATHER_RECORDS_H
#define MAYFLY_MASTER_GATHER_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "master/gather/source.h"

enum record_syntax { RECORD_LINES, RECORD_CSV, RECORD_TSV };

/* Zero-initialised but for source and syntax; release with records_fini. */
struct records {
    struct source *source; /* borrowed */
    enum record_syntax syntax;
    struct mf_bytes piece; /* what is not yet read of the current piece */
    bool is_begun;
    uint64_t line;         /* the number of the line that is read next, from 1 */
    uint64_t record_line;  /* where the current record begins */
    struct mf_buffer text; /* the fields of the current record, one behind the other */
    size_t *ends;          /* where each ends */
    size_t field_count, field_capacity;
};

void records_fini(struct records *records);
/* After source_next: the records of that result come now. */
void records_begin(struct records *records);
/* The next record: 1, 0 at the end of the result, -1 (MF_EINPUT naming subtask and line). */
int records_next(struct records *records, struct mf_error *error);
/* Field i of the current record; lines have one. Borrowed until the next call. */
struct mf_bytes records_field(const struct records *records, size_t i);

#endif
