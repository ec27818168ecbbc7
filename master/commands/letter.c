/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters: see letter.h. */
#include "master/commands/letter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/commands/items.h"
#include "master/commands/text.h"
#include "master/record/log_store.h"
#include "master/run_folder.h"

#define TAIL_MAX 16384u

/* Keeps the last TAIL_MAX bytes, from the start of a line where there is one. */
static int keep_tail(struct mf_buffer *tail, struct mf_bytes data, struct mf_error *error)
{
    if (mf_buffer_append(tail, data.data, data.length, error) < 0)
        return -1;
    if (tail->length <= TAIL_MAX)
        return 0;
    size_t drop = tail->length - TAIL_MAX;
    const unsigned char *newline = memchr(tail->data + drop, '\n', TAIL_MAX);
    if (newline != NULL && newline + 1 < tail->data + tail->length)
        drop = (size_t)(newline + 1 - tail->data);
    memmove(tail->data, tail->data + drop, tail->length - drop);
    tail->length -= drop;
    return 0;
}

static int read_tail(const struct outcome *outcome,
                     const char *run_folder,
                     struct mf_buffer *tail,
                     struct mf_error *error)
{
    char *folder = run_path(run_folder, "logs");
    if (folder == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    struct log_reader *reader = log_reader_open(folder, error);
    struct log_piece piece;
    int rc = reader == NULL ? -1 : 1;
    while (rc > 0 && (rc = log_reader_next(reader,
                                           outcome->subtask,
                                           outcome->attempt,
                                           outcome->worker,
                                           1u << LOG_STDERR,
                                           &piece,
                                           error)) > 0)
        if (keep_tail(tail, piece.data, error) < 0)
            rc = -1;
    log_reader_close(reader);
    mf_free(folder);
    return rc;
}

static int print_line(struct mf_bytes line, struct mf_error *error)
{
    struct mf_buffer text = {0};
    int rc = text_printable(&text, line, error);
    if (rc == 0)
        printf("    | %.*s\n", (int)text.length, text.length == 0 ? "" : (char *)text.data);
    mf_buffer_fini(&text);
    return rc;
}

/* The last `lines` lines of the text. */
static int print_lines(struct mf_bytes text, uint64_t lines, struct mf_error *error)
{
    size_t end = text.length, start;
    if (end > 0 && text.data[end - 1] == '\n')
        end--;
    for (start = end; start > 0; start--)
        if (text.data[start - 1] == '\n' && --lines == 0)
            break;
    while (start < end) {
        const unsigned char *newline = memchr(text.data + start, '\n', end - start);
        size_t stop = newline == NULL ? end : (size_t)(newline - text.data);
        if (print_line(mf_bytes_of(text.data + start, stop - start), error) < 0)
            return -1;
        start = stop + 1;
    }
    return 0;
}

static int
print_head(const struct outcome *outcome, const struct mf_subtask *piece, struct mf_error *error)
{
    char why[96], stamp[MF_STAMP_SIZE], time[TEXT_SIZE];
    struct mf_buffer item = {0};
    if (piece != NULL && items_describe(piece, &item, error) < 0) {
        mf_buffer_fini(&item);
        return -1;
    }
    printf("subtask %" PRIu64, outcome->subtask);
    if (item.length > 0)
        printf(" (%.*s)", (int)item.length, (char *)item.data);
    mf_buffer_fini(&item);
    printf(": %s after %" PRIu32 " attempt%s: %s\n",
           outcome->state,
           outcome->attempts,
           outcome->attempts == 1 ? "" : "s",
           outcome_why(outcome, why));
    printf("    last on worker %" PRIu32 "%s%s, %s",
           outcome->worker,
           outcome->host[0] == '\0' ? "" : " on ",
           outcome->host,
           text_duration(outcome->wall_us, time));
    printf("%s%s\n",
           outcome->ended_us == 0 ? "" : ", ended ",
           outcome->ended_us == 0 ? "" : mf_stamp(outcome->ended_us, stamp));
    return 0;
}

int letter_print(const struct outcome *outcome,
                 const struct mf_subtask *piece,
                 const char *run_folder,
                 uint64_t lines,
                 struct mf_error *error)
{
    struct mf_buffer text = {0};
    int rc = print_head(outcome, piece, error);
    if (rc == 0 && outcome->detail.length > 0) {
        rc = text_printable(&text, outcome->detail, error);
        if (rc == 0)
            printf("    %.*s\n", (int)text.length, (char *)text.data);
        mf_buffer_clear(&text);
    }
    if (rc == 0 && lines > 0)
        rc = read_tail(outcome, run_folder, &text, error);
    if (rc == 0 && lines > 0)
        rc = print_lines(mf_buffer_view(&text), lines, error);
    mf_buffer_fini(&text);
    return rc;
}
