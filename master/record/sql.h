/* SPDX-License-Identifier: Apache-2.0 */
/* Small things that all users of SQLite here share: errors as sentences, statements, bindings. */
#ifndef MAYFLY_MASTER_RECORD_SQL_H
#define MAYFLY_MASTER_RECORD_SQL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

/*
 * Raises what SQLite reports for `db` as a sentence about the file at `path`: MF_ESETUP for a full,
 * failing, read-only or locked disk, MF_EINPUT for a damaged file, MF_ENOMEM, else MF_ESYSTEM.
 */
int sql_raise(sqlite3 *db, const char *path, struct mf_error *error);
/* Whether the last failure of `db` is one that can pass: disk full, I/O error, locked, memory. */
bool sql_can_pass(sqlite3 *db);

int sql_exec(sqlite3 *db, const char *path, const char *sql, struct mf_error *error);
/* A statement that lives as long as the connection. */
int sql_prepare(
    sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **stmt, struct mf_error *error);
/* Runs a statement without rows to its end and resets it; what is bound stays. */
int sql_run(sqlite3 *db, const char *path, sqlite3_stmt *stmt, struct mf_error *error);
/* The one integer that `sql` yields. */
int sql_integer(
    sqlite3 *db, const char *path, const char *sql, int64_t *value, struct mf_error *error);

/* Binds borrowed bytes: as text when they are UTF-8 without NUL, else as a blob. NULL data binds
 * NULL. */
int sql_bind_bytes(sqlite3_stmt *stmt, int index, struct mf_bytes bytes);
/* The same of a string; NULL binds NULL. */
int sql_bind_string(sqlite3_stmt *stmt, int index, const char *text);
/* Binds NULL for 0. */
int sql_bind_nonzero(sqlite3_stmt *stmt, int index, int64_t value);
/* Copies a text column, cut to fit; NULL gives "". */
void sql_column_copy(sqlite3_stmt *stmt, int column, char *out, size_t size);

#endif
