/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an input may be cut: bytes go in, cut positions come out. No files, no allocation, constant
 * memory.
 *
 * A piece ends where the next record begins, once it holds `count` records or `bytes` bytes; so
 * empty lines behind a record stay with it, and pieces follow each other without a gap.
 */
#ifndef MAYFLY_MASTER_SPLIT_RECORD_SCAN_H
#define MAYFLY_MASTER_SPLIT_RECORD_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum scan_kind { SCAN_LINE, SCAN_PARAGRAPH, SCAN_CSV, SCAN_TSV };

enum scan_event {
    SCAN_MORE,   /* nothing of note: all bytes were used; at the end: nothing is left */
    SCAN_HEADER, /* the header ends here */
    SCAN_CUT,    /* a piece ends here */
    SCAN_RAGGED, /* a record with another number of columns: line, columns, header_columns */
    SCAN_OPEN    /* a quote that is opened in `line` never ends */
};

/* Read-only outside record_scan.c, but for embedding. */
struct record_scan {
    enum scan_kind kind;
    unsigned char separator;
    uint64_t count, bytes;    /* when a piece is full; 0 = not by this */
    uint64_t records, length; /* of the piece so far */
    unsigned state;           /* place within a line or field */
    bool is_inside;           /* paragraphs: the line before belongs to one */
    bool has_header;
    uint64_t line_number; /* csv: of the byte at hand, from 1 */
    uint64_t line;        /* csv: where the record at hand begins */
    uint64_t columns, header_columns;
    unsigned bom; /* bytes of a byte order mark seen */
};

void record_scan_init(struct record_scan *scan,
                      enum scan_kind kind,
                      uint64_t count,
                      uint64_t bytes);

/*
 * Scans `size` bytes that follow the ones before; *used is how many it took. With SCAN_HEADER and
 * SCAN_CUT the place is right behind them.
 */
enum scan_event
record_scan_step(struct record_scan *scan, const unsigned char *data, size_t size, size_t *used);

/* How many of the next bytes need not be seen (they may be passed by record_scan_skipped instead).
 */
uint64_t record_scan_skippable(const struct record_scan *scan);
void record_scan_skipped(struct record_scan *scan, uint64_t bytes);

/* The input has ended: SCAN_CUT when a last piece ends here, SCAN_MORE, SCAN_RAGGED,
 * SCAN_OPEN. */
enum scan_event record_scan_end(struct record_scan *scan);

#endif
