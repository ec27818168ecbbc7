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
#define TRIES_SHOWN 8u

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

/* Cuts all but the last lines off. */
static void keep_lines(struct mf_buffer *tail, uint64_t lines)
{
    size_t end = tail->length, start;
    if (end > 0 && tail->data[end - 1] == '\n')
        end--;
    for (start = end; start > 0; start--)
        if (tail->data[start - 1] == '\n' && --lines == 0)
            break;
    if (start > 0)
        memmove(tail->data, tail->data + start, tail->length - start);
    tail->length -= start;
}

int letter_tail(const struct outcome_source *source,
                const struct outcome *outcome,
                struct mf_buffer *tail,
                struct mf_error *error)
{
    char *folder = run_path(source->folder, "logs");
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
                                           error)) != 0) {
        if (rc > 0)
            rc = keep_tail(tail, piece.data, error) < 0 ? -1 : 1;
        else if (error->code == MF_EINPUT) /* damage, named once: what is whole follows */
            rc = fprintf(stderr, "mayfly: %s: what was there is left out\n", error->text) < 0 ? -1
                                                                                              : 1;
    }
    log_reader_close(reader);
    mf_free(folder);
    if (rc == 0)
        keep_lines(tail, source->tail_lines);
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

static int print_lines(struct mf_bytes text, struct mf_error *error)
{
    for (size_t start = 0; start < text.length;) {
        const unsigned char *newline = memchr(text.data + start, '\n', text.length - start);
        size_t stop = newline == NULL ? text.length : (size_t)(newline - text.data);
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
           outcome_why(outcome->cause, outcome->exit_code, outcome->signal, why));
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

static int print_detail(struct mf_bytes detail, struct mf_error *error)
{
    struct mf_buffer text = {0};
    int rc = text_printable(&text, detail, error);
    if (rc == 0 && text.length > 0)
        printf("    %.*s\n", (int)text.length, (char *)text.data);
    mf_buffer_fini(&text);
    return rc;
}

/* Of many attempts only the last ones are printed. */
struct tries {
    uint32_t count, skipped;
};

static int print_try(void *arg, const struct outcome_try *one, struct mf_error *error)
{
    struct tries *tries = arg;
    char why[96], time[TEXT_SIZE];
    (void)error;
    if (tries->count > TRIES_SHOWN && tries->skipped < tries->count - TRIES_SHOWN) {
        if (tries->skipped++ == 0)
            printf("    ... %" PRIu32 " earlier attempts\n", tries->count - TRIES_SHOWN);
        return 0;
    }
    printf("    attempt %" PRIu32 ": %s, on worker %" PRIu32 "%s%s, %s%s\n",
           one->attempt,
           outcome_why(one->cause, one->exit_code, one->signal, why),
           one->worker,
           one->host[0] == '\0' ? "" : " on ",
           one->host,
           text_duration(one->wall_us, time),
           one->superseded ? " (before a retry)" : "");
    return 0;
}

static int print_loss(void *arg, uint32_t worker, const char *host, struct mf_error *error)
{
    uint32_t *count = arg;
    (void)error;
    printf("%sworker %" PRIu32 "%s%s",
           (*count)++ == 0 ? "    lost with " : ", ",
           worker,
           host[0] == '\0' ? "" : " on ",
           host);
    return 0;
}

static int print_past(const struct outcome_source *source,
                      const struct outcome *outcome,
                      struct mf_error *error)
{
    struct tries tries = {.count = outcome->attempts};
    uint32_t losses = 0;
    if (outcome->attempts > 1 &&
        outcome_each_try(source, outcome->subtask, print_try, &tries, error) < 0)
        return -1;
    int rc = outcome_each_loss(source, outcome->subtask, print_loss, &losses, error);
    if (losses > 0)
        putchar('\n');
    return rc;
}

int letter_print(const struct outcome_source *source,
                 const struct outcome *outcome,
                 const struct mf_subtask *piece,
                 struct mf_error *error)
{
    struct mf_buffer tail = {0};
    if (print_head(outcome, piece, error) < 0 || print_detail(outcome->detail, error) < 0 ||
        print_past(source, outcome, error) < 0)
        return -1;
    int rc = source->tail_lines == 0 ? 0 : letter_tail(source, outcome, &tail, error);
    if (rc == 0)
        rc = print_lines(mf_buffer_view(&tail), error);
    mf_buffer_fini(&tail);
    return rc;
}
