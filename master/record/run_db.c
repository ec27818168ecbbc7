/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading run.db beside its writer, and the two questions that retry and resume ask: what counts no
 * more, and what is open. Scans follow the primary key and touch only the narrow columns, so they
 * need constant memory.
 */
#include "master/record/run_db.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master/record/run_file.h"
#include "master/record/sql.h"

static const char *path_of(sqlite3 *db)
{
    const char *path = sqlite3_db_filename(db, "main");
    return path != NULL && *path != '\0' ? path : "run.db";
}

static sqlite3 *open_checked(const char *path, int flags, struct mf_error *error)
{
    sqlite3 *db = run_file_open(path, flags, error);
    if (db == NULL) {
        /* What is not there is the reader's input, not a broken machine. */
        if (error != NULL && error->code == MF_ESETUP)
            error->code = MF_EINPUT;
        return NULL;
    }
    int is_made = run_file_check(db, path, error);
    if (is_made == 0)
        mf_raise(error, MF_EINPUT, "%s is empty: its run was ended before it began", path);
    if (is_made > 0)
        return db;
    sqlite3_close(db);
    return NULL;
}

/* A master that was killed in mid-commit leaves a hot journal where there is no write-ahead log (a
 * network file system); only who may write can roll it back. */
static bool roll_back(const char *path, struct mf_error *error)
{
    char journal[4096];
    int n = snprintf(journal, sizeof journal, "%s-journal", path);
    if (n < 0 || (size_t)n >= sizeof journal || access(journal, F_OK) < 0)
        return false;
    sqlite3 *db = open_checked(path, SQLITE_OPEN_READWRITE, error);
    sqlite3_close(db);
    return db != NULL;
}

sqlite3 *run_db_open(const char *path, struct mf_error *error)
{
    sqlite3 *db = open_checked(path, SQLITE_OPEN_READONLY, error);
    if (db == NULL && roll_back(path, error))
        db = open_checked(path, SQLITE_OPEN_READONLY, error);
    if (db == NULL)
        return NULL;
    sqlite3_exec(db, "PRAGMA cache_size = -8192", NULL, NULL, NULL); /* only speed depends on it */
    return db;
}

int run_db_is_made(const char *path, struct mf_error *error)
{
    if (access(path, F_OK) < 0)
        return 0;
    /* To write, since a journal that was left may have to be rolled back. */
    sqlite3 *db = run_file_open(path, SQLITE_OPEN_READWRITE, error);
    int is_made = db == NULL ? -1 : run_file_check(db, path, error);
    sqlite3_close(db);
    return is_made;
}

void run_db_close(sqlite3 *db)
{
    sqlite3_close(db);
}

static void read_facts(sqlite3_stmt *stmt, struct run_facts *facts)
{
    sql_column_copy(stmt, 0, facts->run_id, sizeof facts->run_id);
    sql_column_copy(stmt, 1, facts->job_name, sizeof facts->job_name);
    sql_column_copy(stmt, 2, facts->state, sizeof facts->state);
    sql_column_copy(stmt, 3, facts->reason, sizeof facts->reason);
    facts->epoch = (uint32_t)sqlite3_column_int64(stmt, 4);
    facts->high_water = (uint64_t)sqlite3_column_int64(stmt, 5);
    facts->has_total = sqlite3_column_type(stmt, 6) != SQLITE_NULL;
    facts->total = (uint64_t)sqlite3_column_int64(stmt, 6);
    facts->cancelled = (uint64_t)sqlite3_column_int64(stmt, 7);
    facts->fenced = (uint64_t)sqlite3_column_int64(stmt, 8);
    facts->started_us = sqlite3_column_int64(stmt, 9);
    facts->ended_us = sqlite3_column_int64(stmt, 10);
    sql_column_copy(stmt, 11, facts->address, sizeof facts->address);
}

static void read_counts(sqlite3_stmt *stmt, struct run_facts *facts)
{
    facts->attempts = (uint64_t)sqlite3_column_int64(stmt, 0);
    facts->retried = (uint64_t)sqlite3_column_int64(stmt, 1);
    facts->done = (uint64_t)sqlite3_column_int64(stmt, 2);
    facts->failed = (uint64_t)sqlite3_column_int64(stmt, 3);
    facts->dead = (uint64_t)sqlite3_column_int64(stmt, 4);
}

