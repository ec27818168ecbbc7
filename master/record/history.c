/* SPDX-License-Identifier: Apache-2.0 */
/* The history of all runs: see history.h. Each call is one transaction. */
#include "master/record/history.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/record/run_db.h"
#include "master/record/sql.h"

#define APPLICATION_ID "1298233704" /* "Mayh" */
#define BUSY_MS 5000

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS run(run_id TEXT PRIMARY KEY, job_name TEXT, job_path, folder,"
    " state TEXT, reason TEXT, started_us INTEGER, ended_us INTEGER, total INTEGER, done INTEGER,"
    " failed INTEGER, dead INTEGER, cancelled INTEGER);"
    "PRAGMA application_id = " APPLICATION_ID ";"
    "PRAGMA user_version = 1;";

#define COLUMNS                                                                                    \
    "run_id, job_name, job_path, folder, state, reason, started_us, ended_us, total, done, "       \
    "failed,"                                                                                      \
    " dead, cancelled"

enum column {
    COLUMN_RUN_ID,
    COLUMN_JOB_NAME,
    COLUMN_JOB_PATH,
    COLUMN_FOLDER,
    COLUMN_STATE,
    COLUMN_REASON,
    COLUMN_STARTED,
    COLUMN_ENDED,
    COLUMN_TOTAL,
    COLUMN_DONE,
    COLUMN_FAILED,
    COLUMN_DEAD,
    COLUMN_CANCELLED
};

static sqlite3 *open_file(const char *path, int flags, struct mf_error *error)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        sql_raise(db, path, error);
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    return db;
}

/* With the schema, in a transaction that holds the write lock. NULL when that cannot be had. */
static sqlite3 *begin_write(const char *path, struct mf_error *error)
{
    sqlite3 *db = open_file(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, error);
    if (db == NULL)
        return NULL;
    int64_t version = 0;
    if (sql_exec(db, path, "BEGIN IMMEDIATE", error) == 0 &&
        sql_integer(db, path, "PRAGMA user_version", &version, error) == 0) {
        if (version > 1)
            mf_raise(error,
                     MF_EINPUT,
                     "%s is the history of a newer mayfly (version %lld): use that one",
                     path,
                     (long long)version);
        else if (version == 1 || sql_exec(db, path, schema, error) == 0)
            return db;
    }
    sqlite3_close(db);
    return NULL;
}

/* A damaged history is moved to PATH.damaged, and a new one is begun. */
static sqlite3 *begin_write_anyway(const char *path, struct mf_error *error)
{
    struct mf_error inner = {0};
    sqlite3 *db = begin_write(path, &inner);
    if (db == NULL && inner.code == MF_EINPUT && strstr(inner.text, "damaged") != NULL) {
        char *aside = mf_format("%s.damaged", path);
        if (aside != NULL && rename(path, aside) == 0)
            db = begin_write(path, &inner);
        mf_free(aside);
    }
    if (db == NULL && error != NULL)
        *error = inner;
    return db;
}

/* Commits when all went well, and closes. */
static int end_write(sqlite3 *db, const char *path, int result, struct mf_error *error)
{
    if (result == 0)
        result = sql_exec(db, path, "COMMIT", error);
    sqlite3_close(db); /* rolls back what is open */
    return result;
}

