/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pushing. What could refuse a message is looked at before the first row is written, so that a
 * refused one leaves nothing behind in the caller's transaction.
 *
 * A de-duplication key is remembered in `seen`, longer than its message, so that a sender can push
 * again whatever it does not know the fate of.
 */
#include "master/queue/queue.h"

#include <inttypes.h>
#include <string.h>

#include "common/alloc.h"
#include "master/queue/bridge.h"
#include "master/queue/statements.h"
#include "master/record/sql.h"

/* A key whose time is over counts as new. */
static const char see_sql[] =
    "INSERT INTO seen(queue, key, until_us) VALUES(?1, ?2, ?3) ON CONFLICT(queue, key)"
    " DO UPDATE SET until_us = excluded.until_us WHERE until_us <= ?4";
static const char insert_sql[] =
    "INSERT INTO message(queue, state, arrived_us, key, body) VALUES(?1, 'ready', ?2, ?3, ?4)";
static const char insert_grouped_sql[] =
    "INSERT INTO message(queue, state, arrived_us, key, body, grp, held)"
    " VALUES(?1, 'ready', ?2, ?3, ?4, ?5,"
    " EXISTS (SELECT 1 FROM message WHERE queue = ?1 AND grp = ?5 AND state <> 'dead'))";
static const char count_sql[] =
    "UPDATE queue SET ready = ready + 1, ready_bytes = ready_bytes + ?2,"
    " pushed = pushed + 1 WHERE id = ?1";
static const char forget_sql[] =
    "DELETE FROM seen WHERE (queue, key) IN"
    " (SELECT queue, key FROM seen WHERE until_us <= ?1 ORDER BY until_us LIMIT 5000)";

/* The target of a fan-out needs no more than these. */
struct target {
    int64_t id;
    uint64_t key_us;
};

static int check_text(const struct queue_info *queue,
                      const char *what,
                      const char *text,
                      struct mf_error *error)
{
    size_t length = text == NULL ? 1 : strnlen(text, QUEUE_KEY_MAX + 1);
    if (length == 0)
        return mf_raise(error, MF_EUSAGE, "the %s is empty: leave it out", what);
    if (length <= QUEUE_KEY_MAX)
        return 0;
    return mf_raise(error,
                    MF_EUSAGE,
                    "the %s is longer than the %u bytes that queue \"%s\" takes",
                    what,
                    QUEUE_KEY_MAX,
                    queue->name);
}

static int check_message(const struct queue_info *queue,
                         const struct queue_message *message,
                         struct mf_error *error)
{
    if (message->body.length > queue->body_max)
        return mf_raise(error,
                        MF_EUSAGE,
                        "a body of %zu bytes is larger than the %" PRIu64
                        " bytes that queue \"%s\" takes",
                        message->body.length,
                        queue->body_max,
                        queue->name);
    if (check_text(queue, "key", message->key, error) < 0)
        return -1;
    return check_text(queue, "group", message->group, error);
}

/* Whether the key is new. */
static int see(struct queues *queues,
               struct target target,
               const char *key,
               int64_t now_us,
               struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, see_sql, error);
    if (stmt == NULL)
        return -1;
    int64_t until_us = target.key_us > (uint64_t)(INT64_MAX - now_us)
                           ? INT64_MAX
                           : now_us + (int64_t)target.key_us;
    sqlite3_bind_int64(stmt, 1, target.id);
    sql_bind_string(stmt, 2, key);
    sqlite3_bind_int64(stmt, 3, until_us);
    sqlite3_bind_int64(stmt, 4, now_us);
    int64_t changed = queue_run(queues, stmt, error);
    return changed < 0 ? -1 : changed > 0;
}

static int insert(struct queues *queues,
                  struct target target,
                  const struct queue_message *message,
                  int64_t now_us,
                  struct mf_error *error)
{
    bool is_grouped = message->group != NULL;
    sqlite3_stmt *stmt =
        queue_statement(queues, is_grouped ? insert_grouped_sql : insert_sql, error);
    sqlite3_stmt *count = queue_statement(queues, count_sql, error);
    if (stmt == NULL || count == NULL)
        return -1;
    struct mf_bytes body = message->body;
    sqlite3_bind_int64(stmt, 1, target.id);
    sqlite3_bind_int64(stmt, 2, now_us);
    sql_bind_string(stmt, 3, message->key);
    sqlite3_bind_blob64(
        stmt, 4, body.length == 0 ? "" : (const void *)body.data, body.length, SQLITE_STATIC);
    if (is_grouped)
        sql_bind_string(stmt, 5, message->group);
    if (queue_run(queues, stmt, error) < 0)
        return -1;
    sqlite3_bind_int64(count, 1, target.id);
    sqlite3_bind_int64(count, 2, (int64_t)body.length);
    return queue_run(queues, count, error) < 0 ? -1 : 0;
}

/* 1, or 0 when its key came before. */
static int push_one(struct queues *queues,
                    struct target target,
                    const struct queue_message *message,
                    int64_t now_us,
                    struct mf_error *error)
{
    int is_new = message->key == NULL ? 1 : see(queues, target, message->key, now_us, error);
    if (is_new == 1 && insert(queues, target, message, now_us, error) < 0)
        return -1;
    return is_new;
}

struct fan_out {
    const struct queue_message *message;
    struct target *targets;
    size_t count;
    struct mf_error *error;
    int rc;
};

static int add_target(void *arg, const struct queue_info *info)
{
    struct fan_out *fan_out = arg;
    struct target *more = mf_realloc(fan_out->targets, (fan_out->count + 1) * sizeof *more);
    if (more == NULL) {
        fan_out->rc = mf_raise(fan_out->error, MF_ENOMEM, "out of memory: a fan-out");
        return 1;
    }
    fan_out->targets = more;
    fan_out->targets[fan_out->count++] = (struct target){.id = info->id, .key_us = info->key_us};
    fan_out->rc = check_message(info, fan_out->message, fan_out->error);
    return fan_out->rc;
}

int queue_push(struct queues *queues,
               const struct queue_info *queue,
               const struct queue_message *message,
               int64_t now_us,
               struct mf_error *error)
{
    struct fan_out fan_out = {.message = message, .error = error};
    struct target own = {.id = queue->id, .key_us = queue->key_us};
    if (check_message(queue, message, error) < 0)
        return -1;
    if (queue->fan_out == 0)
        return push_one(queues, own, message, now_us, error);
    int rc = queue_each_target(queues, queue->id, add_target, &fan_out, error);
    if (rc == 0)
        rc = fan_out.rc;
    if (rc == 0)
        rc = push_one(queues, own, message, now_us, error);
    for (size_t i = 0; rc >= 0 && i < fan_out.count; i++)
        if (push_one(queues, fan_out.targets[i], message, now_us, error) < 0)
            rc = -1;
    mf_free(fan_out.targets);
    return rc;
}

int queue_see(struct queues *queues,
              const struct queue_info *queue,
              const char *key,
              int64_t now_us,
              struct mf_error *error)
{
    const struct target own = {.id = queue->id, .key_us = queue->key_us};
    return see(queues, own, key, now_us, error);
}

int queue_forget_keys(struct queues *queues, int64_t now_us, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, forget_sql, error);
    if (stmt == NULL)
        return -1;
    sqlite3_bind_int64(stmt, 1, now_us);
    return queue_run(queues, stmt, error) < 0 ? -1 : 0;
}