int run_db_facts(sqlite3 *db, struct run_facts *facts, struct mf_error *error)
{
    const char *path = path_of(db);
    sqlite3_stmt *run = NULL, *counts = NULL;
    int result = -1;
    memset(facts, 0, sizeof *facts);
    if (sql_prepare(db,
                    path,
                    "SELECT run_id, job_name, state, reason, epoch, high_water, total, cancelled,"
                    " fenced, started_us, ended_us, address FROM run",
                    &run,
                    error) < 0 ||
        sql_prepare(
            db,
            path,
            /* Sums, not groups: those would be sorted first. */
            "SELECT count(*), sum(state = 'retried'), sum(state = 'done' AND superseded = 0),"
            " sum(state = 'failed' AND superseded = 0),"
            " sum(state = 'dead' AND superseded = 0) FROM attempt",
            &counts,
            error) < 0)
        goto end;
    if (sqlite3_step(run) != SQLITE_ROW) {
        sql_raise(db, path, error);
        goto end;
    }
    read_facts(run, facts);
    if (sqlite3_step(counts) != SQLITE_ROW) {
        sql_raise(db, path, error);
        goto end;
    }
    read_counts(counts, facts);
    result = 0;
end:
    sqlite3_finalize(run);
    sqlite3_finalize(counts);
    return result;
}

/* Supersedes all attempts of one dead letter; -1 when it is none of the wanted kind. */
static int redrive_one(sqlite3 *db,
                       const char *path,
                       sqlite3_stmt *find,
                       sqlite3_stmt *mark,
                       uint64_t id,
                       struct mf_error *error)
{
    if (id == 0 || id >= (uint64_t)1 << 47)
        return mf_raise(error, MF_EUSAGE, "there is no subtask %llu", (unsigned long long)id);
    sqlite3_bind_int64(find, 1, (int64_t)(id << 16));
    sqlite3_bind_int64(find, 2, (int64_t)(id << 16 | 65535));
    int rc = sqlite3_step(find);
    int result = 0;
    if (rc == SQLITE_DONE)
        result =
            mf_raise(error,
                     MF_EUSAGE,
                     "subtask %llu is not a dead letter (failed or dead) of the kind that is to"
                     " be tried again",
                     (unsigned long long)id);
    else if (rc != SQLITE_ROW)
        result = sql_raise(db, path, error);
    sqlite3_reset(find);
    if (result < 0)
        return -1;
    sqlite3_bind_int64(mark, 1, (int64_t)(id << 16));
    sqlite3_bind_int64(mark, 2, (int64_t)(id << 16 | 65535));
    return sql_run(db, path, mark, error);
}

static int redrive_ids(sqlite3 *db,
                       const char *path,
                       bool failed,
                       bool dead,
                       const uint64_t *ids,
                       uint64_t id_count,
                       struct mf_error *error)
{
    sqlite3_stmt *find = NULL, *mark = NULL;
    int result = -1;
    if (sql_prepare(db,
                    path,
                    "SELECT 1 FROM attempt WHERE id BETWEEN ?1 AND ?2 AND superseded = 0 AND"
                    " (state = 'failed' AND ?3 OR state = 'dead' AND ?4)",
                    &find,
                    error) < 0 ||
        sql_prepare(db,
                    path,
                    "UPDATE attempt SET superseded = 1 WHERE id BETWEEN ?1 AND ?2",
                    &mark,
                    error) < 0)
        goto end;
    sqlite3_bind_int(find, 3, failed);
    sqlite3_bind_int(find, 4, dead);
    result = 0;
    for (uint64_t i = 0; i < id_count && result == 0; i++)
        result = redrive_one(db, path, find, mark, ids[i], error);
end:
    sqlite3_finalize(find);
    sqlite3_finalize(mark);
    return result;
}

static int redrive_all(
    sqlite3 *db, const char *path, bool failed, bool dead, uint64_t *count, struct mf_error *error)
{
    sqlite3_stmt *list = NULL, *mark = NULL;
    int result = -1, rc = SQLITE_ROW;
    *count = 0;
    /* The list is a table of its own: what a scan reads must not change under it. */
    if (sql_exec(db, path, "CREATE TEMP TABLE letter(subtask INTEGER PRIMARY KEY)", error) < 0 ||
        sql_prepare(db,
                    path,
                    "INSERT OR IGNORE INTO letter SELECT id >> 16 FROM attempt WHERE superseded = 0"
                    " AND (state = 'failed' AND ?1 OR state = 'dead' AND ?2)",
                    &list,
                    error) < 0)
        goto end;
    sqlite3_bind_int(list, 1, failed);
    sqlite3_bind_int(list, 2, dead);
    if (sql_run(db, path, list, error) < 0)
        goto end;
    sqlite3_finalize(list);
    list = NULL;
    if (sql_prepare(db, path, "SELECT subtask FROM letter", &list, error) < 0 ||
        sql_prepare(db,
                    path,
                    "UPDATE attempt SET superseded = 1 WHERE id BETWEEN ?1 AND ?2",
                    &mark,
                    error) < 0)
        goto end;
    while ((rc = sqlite3_step(list)) == SQLITE_ROW) {
        int64_t subtask = sqlite3_column_int64(list, 0);
        sqlite3_bind_int64(mark, 1, subtask << 16);
        sqlite3_bind_int64(mark, 2, subtask << 16 | 65535);
        if (sql_run(db, path, mark, error) < 0)
            goto end;
        ++*count;
    }
    result = rc == SQLITE_DONE ? 0 : sql_raise(db, path, error);
end:
    sqlite3_finalize(list);
    sqlite3_finalize(mark);
    return result;
}

