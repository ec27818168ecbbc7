/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transaction that records, and its fence: a row goes in only while
 *   - run.epoch is the epoch this writer was opened with (asked once a transaction, which then
 * holds the write lock), and the row's epoch is not above it;
 *   - the subtask has no final row that counts;
 *   - no row has its (subtask, attempt) yet (the primary key).
 *
 * "Has a final row" is answered by a set in memory (final_set.h) that equals the table: it is
 * loaded from the table, changed with each row, undone with each rollback, and loaded anew whenever
 * SQLite's data_version says that another connection has written. A range query a row would say the
 * same and costs a third of the speed (measured).
 */
#include "master/record/run_writer.h"

#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/record/final_set.h"
#include "master/record/run_db.h"
#include "master/record/run_file.h"
#include "master/record/sql.h"

enum statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_EPOCH,
    STATEMENT_DATA_VERSION,
    STATEMENT_ATTEMPT,
    STATEMENT_RUN,
    STATEMENT_WORKER,
    STATEMENT_EVENT,
    STATEMENT_OUTBOX,
    STATEMENT_COUNT
};

static const char *const statements[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_EPOCH] = "SELECT epoch FROM run",
    [STATEMENT_DATA_VERSION] = "PRAGMA data_version",
    [STATEMENT_ATTEMPT] =
        "INSERT OR IGNORE INTO attempt(id, state, cause, exit_code, signal, epoch,"
        " worker, ended_us, wall_us, user_us, system_us, peak_kib, result_bytes,"
        " output_count, output_bytes, detail, result)"
        " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STATEMENT_RUN] =
        "UPDATE run SET state = coalesce(?1, state),"
        " reason = CASE WHEN ?2 IS NULL THEN reason ELSE nullif(?2, '') END,"
        " total = coalesce(?3, total), high_water = max(high_water, coalesce(?4, 0)),"
        " done = coalesce(?5, done), failed = coalesce(?6, failed), dead = coalesce(?7, dead),"
        " cancelled = coalesce(?8, cancelled), retried = coalesce(?9, retried),"
        " fenced = coalesce(?10, fenced), attempts = coalesce(?11, attempts),"
        " ended_us = coalesce(?12, ended_us), address = coalesce(?13, address)",
    [STATEMENT_WORKER] =
        "INSERT INTO worker(id, state, host, system, version, folder, verified_by, pid, slots, "
        "cpus,"
        " memory_bytes, launched_us, joined_us, ended_us, place, address, port)"
        " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET"
        " state = coalesce(excluded.state, state), host = coalesce(excluded.host, host),"
        " system = coalesce(excluded.system, system),"
        " version = coalesce(excluded.version, version),"
        " folder = coalesce(excluded.folder, folder),"
        " verified_by = coalesce(excluded.verified_by, verified_by),"
        " pid = coalesce(excluded.pid, pid), slots = coalesce(excluded.slots, slots),"
        " cpus = coalesce(excluded.cpus, cpus),"
        " memory_bytes = coalesce(excluded.memory_bytes, memory_bytes),"
        " launched_us = coalesce(excluded.launched_us, launched_us),"
        " joined_us = coalesce(excluded.joined_us, joined_us),"
        " ended_us = coalesce(excluded.ended_us, ended_us),"
        " place = coalesce(excluded.place, place),"
        " address = coalesce(excluded.address, address),"
        " port = coalesce(excluded.port, port)",
    [STATEMENT_EVENT] =
        "INSERT INTO event(wall_us, kind, worker, subtask, text) VALUES(?, ?, ?, ?, ?)",
    [STATEMENT_OUTBOX] =
        "INSERT INTO notification(event, subscriber, target, payload, state, made_us)"
        " SELECT value ->> 'event', value ->> 'subscriber', value ->> 'target',"
        " value -> 'payload', 'pending', ?2 FROM json_each(?1)"
        " WHERE NOT (value ->> 'once' AND EXISTS (SELECT 1 FROM notification WHERE"
        " event = value ->> 'event' AND subscriber = value ->> 'subscriber'))",
};

