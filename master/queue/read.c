/* SPDX-License-Identifier: Apache-2.0 */
/* Reading messages, one row at a time: bodies are large and many. */
#include "master/queue/read.h"

#include <string.h>

#include "master/queue/statements.h"
#include "master/record/sql.h"

/* What waits is in two orders, that of the messages which can be claimed and that of those held;
 * SQLite merges them. */
static const char ready_sql[] = "SELECT " QUEUE_MESSAGE_COLUMNS
                                " FROM message WHERE queue = ?1 AND state = 'ready' AND held = 0"
                                " UNION ALL"
                                " SELECT " QUEUE_MESSAGE_COLUMNS
                                " FROM message WHERE queue = ?1 AND state = 'ready' AND held = 1"
                                " ORDER BY id LIMIT ?2";
static const char dead_sql[] =
    "SELECT " QUEUE_MESSAGE_COLUMNS " FROM message WHERE queue = ?1 AND state = 'dead'"
    " ORDER BY id LIMIT ?2";
/* There is an index of those claimed by their runs: few enough to be sorted. */
static const char claimed_sql[] =
    "SELECT " QUEUE_MESSAGE_COLUMNS " FROM message WHERE id IN"
    " (SELECT id FROM message INDEXED BY message_run WHERE queue = ?1 AND state = 'claimed')"
    " ORDER BY id LIMIT ?2";

static const char *column_text(sqlite3_stmt *stmt, int column)
{
    return (const char *)sqlite3_column_text(stmt, column);
}

int queue_read_messages(struct queues *queues,
                        sqlite3_stmt *stmt,
                        queue_message_f *f,
                        void *arg,
                        struct mf_error *error)
{
    int rc;
    while ((rc = queue_step(queues, stmt, error)) == 1) {
        const void *body = sqlite3_column_blob(stmt, 9);
        struct queue_message message = {
            .id = sqlite3_column_int64(stmt, 0),
            .state = column_text(stmt, 1),
            .arrived_us = sqlite3_column_int64(stmt, 2),
            .claims = (uint64_t)sqlite3_column_int64(stmt, 3),
            .failures = (uint64_t)sqlite3_column_int64(stmt, 4),
            .key = column_text(stmt, 5),
            .group = column_text(stmt, 6),
            .run_id = column_text(stmt, 7),
            .cause = column_text(stmt, 8),
            .body = mf_bytes_of(body != NULL ? body : "", (size_t)sqlite3_column_bytes(stmt, 9)),
            .queue = sqlite3_column_int64(stmt, 10)};
        if (f(arg, &message) != 0) {
            sqlite3_reset(stmt);
            return 0;
        }
    }
    return rc;
}

int queue_peek(struct queues *queues,
               int64_t queue,
               const char *state,
               uint64_t most,
               queue_message_f *f,
               void *arg,
               struct mf_error *error)
{
    const char *sql = strcmp(state, "dead") == 0      ? dead_sql
                      : strcmp(state, "claimed") == 0 ? claimed_sql
                                                      : ready_sql;
    sqlite3_stmt *stmt = queue_statement(queues, sql, error);
    if (stmt == NULL)
        return -1;
    sqlite3_bind_int64(stmt, 1, queue);
    sqlite3_bind_int64(stmt, 2, most == 0 || most > INT64_MAX ? -1 : (int64_t)most);
    return queue_read_messages(queues, stmt, f, arg, error);
}
