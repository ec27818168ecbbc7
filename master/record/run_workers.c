/* SPDX-License-Identifier: Apache-2.0 */
/* The workers of a run, as its next master reads them: see run_db.h. */
#include <string.h>

#include "master/record/run_db.h"
#include "master/record/sql.h"

#define BARE_COLUMNS "SELECT id, state, host, pid, slots"

static const char *query_of(sqlite3 *db, const char *path, struct mf_error *error)
{
    int64_t has_place = 0;
    if (sql_integer(db,
                    path,
                    "SELECT count(*) FROM pragma_table_info('worker') WHERE name = 'place'",
                    &has_place,
                    error) < 0)
        return NULL;
    return has_place != 0 ? BARE_COLUMNS ", place, address, port FROM worker ORDER BY id"
                          : BARE_COLUMNS ", NULL, NULL, NULL FROM worker ORDER BY id";
}

static void read_worker(sqlite3_stmt *stmt, struct run_db_worker *worker)
{
    *worker = (struct run_db_worker){.id = (uint32_t)sqlite3_column_int64(stmt, 0),
                                     .pid = (uint32_t)sqlite3_column_int64(stmt, 3),
                                     .slots = (uint32_t)sqlite3_column_int64(stmt, 4),
                                     .port = (uint16_t)sqlite3_column_int64(stmt, 7)};
    sql_column_copy(stmt, 1, worker->state, sizeof worker->state);
    sql_column_copy(stmt, 2, worker->host, sizeof worker->host);
    sql_column_copy(stmt, 5, worker->place, sizeof worker->place);
    sql_column_copy(stmt, 6, worker->address, sizeof worker->address);
}

int run_db_each_worker(sqlite3 *db, run_db_worker_f *f, void *arg, struct mf_error *error)
{
    const char *path = sqlite3_db_filename(db, "main");
    const char *query = query_of(db, path, error);
    sqlite3_stmt *stmt = NULL;
    int rc, result = 0;
    if (query == NULL || sql_prepare(db, path, query, &stmt, error) < 0)
        return -1;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct run_db_worker worker;
        read_worker(stmt, &worker);
        if (f(arg, &worker) != 0)
            break;
    }
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        result = sql_raise(db, path, error);
    sqlite3_finalize(stmt);
    return result;
}