static void bind_run(sqlite3_stmt *stmt, const struct history_run *run)
{
    sql_bind_string(stmt, 1 + COLUMN_RUN_ID, run->run_id);
    sql_bind_string(stmt, 1 + COLUMN_JOB_NAME, run->job_name);
    sql_bind_string(stmt, 1 + COLUMN_JOB_PATH, run->job_path);
    sql_bind_string(stmt, 1 + COLUMN_FOLDER, run->folder);
    sql_bind_string(stmt, 1 + COLUMN_STATE, run->state);
    sql_bind_string(stmt, 1 + COLUMN_REASON, run->reason);
    sql_bind_nonzero(stmt, 1 + COLUMN_STARTED, run->started_us);
    sql_bind_nonzero(stmt, 1 + COLUMN_ENDED, run->ended_us);
    if (run->has_total)
        sqlite3_bind_int64(stmt, 1 + COLUMN_TOTAL, (int64_t)run->total);
    sqlite3_bind_int64(stmt, 1 + COLUMN_DONE, (int64_t)run->done);
    sqlite3_bind_int64(stmt, 1 + COLUMN_FAILED, (int64_t)run->failed);
    sqlite3_bind_int64(stmt, 1 + COLUMN_DEAD, (int64_t)run->dead);
    sqlite3_bind_int64(stmt, 1 + COLUMN_CANCELLED, (int64_t)run->cancelled);
}

static int write_run(sqlite3 *db,
                     const char *path,
                     const char *sql,
                     const struct history_run *run,
                     struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    if (sql_prepare(db, path, sql, &stmt, error) < 0)
        return -1;
    bind_run(stmt, run);
    int result = sql_run(db, path, stmt, error);
    sqlite3_finalize(stmt);
    return result;
}

int history_begin(const char *path, const struct history_run *run, struct mf_error *error)
{
    struct history_run row = *run;
    sqlite3 *db = begin_write_anyway(path, error);
    if (db == NULL)
        return -1;
    row.state = "running";
    row.reason = "";
    row.ended_us = 0;
    return end_write(db,
                     path,
                     write_run(db,
                               path,
                               "INSERT OR REPLACE INTO run(" COLUMNS
                               ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                               &row,
                               error),
                     error);
}

int history_end(const char *path, const struct history_run *run, struct mf_error *error)
{
    sqlite3 *db = begin_write_anyway(path, error);
    if (db == NULL)
        return -1;
    /* When the beginning is not there, the end alone is noted. */
    static const char sql[] =
        "INSERT INTO run(" COLUMNS ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT(run_id) DO UPDATE SET state = excluded.state, reason = excluded.reason,"
        " ended_us = excluded.ended_us, total = excluded.total, done = excluded.done,"
        " failed = excluded.failed, dead = excluded.dead, cancelled = excluded.cancelled";
    return end_write(db, path, write_run(db, path, sql, run, error), error);
}

int history_remove(const char *path, const char *run_id, struct mf_error *error)
{
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    sqlite3 *db = begin_write_anyway(path, error);
    if (db == NULL)
        return -1;
    sqlite3_stmt *stmt = NULL;
    int result = sql_prepare(db, path, "DELETE FROM run WHERE run_id = ?", &stmt, error);
    if (result == 0) {
        sql_bind_string(stmt, 1, run_id);
        result = sql_run(db, path, stmt, error);
    }
    sqlite3_finalize(stmt);
    return end_write(db, path, result, error);
}

static const char *text_of(sqlite3_stmt *stmt, enum column column)
{
    const void *text = sqlite3_column_text(stmt, column);
    return text != NULL ? text : "";
}

static void read_run(sqlite3_stmt *stmt, struct history_run *run)
{
    run->run_id = text_of(stmt, COLUMN_RUN_ID);
    run->job_name = text_of(stmt, COLUMN_JOB_NAME);
    run->job_path = text_of(stmt, COLUMN_JOB_PATH);
    run->folder = text_of(stmt, COLUMN_FOLDER);
    run->state = text_of(stmt, COLUMN_STATE);
    run->reason = text_of(stmt, COLUMN_REASON);
    run->started_us = sqlite3_column_int64(stmt, COLUMN_STARTED);
    run->ended_us = sqlite3_column_int64(stmt, COLUMN_ENDED);
    run->has_total = sqlite3_column_type(stmt, COLUMN_TOTAL) != SQLITE_NULL;
    run->total = (uint64_t)sqlite3_column_int64(stmt, COLUMN_TOTAL);
    run->done = (uint64_t)sqlite3_column_int64(stmt, COLUMN_DONE);
    run->failed = (uint64_t)sqlite3_column_int64(stmt, COLUMN_FAILED);
    run->dead = (uint64_t)sqlite3_column_int64(stmt, COLUMN_DEAD);
    run->cancelled = (uint64_t)sqlite3_column_int64(stmt, COLUMN_CANCELLED);
}