struct run_writer {
    sqlite3 *db;
    char *path;
    uint32_t epoch;
    bool epoch_over; /* seen at begin: another master has taken the run over */
    bool can_retry;
    int64_t data_version; /* with which `finals` equals the table */
    struct final_set finals;
    sqlite3_stmt *stmts[STATEMENT_COUNT];
};

static const char *const state_names[] = {
    [RECORD_RETRIED] = "retried",
    [RECORD_DONE] = "done",
    [RECORD_FAILED] = "failed",
    [RECORD_DEAD] = "dead",
};

static int run_statement(struct run_writer *writer, enum statement which, struct mf_error *error)
{
    int result = sql_run(writer->db, writer->path, writer->stmts[which], error);
    if (result < 0)
        writer->can_retry = sql_can_pass(writer->db);
    return result;
}

/* The first column of a statement that yields one row. */
static int read_integer(struct run_writer *writer,
                        enum statement which,
                        int64_t *value,
                        struct mf_error *error)
{
    sqlite3_stmt *stmt = writer->stmts[which];
    int result = 0;
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        *value = sqlite3_column_int64(stmt, 0);
    } else {
        result = sql_raise(writer->db, writer->path, error);
        writer->can_retry = sql_can_pass(writer->db);
    }
    sqlite3_reset(stmt);
    return result;
}

static int out_of_memory(struct run_writer *writer, struct mf_error *error)
{
    writer->can_retry = true;
    return mf_raise(error, MF_ENOMEM, "memory is exhausted while recording in %s", writer->path);
}

/* Makes `finals` equal to the table. */
static int load_finals(struct run_writer *writer, struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc, result = 0;
    final_set_fini(&writer->finals);
    if (sql_prepare(writer->db,
                    writer->path,
                    "SELECT id >> 16 FROM attempt WHERE superseded = 0 AND state <> 'retried'",
                    &stmt,
                    error) < 0)
        return -1;
    while (result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (final_set_add(&writer->finals, (uint64_t)sqlite3_column_int64(stmt, 0)) < 0)
            result = out_of_memory(writer, error);
        final_set_keep(&writer->finals);
    }
    if (result == 0 && rc != SQLITE_DONE) {
        result = sql_raise(writer->db, writer->path, error);
        writer->can_retry = sql_can_pass(writer->db);
    }
    sqlite3_finalize(stmt);
    return result;
}

/* Within the transaction: is the epoch still ours, and does `finals` still equal the table? */
static int check_fence(struct run_writer *writer, struct mf_error *error)
{
    int64_t epoch = 0, data_version = 0;
    if (read_integer(writer, STATEMENT_EPOCH, &epoch, error) < 0 ||
        read_integer(writer, STATEMENT_DATA_VERSION, &data_version, error) < 0)
        return -1;
    writer->epoch_over = epoch != (int64_t)writer->epoch;
    if (data_version == writer->data_version)
        return 0;
    writer->data_version = -1; /* until it is loaded whole */
    if (load_finals(writer, error) < 0)
        return -1;
    writer->data_version = data_version;
    return 0;
}

struct run_writer *run_writer_open(const struct record_config *config,
                                   uint32_t *epoch,
                                   int *notice,
                                   struct mf_error *error)
{
    struct run_writer *writer = mf_calloc(1, sizeof *writer);
    if (writer == NULL || (writer->path = mf_strdup(config->path)) == NULL) {
        mf_raise(error, MF_ENOMEM, "memory is exhausted while opening %s", config->path);
        goto fail;
    }
    writer->db = run_file_begin_epoch(config, &writer->epoch, notice, error);
    if (writer->db == NULL)
        goto fail;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (sql_prepare(writer->db, writer->path, statements[i], &writer->stmts[i], error) < 0)
            goto fail;
    writer->data_version = -1;
    if (run_writer_begin(writer, error) < 0) /* loads the set, so that the first batch need not */
        goto fail;
    run_writer_rollback(writer);
    *epoch = writer->epoch;
    return writer;
fail:
    run_writer_close(writer);
    return NULL;
}

