/* SPDX-License-Identifier: Apache-2.0 */
/* Runs whose outbox may not be empty: table outbox_run of queues.db. */
#include "common/alloc.h"
#include "master/notify/notify.h"
#include "master/queue/queue.h"
#include "master/record/sql.h"

static struct queues *open_queues(bool make, struct mf_error *error)
{
    struct queues *queues = NULL;
    char *path = queues_path(error);
    if (path != NULL && queues_open(path, make, &queues, error) == 0)
        mf_raise(error, MF_OK, "there is no %s", path);
    mf_free(path);
    return queues;
}

static int
change(struct queues *queues, const char *sql, const char *run_id, struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    if (queues_begin(queues, error) < 0)
        return -1;
    int rc = sql_prepare(queues->db, queues->path, sql, &stmt, error);
    if (rc == 0) {
        sql_bind_string(stmt, 1, run_id);
        rc = sql_run(queues->db, queues->path, stmt, error);
    }
    sqlite3_finalize(stmt);
    if (rc == 0)
        return queues_commit(queues, error);
    queues_rollback(queues);
    return -1;
}

int notify_register(const char *run_id, struct mf_error *error)
{
    struct queues *queues = open_queues(true, error);
    int rc =
        queues == NULL
            ? -1
            : change(queues, "INSERT OR IGNORE INTO outbox_run(run_id) VALUES(?)", run_id, error);
    queues_close(queues);
    return rc;
}

int notify_unregister(const char *run_id, struct mf_error *error)
{
    struct mf_error own = {0};
    struct queues *queues = open_queues(false, &own);
    int rc = queues != NULL
                 ? change(queues, "DELETE FROM outbox_run WHERE run_id = ?", run_id, &own)
             : own.code == MF_OK ? 0
                                 : -1;
    queues_close(queues);
    if (rc < 0 && error != NULL)
        *error = own;
    return rc;
}

static char **list(struct queues *queues, size_t *count, struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    char **ids = mf_calloc(1, sizeof *ids), **more;
    int rc = ids == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: runs")
                         : sql_prepare(queues->db,
                                       queues->path,
                                       "SELECT run_id FROM outbox_run ORDER BY run_id",
                                       &stmt,
                                       error);
    while (rc == 0 && sqlite3_step(stmt) == SQLITE_ROW) {
        char *id = mf_strdup((const char *)sqlite3_column_text(stmt, 0));
        more = mf_realloc(ids, (*count + 2) * sizeof *ids);
        ids = more == NULL ? ids : more;
        if (more == NULL || id == NULL) {
            mf_free(id);
            rc = mf_raise(error, MF_ENOMEM, "out of memory: runs");
            break;
        }
        ids[(*count)++] = id;
    }
    sqlite3_finalize(stmt);
    if (rc == 0)
        return ids;
    notify_registered_free(ids, *count);
    return NULL;
}

char **notify_registered(size_t *count, struct mf_error *error)
{
    struct mf_error own = {0};
    struct queues *queues = open_queues(false, &own);
    char **ids = NULL;
    *count = 0;
    if (queues != NULL)
        ids = list(queues, count, &own);
    else if (own.code == MF_OK && (ids = mf_calloc(1, sizeof *ids)) == NULL)
        mf_raise(&own, MF_ENOMEM, "out of memory: runs");
    queues_close(queues);
    if (ids == NULL && error != NULL)
        *error = own;
    return ids;
}

void notify_registered_free(char **run_ids, size_t count)
{
    for (size_t i = 0; run_ids != NULL && i < count; i++)
        mf_free(run_ids[i]);
    mf_free(run_ids);
}
