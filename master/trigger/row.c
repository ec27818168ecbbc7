/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the rows of triggers: see row.h. install.c changes them. */
#include "master/trigger/row.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "master/queue/statements.h"
#include "master/record/sql.h"
#include "master/trigger/settings.h"

#define SELECT_ROW                                                                                 \
    "SELECT name, job_path, job_sha256, environment, kind, queue, settings, when_count,"           \
    " when_bytes, when_age_us, batch_max, running_max, after_job, after_state, watcher,"           \
    " installed_us, last_due_us, waiting, not_before_us, failed, last_run, last_error"             \
    " FROM trigger "

static const char find_sql[] = SELECT_ROW "WHERE name = ?1";
static const char each_sql[] = SELECT_ROW "ORDER BY name";
static const char of_queue_sql[] = SELECT_ROW
    "WHERE queue = ?1 OR queue IN (SELECT target FROM fan_out WHERE source = ?1) ORDER BY name";
static const char after_sql[] = SELECT_ROW "WHERE after_job = ?1 ORDER BY name";

void trigger_row_fini(struct trigger_row *row)
{
    char *texts[] = {row->name,
                     row->job_path,
                     row->job_sha256,
                     row->environment,
                     row->settings,
                     row->after_job,
                     row->after_state,
                     row->cron,
                     row->zone,
                     row->watcher,
                     row->last_run,
                     row->last_error};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        mf_free(texts[i]);
    *row = (struct trigger_row){0};
}

/* A text column on the heap, NULL for NULL; *is_short is set when memory is exhausted. */
static char *copy_text(sqlite3_stmt *stmt, int column, bool *is_short)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    char *copy = text == NULL ? NULL : mf_strdup(text);
    if (text != NULL && copy == NULL)
        *is_short = true;
    return copy;
}

static uint64_t number(sqlite3_stmt *stmt, int column)
{
    int64_t value = sqlite3_column_int64(stmt, column);
    return value < 0 ? 0 : (uint64_t)value;
}

static int read_row(sqlite3_stmt *stmt, struct trigger_row *row, struct mf_error *error)
{
    bool is_short = false;
    *row = (struct trigger_row){
        .name = copy_text(stmt, 0, &is_short),
        .job_path = copy_text(stmt, 1, &is_short),
        .job_sha256 = copy_text(stmt, 2, &is_short),
        .environment = copy_text(stmt, 3, &is_short),
        .kind = trigger_kind_of((const char *)sqlite3_column_text(stmt, 4)),
        .queue = sqlite3_column_int64(stmt, 5),
        .settings = copy_text(stmt, 6, &is_short),
        .when_count = number(stmt, 7),
        .when_bytes = number(stmt, 8),
        .when_age_us = number(stmt, 9),
        .batch_max = number(stmt, 10),
        .running_max = number(stmt, 11),
        .after_job = copy_text(stmt, 12, &is_short),
        .after_state = copy_text(stmt, 13, &is_short),
        .watcher = copy_text(stmt, 14, &is_short),
        .installed_us = sqlite3_column_int64(stmt, 15),
        .last_due_us = sqlite3_column_int64(stmt, 16),
        .waiting = number(stmt, 17),
        .not_before_us = sqlite3_column_int64(stmt, 18),
        .failed = number(stmt, 19),
        .last_run = copy_text(stmt, 20, &is_short),
        .last_error = copy_text(stmt, 21, &is_short),
    };
    if (is_short || row->name == NULL || row->settings == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the triggers");
    return trigger_settings_read(row->settings, row, error);
}

int trigger_row_find(struct queues *queues,
                     const char *name,
                     struct trigger_row *row,
                     struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, find_sql, error);
    *row = (struct trigger_row){0};
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, name);
    int rc = queue_step(queues, stmt, error);
    if (rc != 1)
        return rc;
    if (read_row(stmt, row, error) < 0) {
        trigger_row_fini(row);
        rc = -1;
    }
    sqlite3_reset(stmt);
    return rc;
}

struct rows {
    struct trigger_row *items;
    size_t count;
};

static void rows_fini(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        trigger_row_fini(&rows->items[i]);
    mf_free(rows->items);
}

static int add_row(struct rows *rows, sqlite3_stmt *stmt, struct mf_error *error)
{
    struct trigger_row *more = mf_realloc(rows->items, (rows->count + 1) * sizeof *more);
    if (more == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the triggers");
    rows->items = more;
    return read_row(stmt, &rows->items[rows->count++], error);
}

/* All rows that the statement yields, then f for each of them. */
static int
each(struct queues *queues, sqlite3_stmt *stmt, trigger_row_f *f, void *arg, struct mf_error *error)
{
    struct rows rows = {0};
    int rc;
    while ((rc = queue_step(queues, stmt, error)) == 1)
        if (add_row(&rows, stmt, error) < 0) {
            sqlite3_reset(stmt);
            rc = -1;
            break;
        }
    for (size_t i = 0; rc == 0 && i < rows.count; i++)
        rc = f(arg, queues, &rows.items[i], error);
    rows_fini(&rows);
    return rc;
}

int trigger_row_each(struct queues *queues, trigger_row_f *f, void *arg, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, each_sql, error);
    return stmt == NULL ? -1 : each(queues, stmt, f, arg, error);
}

int trigger_row_each_of_queue(
    struct queues *queues, int64_t queue, trigger_row_f *f, void *arg, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, of_queue_sql, error);
    if (stmt == NULL)
        return -1;
    sqlite3_bind_int64(stmt, 1, queue);
    return each(queues, stmt, f, arg, error);
}

int trigger_row_each_after(
    struct queues *queues, const char *job, trigger_row_f *f, void *arg, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, after_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, job);
    return each(queues, stmt, f, arg, error);
}
