/* SPDX-License-Identifier: Apache-2.0 */
/* The record scanner: see record_scan.h. Lines and paragraphs run at memchr's speed, CSV byte by
 * byte. */
#include "master/split/record_scan.h"

#include <string.h>

/* Where a scan of lines or paragraphs stands. */
enum { AT_LINE_START, IN_LINE, AFTER_CR };
/* Where a CSV scan stands: before a record, at a field's start, in a bare or quoted field, behind a
 * quote in one. */
enum { BEFORE_RECORD, FIELD_START, BARE, QUOTED, QUOTE_IN_QUOTED };

void record_scan_init(struct record_scan *scan, enum scan_kind kind, uint64_t count, uint64_t bytes)
{
    *scan = (struct record_scan){.kind = kind, .count = count, .bytes = bytes, .line_number = 1};
    scan->separator = kind == SCAN_TSV ? '\t' : ',';
    scan->has_header = kind == SCAN_LINE || kind == SCAN_PARAGRAPH;
}

static bool is_full(const struct record_scan *scan)
{
    return (scan->count > 0 && scan->records >= scan->count) ||
           (scan->bytes > 0 && scan->length >= scan->bytes);
}

static void start_piece(struct record_scan *scan)
{
    scan->records = 0;
    scan->length = 0;
}

/* A record begins at the byte at hand, unless a full piece ends before it. */
static bool begins_record(struct record_scan *scan)
{
    if (scan->records > 0 && is_full(scan)) {
        start_piece(scan);
        return false;
    }
    scan->records++;
    return true;
}

static enum scan_event
step_lines(struct record_scan *scan, const unsigned char *data, size_t size, size_t *used)
{
    size_t at = 0;
    while (at < size) {
        if (scan->state == AT_LINE_START) {
            if (!begins_record(scan)) {
                *used = at;
                return SCAN_CUT;
            }
            scan->state = IN_LINE;
        }
        const unsigned char *end = memchr(data + at, '\n', size - at);
        size_t n = end == NULL ? size - at : (size_t)(end - data) - at + 1;
        scan->state = end == NULL ? IN_LINE : AT_LINE_START;
        scan->length += n;
        at += n;
    }
    *used = at;
    return SCAN_MORE;
}

static enum scan_event
step_paragraphs(struct record_scan *scan, const unsigned char *data, size_t size, size_t *used)
{
    size_t at = 0;
    while (at < size) {
        size_t n = 1;
        if (scan->state == IN_LINE) {
            const unsigned char *end = memchr(data + at, '\n', size - at);
            n = end == NULL ? size - at : (size_t)(end - data) - at + 1;
            scan->state = end == NULL ? IN_LINE : AT_LINE_START;
        } else if (data[at] == '\n') {
            scan->is_inside = false;
            scan->state = AT_LINE_START;
        } else if (data[at] == '\r' && scan->state == AT_LINE_START) {
            scan->state = AFTER_CR;
        } else {
            if (!scan->is_inside && !begins_record(scan)) {
                *used = at;
                return SCAN_CUT;
            }
            scan->is_inside = true;
            scan->state = IN_LINE;
        }
        scan->length += n;
        at += n;
    }
    *used = at;
    return SCAN_MORE;
}

