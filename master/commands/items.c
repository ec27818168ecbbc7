/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs and items of recorded runs: see items.h. A plan that can't be read costs the names of the
 * items, never the records. */
#include "master/commands/items.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/placeholder.h"
#include "master/commands/text.h"
#include "master/record/run_db.h"
#include "master/record/sql.h"
#include "master/run_folder.h"
#include "master/split/plan_seg.h"
#include "master/split/split.h"

struct items {
    struct job *job;
    struct split *split;
    struct plan_reader *reader; /* of splits that can't be derived again */
    struct mf_subtask piece;
    bool is_over;
    struct mf_error trouble;
};

static int read_text(const char *path, struct mf_buffer *out, struct mf_error *error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return mf_raise_errno(error, "cannot open %s", path);
    int rc = 0;
    size_t got;
    do {
        rc = mf_buffer_reserve(out, 65536, error);
        got = rc < 0 ? 0 : fread(out->data + out->length, 1, 65536, file);
        out->length += got;
    } while (got > 0);
    if (rc == 0 && ferror(file) != 0)
        rc = mf_raise_errno(error, "cannot read %s", path);
    fclose(file);
    return rc;
}

struct job *items_job(const char *run_folder, sqlite3 *db, struct mf_error *error)
{
    struct mf_buffer text = {0};
    sqlite3_stmt *stmt = NULL;
    struct job *job = NULL;
    char *path = run_path(run_folder, "job.yaml");
    if (path == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
        goto end;
    }
    if (sql_prepare(db, path, "SELECT coalesce(job_folder, '/') FROM run", &stmt, error) < 0)
        goto end;
    if (sqlite3_step(stmt) != SQLITE_ROW) {
        mf_raise(error, MF_EINPUT, "the table run of %s has no row", run_folder);
        goto end;
    }
    if (read_text(path, &text, error) < 0)
        goto end;
    job = job_parse(
        path, (const char *)sqlite3_column_text(stmt, 0), mf_buffer_view(&text), NULL, 0, error);
end:
    sqlite3_finalize(stmt);
    mf_buffer_fini(&text);
    mf_free(path);
    return job;
}

static int open_plan(struct items *items, const char *run_folder, struct mf_error *error)
{
    if (split_is_derivable(items->job)) {
        items->split = split_create(items->job, NULL, error);
        return items->split == NULL ? -1 : 0;
    }
    char *path = run_path(run_folder, "plan.seg");
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    items->reader = plan_reader_open(path, error);
    mf_free(path);
    return items->reader == NULL ? -1 : 0;
}

struct items *items_open(const char *run_folder, sqlite3 *db, struct mf_error *error)
{
    struct items *items = mf_calloc(1, sizeof *items);
    if (items == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the plan");
        return NULL;
    }
    items->job = items_job(run_folder, db, error);
    if (items->job == NULL || open_plan(items, run_folder, error) < 0) {
        items_close(items);
        return NULL;
    }
    return items;
}

const struct mf_subtask *items_find(struct items *items, uint64_t subtask)
{
    while (!items->is_over && items->piece.id < subtask) {
        int rc = items->reader != NULL
                     ? plan_reader_next(items->reader, &items->piece, &items->trouble)
                     : split_next(items->split, &items->piece, &items->trouble);
        items->is_over = rc <= 0;
    }
    return !items->is_over && items->piece.id == subtask ? &items->piece : NULL;
}

const char *items_trouble(const struct items *items)
{
    return items->trouble.code == MF_OK ? NULL : items->trouble.text;
}

void items_close(struct items *items)
{
    if (items == NULL)
        return;
    split_destroy(items->split);
    plan_reader_destroy(items->reader);
    job_destroy(items->job);
    mf_free(items);
}

static bool is_bare(struct mf_bytes word)
{
    static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "_@%+=:,./-";
    for (size_t i = 0; i < word.length; i++)
        if (memchr(bare, word.data[i], sizeof bare - 1) == NULL)
            return false;
    return word.length > 0;
}

static int append_word(struct mf_buffer *out, struct mf_bytes word, struct mf_error *error)
{
    if (is_bare(word))
        return mf_buffer_append(out, word.data, word.length, error);
    int rc = mf_buffer_append_text(out, "'", error);
    for (size_t i = 0; rc == 0 && i < word.length; i++)
        rc = word.data[i] == '\'' ? mf_buffer_append_text(out, "'\\''", error)
                                  : mf_buffer_append(out, &word.data[i], 1, error);
    return rc == 0 ? mf_buffer_append_text(out, "'", error) : -1;
}

static int expand_command(const struct job *job,
                          const struct mf_subtask *piece,
                          struct mf_buffer *line,
                          struct mf_error *error)
{
    if (job->shell != NULL)
        return mf_placeholder_expand(job->shell, piece, MF_QUOTE_SHELL, line, error);
    struct mf_buffer word = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < job->command.count; i++) {
        mf_buffer_clear(&word);
        rc = mf_placeholder_expand(job->command.items[i], piece, MF_QUOTE_NONE, &word, error);
        if (rc == 0 && i > 0)
            rc = mf_buffer_append_text(line, " ", error);
        if (rc == 0)
            rc = append_word(line, mf_buffer_view(&word), error);
    }
    mf_buffer_fini(&word);
    return rc;
}

int items_command(const struct items *items,
                  const struct mf_subtask *piece,
                  struct mf_buffer *out,
                  struct mf_error *error)
{
    struct mf_buffer line = {0};
    int rc = expand_command(items->job, piece, &line, error);
    if (rc == 0)
        rc = text_printable(out, mf_buffer_view(&line), error);
    mf_buffer_fini(&line);
    return rc;
}

int items_set_json(json_t *object, const struct mf_subtask *piece)
{
    int rc = 0;
    if (piece->has_number)
        rc |= json_object_set_new(object, "item", json_integer((json_int_t)piece->number));
    else if (piece->item.length > 0)
        rc |= text_json_bytes(object, "item", piece->item);
    if (piece->message != 0)
        rc |= json_object_set_new(object, "message", json_integer(piece->message));
    if (piece->path.length == 0)
        return rc;
    rc |= text_json_bytes(object, "path", piece->path);
    rc |= json_object_set_new(object, "offset", json_integer((json_int_t)piece->offset));
    rc |= json_object_set_new(object, "length", json_integer((json_int_t)piece->length));
    return rc;
}

int items_describe(const struct mf_subtask *piece, struct mf_buffer *out, struct mf_error *error)
{
    if (piece->has_number)
        return mf_buffer_printf(out, error, "%" PRId64, piece->number);
    if (piece->path.length == 0)
        return text_printable(out, piece->item, error);
    if (text_printable(out, piece->path, error) < 0)
        return -1;
    if (piece->length == 0 || piece->length == piece->input_size)
        return 0;
    return mf_buffer_printf(
        out, error, ", %" PRIu64 " bytes from %" PRIu64, piece->length, piece->offset);
}
