/* SPDX-License-Identifier: Apache-2.0 */
/* Dead messages, and messages that are taken away by hand. */
#include "master/queue/queue.h"

#include <string.h>

#include "master/queue/statements.h"
#include "master/record/sql.h"

/* What a source has set aside because it is too large (bridge.h) stays. */
#define THOSE                                                                                      \
    "queue = ?1 AND state = 'dead' AND (?2 = 0 OR id = ?2)"                                        \
    " AND length(body) <= (SELECT body_max FROM queue WHERE id = ?1)"

/* New rows, since the order is that of ids. The first of a group which comes back is held by what
 * is left of its group, the others by the first. */
static const char copy_sql[] =
    "INSERT INTO message(queue, state, arrived_us, claims, key, grp, held, cause, body)"
    " SELECT queue, 'ready', ?3, claims, key, grp,"
    "  grp IS NOT NULL AND (EXISTS (SELECT 1 FROM message AS n WHERE n.queue = ?1"
    "   AND n.grp = message.grp AND n.grp IS NOT NULL AND n.state <> 'dead')"
    "   OR row_number() OVER (PARTITION BY grp ORDER BY id) > 1),"
    "  cause, body"
    " FROM message WHERE " THOSE " ORDER BY id";
static const char count_sql[] =
    "UPDATE queue SET dead = dead - c.n, ready = ready + c.n, ready_bytes = ready_bytes + c.bytes"
    " FROM (SELECT count(*) AS n, ifnull(sum(length(body)), 0) AS bytes FROM message WHERE " THOSE
    ") AS c WHERE id = ?1";
static const char remove_sql[] = "DELETE FROM message WHERE " THOSE;

/* All that is ready goes, so that no group has one that would have to be let go. */
static const char purge_ready_sql[] = "DELETE FROM message WHERE queue = ?1 AND state = 'ready'";
static const char purge_dead_sql[] = "DELETE FROM message WHERE queue = ?1 AND state = 'dead'";
static const char none_ready_sql[] = "UPDATE queue SET ready = 0, ready_bytes = 0 WHERE id = ?1";
static const char none_dead_sql[] = "UPDATE queue SET dead = 0 WHERE id = ?1";

/* -1, or how many rows were changed. */
static int64_t run(struct queues *queues,
                   const char *sql,
                   int64_t queue,
                   int64_t id,
                   int64_t now_us,
                   struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, sql, error);
    if (stmt == NULL)
        return -1;
    int bound = sqlite3_bind_parameter_count(stmt);
    sqlite3_bind_int64(stmt, 1, queue);
    if (bound >= 2)
        sqlite3_bind_int64(stmt, 2, id);
    if (bound >= 3)
        sqlite3_bind_int64(stmt, 3, now_us);
    return queue_run(queues, stmt, error);
}

int queue_replay(struct queues *queues,
                 int64_t queue,
                 int64_t id,
                 int64_t now_us,
                 uint64_t *count,
                 struct mf_error *error)
{
    if (run(queues, count_sql, queue, id, now_us, error) < 0 ||
        run(queues, copy_sql, queue, id, now_us, error) < 0)
        return -1;
    int64_t removed = run(queues, remove_sql, queue, id, now_us, error);
    if (removed < 0)
        return -1;
    *count = (uint64_t)removed;
    return 0;
}

int queue_purge(struct queues *queues,
                int64_t queue,
                const char *state,
                uint64_t *count,
                struct mf_error *error)
{
    bool is_ready = strcmp(state, "ready") == 0;
    int64_t removed = run(queues, is_ready ? purge_ready_sql : purge_dead_sql, queue, 0, 0, error);
    if (removed < 0 ||
        run(queues, is_ready ? none_ready_sql : none_dead_sql, queue, 0, 0, error) < 0)
        return -1;
    *count = (uint64_t)removed;
    return 0;
}
