/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick of the recorder: a bare program that bulk-inserts the rows of table attempt, WAL
 * and synchronous FULL, 10,000 rows a transaction, nothing else. Prints rows/s.
 *
 *     bench_insert [ROWS] [FOLDER]
 */
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "master/record/schema.h"

#define ROWS_PER_TRANSACTION 10000

static void check(sqlite3 *db, int rc, const char *what)
{
    if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW)
        return;
    fprintf(stderr, "bench_insert: %s: %s\n", what, sqlite3_errmsg(db));
    exit(1);
}

static void insert(sqlite3 *db, sqlite3_stmt *stmt, int64_t subtask, int64_t ended_us)
{
    sqlite3_bind_int64(stmt, 1, subtask << 16 | 1);
    sqlite3_bind_text(stmt, 2, "done", 4, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, "none", 4, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 4, 0);
    sqlite3_bind_int64(stmt, 5, 0);
    sqlite3_bind_int64(stmt, 6, 1);
    sqlite3_bind_int64(stmt, 7, 1 + (subtask & 1));
    sqlite3_bind_int64(stmt, 8, ended_us);
    sqlite3_bind_int64(stmt, 9, 3);
    sqlite3_bind_int64(stmt, 10, 1);
    sqlite3_bind_int64(stmt, 11, 1);
    sqlite3_bind_int64(stmt, 12, 0);
    sqlite3_bind_int64(stmt, 13, 0);
    sqlite3_bind_int64(stmt, 14, 0);
    sqlite3_bind_int64(stmt, 15, 0);
    sqlite3_bind_null(stmt, 16);
    sqlite3_bind_null(stmt, 17);
    check(db, sqlite3_step(stmt), "insert");
    sqlite3_reset(stmt);
}

int main(int argc, char **argv)
{
    int64_t rows = argc > 1 ? strtoll(argv[1], NULL, 10) : 1000000;
    char path[4096];
    snprintf(path, sizeof path, "%s/bench_insert.%d.db", argc > 2 ? argv[2] : ".", (int)getpid());
    sqlite3 *db;
    sqlite3_stmt *stmt;
    check(NULL, sqlite3_open(path, &db), "open");
    check(db,
          sqlite3_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", 0, 0, 0),
          "set up");
    check(db, sqlite3_exec(db, record_schema, 0, 0, 0), "schema");
    const char *sql = "INSERT INTO attempt(id, state, cause, exit_code, signal, epoch, worker,"
                      " ended_us, wall_us, user_us, system_us, peak_kib, result_bytes,"
                      " output_count, output_bytes, detail, result)"
                      " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
    check(db, sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), "prepare");

    int64_t began = mf_monotonic_us(), stamp = mf_wall_us();
    for (int64_t row = 1; row <= rows; row++) {
        if (row % ROWS_PER_TRANSACTION == 1)
            check(db, sqlite3_exec(db, "BEGIN", 0, 0, 0), "begin");
        insert(db, stmt, row, stamp + row);
        if (row % ROWS_PER_TRANSACTION == 0 || row == rows)
            check(db, sqlite3_exec(db, "COMMIT", 0, 0, 0), "commit");
    }
    double seconds = (double)(mf_monotonic_us() - began) / 1e6;
    printf("bench_insert rows=%lld seconds=%.3f rows_per_s=%.0f\n",
           (long long)rows,
           seconds,
           (double)rows / seconds);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    unlink(path);
    return 0;
}
