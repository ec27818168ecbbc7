/* SPDX-License-Identifier: Apache-2.0 */
/* Final records: see outcome.h. One scan of the primary key; results are only read where they are
 * asked for. */
#include "master/commands/outcome.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "master/gather/gather.h"
#include "master/record/sql.h"

#define COLUMNS                                                                                    \
    "a.id, a.state, a.superseded, a.cause, a.exit_code, a.signal, a.epoch, a.worker, a.ended_us,"  \
    " a.wall_us, a.user_us, a.system_us, a.peak_kib, a.result_bytes, a.output_count,"              \
    " a.output_bytes, a.detail, a.result, w.host"

static struct mf_bytes column_bytes(sqlite3_stmt *stmt, int column)
{
    const void *data = sqlite3_column_blob(stmt, column);
    return mf_bytes_of(data, (size_t)sqlite3_column_bytes(stmt, column));
}

static const char *column_text(sqlite3_stmt *stmt, int column)
{
    const unsigned char *text = sqlite3_column_text(stmt, column);
    return text == NULL ? "" : (const char *)text;
}

static uint64_t column_count(sqlite3_stmt *stmt, int column)
{
    return (uint64_t)sqlite3_column_int64(stmt, column);
}

static void read_row(sqlite3_stmt *stmt, uint32_t attempts, struct outcome *outcome)
{
    int64_t id = sqlite3_column_int64(stmt, 0);
    *outcome = (struct outcome){.subtask = (uint64_t)id >> 16,
                                .attempt = (uint32_t)(id & 65535),
                                .attempts = attempts,
                                .state = column_text(stmt, 1),
                                .cause = column_text(stmt, 3),
                                .exit_code = sqlite3_column_int(stmt, 4),
                                .signal = sqlite3_column_int(stmt, 5),
                                .epoch = (uint32_t)sqlite3_column_int64(stmt, 6),
                                .worker = (uint32_t)sqlite3_column_int64(stmt, 7),
                                .ended_us = sqlite3_column_int64(stmt, 8),
                                .wall_us = sqlite3_column_int64(stmt, 9),
                                .user_us = sqlite3_column_int64(stmt, 10),
                                .system_us = sqlite3_column_int64(stmt, 11),
                                .peak_kib = sqlite3_column_int64(stmt, 12),
                                .result_bytes = column_count(stmt, 13),
                                .output_count = column_count(stmt, 14),
                                .output_bytes = column_count(stmt, 15),
                                .detail = column_bytes(stmt, 16),
                                .has_result = sqlite3_column_type(stmt, 17) != SQLITE_NULL,
                                .host = column_text(stmt, 18)};
    if (outcome->has_result)
        outcome->result = column_bytes(stmt, 17);
}

static int scan(sqlite3 *db,
                const char *path,
                sqlite3_stmt *stmt,
                const struct selection_range *range,
                outcome_f *f,
                void *arg,
                struct mf_error *error)
{
    uint64_t subtask = 0;
    uint32_t attempts = 0;
    int rc = SQLITE_ROW, result = 0;
    sqlite3_bind_int64(stmt, 1, (int64_t)(range->first << 16));
    sqlite3_bind_int64(stmt, 2, (int64_t)(range->last << 16 | 65535));
    while (result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct outcome outcome;
        uint64_t next = column_count(stmt, 0) >> 16;
        attempts = next == subtask ? attempts + 1 : 1;
        subtask = next;
        if (sqlite3_column_int(stmt, 2) != 0 || strcmp(column_text(stmt, 1), "retried") == 0)
            continue;
        read_row(stmt, attempts, &outcome);
        result = f(arg, &outcome, error);
    }
    if (result == 0 && rc != SQLITE_DONE)
        result = sql_raise(db, path, error);
    sqlite3_reset(stmt);
    return result;
}

int outcome_each(sqlite3 *db,
                 const char *path,
                 const struct selection *selection,
                 outcome_f *f,
                 void *arg,
                 struct mf_error *error)
{
    const struct selection_range all = {.first = 1, .last = SELECTION_SUBTASK_MAX};
    sqlite3_stmt *stmt = NULL;
    int result = 0;
    if (sql_prepare(db,
                    path,
                    "SELECT " COLUMNS " FROM attempt AS a LEFT JOIN worker AS w ON w.id = a.worker"
                    " WHERE a.id BETWEEN ?1 AND ?2 ORDER BY a.id",
                    &stmt,
                    error) < 0)
        return -1;
    if (selection->count == 0)
        result = scan(db, path, stmt, &all, f, arg, error);
    for (size_t i = 0; result == 0 && i < selection->count; i++)
        result = scan(db, path, stmt, &selection->ranges[i], f, arg, error);
    sqlite3_finalize(stmt);
    return result < 0 ? -1 : 0;
}

