/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox: see outbox.h. */
#include "master/notify/outbox.h"

#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "master/record/run_file.h"
#include "master/record/sql.h"

#define COLUMNS                                                                                    \
    "id, event, subscriber, target, payload, state, attempts, made_us, next_us, delivered_us,"     \
    " last_error"
#define HAS_TABLE "SELECT count(*) FROM sqlite_master WHERE name = 'notification'"

struct outbox {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *next, *note;
    char *event, *target, *payload; /* of the row that was given out last */
};

static void read_row(sqlite3_stmt *stmt, struct outbox_row *row)
{
    *row = (struct outbox_row){.id = sqlite3_column_int64(stmt, 0),
                               .event = (const char *)sqlite3_column_text(stmt, 1),
                               .subscriber = sqlite3_column_int64(stmt, 2),
                               .target = (const char *)sqlite3_column_text(stmt, 3),
                               .payload = (const char *)sqlite3_column_text(stmt, 4),
                               .state = (const char *)sqlite3_column_text(stmt, 5),
                               .attempts = sqlite3_column_int64(stmt, 6),
                               .made_us = sqlite3_column_int64(stmt, 7),
                               .next_us = sqlite3_column_int64(stmt, 8),
                               .delivered_us = sqlite3_column_int64(stmt, 9),
                               .last_error = (const char *)sqlite3_column_text(stmt, 10)};
}

static int open_db(struct outbox *outbox, struct mf_error *error)
{
    int64_t has_table = 0;
    outbox->db = run_file_open(outbox->path, SQLITE_OPEN_READWRITE, error);
    if (outbox->db == NULL)
        return -1;
    int is_made = run_file_check(outbox->db, outbox->path, error);
    if (is_made < 0 ||
        (is_made > 0 && sql_integer(outbox->db, outbox->path, HAS_TABLE, &has_table, error) < 0))
        return -1;
    if (has_table == 0)
        return mf_raise(error,
                        MF_EINPUT,
                        "%s has no outbox: it was written by a mayfly without notifications",
                        outbox->path);
    if (sql_prepare(outbox->db,
                    outbox->path,
                    "SELECT " COLUMNS " FROM notification WHERE subscriber = ? AND state = "
                    "'pending' ORDER BY id LIMIT 1",
                    &outbox->next,
                    error) < 0)
        return -1;
    return sql_prepare(outbox->db,
                       outbox->path,
                       "UPDATE notification SET attempts = attempts + 1, state = ?2,"
                       " next_us = ?3, last_error = ?4, delivered_us = ?5 WHERE id = ?1",
                       &outbox->note,
                       error);
}

struct outbox *outbox_open(const char *folder, struct mf_error *error)
{
    struct outbox *outbox = mf_calloc(1, sizeof *outbox);
    if (outbox == NULL || (outbox->path = mf_format("%s/run.db", folder)) == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: an outbox");
    else if (open_db(outbox, error) == 0)
        return outbox;
    outbox_close(outbox);
    return NULL;
}

static void drop_texts(struct outbox *outbox)
{
    mf_free(outbox->event);
    mf_free(outbox->target);
    mf_free(outbox->payload);
    outbox->event = outbox->target = outbox->payload = NULL;
}

/* The row outlives its statement: a read that stays open would hold up who writes. */
static int keep_texts(struct outbox *outbox, struct outbox_row *row, struct mf_error *error)
{
    drop_texts(outbox);
    outbox->event = mf_strdup(row->event == NULL ? "" : row->event);
    outbox->target = mf_strdup(row->target == NULL ? "" : row->target);
    outbox->payload = mf_strdup(row->payload == NULL ? "" : row->payload);
    row->event = outbox->event;
    row->target = outbox->target;
    row->payload = outbox->payload;
    row->state = "pending";
    row->last_error = NULL;
    return row->event != NULL && row->target != NULL && row->payload != NULL
               ? 1
               : mf_raise(error, MF_ENOMEM, "out of memory: a notification");
}

void outbox_close(struct outbox *outbox)
{
    if (outbox == NULL)
        return;
    drop_texts(outbox);
    sqlite3_finalize(outbox->next);
    sqlite3_finalize(outbox->note);
    sqlite3_close(outbox->db);
    mf_free(outbox->path);
    mf_free(outbox);
}

int outbox_next(struct outbox *outbox,
                int64_t subscriber,
                struct outbox_row *row,
                struct mf_error *error)
{
    sqlite3_bind_int64(outbox->next, 1, subscriber);
    int rc = sqlite3_step(outbox->next);
    if (rc == SQLITE_ROW)
        read_row(outbox->next, row);
    rc = rc == SQLITE_ROW    ? keep_texts(outbox, row, error)
         : rc == SQLITE_DONE ? 0
                             : sql_raise(outbox->db, outbox->path, error);
    sqlite3_reset(outbox->next);
    return rc;
}

int outbox_note(struct outbox *outbox,
                int64_t id,
                const char *state,
                int64_t now_us,
                int64_t next_us,
                const char *text,
                struct mf_error *error)
{
    sqlite3_bind_int64(outbox->note, 1, id);
    sql_bind_string(outbox->note, 2, state);
    sql_bind_nonzero(outbox->note, 3, next_us);
    sql_bind_string(outbox->note, 4, text);
    sql_bind_nonzero(outbox->note, 5, strcmp(state, "delivered") == 0 ? now_us : 0);
    return sql_run(outbox->db, outbox->path, outbox->note, error);
}

int outbox_again(struct outbox *outbox, int64_t id, uint64_t *count, struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    if (sql_prepare(outbox->db,
                    outbox->path,
                    "UPDATE notification SET state = 'pending', next_us = NULL"
                    " WHERE id = ?1 OR (?1 = 0 AND state <> 'delivered')",
                    &stmt,
                    error) < 0)
        return -1;
    sqlite3_bind_int64(stmt, 1, id);
    int rc = sql_run(outbox->db, outbox->path, stmt, error);
    *count = (uint64_t)sqlite3_changes64(outbox->db);
    sqlite3_finalize(stmt);
    return rc;
}

static const char *path_of(sqlite3 *db)
{
    const char *path = sqlite3_db_filename(db, "main");
    return path != NULL && *path != '\0' ? path : "run.db";
}

int outbox_each(sqlite3 *db, outbox_each_f *f, void *arg, struct mf_error *error)
{
    const char *path = path_of(db);
    sqlite3_stmt *stmt = NULL;
    struct outbox_row row;
    int64_t has_table;
    int rc = SQLITE_ROW, result = 0;
    if (sql_integer(db, path, HAS_TABLE, &has_table, error) < 0)
        return -1;
    if (has_table == 0)
        return 0;
    if (sql_prepare(db, path, "SELECT " COLUMNS " FROM notification ORDER BY id", &stmt, error) < 0)
        return -1;
    while (result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        read_row(stmt, &row);
        result = f(arg, &row);
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) {
        sql_raise(db, path, error);
        result = -1;
    }
    sqlite3_finalize(stmt);
    return result < 0 ? -1 : 0;
}

static int count_row(void *arg, const struct outbox_row *row)
{
    struct outbox_counts *counts = arg;
    counts->delivered += strcmp(row->state, "delivered") == 0;
    counts->pending += strcmp(row->state, "pending") == 0;
    counts->failed += strcmp(row->state, "failed") == 0;
    return 0;
}

int outbox_count(sqlite3 *db, struct outbox_counts *counts, struct mf_error *error)
{
    *counts = (struct outbox_counts){0};
    return outbox_each(db, count_row, counts, error);
}