void run_writer_close(struct run_writer *writer)
{
    if (writer == NULL)
        return;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(writer->stmts[i]);
    sqlite3_close(writer->db); /* checkpoints; what cannot be moved stays in the log, readable */
    final_set_fini(&writer->finals);
    mf_free(writer->path);
    mf_free(writer);
}

int run_writer_begin(struct run_writer *writer, struct mf_error *error)
{
    if (run_statement(writer, STATEMENT_BEGIN, error) < 0)
        return -1;
    return check_fence(writer, error);
}

int run_writer_commit(struct run_writer *writer, struct mf_error *error)
{
    if (run_statement(writer, STATEMENT_COMMIT, error) < 0)
        return -1;
    final_set_keep(&writer->finals);
    return 0;
}

void run_writer_rollback(struct run_writer *writer)
{
    if (!sqlite3_get_autocommit(writer->db)) /* else SQLite did it itself */
        sql_run(writer->db, writer->path, writer->stmts[STATEMENT_ROLLBACK], NULL);
    final_set_undo(&writer->finals);
}

bool run_writer_can_retry(const struct run_writer *writer)
{
    return writer->can_retry;
}

static void bind_attempt(sqlite3_stmt *stmt, const struct record_row *row)
{
    sqlite3_bind_int64(stmt, 1, (int64_t)(row->subtask << 16 | row->attempt));
    sqlite3_bind_text(stmt, 2, state_names[row->state], -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, mf_cause_name((int)row->cause), -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 4, row->exit_code);
    sqlite3_bind_int64(stmt, 5, row->signal);
    sqlite3_bind_int64(stmt, 6, row->epoch);
    sqlite3_bind_int64(stmt, 7, row->worker);
    sql_bind_nonzero(stmt, 8, row->ended_us);
    sqlite3_bind_int64(stmt, 9, (int64_t)row->wall_us);
    sqlite3_bind_int64(stmt, 10, (int64_t)row->user_us);
    sqlite3_bind_int64(stmt, 11, (int64_t)row->system_us);
    sqlite3_bind_int64(stmt, 12, (int64_t)row->peak_kib);
    sqlite3_bind_int64(stmt, 13, (int64_t)row->result_bytes);
    sqlite3_bind_int64(stmt, 14, (int64_t)row->output_count);
    sqlite3_bind_int64(stmt, 15, (int64_t)row->output_bytes);
    if (row->detail.length == 0)
        sqlite3_bind_null(stmt, 16);
    else
        sql_bind_bytes(stmt, 16, row->detail);
    if (!row->has_result)
        sqlite3_bind_null(stmt, 17);
    else if (row->result.length == 0)
        sqlite3_bind_zeroblob(stmt, 17, 0);
    else
        sqlite3_bind_blob64(stmt, 17, row->result.data, row->result.length, SQLITE_STATIC);
}

int run_writer_attempt(struct run_writer *writer,
                       const struct record_row *row,
                       bool *fenced,
                       struct mf_error *error)
{
    *fenced = true;
    if (writer->epoch_over || row->epoch > writer->epoch ||
        final_set_has(&writer->finals, row->subtask))
        return 0;
    sqlite3_stmt *stmt = writer->stmts[STATEMENT_ATTEMPT];
    bind_attempt(stmt, row);
    if (run_statement(writer, STATEMENT_ATTEMPT, error) < 0)
        return -1;
    if (sqlite3_changes(writer->db) == 0)
        return 0;
    *fenced = false;
    if (row->state != RECORD_RETRIED && final_set_add(&writer->finals, row->subtask) < 0)
        return out_of_memory(writer, error);
    return 0;
}

/* What is not an attempt is not fenced silently: a master whose epoch is over has to know. */
static int refuse_over(struct run_writer *writer, struct mf_error *error)
{
    writer->can_retry = false;
    return mf_raise(error,
                    MF_ESETUP,
                    "another master has taken over the run of %s: this one stops",
                    writer->path);
}

