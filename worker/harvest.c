/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ended attempts: see harvest.h.
 *
 * Result and detail share one block. The detail may quote names of files, which are any bytes: here
 * it becomes UTF-8 without control characters, since from here on it is text.
 */
#include "worker/harvest.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/checksum.h"
#include "common/clock.h"
#include "common/utf8.h"
#include "worker/place.h"

static int out_of_memory(const struct attempt *attempt, struct mf_error *error)
{
    return mf_raise(error,
                    MF_ENOMEM,
                    "out of memory: the result of subtask %llu",
                    (unsigned long long)attempt->fence.subtask);
}

static struct executed_file *add_file(struct attempt *attempt)
{
    struct executed *executed = &attempt->executed;
    if (executed->file_count == attempt->file_capacity) {
        uint32_t capacity = attempt->file_capacity == 0 ? 2 : attempt->file_capacity * 2;
        void *files = mf_realloc(executed->files, capacity * sizeof *executed->files);
        if (files == NULL)
            return NULL;
        executed->files = files;
        attempt->file_capacity = capacity;
    }
    struct executed_file *file = &executed->files[executed->file_count];
    *file = (struct executed_file){0};
    return file;
}

static void drop_files(struct executed *executed)
{
    for (uint32_t i = 0; i < executed->file_count; i++) {
        mf_free(executed->files[i].path);
        mf_free(executed->files[i].name);
    }
    executed->file_count = 0;
}

int harvest_output(const struct harvest *harvest,
                   struct attempt *attempt,
                   const struct slot_output *output,
                   struct mf_bytes name,
                   struct mf_error *error)
{
    char folder[SLOT_NAME_SIZE];
    slot_folder_name(folder, &attempt->fence);
    struct executed_file *file = add_file(attempt);
    if (file == NULL)
        return out_of_memory(attempt, error);
    file->kind = MF_CHUNK_OUTPUT;
    file->length = output->size;
    file->mode = output->mode;
    file->path = mf_format("%s/attempts/%s.out/%u", harvest->folder, folder, output->number);
    file->name = mf_memdup(name.data, name.length);
    if (file->path == NULL || file->name == NULL) {
        mf_free(file->path);
        mf_free(file->name);
        return out_of_memory(attempt, error);
    }
    attempt->executed.file_count++;
    attempt->output_count++;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct executed_file *)a)->name, ((const struct executed_file *)b)->name);
}

/* Sorts them, drops what came twice, and counts. */
static void settle_outputs(struct executed *executed)
{
    struct executed_file *files = executed->files;
    uint32_t count = 0;
    if (executed->file_count > 1)
        qsort(files, executed->file_count, sizeof *files, by_name);
    for (uint32_t i = 0; i < executed->file_count; i++) {
        if (count > 0 && strcmp(files[count - 1].name, files[i].name) == 0) {
            mf_free(files[i].path);
            mf_free(files[i].name);
            continue;
        }
        files[count++] = files[i];
        executed->result.output_bytes += files[count - 1].length;
    }
    executed->file_count = count;
    executed->result.output_count = count;
}

/* How long the valid UTF-8 sequence at `text` is, 0 if it is none or a control character. */
static size_t printable_length(const unsigned char *text, size_t left)
{
    return text[0] < 0x20 || text[0] == 0x7f ? 0 : mf_utf8_length(text, left);
}

/* `out` has room for four times the length. */
static size_t make_printable(unsigned char *out, struct mf_bytes text)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;
    for (size_t i = 0; i < text.length;) {
        size_t length = printable_length(text.data + i, text.length - i);
        if (length > 0) {
            memcpy(out + n, text.data + i, length);
            n += length;
            i += length;
            continue;
        }
        const unsigned char escaped[4] = {'\\',
                                          'x',
                                          (unsigned char)digits[text.data[i] >> 4],
                                          (unsigned char)digits[text.data[i] & 15]};
        memcpy(out + n, escaped, 4);
        n += 4;
        i++;
    }
    return n;
}

static int keep_bytes(struct attempt *attempt,
                      struct mf_bytes inline_result,
                      struct mf_bytes detail,
                      struct mf_error *error)
{
    struct mf_result *result = &attempt->executed.result;
    if (inline_result.length + detail.length == 0)
        return 0;
    unsigned char *memory = mf_malloc(inline_result.length + 4 * detail.length);
    if (memory == NULL)
        return out_of_memory(attempt, error);
    attempt->executed.memory = memory;
    if (inline_result.length > 0)
        memcpy(memory, inline_result.data, inline_result.length);
    result->inline_result = mf_bytes_of(memory, inline_result.length);
    result->checksum = mf_crc32(result->inline_result);
    memory += inline_result.length;
    result->detail = mf_bytes_of(memory, make_printable(memory, detail));
    return 0;
}

/* An attempt lies in one segment of each stream. */
static int refer(const struct harvest *harvest,
                 struct attempt *attempt,
                 unsigned which,
                 uint32_t number,
                 struct mf_error *error)
{
    if (attempt->segments[which] == NULL)
        attempt->segments[which] = segments_refer(&harvest->segments[which],
                                                  number,
                                                  harvest->folder,
                                                  harvest->slot,
                                                  which == 0 ? "out" : "err",
                                                  error);
    return attempt->segments[which] == NULL ? -1 : 0;
}

