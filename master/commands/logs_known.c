/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a run: see logs_known.h. */
#include "master/commands/logs_known.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/alloc.h"
#include "master/record/run_db.h"
#include "master/record/sql.h"
#include "master/run_folder.h"

/* One number of the table; `unknown` where it is null, or there is none. ?1, ?2 are bound. */
static int64_t ask(const struct logs_wanted *wanted,
                   const char *query,
                   uint64_t first,
                   uint64_t second,
                   int64_t unknown)
{
    struct mf_error ignored;
    sqlite3_stmt *stmt = NULL;
    int64_t value = unknown;
    char *path = run_path(wanted->folder, "run.db");
    sqlite3 *db = path == NULL ? NULL : run_db_open(path, &ignored);
    if (db != NULL && sql_prepare(db, path, query, &stmt, &ignored) == 0) {
        sqlite3_bind_int64(stmt, 1, (int64_t)first);
        sqlite3_bind_int64(stmt, 2, (int64_t)second);
        if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
            value = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    run_db_close(db);
    mf_free(path);
    return value;
}

static int check_subtask(const struct logs_wanted *wanted, struct mf_error *error)
{
    int64_t total = ask(wanted, "SELECT total FROM run", 0, 0, -1);
    if (total >= 0 && wanted->subtask > (uint64_t)total)
        return mf_raise(error,
                        MF_EUSAGE,
                        "run %s has no subtask %" PRIu64 ": it has %s%" PRId64,
                        wanted->run_id,
                        wanted->subtask,
                        total > 1 ? "1 to " : "",
                        total);
    if (total >= 0 || wanted->is_live)
        return 0;
    int64_t most = ask(wanted,
                       "SELECT max(high_water, coalesce((SELECT max(id) >> 16 FROM attempt), 0))"
                       " FROM run",
                       0,
                       0,
                       INT64_MAX);
    if (wanted->subtask <= (uint64_t)most)
        return 0;
    return mf_raise(error,
                    MF_EUSAGE,
                    "run %s had not come to subtask %" PRIu64 " when it was interrupted",
                    wanted->run_id,
                    wanted->subtask);
}

static int check_worker(const struct logs_wanted *wanted, struct mf_error *error)
{
    int64_t most = ask(wanted, "SELECT coalesce(max(id), 0) FROM worker", 0, 0, INT64_MAX);
    if (wanted->worker <= (uint64_t)most)
        return 0;
    return mf_raise(error,
                    MF_EUSAGE,
                    "run %s has no worker %" PRIu64 "%s: it has %s%" PRId64,
                    wanted->run_id,
                    wanted->worker,
                    wanted->is_live ? " so far" : "",
                    most > 1 ? "1 to " : "",
                    most);
}

int logs_check(const struct logs_wanted *wanted, struct mf_error *error)
{
    if (wanted->subtask != 0 && check_subtask(wanted, error) < 0)
        return -1;
    bool may_come = wanted->is_live && wanted->follows;
    return wanted->worker == 0 || may_come ? 0 : check_worker(wanted, error);
}

int logs_check_nothing(const struct logs_wanted *wanted, struct mf_error *error)
{
    if (wanted->subtask == 0)
        return 0;
    int64_t last = ask(wanted,
                       "SELECT coalesce(max(id) & 65535, 0) FROM attempt"
                       " WHERE id BETWEEN ?1 << 16 AND ?1 << 16 | 65535",
                       wanted->subtask,
                       0,
                       INT64_MAX);
    const char *so_far = wanted->is_live ? " so far" : "";
    if (last == 0)
        fprintf(stderr,
                "mayfly: subtask %" PRIu64 " of %s has written nothing%s, and no attempt of it is "
                "recorded\n",
                wanted->subtask,
                wanted->run_id,
                so_far);
    if (last == 0 || wanted->attempt <= (uint64_t)last)
        return 0;
    return mf_raise(error,
                    MF_EUSAGE,
                    "subtask %" PRIu64 " of run %s has no attempt %" PRIu64
                    "%s: the last one that is recorded is %" PRId64,
                    wanted->subtask,
                    wanted->run_id,
                    wanted->attempt,
                    so_far,
                    last);
}

bool logs_is_over(const struct logs_wanted *wanted)
{
    if (wanted->subtask == 0)
        return false;
    return ask(wanted,
               "SELECT count(*) FROM attempt WHERE id BETWEEN ?1 << 16 AND ?1 << 16 | 65535"
               " AND (superseded = 0 AND state <> 'retried' OR id = ?1 << 16 | ?2)",
               wanted->subtask,
               wanted->attempt,
               0) > 0;
}