static uint64_t count_lines(const unsigned char *data, size_t size)
{
    uint64_t lines = 0;
    const unsigned char *end = data + size;
    for (const unsigned char *p = data; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        lines++;
    return lines;
}

/* How far the field at hand goes on without anything of note. */
static size_t plain_span(const struct record_scan *scan, const unsigned char *data, size_t size)
{
    size_t n = 0;
    if (scan->state == QUOTED) {
        const unsigned char *quote = memchr(data, '"', size);
        return quote == NULL ? size : (size_t)(quote - data);
    }
    while (n < size && data[n] != '\n' && data[n] != scan->separator)
        n++;
    return n;
}

/* The end of a record: the header, a good one, or one that is ragged. */
static enum scan_event end_record(struct record_scan *scan)
{
    scan->state = BEFORE_RECORD;
    if (!scan->has_header) {
        scan->has_header = true;
        scan->header_columns = scan->columns;
        start_piece(scan);
        return SCAN_HEADER;
    }
    return scan->columns == scan->header_columns ? SCAN_MORE : SCAN_RAGGED;
}

/* Before a record: a byte order mark and empty lines go by. False: a piece ends before this byte.
 */
static bool step_before(struct record_scan *scan, unsigned char byte)
{
    static const unsigned char mark[] = {0xef, 0xbb, 0xbf};
    if (!scan->has_header && scan->bom < sizeof mark && byte == mark[scan->bom]) {
        scan->bom++;
        return true;
    }
    scan->bom = sizeof mark;
    if (byte == '\n' || byte == '\r')
        return true;
    if (scan->has_header && !begins_record(scan))
        return false;
    scan->line = scan->line_number;
    scan->columns = 1;
    scan->state = FIELD_START;
    return true;
}

/* One byte of a record that means something. */
static enum scan_event step_byte(struct record_scan *scan, unsigned char byte)
{
    if (scan->state == QUOTED) {
        scan->state = QUOTE_IN_QUOTED; /* plain_span stops at quotes only */
    } else if (byte == '\n') {
        return end_record(scan);
    } else if (byte == scan->separator) {
        scan->columns++;
        scan->state = FIELD_START;
    } else if (byte == '"' && scan->state != BARE) {
        scan->state = QUOTED; /* a field's first quote, or the second of a doubled one */
    } else {
        scan->state = BARE;
    }
    return SCAN_MORE;
}

static enum scan_event
step_csv(struct record_scan *scan, const unsigned char *data, size_t size, size_t *used)
{
    enum scan_event event = SCAN_MORE;
    size_t at = 0;
    while (at < size && event == SCAN_MORE) {
        if (scan->state == BARE || scan->state == QUOTED) {
            size_t n = plain_span(scan, data + at, size - at);
            if (scan->state == QUOTED)
                scan->line_number += count_lines(data + at, n);
            scan->length += n;
            at += n;
            if (at == size)
                break;
        }
        if (scan->state == BEFORE_RECORD && !step_before(scan, data[at])) {
            event = SCAN_CUT;
            break;
        }
        if (scan->state != BEFORE_RECORD)
            event = step_byte(scan, data[at]);
        scan->line_number += data[at] == '\n' ? 1 : 0;
        scan->length += event == SCAN_HEADER ? 0 : 1;
        at++;
    }
    *used = at;
    return event;
}

enum scan_event
record_scan_step(struct record_scan *scan, const unsigned char *data, size_t size, size_t *used)
{
    if (scan->kind == SCAN_LINE)
        return step_lines(scan, data, size, used);
    if (scan->kind == SCAN_PARAGRAPH)
        return step_paragraphs(scan, data, size, used);
    return step_csv(scan, data, size, used);
}

uint64_t record_scan_skippable(const struct record_scan *scan)
{
    /* What must be seen again before the place where the piece may end: "\n", or "\n\r\n" for a
     * paragraph. */
    uint64_t seen_again = scan->kind == SCAN_LINE ? 1 : 4;
    bool is_in_record = scan->kind == SCAN_LINE ? scan->state == IN_LINE
                                                : scan->state == IN_LINE && scan->is_inside;
    if (scan->kind > SCAN_PARAGRAPH || scan->count > 0 || !is_in_record ||
        scan->bytes < scan->length + seen_again)
        return 0;
    return scan->bytes - scan->length - seen_again;
}

void record_scan_skipped(struct record_scan *scan, uint64_t bytes)
{
    scan->length += bytes;
}

enum scan_event record_scan_end(struct record_scan *scan)
{
    if (scan->kind == SCAN_CSV || scan->kind == SCAN_TSV) {
        if (scan->state == QUOTED)
            return SCAN_OPEN;
        if (scan->state != BEFORE_RECORD && end_record(scan) == SCAN_RAGGED)
            return SCAN_RAGGED;
    }
    return scan->records > 0 ? SCAN_CUT : SCAN_MORE;
}