static void bind_optional(sqlite3_stmt *stmt, int index, bool has, uint64_t value)
{
    if (has)
        sqlite3_bind_int64(stmt, index, (int64_t)value);
    else
        sqlite3_bind_null(stmt, index);
}

int run_writer_run(struct run_writer *writer, const struct record_run *run, struct mf_error *error)
{
    if (writer->epoch_over)
        return refuse_over(writer, error);
    sqlite3_stmt *stmt = writer->stmts[STATEMENT_RUN];
    sql_bind_string(stmt, 1, run->state);
    sql_bind_string(stmt, 2, run->reason);
    bind_optional(stmt, 3, run->has_total, run->total);
    bind_optional(stmt, 4, run->has_high_water, run->high_water);
    bind_optional(stmt, 5, run->has_counts, run->done);
    bind_optional(stmt, 6, run->has_counts, run->failed);
    bind_optional(stmt, 7, run->has_counts, run->dead);
    bind_optional(stmt, 8, run->has_counts, run->cancelled);
    bind_optional(stmt, 9, run->has_counts, run->retried);
    bind_optional(stmt, 10, run->has_counts, run->fenced);
    bind_optional(stmt, 11, run->has_counts, run->attempts);
    sql_bind_nonzero(stmt, 12, run->ended_us);
    sql_bind_string(stmt, 13, run->address);
    if (run_statement(writer, STATEMENT_RUN, error) < 0)
        return -1;
    if (run->outbox == NULL)
        return 0;
    stmt = writer->stmts[STATEMENT_OUTBOX];
    sql_bind_string(stmt, 1, run->outbox);
    sqlite3_bind_int64(stmt, 2, mf_wall_us());
    return run_statement(writer, STATEMENT_OUTBOX, error);
}

int run_writer_worker(struct run_writer *writer,
                      const struct record_worker *worker,
                      struct mf_error *error)
{
    if (writer->epoch_over)
        return refuse_over(writer, error);
    sqlite3_stmt *stmt = writer->stmts[STATEMENT_WORKER];
    sqlite3_bind_int64(stmt, 1, worker->id);
    sql_bind_string(stmt, 2, worker->state);
    sql_bind_string(stmt, 3, worker->host);
    sql_bind_string(stmt, 4, worker->system);
    sql_bind_string(stmt, 5, worker->version);
    sql_bind_string(stmt, 6, worker->folder);
    sql_bind_string(stmt, 7, worker->verified_by);
    sql_bind_nonzero(stmt, 8, worker->pid);
    sql_bind_nonzero(stmt, 9, worker->slots);
    sql_bind_nonzero(stmt, 10, worker->cpus);
    sql_bind_nonzero(stmt, 11, (int64_t)worker->memory_bytes);
    sql_bind_nonzero(stmt, 12, worker->launched_us);
    sql_bind_nonzero(stmt, 13, worker->joined_us);
    sql_bind_nonzero(stmt, 14, worker->ended_us);
    sql_bind_string(stmt, 15, worker->place);
    sql_bind_string(stmt, 16, worker->address);
    sql_bind_nonzero(stmt, 17, worker->port);
    return run_statement(writer, STATEMENT_WORKER, error);
}

int run_writer_event(struct run_writer *writer,
                     int64_t wall_us,
                     const char *kind,
                     uint32_t worker,
                     uint64_t subtask,
                     const char *text,
                     struct mf_error *error)
{
    if (writer->epoch_over)
        return refuse_over(writer, error);
    sqlite3_stmt *stmt = writer->stmts[STATEMENT_EVENT];
    sqlite3_bind_int64(stmt, 1, wall_us);
    sql_bind_string(stmt, 2, kind);
    sql_bind_nonzero(stmt, 3, worker);
    sql_bind_nonzero(stmt, 4, (int64_t)subtask);
    sql_bind_string(stmt, 5, text);
    return run_statement(writer, STATEMENT_EVENT, error);
}
