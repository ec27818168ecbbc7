/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gather `sql`: the results become table `results` of a private database in the run folder
 * (`gather.db`, removed afterwards), the job's SELECT runs over it, its rows are the result as CSV
 * with a header.
 *
 * The statement can only read: an authorizer refuses everything but selecting, run.db is attached
 * read-only. Values are written as the sqlite3 shell writes them with -csv -header, but with plain
 * line feeds: NULL is empty, an empty text is "", text with a comma, quote, blank, control
 * character or byte above 0x7e is quoted, reals have 15 significant digits.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/gather/kinds.h"
#include "master/gather/table.h"
#include "master/record/sql.h"

#define STEPS_BETWEEN_STOPS 100000

static int authorize(
    void *arg, int action, const char *one, const char *two, const char *database, const char *by)
{
    (void)arg, (void)one, (void)database, (void)by;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        return strcmp(two, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    default:
        return SQLITE_DENY;
    }
}

static int is_stopped(void *arg)
{
    const volatile int *stop = arg;
    return __atomic_load_n(stop, __ATOMIC_RELAXED) != 0;
}

/* Opens an empty private database: it needs no durability, since it is made anew each time. */
static sqlite3 *open_private(const char *path, struct mf_error *error)
{
    sqlite3 *db = NULL;
    if (unlink(path) < 0 && errno != ENOENT) {
        mf_raise_errno(error, "cannot remove the old %s", path);
        return NULL;
    }
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI;
    if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK) {
        sql_raise(db, path, error);
        sqlite3_close(db);
        return NULL;
    }
    if (sql_exec(db,
                 path,
                 "PRAGMA main.journal_mode = OFF; PRAGMA main.synchronous = OFF; PRAGMA "
                 "main.cache_size = -16384;"
                 "PRAGMA main.locking_mode = EXCLUSIVE",
                 error) < 0) {
        sqlite3_close(db);
        return NULL;
    }
    return db;
}

/* "file:...?mode=ro" of run.db, with every byte that means something in a URI escaped. */
static int run_db_uri(const char *run_folder, struct mf_buffer *uri, struct mf_error *error)
{
    if (mf_buffer_append_text(uri, "file:", error) < 0)
        return -1;
    for (const char *at = run_folder; *at != '\0'; at++) {
        bool is_plain = *at > ' ' && *at < 0x7f && strchr("%?#", *at) == NULL;
        if ((is_plain ? mf_buffer_append(uri, at, 1, error)
                      : mf_buffer_printf(uri, error, "%%%02x", (unsigned char)*at)) < 0)
            return -1;
    }
    return mf_buffer_append_text(uri, "/run.db?mode=ro", error);
}

static int attach_run(sqlite3 *db, const char *path, const char *run_folder, struct mf_error *error)
{
    struct mf_buffer uri = {0};
    sqlite3_stmt *stmt = NULL;
    int result = -1;
    if (run_db_uri(run_folder, &uri, error) == 0 &&
        sql_prepare(db, path, "ATTACH ? AS run", &stmt, error) == 0) {
        sql_bind_bytes(stmt, 1, mf_buffer_view(&uri));
        result = sql_run(db, path, stmt, error);
    }
    sqlite3_finalize(stmt);
    mf_buffer_fini(&uri);
    return result;
}

/* The user's statement is wrong, or the machine is in trouble? */
static int
raise_query(const struct gather *gather, sqlite3 *db, const char *path, struct mf_error *error)
{
    switch (sqlite3_errcode(db) & 0xff) {
    case SQLITE_INTERRUPT:
        return mf_raise(error, MF_ESETUP, "gathering %s was stopped", gather->run_folder);
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
    case SQLITE_CORRUPT:
    case SQLITE_CANTOPEN:
    case SQLITE_BUSY:
        return sql_raise(db, path, error);
    case SQLITE_AUTH:
        return mf_raise(error,
                        MF_EUSAGE,
                        "gather: sql: %s (only a SELECT that reads is allowed)",
                        sqlite3_errmsg(db));
    default:
        return mf_raise(error, MF_EUSAGE, "gather: sql: %s", sqlite3_errmsg(db));
    }
}

/* Whether nothing but blanks, semicolons and comments is left: SQLite then makes no statement. */
static bool is_rest_empty(sqlite3 *db, const char *rest)
{
    while (*rest != '\0') {
        sqlite3_stmt *stmt = NULL;
        const char *tail = rest;
        int rc = sqlite3_prepare_v2(db, rest, -1, &stmt, &tail);
        sqlite3_finalize(stmt);
        if (rc != SQLITE_OK || stmt != NULL)
            return false;
        if (tail == rest)
            return true;
        rest = tail;
    }
    return true;
}