int run_db_redrive(const char *path,
                   bool failed,
                   bool dead,
                   const uint64_t *ids,
                   uint64_t id_count,
                   uint64_t *count,
                   struct mf_error *error)
{
    sqlite3 *db = open_checked(path, SQLITE_OPEN_READWRITE, error);
    if (db == NULL)
        return -1;
    *count = id_count;
    int result = -1;
    if (sql_exec(db, path, "PRAGMA synchronous = FULL; BEGIN IMMEDIATE", error) < 0)
        goto end;
    if (id_count > 0 ? redrive_ids(db, path, failed, dead, ids, id_count, error) < 0
                     : redrive_all(db, path, failed, dead, count, error) < 0)
        goto end;
    /* A run that succeeded stays as it is when there is nothing to try again. */
    if (sql_exec(db,
                 path,
                 *count > 0 ? "UPDATE run SET state = 'running', reason = NULL, ended_us = NULL"
                            : "UPDATE run SET state = 'running', reason = NULL, ended_us = NULL"
                              " WHERE state IN ('partial', 'failed', 'cancelled')",
                 error) < 0 ||
        sql_exec(db, path, "COMMIT", error) < 0)
        goto end;
    result = 0;
end:
    sqlite3_close(db); /* rolls back what is open */
    return result;
}

/* What is known of one subtask while the scan is in its rows. */
struct open_state {
    uint64_t subtask;
    uint32_t last_attempt;
    uint32_t failures;
    bool is_final;
};

static void add_row(struct open_state *state, int64_t id, bool is_retried, bool is_superseded)
{
    state->last_attempt = (uint32_t)(id & 65535);
    if (is_superseded)
        return;
    if (is_retried)
        state->failures++;
    else
        state->is_final = true;
}

/* Reports the subtasks from *next up to (not with) `end`, none of which has a row. */
static int report_untouched(uint64_t *next, uint64_t end, run_db_open_f *f, void *arg)
{
    for (; *next < end; ++*next)
        if (f(arg, *next, 0, 0) != 0)
            return 1;
    return 0;
}

static int report(const struct open_state *state, uint64_t *next, run_db_open_f *f, void *arg)
{
    if (state->subtask == 0)
        return 0;
    if (report_untouched(next, state->subtask, f, arg) != 0)
        return 1;
    *next = state->subtask + 1;
    if (state->is_final)
        return 0;
    return f(arg, state->subtask, state->last_attempt, state->failures) != 0;
}

int run_db_each_open(
    sqlite3 *db, uint64_t planned, run_db_open_f *f, void *arg, struct mf_error *error)
{
    const char *path = path_of(db);
    sqlite3_stmt *stmt = NULL;
    struct open_state state = {0};
    uint64_t next = 1;
    int rc = SQLITE_ROW, result = 0;
    if (sql_prepare(db,
                    path,
                    "SELECT id, state = 'retried', superseded FROM attempt ORDER BY id",
                    &stmt,
                    error) < 0)
        return -1;
    while (result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(stmt, 0);
        uint64_t subtask = (uint64_t)id >> 16;
        if (subtask > planned)
            break;
        if (subtask != state.subtask) {
            result = report(&state, &next, f, arg);
            state = (struct open_state){.subtask = subtask};
        }
        add_row(&state, id, sqlite3_column_int(stmt, 1) != 0, sqlite3_column_int(stmt, 2) != 0);
    }
    if (result == 0 && rc != SQLITE_DONE && rc != SQLITE_ROW)
        result = sql_raise(db, path, error);
    if (result == 0)
        result = report(&state, &next, f, arg);
    if (result == 0)
        result = report_untouched(&next, planned + 1, f, arg);
    sqlite3_finalize(stmt);
    return result < 0 ? -1 : 0;
}
