/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite helpers: see sql.h. The one place that turns SQLite's codes into sentences and remedies.
 */
#include "master/record/sql.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/utf8.h"

static int last_errno_of(sqlite3_file *file)
{
    int number = 0;
    if (file != NULL && file->pMethods != NULL)
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &number);
    return number;
}

/* What the system said. SQLite tells of ENOSPC only; a quota or a limit is in the file's or its
 * log's own memory. */
static int os_errno(sqlite3 *db)
{
    int number = sqlite3_system_errno(db);
    sqlite3_file *file = NULL;
    if (number == 0 && sqlite3_extended_errcode(db) == SQLITE_IOERR_WRITE) {
        sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
        number = last_errno_of(file);
        if (number == 0 &&
            sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK)
            number = last_errno_of(file);
    }
    return number;
}

int sql_raise(sqlite3 *db, const char *path, struct mf_error *error)
{
    int rc = db != NULL ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM;
    int os = db != NULL ? os_errno(db) : 0;
    switch (rc) {
    case SQLITE_FULL:
        return mf_raise(
            error, MF_EFULL, "the disk of %s is full: free space, then try again", path);
    case SQLITE_IOERR:
        if (os == ENOSPC || os == EDQUOT || os == EFBIG)
            return mf_raise(error,
                            MF_EFULL,
                            "the disk of %s is full (%s): free space, then try again",
                            path,
                            strerror(os));
        return mf_raise(error,
                        MF_ESETUP,
                        "cannot read or write %s: %s%s%s: check its disk",
                        path,
                        sqlite3_errmsg(db),
                        os != 0 ? ": " : "",
                        os != 0 ? strerror(os) : "");
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return mf_raise(
            error, MF_ESETUP, "%s cannot be written: make it and its folder writable", path);
    case SQLITE_CANTOPEN:
        return mf_raise(error,
                        MF_ESETUP,
                        "cannot open %s: %s",
                        path,
                        os != 0 ? strerror(os) : sqlite3_errmsg(db));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return mf_raise(
            error, MF_ESETUP, "%s is locked by another program: end it, then try again", path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return mf_raise(error,
                        MF_EINPUT,
                        "%s is damaged or not a database (%s): restore it from a copy",
                        path,
                        sqlite3_errmsg(db));
    case SQLITE_NOMEM:
        return mf_raise(error, MF_ENOMEM, "memory is exhausted while working on %s", path);
    default:
        return mf_raise(error, MF_ESYSTEM, "%s: %s", path, sqlite3_errmsg(db));
    }
}

bool sql_can_pass(sqlite3 *db)
{
    switch (sqlite3_errcode(db) & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
        return true;
    default:
        return false;
    }
}

int sql_exec(sqlite3 *db, const char *path, const char *sql, struct mf_error *error)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return sql_raise(db, path, error);
    return 0;
}

int sql_prepare(
    sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **stmt, struct mf_error *error)
{
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL) != SQLITE_OK)
        return sql_raise(db, path, error);
    return 0;
}

int sql_run(sqlite3 *db, const char *path, sqlite3_stmt *stmt, struct mf_error *error)
{
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) {
        sql_raise(db, path, error);
        sqlite3_reset(stmt);
        return -1;
    }
    sqlite3_reset(stmt);
    return 0;
}

int sql_integer(
    sqlite3 *db, const char *path, const char *sql, int64_t *value, struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return sql_raise(db, path, error);
    int rc = sqlite3_step(stmt);
    int result = 0;
    if (rc == SQLITE_ROW)
        *value = sqlite3_column_int64(stmt, 0);
    else if (rc == SQLITE_DONE)
        result = mf_raise(error, MF_EINPUT, "%s is damaged: '%s' yields nothing", path, sql);
    else
        result = sql_raise(db, path, error);
    sqlite3_finalize(stmt);
    return result;
}

static bool is_text(struct mf_bytes bytes)
{
    for (size_t at = 0; at < bytes.length;) {
        size_t length = mf_utf8_length(bytes.data + at, bytes.length - at);
        if (length == 0 || bytes.data[at] == 0)
            return false;
        at += length;
    }
    return true;
}

int sql_bind_bytes(sqlite3_stmt *stmt, int index, struct mf_bytes bytes)
{
    if (bytes.data == NULL)
        return sqlite3_bind_null(stmt, index);
    if (!is_text(bytes))
        return sqlite3_bind_blob64(stmt, index, bytes.data, bytes.length, SQLITE_STATIC);
    return sqlite3_bind_text64(
        stmt, index, (const char *)bytes.data, bytes.length, SQLITE_STATIC, SQLITE_UTF8);
}

int sql_bind_string(sqlite3_stmt *stmt, int index, const char *text)
{
    return sql_bind_bytes(stmt, index, mf_bytes_text(text));
}

int sql_bind_nonzero(sqlite3_stmt *stmt, int index, int64_t value)
{
    return value == 0 ? sqlite3_bind_null(stmt, index) : sqlite3_bind_int64(stmt, index, value);
}

void sql_column_copy(sqlite3_stmt *stmt, int column, char *out, size_t size)
{
    const void *text = sqlite3_column_text(stmt, column);
    snprintf(out, size, "%s", text != NULL ? (const char *)text : "");
}
