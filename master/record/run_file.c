/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening run.db. A new file gets schema and first epoch in one transaction, so that a file killed
 * at any moment is either empty (and made again) or whole.
 *
 * Journal: write-ahead log with synchronous FULL (durability full) or NORMAL (process: survives the
 * death of all processes, not a power cut). On a network file system a rollback journal with
 * synchronous EXTRA, which also makes the removal of the journal durable; not locked exclusively,
 * since gather and the command line read beside the writer.
 */
#include "master/record/run_file.h"

#include <stddef.h>
#include <string.h>

#include "common/clock.h"
#include "master/record/file_system.h"
#include "master/record/schema.h"
#include "master/record/sql.h"

/* About 32 MiB of log between checkpoints: few stalls, little to replay. The log is cut back after
 * it. */
#define WAL_PRAGMAS                                                                                \
    "PRAGMA journal_mode = WAL;"                                                                   \
    "PRAGMA wal_autocheckpoint = 8000;"                                                            \
    "PRAGMA journal_size_limit = 67108864;"

sqlite3 *run_file_open(const char *path, int flags, struct mf_error *error)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        sql_raise(db, path, error);
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_busy_timeout(db, RUN_FILE_BUSY_MS);
    return db;
}

int run_file_check(sqlite3 *db, const char *path, struct mf_error *error)
{
    int64_t application, version, tables;
    if (sql_integer(db, path, "PRAGMA application_id", &application, error) < 0 ||
        sql_integer(db, path, "PRAGMA user_version", &version, error) < 0 ||
        sql_integer(db, path, "SELECT count(*) FROM sqlite_master", &tables, error) < 0)
        return -1;
    if (application == 0 && version == 0 && tables == 0)
        return 0;
    if (application != RUN_FILE_APPLICATION_ID || version < 1)
        return mf_raise(error, MF_EINPUT, "%s is not the results table of a run", path);
    if (version > RECORD_SCHEMA_VERSION)
        return mf_raise(
            error,
            MF_EINPUT,
            "%s has schema version %lld, this mayfly knows up to %d: use a newer mayfly",
            path,
            (long long)version,
            RECORD_SCHEMA_VERSION);
    return 1;
}

static int set_journal(sqlite3 *db,
                       const struct record_config *config,
                       bool is_network,
                       struct mf_error *error)
{
    const char *journal = is_network ? "PRAGMA journal_mode = DELETE;" : WAL_PRAGMAS;
    const char *synchronous = "PRAGMA synchronous = NORMAL";
    if (is_network)
        synchronous = "PRAGMA synchronous = EXTRA";
    else if (config->durability_full)
        synchronous = "PRAGMA synchronous = FULL";
    if (sql_exec(db, config->path, "PRAGMA cache_size = -16384", error) < 0 ||
        sql_exec(db, config->path, journal, error) < 0)
        return -1;
    return sql_exec(db, config->path, synchronous, error);
}

static int make_run(sqlite3 *db, const struct record_config *config, struct mf_error *error)
{
    if (sql_exec(db, config->path, record_schema, error) < 0)
        return -1;
    sqlite3_stmt *stmt = NULL;
    if (sql_prepare(db,
                    config->path,
                    "INSERT INTO run(one, schema_version, version, run_id, job_name, job_path,"
                    " job_folder, job, durability, state, epoch, started_us)"
                    " VALUES(1, ?, ?, ?, ?, ?, ?, ?, ?, 'planning', 1, ?)",
                    &stmt,
                    error) < 0)
        return -1;
    sqlite3_bind_int(stmt, 1, RECORD_SCHEMA_VERSION);
    sqlite3_bind_text(stmt, 2, MAYFLY_VERSION, -1, SQLITE_STATIC);
    sql_bind_string(stmt, 3, config->run_id);
    sql_bind_string(stmt, 4, config->job_name);
    sql_bind_string(stmt, 5, config->job_path);
    sql_bind_string(stmt, 6, config->job_folder);
    sql_bind_string(stmt, 7, config->job_text);
    sqlite3_bind_text(stmt, 8, config->durability_full ? "full" : "process", -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 9, mf_wall_us());
    int result = sql_run(db, config->path, stmt, error);
    sqlite3_finalize(stmt);
    return result;
}