static int add_stream(struct attempt *attempt,
                      unsigned which,
                      enum mf_chunk_kind kind,
                      const struct slot_stream *stream,
                      struct mf_error *error)
{
    if (stream->length == 0 && stream->cut_bytes == 0)
        return 0;
    struct executed_file *file = add_file(attempt);
    if (file == NULL)
        return out_of_memory(attempt, error);
    file->kind = kind;
    file->offset = stream->offset;
    file->length = stream->length;
    file->cut_bytes = stream->cut_bytes;
    file->path = mf_strdup(attempt->segments[which]->path);
    if (file->path == NULL)
        return out_of_memory(attempt, error);
    attempt->executed.file_count++;
    return 0;
}

int harvest_streams(const struct harvest *harvest,
                    struct attempt *attempt,
                    const struct slot_streams *streams,
                    struct executed_growth *growth,
                    struct mf_error *error)
{
    if (refer(harvest, attempt, 0, streams->out.segment, error) < 0 ||
        refer(harvest, attempt, 1, streams->err.segment, error) < 0)
        return -1;
    attempt->streams = *streams;
    attempt->executed.has_grown = true;
    *growth = (struct executed_growth){.fence = attempt->fence};
    growth->out.path = attempt->segments[0]->path;
    growth->out.offset = streams->out.offset;
    growth->out.length = streams->out.length;
    growth->err.path = attempt->segments[1]->path;
    growth->err.offset = streams->err.offset;
    growth->err.length = streams->err.length;
    return 0;
}

static void fill_result(const struct attempt *attempt, struct mf_result *result)
{
    *result = (struct mf_result){.subtask = attempt->fence.subtask,
                                 .attempt = attempt->fence.attempt,
                                 .epoch = attempt->fence.epoch};
}

int harvest_ended(const struct harvest *harvest,
                  struct attempt *attempt,
                  const struct slot_ended *ended,
                  struct mf_bytes inline_result,
                  struct mf_bytes detail,
                  struct mf_error *error)
{
    struct executed *executed = &attempt->executed;
    struct mf_result *result = &executed->result;
    bool done = ended->cause == MF_CAUSE_NONE;
    fill_result(attempt, result);
    result->cause = ended->cause;
    result->exit_code = ended->exit_code;
    result->signal = ended->signal;
    result->wall_us = ended->wall_us;
    result->user_us = ended->user_us;
    result->system_us = ended->system_us;
    result->peak_kib = ended->peak_kib;
    result->result_bytes = done ? ended->result_bytes : 0;
    executed->ended_us = ended->ended_us;
    if (!done)
        drop_files(executed);
    settle_outputs(executed);
    if (keep_bytes(attempt, inline_result, detail, error) < 0)
        return -1;
    enum mf_chunk_kind kind = done ? MF_CHUNK_RESULT : MF_CHUNK_STDOUT;
    if (refer(harvest, attempt, 0, ended->out.segment, error) < 0 ||
        refer(harvest, attempt, 1, ended->err.segment, error) < 0 ||
        add_stream(attempt, 0, kind, &ended->out, error) < 0)
        return -1;
    return add_stream(attempt, 1, MF_CHUNK_STDERR, &ended->err, error);
}

void harvest_failure(struct attempt *attempt, uint32_t cause, const char *detail)
{
    struct mf_result *result = &attempt->executed.result;
    drop_files(&attempt->executed);
    fill_result(attempt, result);
    result->cause = cause;
    result->exit_code = -1;
    attempt->executed.ended_us = mf_monotonic_us();
    keep_bytes(attempt, mf_bytes_of(NULL, 0), mf_bytes_text(detail), NULL);
}

void harvest_lost(struct attempt *attempt, const char *detail)
{
    harvest_failure(attempt, MF_CAUSE_LOST, detail);
    /* Without memory for them the end is all there is to tell. */
    add_stream(attempt, 0, MF_CHUNK_STDOUT, &attempt->streams.out, NULL);
    add_stream(attempt, 1, MF_CHUNK_STDERR, &attempt->streams.err, NULL);
}

void harvest_release(const char *folder, struct attempt *attempt)
{
    struct executed *executed = &attempt->executed;
    drop_files(executed);
    mf_free(executed->files);
    mf_free(executed->memory);
    mf_free(executed->failure);
    executed->files = NULL;
    executed->memory = NULL;
    executed->failure = NULL;
    segment_release(attempt->segments[0]);
    segment_release(attempt->segments[1]);
    attempt->segments[0] = attempt->segments[1] = NULL;
    if (attempt->output_count == 0)
        return;
    char name[SLOT_NAME_SIZE];
    slot_folder_name(name, &attempt->fence);
    char *path = mf_format("%s/attempts/%s.out", folder, name);
    if (path != NULL)
        place_remove(path, NULL, NULL); /* what stays goes with the worker's folder */
    mf_free(path);
}
