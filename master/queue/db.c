/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file queues.db: making and opening it, and transactions. A new file gets its tables in one
 * transaction, so that one killed at any moment is either empty (and made again) or whole.
 *
 * Write-ahead log with synchronous FULL: what a commit has said survives a power cut. On a network
 * file system a rollback journal with synchronous EXTRA.
 *
 * Most processes open the file, push, and are gone. SQLite would copy the log back into the file
 * each time the last of them closes it, with two more syncs than the push itself needs. So closing
 * leaves the log where it is, until it has grown to CLOSE_PAGES; reading it again costs the next
 * process less. It is then cut to nothing, not only copied back: the process after this one could
 * not know that it was copied, and would go on behind it. In a process that writes much, the same
 * happens at COMMIT_PAGES.
 */
#include "master/queue/queue.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/queue/schema.h"
#include "master/queue/statements.h"
#include "master/record/file_system.h"
#include "master/record/sql.h"
#include "master/record/state_folder.h"

#define BUSY_US (60 * 1000000LL)
#define CLOSE_PAGES 128
#define COMMIT_PAGES 4000

char *queues_path(struct mf_error *error)
{
    char *folder = state_folder(error);
    if (folder == NULL)
        return NULL;
    char *path = mf_format("%s/queues.db", folder);
    if (path == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    mf_free(folder);
    return path;
}

/* Shorter pauses than SQLite's own, of uneven length, so that many processes get on side by side.
 */
static int wait_for_others(void *arg, int count)
{
    struct queues *queues = arg;
    int64_t now_us = mf_monotonic_us();
    unsigned char random;
    if (count == 0)
        queues->busy_since_us = now_us;
    if (now_us - queues->busy_since_us > BUSY_US)
        return 0;
    sqlite3_randomness(sizeof random, &random);
    long us = 300 + random * (count < 10 ? 4L : 20L);
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
    return 1;
}

static int note_log(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct queues *queues = arg;
    (void)db;
    (void)name;
    queues->log_pages = pages;
    return SQLITE_OK;
}

/* Copies the log into the file and cuts it, unless somebody else is at work. What was committed is
 * so already: nothing that fails here matters. */
static void cut_log(struct queues *queues, int pages)
{
    if (queues->log_pages < pages)
        return;
    sqlite3_busy_handler(queues->db, NULL, NULL);
    sqlite3_wal_checkpoint_v2(queues->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_handler(queues->db, wait_for_others, queues);
    queues->log_pages = 0;
}

/* 1 when the tables are there, 0 when the file is empty, -1. */
static int check(struct queues *queues, struct mf_error *error)
{
    int64_t application, version, tables = 0;
    if (sql_integer(queues->db, queues->path, "PRAGMA application_id", &application, error) < 0 ||
        sql_integer(queues->db, queues->path, "PRAGMA user_version", &version, error) < 0)
        return -1;
    if (application == QUEUE_APPLICATION_ID && version == QUEUE_SCHEMA_VERSION)
        return 1;
    if (application == 0 && version == 0 &&
        sql_integer(
            queues->db, queues->path, "SELECT count(*) FROM sqlite_master", &tables, error) < 0)
        return -1;
    if (application == 0 && version == 0 && tables == 0)
        return 0;
    if (application != QUEUE_APPLICATION_ID || version < 1)
        return mf_raise(
            error, MF_EINPUT, "%s does not hold the queues of Mayfly: move it away", queues->path);
    return mf_raise(error,
                    MF_EINPUT,
                    "%s has schema version %lld, this mayfly knows up to %d: use a newer mayfly",
                    queues->path,
                    (long long)version,
                    QUEUE_SCHEMA_VERSION);
}

/* The same of one moment: what stands in the header and what the tables are must belong together
 * while somebody else makes the file. */
static int check_at_once(struct queues *queues, struct mf_error *error)
{
    if (sql_exec(queues->db, queues->path, "BEGIN", error) < 0)
        return -1;
    int is_made = check(queues, error);
    queues_rollback(queues);
    return is_made;
}

static int make_tables(struct queues *queues, struct mf_error *error)
{
    if (queues_begin(queues, error) < 0)
        return -1;
    /* Again, now that nobody else can write. */
    int is_made = check(queues, error);
    if (is_made < 0 ||
        (is_made == 0 && sql_exec(queues->db, queues->path, queue_schema, error) < 0)) {
        queues_rollback(queues);
        return -1;
    }
    return queues_commit(queues, error);
}

/* 1, 0 = not in this mode, -1 with what SQLite says. */
static int ask_journal(struct queues *queues, const char *sql, struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    char mode[16] = "";
    if (sql_prepare(queues->db, queues->path, sql, &stmt, error) < 0)
        return -1;
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        sql_column_copy(stmt, 0, mode, sizeof mode);
    else
        sql_raise(queues->db, queues->path, error);
    sqlite3_finalize(stmt);
    return rc != SQLITE_ROW ? -1 : strcmp(mode, "wal") == 0;
}

/* The change wants the file for itself, and SQLite does not wait for that. */
static int set_log(struct queues *queues, struct mf_error *error)
{
    for (int count = 0;; count++) {
        int rc = ask_journal(queues, "PRAGMA journal_mode = WAL", error);
        bool is_busy = rc < 0 && (sqlite3_errcode(queues->db) & 0xff) == SQLITE_BUSY;
        if (!is_busy || !wait_for_others(queues, count))
            return rc < 0 ? -1 : 0;
    }
}

static int set_journal(struct queues *queues, struct mf_error *error)
{
    int is_log = ask_journal(queues, "PRAGMA journal_mode", error);
    if (is_log < 0)
        return -1;
    if (!is_log && file_system_is_network(queues->path))
        return sql_exec(queues->db, queues->path, "PRAGMA synchronous = EXTRA", error);
    if (!is_log && set_log(queues, error) < 0)
        return -1;
    return sql_exec(queues->db,
                    queues->path,
                    "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216;",
                    error);
}

static int connect_to(struct queues *queues, bool make, struct mf_error *error)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (make ? SQLITE_OPEN_CREATE : 0);
    if (sqlite3_open_v2(queues->path, &queues->db, flags, NULL) != SQLITE_OK)
        return sql_raise(queues->db, queues->path, error);
    sqlite3_busy_handler(queues->db, wait_for_others, queues);
    sqlite3_wal_hook(queues->db, note_log, queues); /* and no checkpoints by itself */
    sqlite3_db_config(queues->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    int is_made = check_at_once(queues, error);
    if (is_made == 0 && make)
        is_made = make_tables(queues, error) < 0 ? -1 : 1;
    if (is_made <= 0)
        return is_made;
    return set_journal(queues, error) < 0 ? -1 : 1;
}

static int make_folder(const char *path, struct mf_error *error)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return 0;
    char *folder = mf_memdup(path, (size_t)(slash - path));
    if (folder == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int rc = state_folder_make(folder, error);
    mf_free(folder);
    return rc;
}

int queues_open(const char *path, bool make, struct queues **queues, struct mf_error *error)
{
    *queues = NULL;
    if (access(path, F_OK) < 0 && errno == ENOENT) {
        if (!make)
            return 0;
        if (make_folder(path, error) < 0)
            return -1;
    }
    struct queues *opened = mf_calloc(1, sizeof *opened);
    if (opened == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the queues");
    opened->path = mf_strdup(path);
    opened->statements = queue_statements_create();
    int rc = opened->path == NULL || opened->statements == NULL
                 ? mf_raise(error, MF_ENOMEM, "out of memory: the queues")
                 : connect_to(opened, make, error);
    if (rc <= 0) {
        queues_close(opened);
        return rc;
    }
    *queues = opened;
    return 1;
}

int queues_open_own(bool make, struct queues **queues, struct mf_error *error)
{
    *queues = NULL;
    char *path = queues_path(error);
    int rc = path == NULL ? -1 : queues_open(path, make, queues, error);
    mf_free(path);
    return rc;
}

void queues_close(struct queues *queues)
{
    if (queues == NULL)
        return;
    if (queues->db != NULL) {
        queues_rollback(queues);
        cut_log(queues, CLOSE_PAGES);
    }
    queue_statements_destroy(queues->statements);
    sqlite3_close(queues->db);
    mf_free(queues->path);
    mf_free(queues);
}

int queues_begin(struct queues *queues, struct mf_error *error)
{
    return sql_exec(queues->db, queues->path, "BEGIN IMMEDIATE", error);
}

int queues_commit(struct queues *queues, struct mf_error *error)
{
    queues->is_in_doubt = false;
    if (sql_exec(queues->db, queues->path, "COMMIT", error) < 0) {
        queues->is_in_doubt = sqlite3_extended_errcode(queues->db) == SQLITE_IOERR_FSYNC;
        queues_rollback(queues);
        return -1;
    }
    cut_log(queues, COMMIT_PAGES);
    return 0;
}

void queues_rollback(struct queues *queues)
{
    if (!sqlite3_get_autocommit(queues->db))
        sqlite3_exec(queues->db, "ROLLBACK", NULL, NULL, NULL);
}
