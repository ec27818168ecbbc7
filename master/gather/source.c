/* SPDX-License-Identifier: Apache-2.0 */
/* Results in plan order: see source.h. A file must have the size that was recorded. */
#include "master/gather/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/gather/gather.h"
#include "master/record/run_db.h"
#include "master/record/sql.h"

#define PIECE_SIZE 65536

struct source {
    char *run_folder;
    char *db_path;
    const volatile int *stop;
    sqlite3 *db;
    sqlite3_stmt *stmt;
    uint64_t subtask;
    uint64_t bytes; /* of the current result, as recorded */
    struct mf_bytes inline_rest;
    int fd; /* of the current result when it is a file, else -1 */
    uint64_t file_read;
    char file_path[4096];
    unsigned char piece[PIECE_SIZE];
};

const char *gather_result_path(const char *run_folder, uint64_t subtask, char *out)
{
    snprintf(out,
             4096,
             "%s/outputs/%llu/%llu.result",
             run_folder,
             (unsigned long long)(subtask / 1000),
             (unsigned long long)subtask);
    return out;
}

static void close_file(struct source *source)
{
    if (source->fd >= 0)
        close(source->fd);
    source->fd = -1;
}

struct source *source_open(const char *run_folder, const volatile int *stop, struct mf_error *error)
{
    struct source *source = mf_calloc(1, sizeof *source);
    if (source == NULL)
        goto no_memory;
    source->fd = -1;
    source->stop = stop;
    source->run_folder = mf_strdup(run_folder);
    source->db_path = mf_format("%s/run.db", run_folder);
    if (source->run_folder == NULL || source->db_path == NULL)
        goto no_memory;
    source->db = run_db_open(source->db_path, error);
    if (source->db == NULL)
        goto fail;
    if (sql_prepare(source->db,
                    source->db_path,
                    "SELECT id >> 16, result_bytes, result FROM attempt"
                    " WHERE state = 'done' AND superseded = 0 ORDER BY id",
                    &source->stmt,
                    error) < 0)
        goto fail;
    return source;
no_memory:
    mf_raise(error, MF_ENOMEM, "memory is exhausted while gathering %s", run_folder);
fail:
    source_close(source);
    return NULL;
}

void source_close(struct source *source)
{
    if (source == NULL)
        return;
    close_file(source);
    sqlite3_finalize(source->stmt);
    run_db_close(source->db);
    mf_free(source->db_path);
    mf_free(source->run_folder);
    mf_free(source);
}

static int check_stop(const struct source *source, struct mf_error *error)
{
    if (source->stop == NULL || __atomic_load_n(source->stop, __ATOMIC_RELAXED) == 0)
        return 0;
    return mf_raise(error, MF_ESETUP, "gathering %s was stopped", source->run_folder);
}

static int open_file(struct source *source, struct mf_error *error)
{
    gather_result_path(source->run_folder, source->subtask, source->file_path);
    source->fd = open(source->file_path, O_RDONLY | O_CLOEXEC);
    source->file_read = 0;
    if (source->fd >= 0)
        return 0;
    int code = errno == ENOENT ? MF_EINPUT : MF_ESYSTEM;
    return mf_raise(error,
                    code,
                    "cannot read the result of subtask %llu, %s: %s",
                    (unsigned long long)source->subtask,
                    source->file_path,
                    strerror(errno));
}

int source_next(struct source *source, uint64_t *subtask, struct mf_error *error)
{
    close_file(source);
    if (check_stop(source, error) < 0)
        return -1;
    int rc = sqlite3_step(source->stmt);
    if (rc == SQLITE_DONE)
        return 0;
    if (rc != SQLITE_ROW)
        return sql_raise(source->db, source->db_path, error);
    source->subtask = (uint64_t)sqlite3_column_int64(source->stmt, 0);
    source->bytes = (uint64_t)sqlite3_column_int64(source->stmt, 1);
    source->inline_rest = (struct mf_bytes){0};
    *subtask = source->subtask;
    if (sqlite3_column_type(source->stmt, 2) == SQLITE_NULL) {
        if (source->bytes > 0 && open_file(source, error) < 0)
            return -1;
        return 1;
    }
    const void *bytes = sqlite3_column_blob(source->stmt, 2);
    source->inline_rest = mf_bytes_of(bytes, (size_t)sqlite3_column_bytes(source->stmt, 2));
    if (bytes == NULL && source->inline_rest.length > 0)
        return sql_raise(source->db, source->db_path, error);
    return 1;
}

static int read_file(struct source *source, struct mf_bytes *piece, struct mf_error *error)
{
    ssize_t got;
    do
        got = read(source->fd, source->piece, sizeof source->piece);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return mf_raise_errno(error, "cannot read %s", source->file_path);
    source->file_read += (uint64_t)got;
    if (source->file_read > source->bytes || (got == 0 && source->file_read < source->bytes))
        return mf_raise(error,
                        MF_EINPUT,
                        "the result of subtask %llu has changed: %s does not have the %llu bytes"
                        " that were recorded",
                        (unsigned long long)source->subtask,
                        source->file_path,
                        (unsigned long long)source->bytes);
    if (got == 0)
        return 0;
    *piece = mf_bytes_of(source->piece, (size_t)got);
    return 1;
}

int source_read(struct source *source, struct mf_bytes *piece, struct mf_error *error)
{
    if (check_stop(source, error) < 0)
        return -1;
    if (source->fd >= 0)
        return read_file(source, piece, error);
    if (source->inline_rest.length == 0)
        return 0;
    *piece = source->inline_rest;
    source->inline_rest = (struct mf_bytes){0};
    return 1;
}

uint64_t source_subtask(const struct source *source)
{
    return source->subtask;
}