static sqlite3_stmt *
prepare_query(const struct gather *gather, sqlite3 *db, const char *path, struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    const char *rest = "";
    if (sqlite3_prepare_v2(db, gather->job->gather_sql, -1, &stmt, &rest) != SQLITE_OK) {
        raise_query(gather, db, path, error);
        return NULL;
    }
    if (stmt != NULL && sqlite3_column_count(stmt) > 0 && sqlite3_stmt_readonly(stmt) &&
        is_rest_empty(db, rest))
        return stmt;
    mf_raise(error, MF_EUSAGE, "gather: sql: exactly one SELECT statement is expected");
    sqlite3_finalize(stmt);
    return NULL;
}

/* As the sqlite3 shell decides. */
static bool needs_quotes(struct mf_bytes text)
{
    if (text.length == 0)
        return true;
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = text.data[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '\'' || byte == ',')
            return true;
    }
    return false;
}

static int write_value(struct output *output, struct mf_bytes text, struct mf_error *error)
{
    if (!needs_quotes(text))
        return output_write(output, text, error);
    if (output_text(output, "\"", error) < 0)
        return -1;
    while (text.length > 0) {
        const unsigned char *quote = memchr(text.data, '"', text.length);
        size_t length = quote != NULL ? (size_t)(quote - text.data) + 1 : text.length;
        if (output_write(output, mf_bytes_of(text.data, length), error) < 0 ||
            (quote != NULL && output_text(output, "\"", error) < 0))
            return -1;
        text = mf_bytes_of(text.data + length, text.length - length);
    }
    return output_text(output, "\"", error);
}

static int
write_column(struct output *output, sqlite3_stmt *stmt, int column, struct mf_error *error)
{
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL)
        return 0;
    const void *text = sqlite3_column_type(stmt, column) == SQLITE_BLOB
                           ? sqlite3_column_blob(stmt, column)
                           : sqlite3_column_text(stmt, column);
    size_t length = (size_t)sqlite3_column_bytes(stmt, column);
    if (text == NULL && length > 0)
        return mf_raise(error, MF_ENOMEM, "memory is exhausted while gathering");
    return write_value(output, mf_bytes_of(text, length), error);
}

static int write_rows(struct gather *gather,
                      sqlite3 *db,
                      const char *path,
                      sqlite3_stmt *stmt,
                      struct mf_error *error)
{
    struct output *output = gather->output;
    int columns = sqlite3_column_count(stmt), rc;
    for (int i = 0; i < columns; i++)
        if ((i > 0 && output_text(output, ",", error) < 0) ||
            write_value(output, mf_bytes_text(sqlite3_column_name(stmt, i)), error) < 0)
            return -1;
    if (output_text(output, "\n", error) < 0)
        return -1;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        for (int i = 0; i < columns; i++)
            if ((i > 0 && output_text(output, ",", error) < 0) ||
                write_column(output, stmt, i, error) < 0)
                return -1;
        if (output_text(output, "\n", error) < 0)
            return -1;
    }
    return rc == SQLITE_DONE ? 0 : raise_query(gather, db, path, error);
}

static int run_query(struct gather *gather, sqlite3 *db, const char *path, struct mf_error *error)
{
    if (attach_run(db, path, gather->run_folder, error) < 0)
        return -1;
    /* Table-valued functions set themselves up by statements that the authorizer would refuse. */
    if (sql_exec(db, path, "SELECT 1 FROM json_each('[]'), json_tree('[]')", error) < 0)
        return -1;
    sqlite3_set_authorizer(db, authorize, NULL);
    if (gather->stop != NULL)
        sqlite3_progress_handler(db, STEPS_BETWEEN_STOPS, is_stopped, (void *)gather->stop);
    sqlite3_stmt *stmt = prepare_query(gather, db, path, error);
    if (stmt == NULL)
        return -1;
    int result = write_rows(gather, db, path, stmt, error);
    sqlite3_finalize(stmt);
    return result;
}

int gather_sql(struct gather *gather, struct mf_error *error)
{
    char *path = mf_format("%s/gather.db", gather->run_folder);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "memory is exhausted while gathering");
    int result = -1;
    sqlite3 *db = open_private(path, error);
    if (db != NULL && table_load(gather, db, path, error) == 0)
        result = run_query(gather, db, path, error);
    sqlite3_close(db);
    unlink(path);
    mf_free(path);
    return result;
}
