/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splits `lines` and `records`: each input in turn is read through one buffer and cut where the
 * scanner says (record_scan.h). Memory is constant, however long a line is; bytes that need not be
 * seen are not read.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/split/kind.h"
#include "master/split/record_scan.h"

#define BUFFER_SIZE (256u << 10)

struct split_state {
    const struct job_split *split;
    const struct inputs *inputs;
    size_t input; /* the one at hand, if fd is open; else the next */
    int fd;
    struct stat status; /* of the input when it was opened */
    struct record_scan scan;
    uint64_t piece_start, header_length;
    uint64_t position; /* in the input, of buffer[at] */
    size_t at, filled;
    unsigned char buffer[BUFFER_SIZE];
};

static enum scan_kind scan_kind_of(const struct job_split *split)
{
    if (split->kind == SPLIT_LINES || split->format == RECORDS_JSONL)
        return SCAN_LINE;
    return split->format == RECORDS_CSV   ? SCAN_CSV
           : split->format == RECORDS_TSV ? SCAN_TSV
                                          : SCAN_PARAGRAPH;
}

static struct split_state *pieces_create(const struct split_from *from, struct mf_error *error)
{
    struct split_state *state = mf_malloc(sizeof *state);
    if (state == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory for the split");
        return NULL;
    }
    state->split = &from->job->split;
    state->inputs = from->inputs;
    state->input = 0;
    state->fd = -1;
    return state;
}

static int raise_changed(const struct split_state *state, struct mf_error *error)
{
    return mf_raise(
        error,
        MF_EINPUT,
        "the input '%s' changed while it was split; start a new run when it is complete",
        state->inputs->paths[state->input]);
}

static int open_input(struct split_state *state, struct mf_error *error)
{
    char *path = inputs_absolute(state->inputs, state->input);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory for the split");
    state->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int code = errno;
    mf_free(path);
    if (state->fd < 0)
        return mf_raise(error,
                        MF_EINPUT,
                        "the input '%s' cannot be opened: %s",
                        state->inputs->paths[state->input],
                        strerror(code));
    record_scan_init(&state->scan,
                     scan_kind_of(state->split),
                     state->split->chunk_lines,
                     state->split->chunk_bytes);
    state->piece_start = state->header_length = state->position = 0;
    state->at = state->filled = 0;
    return inputs_stat(state->inputs, state->input, state->fd, &state->status, error);
}

static void close_input(struct split_state *state)
{
    if (state->fd >= 0)
        close(state->fd);
    state->fd = -1;
}

static bool is_same_time(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int check_unchanged(struct split_state *state, struct mf_error *error)
{
    struct stat now;
    if (inputs_stat(state->inputs, state->input, state->fd, &now, error) < 0)
        return -1;
    if (now.st_size != state->status.st_size || !is_same_time(&now, &state->status))
        return raise_changed(state, error);
    return 0;
}

/* Goes over bytes that the scanner need not see, but never past the end. */
static void skip(struct split_state *state)
{
    uint64_t left = (uint64_t)state->status.st_size - state->position;
    uint64_t wanted = record_scan_skippable(&state->scan);
    if (wanted > left)
        wanted = left;
    record_scan_skipped(&state->scan, wanted);
    state->position += wanted;
    size_t buffered = state->filled - state->at;
    state->at += wanted < buffered ? (size_t)wanted : buffered;
}

/* More bytes into the empty buffer. */
static int fill(struct split_state *state, struct mf_error *error)
{
    uint64_t left = (uint64_t)state->status.st_size - state->position;
    size_t wanted = left < BUFFER_SIZE ? (size_t)left : BUFFER_SIZE;
    ssize_t n;
    do
        n = pread(state->fd, state->buffer, wanted, (off_t)state->position);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return mf_raise(error,
                        MF_EINPUT,
                        "the input '%s' cannot be read: %s",
                        state->inputs->paths[state->input],
                        strerror(errno));
    if (n == 0)
        return raise_changed(state, error);
    state->at = 0;
    state->filled = (size_t)n;
    return 0;
}

static int
raise_record(const struct split_state *state, enum scan_event event, struct mf_error *error)
{
    const struct record_scan *scan = &state->scan;
    const char *path = state->inputs->paths[state->input];
    if (event == SCAN_RAGGED)
        return mf_raise(error,
                        MF_EINPUT,
                        "the input '%s' has %" PRIu64 " column%s in line %" PRIu64
                        ", its header has %" PRIu64 "; mend the line, or quote what it holds",
                        path,
                        scan->columns,
                        scan->columns == 1 ? "" : "s",
                        scan->line,
                        scan->header_columns);
    return mf_raise(error,
                    MF_EINPUT,
                    "the input '%s' has a quote in the record of line %" PRIu64
                    " that never ends; a quote within a field is doubled",
                    path,
                    scan->line);
}

static int take_piece(struct split_state *state, struct mf_subtask *piece)
{
    inputs_describe(&state->status, piece);
    piece->path = mf_bytes_text(state->inputs->paths[state->input]);
    piece->item = piece->path;
    piece->offset = state->piece_start;
    piece->length = state->position - state->piece_start;
    piece->header_length = state->header_length;
    state->piece_start = state->position;
    return 1;
}

/* The end of the input at hand: 1 with its last piece, 0. The next call opens the next input. */
static int finish_input(struct split_state *state, struct mf_subtask *piece, struct mf_error *error)
{
    enum scan_event event = record_scan_end(&state->scan);
    if (event == SCAN_RAGGED || event == SCAN_OPEN)
        return raise_record(state, event, error);
    if (check_unchanged(state, error) < 0)
        return -1;
    int rc = event == SCAN_CUT ? take_piece(state, piece) : 0;
    close_input(state);
    state->input++;
    return rc;
}

/* The next piece of the input at hand: 1, or 0 when there is none any more. */
static int
next_of_input(struct split_state *state, struct mf_subtask *piece, struct mf_error *error)
{
    for (;;) {
        skip(state);
        if (state->position == (uint64_t)state->status.st_size)
            return finish_input(state, piece, error);
        if (state->at == state->filled && fill(state, error) < 0)
            return -1;
        size_t used;
        enum scan_event event = record_scan_step(
            &state->scan, state->buffer + state->at, state->filled - state->at, &used);
        state->at += used;
        state->position += used;
        if (event == SCAN_CUT)
            return take_piece(state, piece);
        if (event == SCAN_HEADER)
            state->header_length = state->piece_start = state->position;
        else if (event != SCAN_MORE)
            return raise_record(state, event, error);
    }
}

static int pieces_next(struct split_state *state, struct mf_subtask *piece, struct mf_error *error)
{
    while (state->input < state->inputs->count) {
        if (state->fd < 0 && open_input(state, error) < 0)
            return -1;
        int rc = next_of_input(state, piece, error);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static void pieces_destroy(struct split_state *state)
{
    close_input(state);
    mf_free(state);
}

const struct split_class split_pieces = {pieces_create, pieces_next, pieces_destroy};
