/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold for every input of the record scanner, for tests and fuzzing: the answer does not
 * depend on how the bytes are portioned or skipped, pieces are contiguous, cover the input behind
 * the header, and are cut where a slow and simple reading sees the start of a record. Aborts when
 * it does not.
 */
#ifndef MAYFLY_TESTS_RECORD_CHECK_H
#define MAYFLY_TESTS_RECORD_CHECK_H

#include <stdlib.h>
#include <string.h>

#include "master/split/record_scan.h"

#define CHECK_CUTS_MAX 4096

struct record_cuts {
    uint64_t header;
    uint64_t at[CHECK_CUTS_MAX]; /* ends of pieces */
    size_t count;
    enum scan_event last; /* of record_scan_end, or the error that ended it */
};

static inline void check_that(bool holds)
{
    if (!holds)
        abort();
}

/* Runs the scanner with portions of at most `portion` bytes. */
static inline void record_cuts_of(struct record_cuts *cuts,
                                  enum scan_kind kind,
                                  uint64_t count,
                                  uint64_t bytes,
                                  const unsigned char *data,
                                  size_t size,
                                  size_t portion,
                                  bool with_skips)
{
    struct record_scan scan;
    size_t at = 0, idle = 0;
    memset(cuts, 0, sizeof *cuts);
    record_scan_init(&scan, kind, count, bytes);
    while (at < size) {
        uint64_t skip = with_skips ? record_scan_skippable(&scan) : 0;
        if (skip > size - at)
            skip = size - at;
        record_scan_skipped(&scan, skip);
        at += (size_t)skip;
        if (at == size)
            break;
        size_t used, part = size - at < portion ? size - at : portion;
        enum scan_event event = record_scan_step(&scan, data + at, part, &used);
        check_that(used <= part);
        idle = used == 0 ? idle + 1 : 0;
        check_that(idle < 2);
        at += used;
        if (event == SCAN_HEADER) {
            check_that(cuts->header == 0 && cuts->count == 0);
            cuts->header = at;
        } else if (event == SCAN_CUT) {
            check_that(cuts->count < CHECK_CUTS_MAX);
            cuts->at[cuts->count++] = at;
        } else if (event != SCAN_MORE) {
            cuts->last = event;
            return;
        } else {
            check_that(used == part);
        }
    }
    cuts->last = record_scan_end(&scan);
    if (cuts->last == SCAN_CUT) {
        check_that(cuts->count < CHECK_CUTS_MAX);
        cuts->at[cuts->count++] = size;
    }
}

/* The start of each record, read in the plainest way. starts[] holds at most size entries. */
static inline size_t plain_starts(
    enum scan_kind kind, const unsigned char *data, size_t from, size_t size, size_t *starts)
{
    unsigned char separator = kind == SCAN_TSV ? '\t' : ',';
    bool is_after_cr = false, at_line = true, is_empty_before = true, in_record = false,
         in_quotes = false, at_field = false;
    size_t count = 0;
    for (size_t i = from; i < size; i++) {
        unsigned char c = data[i];
        if (kind == SCAN_LINE) {
            if (at_line)
                starts[count++] = i;
            at_line = c == '\n';
        } else if (kind == SCAN_PARAGRAPH) {
            if (at_line && c == '\n') {
                is_empty_before = true;
                is_after_cr = false;
            } else if (at_line && c == '\r' && !is_after_cr) {
                is_after_cr = true;
            } else if (at_line) {
                if (is_empty_before)
                    starts[count++] = i;
                is_empty_before = at_line = is_after_cr = false;
            } else if (c == '\n') {
                at_line = true;
            }
        } else if (!in_record) {
            if (c == '\n' || c == '\r')
                continue;
            starts[count++] = i;
            in_record = true;
            in_quotes = c == '"';
            at_field = c == separator;
        } else if (in_quotes) {
            if (c == '"' && i + 1 < size && data[i + 1] == '"')
                i++;
            else if (c == '"')
                in_quotes = false;
        } else if (c == '\n') {
            in_record = false;
        } else {
            in_quotes = c == '"' && at_field;
            at_field = c == separator;
        }
    }
    return count;
}

static inline bool same_cuts(const struct record_cuts *a, const struct record_cuts *b)
{
    return a->header == b->header && a->count == b->count && a->last == b->last &&
           memcmp(a->at, b->at, a->count * sizeof *a->at) == 0;
}

/* Inputs of at most CHECK_CUTS_MAX - 1 bytes. */
static inline void record_check(
    enum scan_kind kind, uint64_t count, uint64_t bytes, const unsigned char *data, size_t size)
{
    struct record_cuts whole, other;
    size_t *starts = malloc((size + 1) * sizeof *starts);
    check_that(starts != NULL && size < CHECK_CUTS_MAX);
    record_cuts_of(&whole, kind, count, bytes, data, size, size, false);
    for (size_t portion = 1; portion <= 7; portion += 3) {
        record_cuts_of(&other, kind, count, bytes, data, size, portion, false);
        check_that(same_cuts(&whole, &other));
        record_cuts_of(&other, kind, count, bytes, data, size, portion, true);
        check_that(same_cuts(&whole, &other));
    }
    size_t records = plain_starts(kind, data, (size_t)whole.header, size, starts), r = 0;
    uint64_t from = whole.header;
    if (whole.last == SCAN_CUT)
        check_that(whole.at[whole.count - 1] == size && records > 0);
    for (size_t i = 0; i < whole.count; i++) {
        check_that(whole.at[i] > from);
        size_t in_piece = 0;
        for (; r < records && starts[r] < whole.at[i]; r++)
            in_piece++;
        bool is_last = whole.last == SCAN_CUT && i + 1 == whole.count;
        check_that(in_piece > 0);
        check_that(is_last || (r < records && starts[r] == whole.at[i]));
        if (count > 0)
            check_that(in_piece == count || (is_last && in_piece < count));
        else if (!is_last)
            check_that(whole.at[i] - from >= bytes &&
                       (in_piece == 1 || starts[r - 1] - from < bytes));
        from = whole.at[i];
    }
    free(starts);
}

#endif