static int check_run_id(sqlite3 *db, const struct record_config *config, struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    char found[128] = "";
    if (sql_prepare(db, config->path, "SELECT run_id FROM run", &stmt, error) < 0)
        return -1;
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        sql_column_copy(stmt, 0, found, sizeof found);
    int result = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sql_raise(db, config->path, error);
    sqlite3_finalize(stmt);
    if (result == 0 && config->run_id != NULL && strcmp(found, config->run_id) != 0)
        result = mf_raise(error,
                          MF_EINPUT,
                          "%s belongs to run '%s', not to run '%s'",
                          config->path,
                          found,
                          config->run_id);
    return result;
}

/* As in schema.sql, to the letter. */
static const char notification_table[] = "CREATE TABLE notification (\n"
                                         "    id INTEGER PRIMARY KEY,\n"
                                         "    event TEXT NOT NULL,\n"
                                         "    subscriber INTEGER NOT NULL,\n"
                                         "    target TEXT NOT NULL,\n"
                                         "    payload TEXT NOT NULL,\n"
                                         "    state TEXT NOT NULL,\n"
                                         "    attempts INTEGER NOT NULL DEFAULT 0,\n"
                                         "    made_us INTEGER NOT NULL,\n"
                                         "    next_us INTEGER,\n"
                                         "    last_error TEXT,\n"
                                         "    delivered_us INTEGER\n"
                                         ");";

/* A file of an older version gets what this one's writer needs; nothing that is there changes. */
static int upgrade(sqlite3 *db, const char *path, struct mf_error *error)
{
    int64_t version;
    if (sql_integer(db, path, "PRAGMA user_version", &version, error) < 0)
        return -1;
    if (version < 2 && sql_exec(db,
                                path,
                                "ALTER TABLE worker ADD COLUMN place;"
                                "ALTER TABLE worker ADD COLUMN address TEXT;"
                                "ALTER TABLE worker ADD COLUMN port INTEGER",
                                error) < 0)
        return -1;
    if (version < 3 &&
        (sql_exec(db, path, notification_table, error) < 0 ||
         sql_exec(db, path, "UPDATE run SET schema_version = 3; PRAGMA user_version = 3", error) <
             0))
        return -1;
    return 0;
}

static int next_epoch(sqlite3 *db, const struct record_config *config, struct mf_error *error)
{
    if (check_run_id(db, config, error) < 0 || upgrade(db, config->path, error) < 0)
        return -1;
    return sql_exec(db,
                    config->path,
                    config->durability_full
                        ? "UPDATE run SET epoch = epoch + 1, durability = 'full'"
                        : "UPDATE run SET epoch = epoch + 1, durability = 'process'",
                    error);
}

sqlite3 *run_file_begin_epoch(const struct record_config *config,
                              uint32_t *epoch,
                              int *notice,
                              struct mf_error *error)
{
    bool is_network =
        config->network_fs == 0 ? file_system_is_network(config->path) : config->network_fs > 0;
    int64_t number = 0;
    sqlite3 *db = run_file_open(config->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, error);
    if (db == NULL)
        return NULL;
    if (run_file_check(db, config->path, error) < 0 ||
        set_journal(db, config, is_network, error) < 0 ||
        sql_exec(db, config->path, "BEGIN IMMEDIATE", error) < 0)
        goto fail;
    /* Again, now that nobody else can write. */
    int is_made = run_file_check(db, config->path, error);
    if (is_made < 0 || (is_made ? next_epoch : make_run)(db, config, error) < 0 ||
        sql_integer(db, config->path, "SELECT epoch FROM run", &number, error) < 0 ||
        sql_exec(db, config->path, "COMMIT", error) < 0)
        goto fail;
    *epoch = (uint32_t)number;
    *notice = is_network ? RECORD_NETWORK_FS_WARNING : 0;
    return db;
fail:
    sqlite3_close(db); /* rolls back what is open */
    return NULL;
}