const char *outcome_why(const char *cause, int exit_code, int signal, char *out)
{
    const char *name = sigabbrev_np(signal);
    if (strcmp(cause, "exit") == 0)
        snprintf(out, 96, "exit code %d", exit_code);
    else if (strcmp(cause, "signal") == 0)
        snprintf(
            out, 96, "killed by signal %d (%s)", signal, name == NULL ? "without a name" : name);
    else if (strcmp(cause, "timeout") == 0)
        snprintf(out, 96, "ended at its time limit");
    else if (strcmp(cause, "poison") == 0)
        snprintf(out, 96, "its workers died too often");
    else
        snprintf(out, 96, "%.80s", cause);
    return out;
}

static void read_try(sqlite3_stmt *stmt, struct outcome_try *one)
{
    *one = (struct outcome_try){.attempt = (uint32_t)(sqlite3_column_int64(stmt, 0) & 65535),
                                .state = column_text(stmt, 1),
                                .superseded = sqlite3_column_int(stmt, 2) != 0,
                                .cause = column_text(stmt, 3),
                                .exit_code = sqlite3_column_int(stmt, 4),
                                .signal = sqlite3_column_int(stmt, 5),
                                .epoch = (uint32_t)sqlite3_column_int64(stmt, 6),
                                .worker = (uint32_t)sqlite3_column_int64(stmt, 7),
                                .ended_us = sqlite3_column_int64(stmt, 8),
                                .wall_us = sqlite3_column_int64(stmt, 9),
                                .detail = column_bytes(stmt, 10),
                                .host = column_text(stmt, 11)};
}

int outcome_each_try(const struct outcome_source *source,
                     uint64_t subtask,
                     outcome_try_f *f,
                     void *arg,
                     struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = SQLITE_ROW, result = 0;
    if (sql_prepare(source->db,
                    source->path,
                    "SELECT a.id, a.state, a.superseded, a.cause, a.exit_code, a.signal, a.epoch,"
                    " a.worker, a.ended_us, a.wall_us, a.detail, w.host"
                    " FROM attempt AS a LEFT JOIN worker AS w ON w.id = a.worker"
                    " WHERE a.id BETWEEN ?1 AND ?2 ORDER BY a.id",
                    &stmt,
                    error) < 0)
        return -1;
    sqlite3_bind_int64(stmt, 1, (int64_t)(subtask << 16));
    sqlite3_bind_int64(stmt, 2, (int64_t)(subtask << 16 | 65535));
    while (result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct outcome_try one;
        read_try(stmt, &one);
        result = f(arg, &one, error);
    }
    if (result == 0 && rc != SQLITE_DONE)
        result = sql_raise(source->db, source->path, error);
    sqlite3_finalize(stmt);
    return result < 0 ? -1 : 0;
}

int outcome_each_loss(const struct outcome_source *source,
                      uint64_t subtask,
                      outcome_loss_f *f,
                      void *arg,
                      struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = SQLITE_ROW, result = 0;
    if (sql_prepare(source->db,
                    source->path,
                    "SELECT e.worker, w.host FROM event AS e LEFT JOIN worker AS w"
                    " ON w.id = e.worker WHERE e.kind = 'lost' AND e.subtask = ?1 ORDER BY e.id",
                    &stmt,
                    error) < 0)
        return -1;
    sqlite3_bind_int64(stmt, 1, (int64_t)subtask);
    while (result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        result = f(arg, (uint32_t)sqlite3_column_int64(stmt, 0), column_text(stmt, 1), error);
    if (result == 0 && rc != SQLITE_DONE)
        result = sql_raise(source->db, source->path, error);
    sqlite3_finalize(stmt);
    return result < 0 ? -1 : 0;
}

static int
write_file_result(const struct outcome *outcome, const char *run_folder, struct mf_error *error)
{
    char path[4096], data[1 << 16];
    uint64_t written = 0;
    size_t got;
    FILE *file = fopen(gather_result_path(run_folder, outcome->subtask, path), "re");
    if (file == NULL)
        return mf_raise(error,
                        MF_EINPUT,
                        "cannot read the result of subtask %" PRIu64 ", %s: %s",
                        outcome->subtask,
                        path,
                        strerror(errno));
    while ((got = fread(data, 1, sizeof data, file)) > 0 && ferror(stdout) == 0)
        written += fwrite(data, 1, got, stdout);
    bool is_broken = ferror(file) != 0 || (ferror(stdout) == 0 && written != outcome->result_bytes);
    fclose(file);
    if (!is_broken)
        return 0;
    return mf_raise(error,
                    MF_EINPUT,
                    "the result of subtask %" PRIu64 " has changed: %s does not have the %" PRIu64
                    " bytes that were recorded",
                    outcome->subtask,
                    path,
                    outcome->result_bytes);
}

int outcome_write(const struct outcome *outcome, const char *run_folder, struct mf_error *error)
{
    if (!outcome->has_result && outcome->result_bytes > 0)
        return write_file_result(outcome, run_folder, error);
    if (outcome->result.length > 0)
        fwrite(outcome->result.data, 1, outcome->result.length, stdout);
    return 0;
}
