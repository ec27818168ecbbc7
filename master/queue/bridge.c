/* SPDX-License-Identifier: Apache-2.0 */
/* What sources need: see bridge.h. */
#include "master/queue/bridge.h"

#include <string.h>

#include "master/queue/statements.h"
#include "master/record/sql.h"

static const char name_sql[] = "SELECT name FROM consumer";
static const char make_name_sql[] =
    "INSERT INTO consumer SELECT 'mayfly-' || lower(hex(randomblob(8)))"
    " WHERE NOT EXISTS (SELECT 1 FROM consumer)";
static const char insert_dead_sql[] =
    "INSERT INTO message(queue, state, arrived_us, key, cause, body)"
    " VALUES(?1, 'dead', ?2, ?3, ?4, ?5)";
static const char count_dead_sql[] =
    "UPDATE queue SET dead = dead + 1, pushed = pushed + 1 WHERE id = ?1";
static const char body_sql[] = "UPDATE message SET body = ?2 WHERE id = ?1 AND state = 'dead'";

int queues_consumer(struct queues *queues, char name[QUEUE_CONSUMER_SIZE], struct mf_error *error)
{
    sqlite3_stmt *make = queue_statement(queues, make_name_sql, error);
    sqlite3_stmt *find = queue_statement(queues, name_sql, error);
    if (make == NULL || find == NULL || queue_run(queues, make, error) < 0 ||
        queue_step(queues, find, error) < 0)
        return -1;
    sql_column_copy(find, 0, name, QUEUE_CONSUMER_SIZE);
    sqlite3_reset(find);
    return 0;
}

static void bind_body(sqlite3_stmt *stmt, int index, struct mf_bytes body)
{
    sqlite3_bind_blob64(
        stmt, index, body.length == 0 ? "" : (const void *)body.data, body.length, SQLITE_STATIC);
}

int queue_push_dead(struct queues *queues,
                    const struct queue_info *queue,
                    const struct queue_message *message,
                    int64_t now_us,
                    struct mf_error *error)
{
    sqlite3_stmt *insert = queue_statement(queues, insert_dead_sql, error);
    sqlite3_stmt *count = queue_statement(queues, count_dead_sql, error);
    if (insert == NULL || count == NULL)
        return -1;
    int is_new = message->key == NULL ? 1 : queue_see(queues, queue, message->key, now_us, error);
    if (is_new != 1)
        return is_new;
    sqlite3_bind_int64(insert, 1, queue->id);
    sqlite3_bind_int64(insert, 2, now_us);
    sql_bind_string(insert, 3, message->key);
    sql_bind_string(insert, 4, message->cause);
    bind_body(insert, 5, message->body);
    sqlite3_bind_int64(count, 1, queue->id);
    return queue_run(queues, insert, error) < 0 || queue_run(queues, count, error) < 0 ? -1 : 1;
}

int queue_set_body(struct queues *queues, int64_t id, struct mf_bytes body, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, body_sql, error);
    if (stmt == NULL)
        return -1;
    sqlite3_bind_int64(stmt, 1, id);
    bind_body(stmt, 2, body);
    return queue_run(queues, stmt, error) < 0 ? -1 : 0;
}