int history_list(const char *path, history_list_f *f, void *arg, struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    int64_t tables = 0;
    int result = -1, rc = SQLITE_DONE;
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    sqlite3 *db = open_file(path, SQLITE_OPEN_READONLY, error);
    if (db == NULL)
        return -1;
    if (sql_integer(
            db, path, "SELECT count(*) FROM sqlite_master WHERE name = 'run'", &tables, error) < 0)
        goto end;
    result = 0;
    if (tables == 0) /* killed before it was made */
        goto end;
    result = sql_prepare(db,
                         path,
                         "SELECT " COLUMNS " FROM run ORDER BY started_us DESC, run_id DESC",
                         &stmt,
                         error);
    if (result < 0)
        goto end;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct history_run run;
        read_run(stmt, &run);
        if (f(arg, &run) != 0)
            break;
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        result = sql_raise(db, path, error);
end:
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return result;
}

struct last {
    char *run_id;
    size_t size;
    int found;
};

static int take_last(void *arg, const struct history_run *run)
{
    struct last *last = arg;
    snprintf(last->run_id, last->size, "%s", run->run_id);
    last->found = 1;
    return 1;
}

int history_last(const char *path, char *run_id, size_t size, struct mf_error *error)
{
    struct last last = {run_id, size, 0};
    return history_list(path, take_last, &last, error) < 0 ? -1 : last.found;
}

/* Adds the run of one folder; a folder without a readable run.db is passed by. */
static int add_folder(
    sqlite3 *db, const char *path, const char *folder, uint64_t *count, struct mf_error *error)
{
    struct run_facts facts;
    char *run_db = mf_format("%s/run.db", folder);
    if (run_db == NULL)
        return mf_raise(error, MF_ENOMEM, "memory is exhausted while reading %s", folder);
    sqlite3 *run = run_db_open(run_db, NULL);
    int is_readable = run != NULL && run_db_facts(run, &facts, NULL) == 0;
    run_db_close(run);
    mf_free(run_db);
    if (!is_readable)
        return 0;
    struct history_run row = {.run_id = facts.run_id,
                              .job_name = facts.job_name,
                              .folder = folder,
                              .state = facts.state,
                              .reason = facts.reason,
                              .started_us = facts.started_us,
                              .ended_us = facts.ended_us,
                              .has_total = facts.has_total,
                              .total = facts.total,
                              .done = facts.done,
                              .failed = facts.failed,
                              .dead = facts.dead,
                              .cancelled = facts.cancelled};
    ++*count;
    return write_run(db,
                     path,
                     "INSERT OR REPLACE INTO run(" COLUMNS
                     ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                     &row,
                     error);
}

int history_rebuild(const char *path, const char *runs, uint64_t *count, struct mf_error *error)
{
    *count = 0;
    DIR *folders = opendir(runs);
    if (folders == NULL && errno != ENOENT)
        return mf_raise_errno(error, "cannot read the folder %s", runs);
    sqlite3 *db = begin_write_anyway(path, error);
    int result = db == NULL ? -1 : sql_exec(db, path, "DELETE FROM run", error);
    struct dirent *entry;
    while (result == 0 && folders != NULL && (entry = readdir(folders)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        char *folder = mf_format("%s/%s", runs, entry->d_name);
        result = folder == NULL
                     ? mf_raise(error, MF_ENOMEM, "memory is exhausted while reading %s", runs)
                     : add_folder(db, path, folder, count, error);
        mf_free(folder);
    }
    if (folders != NULL)
        closedir(folders);
    return db == NULL ? -1 : end_write(db, path, result, error);
}
