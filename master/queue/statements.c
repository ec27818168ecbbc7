/* SPDX-License-Identifier: Apache-2.0 */
/* Statements that are kept: see statements.h. There are some dozens, so they are simply looked
 * through. */
#include "master/queue/statements.h"

#include "common/alloc.h"
#include "master/record/sql.h"

struct kept {
    const char *sql;
    sqlite3_stmt *stmt;
};

struct queue_statements {
    struct kept *kept;
    size_t count, capacity;
    struct mf_buffer scratch;
};

struct queue_statements *queue_statements_create(void)
{
    return mf_calloc(1, sizeof(struct queue_statements));
}

void queue_statements_destroy(struct queue_statements *statements)
{
    if (statements == NULL)
        return;
    for (size_t i = 0; i < statements->count; i++)
        sqlite3_finalize(statements->kept[i].stmt);
    mf_buffer_fini(&statements->scratch);
    mf_free(statements->kept);
    mf_free(statements);
}

static int make_room(struct queue_statements *statements, struct mf_error *error)
{
    if (statements->count < statements->capacity)
        return 0;
    size_t capacity = statements->capacity == 0 ? 16 : 2 * statements->capacity;
    struct kept *more = mf_realloc(statements->kept, capacity * sizeof *more);
    if (more == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the statements on queues");
    statements->kept = more;
    statements->capacity = capacity;
    return 0;
}

sqlite3_stmt *queue_statement(struct queues *queues, const char *sql, struct mf_error *error)
{
    struct queue_statements *statements = queues->statements;
    for (size_t i = 0; i < statements->count; i++)
        if (statements->kept[i].sql == sql)
            return statements->kept[i].stmt;
    struct kept kept = {.sql = sql};
    if (make_room(statements, error) < 0 ||
        sql_prepare(queues->db, queues->path, sql, &kept.stmt, error) < 0)
        return NULL;
    statements->kept[statements->count++] = kept;
    return kept.stmt;
}

int queue_step(struct queues *queues, sqlite3_stmt *stmt, struct mf_error *error)
{
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        return 1;
    int result = rc == SQLITE_DONE ? 0 : sql_raise(queues->db, queues->path, error);
    sqlite3_reset(stmt);
    return result;
}

int64_t queue_run(struct queues *queues, sqlite3_stmt *stmt, struct mf_error *error)
{
    int rc;
    while ((rc = queue_step(queues, stmt, error)) == 1)
        continue;
    return rc < 0 ? -1 : sqlite3_changes64(queues->db);
}

struct mf_buffer *queue_scratch(struct queues *queues)
{
    return &queues->statements->scratch;
}
