/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of an earlier master: see stored.h. A table of those that were looked up, searched one by
 * one: few workers are taken over, with few attempts each. When it is full, the oldest go; a stream
 * that comes back would be looked up again, with what was written meanwhile. */
#include "master/record/stored.h"

#include <string.h>

#include "common/alloc.h"
#include "common/log.h"

#define KEPT 4096u

struct entry {
    uint64_t subtask, length;
    uint32_t attempt, worker;
    enum log_stream stream;
};

struct stored {
    char *folder;
    uint32_t count, next; /* the place of the oldest when all are taken */
    struct entry entries[KEPT];
};

struct stored *stored_create(const char *logs_folder, struct mf_error *error)
{
    struct stored *stored = mf_calloc(1, sizeof *stored);
    if (stored != NULL && (stored->folder = mf_strdup(logs_folder)) != NULL)
        return stored;
    mf_free(stored);
    mf_raise(error, MF_ENOMEM, "out of memory: the streams of an earlier master");
    return NULL;
}

void stored_destroy(struct stored *stored)
{
    if (stored == NULL)
        return;
    mf_free(stored->folder);
    mf_free(stored);
}

static uint64_t look_up(const struct stored *stored, const struct entry *entry)
{
    struct log_piece piece;
    struct mf_error error;
    uint64_t length = 0;
    struct log_reader *reader = log_reader_open(stored->folder, &error);
    int rc = reader == NULL ? -1 : 1;
    while (rc > 0) {
        rc = log_reader_next(reader,
                             entry->subtask,
                             entry->attempt,
                             entry->worker,
                             1u << entry->stream,
                             &piece,
                             &error);
        /* Subtask 0, that of the workers' own logs, means any to the reader. */
        if (rc > 0 && piece.subtask == entry->subtask)
            length += piece.data.length;
    }
    if (rc < 0)
        mf_log(MF_WARNING, "captured streams may be there twice: %s", error.text);
    log_reader_close(reader);
    return rc < 0 ? 0 : length;
}

uint64_t stored_length(struct stored *stored,
                       uint64_t subtask,
                       uint32_t attempt,
                       uint32_t worker,
                       enum log_stream stream)
{
    for (uint32_t i = 0; i < stored->count; i++) {
        const struct entry *at = &stored->entries[i];
        if (at->subtask == subtask && at->attempt == attempt && at->worker == worker &&
            at->stream == stream)
            return at->length;
    }
    struct entry *entry = &stored->entries[stored->next];
    *entry =
        (struct entry){.subtask = subtask, .attempt = attempt, .worker = worker, .stream = stream};
    entry->length = look_up(stored, entry);
    stored->next = (stored->next + 1) % KEPT;
    if (stored->count < KEPT)
        stored->count++;
    return entry->length;
}
