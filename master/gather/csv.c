/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gather `csv`: the first result's header once, then the rows of all results as they are. Every
 * result that is not empty begins with that header. Quotes are followed only to find where rows
 * end; with `output: {format: tsv}` there are none.
 */
#include <string.h>

#include "master/gather/kinds.h"

struct csv {
    struct gather *gather;
    bool has_quotes;
    struct mf_buffer first;  /* the header that all must have, without its line end */
    struct mf_buffer header; /* of the current result, while it is read */
    const char *line_end;    /* of the first header */
    bool has_first;
    bool in_header, in_quotes;
    uint64_t line, quote_line;
    unsigned char last; /* byte that was written for this result; 0 = none */
};

static int raise_at(const struct csv *csv, uint64_t line, const char *what, struct mf_error *error)
{
    return mf_raise(error,
                    MF_EINPUT,
                    "the result of subtask %llu, line %llu: %s",
                    (unsigned long long)source_subtask(csv->gather->source),
                    (unsigned long long)line,
                    what);
}

/* How many bytes of `piece` belong to the row that is under way, its line feed included; *ended
 * says whether it is there. */
static size_t row_length(struct csv *csv, struct mf_bytes piece, bool *ended)
{
    *ended = false;
    for (size_t i = 0; i < piece.length; i++) {
        if (piece.data[i] == '"' && csv->has_quotes) {
            csv->in_quotes = !csv->in_quotes;
            csv->quote_line = csv->line;
        }
        if (piece.data[i] != '\n')
            continue;
        csv->line++;
        if (!csv->in_quotes) {
            *ended = true;
            return i + 1;
        }
    }
    return piece.length;
}

/* The whole header is there: it is the first one, or must be the same. */
static int end_header(struct csv *csv, struct mf_error *error)
{
    struct mf_buffer *header = &csv->header;
    csv->in_header = false;
    size_t start = header->length >= 3 && memcmp(header->data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    size_t end = header->length;
    if (end > start && header->data[end - 1] == '\n')
        end--;
    bool is_crlf = end > start && header->data[end - 1] == '\r';
    end -= is_crlf;
    struct mf_bytes names = mf_bytes_of(header->data + start, end - start);
    if (csv->has_first) {
        if (mf_bytes_equal(names, mf_buffer_view(&csv->first)))
            return 0;
        return mf_raise(error,
                        MF_EINPUT,
                        "the header of the result of subtask %llu, '%.*s', differs from the first"
                        " one, '%.*s'",
                        (unsigned long long)source_subtask(csv->gather->source),
                        (int)(names.length > 300 ? 300 : names.length),
                        (const char *)names.data,
                        (int)(csv->first.length > 300 ? 300 : csv->first.length),
                        (const char *)csv->first.data);
    }
    csv->has_first = true;
    csv->line_end = is_crlf ? "\r\n" : "\n";
    if (mf_buffer_append(&csv->first, names.data, names.length, error) < 0 ||
        output_write(csv->gather->output, names, error) < 0)
        return -1;
    return output_text(csv->gather->output, csv->line_end, error);
}

static int take_piece(struct csv *csv, struct mf_bytes piece, struct mf_error *error)
{
    while (piece.length > 0) {
        bool ended;
        size_t length = row_length(csv, piece, &ended);
        struct mf_bytes part = mf_bytes_of(piece.data, length);
        piece = mf_bytes_of(piece.data + length, piece.length - length);
        if (csv->in_header) {
            if (mf_buffer_append(&csv->header, part.data, part.length, error) < 0 ||
                (ended && end_header(csv, error) < 0))
                return -1;
            continue;
        }
        csv->last = part.data[length - 1];
        if (output_write(csv->gather->output, part, error) < 0)
            return -1;
    }
    return 0;
}

static int copy_result(struct csv *csv, struct mf_error *error)
{
    struct mf_bytes piece;
    int more;
    mf_buffer_clear(&csv->header);
    csv->in_header = true;
    csv->in_quotes = false;
    csv->line = 1;
    csv->last = 0;
    while ((more = source_read(csv->gather->source, &piece, error)) > 0)
        if (take_piece(csv, piece, error) < 0)
            return -1;
    if (more < 0)
        return -1;
    if (csv->in_quotes)
        return raise_at(csv, csv->quote_line, "the quote that begins here has no end", error);
    if (csv->in_header && csv->header.length > 0)
        return end_header(csv, error);
    if (csv->last != 0 && csv->last != '\n')
        return output_text(csv->gather->output, csv->line_end, error);
    return 0;
}

int gather_csv(struct gather *gather, struct mf_error *error)
{
    struct csv csv = {.gather = gather, .has_quotes = gather->job->output.format != OUTPUT_TSV};
    uint64_t subtask;
    int more;
    while ((more = source_next(gather->source, &subtask, error)) > 0)
        if (copy_result(&csv, error) < 0) {
            more = -1;
            break;
        }
    mf_buffer_fini(&csv.first);
    mf_buffer_fini(&csv.header);
    return more;
}
