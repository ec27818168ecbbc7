/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting a result into records: see records.h. */
#include "master/gather/records.h"

#include <string.h>

#include "common/alloc.h"

enum csv_state { CSV_START, CSV_PLAIN, CSV_QUOTED, CSV_CLOSED, CSV_CLOSED_CR };

void records_fini(struct records *records)
{
    mf_buffer_fini(&records->text);
    mf_free(records->ends);
    records->ends = NULL;
}

void records_begin(struct records *records)
{
    records->piece = (struct mf_bytes){0};
    records->is_begun = false;
    records->line = 1;
}

struct mf_bytes records_field(const struct records *records, size_t i)
{
    size_t start = i == 0 ? 0 : records->ends[i - 1];
    if (records->text.data == NULL) /* nothing but empty fields so far */
        return mf_bytes_of("", 0);
    return mf_bytes_of(records->text.data + start, records->ends[i] - start);
}

static int
raise_at(const struct records *records, uint64_t line, const char *what, struct mf_error *error)
{
    return mf_raise(error,
                    MF_EINPUT,
                    "the result of subtask %llu, line %llu: %s",
                    (unsigned long long)source_subtask(records->source),
                    (unsigned long long)line,
                    what);
}

/* Makes `piece` non-empty: 1, 0 at the end of the result, -1. */
static int fill(struct records *records, struct mf_error *error)
{
    while (records->piece.length == 0) {
        int more = source_read(records->source, &records->piece, error);
        if (more <= 0)
            return more;
        if (!records->is_begun && records->syntax != RECORD_LINES && records->piece.length >= 3 &&
            memcmp(records->piece.data, "\xef\xbb\xbf", 3) == 0)
            records->piece = mf_bytes_of(records->piece.data + 3, records->piece.length - 3);
        records->is_begun = true;
    }
    return 1;
}

static int end_field(struct records *records, struct mf_error *error)
{
    if (records->field_count == records->field_capacity) {
        size_t capacity = records->field_capacity != 0 ? records->field_capacity * 2 : 16;
        size_t *ends = mf_realloc(records->ends, capacity * sizeof *ends);
        if (ends == NULL)
            return mf_raise(error, MF_ENOMEM, "memory is exhausted while gathering");
        records->ends = ends;
        records->field_capacity = capacity;
    }
    records->ends[records->field_count++] = records->text.length;
    return 0;
}

/* Appends up to the next line feed (which is eaten): 1, 0 when nothing was left, -1. */
static int read_line(struct records *records, struct mf_error *error)
{
    int more, got = 0;
    while ((more = fill(records, error)) > 0) {
        const unsigned char *data = records->piece.data;
        const unsigned char *end = memchr(data, '\n', records->piece.length);
        size_t length = end != NULL ? (size_t)(end - data) : records->piece.length;
        if (mf_buffer_append(&records->text, data, length, error) < 0)
            return -1;
        size_t eaten = length + (end != NULL);
        records->piece = mf_bytes_of(data + eaten, records->piece.length - eaten);
        got = 1;
        if (end != NULL) {
            records->line++;
            return 1;
        }
    }
    return more < 0 ? -1 : got;
}

static int next_line(struct records *records, struct mf_error *error)
{
    int got = read_line(records, error);
    if (got <= 0)
        return got;
    return end_field(records, error) < 0 ? -1 : 1;
}

static int next_tsv(struct records *records, struct mf_error *error)
{
    int got = read_line(records, error);
    if (got <= 0)
        return got;
    struct mf_buffer *text = &records->text;
    if (text->length > 0 && text->data[text->length - 1] == '\r')
        text->length--;
    /* The tabs are taken out, so that the fields stand one behind the other. */
    size_t length = text->length, to = 0;
    for (size_t from = 0; from < length; from++) {
        text->length = to;
        if (text->data[from] != '\t')
            text->data[to++] = text->data[from];
        else if (end_field(records, error) < 0)
            return -1;
    }
    text->length = to;
    return end_field(records, error) < 0 ? -1 : 1;
}

/* One byte of CSV. 1 = the record ends here, 0 = it goes on, -1. */
static int
csv_byte(struct records *records, enum csv_state *state, unsigned char byte, struct mf_error *error)
{
    if (byte == '\n')
        records->line++;
    if (*state == CSV_QUOTED) {
        if (byte == '"') {
            *state = CSV_CLOSED;
            return 0;
        }
        return mf_buffer_append(&records->text, &byte, 1, error);
    }
    if (*state == CSV_CLOSED && byte == '"') { /* it was a doubled quote */
        *state = CSV_QUOTED;
        return mf_buffer_append(&records->text, &byte, 1, error);
    }
    if (byte == '\n') {
        struct mf_buffer *text = &records->text;
        size_t start = records->field_count > 0 ? records->ends[records->field_count - 1] : 0;
        if (*state == CSV_PLAIN && text->length > start && text->data[text->length - 1] == '\r')
            text->length--;
        return end_field(records, error) < 0 ? -1 : 1;
    }
    if (byte == ',' && *state != CSV_CLOSED_CR) {
        *state = CSV_START;
        return end_field(records, error);
    }
    if (*state == CSV_CLOSED && byte == '\r') {
        *state = CSV_CLOSED_CR;
        return 0;
    }
    if (*state == CSV_CLOSED || *state == CSV_CLOSED_CR)
        return raise_at(
            records, records->line, "there is text behind a closing quote in the CSV", error);
    if (byte == '"' && *state == CSV_PLAIN)
        return raise_at(records,
                        records->line,
                        "there is a quote inside an unquoted value of the CSV: quote the value and"
                        " double the quote",
                        error);
    *state = byte == '"' ? CSV_QUOTED : CSV_PLAIN;
    return byte == '"' ? 0 : mf_buffer_append(&records->text, &byte, 1, error);
}

static int next_csv(struct records *records, struct mf_error *error)
{
    enum csv_state state = CSV_START;
    bool is_empty = true;
    int more;
    while ((more = fill(records, error)) > 0) {
        struct mf_bytes piece = records->piece;
        int done = 0;
        size_t at = 0;
        while (at < piece.length && done == 0)
            done = csv_byte(records, &state, piece.data[at++], error);
        records->piece = mf_bytes_of(piece.data + at, piece.length - at);
        is_empty = false;
        if (done != 0)
            return done;
    }
    if (more < 0 || is_empty)
        return more;
    if (state == CSV_QUOTED)
        return raise_at(records,
                        records->record_line,
                        "the CSV ends within a quote that begins in this row",
                        error);
    return end_field(records, error) < 0 ? -1 : 1;
}

int records_next(struct records *records, struct mf_error *error)
{
    mf_buffer_clear(&records->text);
    records->field_count = 0;
    records->record_line = records->line;
    switch (records->syntax) {
    case RECORD_LINES:
        return next_line(records, error);
    case RECORD_CSV:
        return next_csv(records, error);
    case RECORD_TSV:
        return next_tsv(records, error);
    }
    return 0;
}
