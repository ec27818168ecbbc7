/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run has to do with its messages: it claims them, and they are gone, or ready again, or
 * dead. Each function is a few statements over all of them, within the caller's transaction.
 *
 * Invariants, together with push.c and dead.c: of the messages of a group that are not dead, the
 * first has held = 0 and all others, which are ready, have held = 1. So what can be claimed is what
 * is ready and not held, and a message that leaves its group (gone, dead) lets the next one go. A
 * message that is given back is still the first.
 */
#include "master/queue/queue.h"

#include "master/queue/read.h"
#include "master/queue/statements.h"
#include "master/record/sql.h"

#define OF_RUN "run_id = ?1 AND state = 'claimed'"
/* ... and of them one message, or all. */
#define RANGE OF_RUN " AND id BETWEEN ?2 AND ?3"
/* ... those that have failed too often. */
#define SPENT                                                                                      \
    RANGE " AND failures >= (SELECT claims_max FROM queue AS q WHERE q.id = message.queue)"

/* The next of each group whose first message is one of those. */
#define LET_GO(those)                                                                              \
    "UPDATE message SET held = 0 WHERE id IN"                                                      \
    " (SELECT (SELECT min(n.id) FROM message AS n WHERE n.queue = message.queue"                   \
    "    AND n.grp = message.grp AND n.grp IS NOT NULL AND n.state <> 'dead'"                      \
    "    AND n.id > message.id)"                                                                   \
    "  FROM message WHERE " those " AND grp IS NOT NULL)"

/* `changes` of a queue's counters, with `n` those messages of it, which have `bytes`. */
#define COUNT(changes, those)                                                                      \
    "UPDATE queue SET " changes " FROM (SELECT queue AS of, count(*) AS n,"                        \
    " sum(length(body)) AS bytes FROM message WHERE " those                                        \
    " GROUP BY queue) AS c WHERE id = c.of"

static const char claim_sql[] =
    "UPDATE message SET state = 'claimed', run_id = ?1, claims = claims + 1 WHERE id IN"
    " (SELECT id FROM message WHERE queue = ?2 AND state = 'ready' AND held = 0 ORDER BY id"
    "  LIMIT ?3) RETURNING length(body)";
static const char count_claimed_sql[] =
    "UPDATE queue SET ready = ready - ?2, ready_bytes = ready_bytes - ?3, claimed = claimed + ?2"
    " WHERE id = ?1";
static const char claimed_sql[] =
    "SELECT " QUEUE_MESSAGE_COLUMNS " FROM message WHERE " OF_RUN " AND id > ?2"
    " ORDER BY id LIMIT ?3";

static const char done_let_go_sql[] = LET_GO(OF_RUN);
static const char done_count_sql[] = COUNT("claimed = claimed - c.n, done = done + c.n", OF_RUN);
static const char done_sql[] = "DELETE FROM message WHERE " OF_RUN;

static const char blame_sql[] =
    "UPDATE message SET failures = failures + 1, cause = ?4 WHERE " RANGE;
static const char dead_let_go_sql[] = LET_GO(SPENT);
static const char dead_count_sql[] = COUNT("claimed = claimed - c.n, dead = dead + c.n", SPENT);
static const char dead_sql[] = "UPDATE message SET state = 'dead' WHERE " SPENT;

static const char back_count_sql[] = COUNT(
    "claimed = claimed - c.n, ready = ready + c.n, ready_bytes = ready_bytes + c.bytes", RANGE);
static const char back_sql[] = "UPDATE message SET state = 'ready', run_id = NULL WHERE " RANGE;

int queue_claim(struct queues *queues,
                int64_t queue,
                const char *run_id,
                uint64_t most,
                uint64_t *count,
                struct mf_error *error)
{
    sqlite3_stmt *claim = queue_statement(queues, claim_sql, error);
    sqlite3_stmt *change = queue_statement(queues, count_claimed_sql, error);
    if (claim == NULL || change == NULL)
        return -1;
    sql_bind_string(claim, 1, run_id);
    sqlite3_bind_int64(claim, 2, queue);
    sqlite3_bind_int64(claim, 3, most == 0 || most > INT64_MAX ? -1 : (int64_t)most);
    int64_t messages = 0, bytes = 0;
    int rc;
    while ((rc = queue_step(queues, claim, error)) == 1) {
        messages++;
        bytes += sqlite3_column_int64(claim, 0);
    }
    if (rc < 0)
        return -1;
    *count = (uint64_t)messages;
    if (messages == 0)
        return 0;
    sqlite3_bind_int64(change, 1, queue);
    sqlite3_bind_int64(change, 2, messages);
    sqlite3_bind_int64(change, 3, bytes);
    return queue_run(queues, change, error) < 0 ? -1 : 0;
}

int queue_claimed(struct queues *queues,
                  const char *run_id,
                  int64_t after_id,
                  uint64_t most,
                  queue_message_f *f,
                  void *arg,
                  struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, claimed_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, run_id);
    sqlite3_bind_int64(stmt, 2, after_id);
    sqlite3_bind_int64(stmt, 3, most == 0 || most > INT64_MAX ? -1 : (int64_t)most);
    return queue_read_messages(queues, stmt, f, arg, error);
}

/* Which messages a statement is about: of a run, from one id to another. */
struct those {
    const char *run_id;
    int64_t first, last;
    const char *cause;
};

/* -1, or how many rows were changed. */
static int64_t
run(struct queues *queues, const char *sql, const struct those *those, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, sql, error);
    if (stmt == NULL)
        return -1;
    int bound = sqlite3_bind_parameter_count(stmt);
    sql_bind_string(stmt, 1, those->run_id);
    if (bound >= 3) {
        sqlite3_bind_int64(stmt, 2, those->first);
        sqlite3_bind_int64(stmt, 3, those->last);
    }
    if (bound >= 4)
        sql_bind_string(stmt, 4, those->cause);
    return queue_run(queues, stmt, error);
}

int queue_done(struct queues *queues, const char *run_id, uint64_t *count, struct mf_error *error)
{
    struct those those = {.run_id = run_id};
    int64_t done = -1;
    if (run(queues, done_let_go_sql, &those, error) >= 0 &&
        run(queues, done_count_sql, &those, error) >= 0)
        done = run(queues, done_sql, &those, error);
    if (done >= 0)
        *count = (uint64_t)done;
    return done < 0 ? -1 : 0;
}

/* -1, or how many of them there were. */
static int64_t
give_back(struct queues *queues, const struct those *those, bool blame, struct mf_error *error)
{
    if (blame && run(queues, blame_sql, those, error) < 0)
        return -1;
    if (run(queues, dead_let_go_sql, those, error) < 0 ||
        run(queues, dead_count_sql, those, error) < 0)
        return -1;
    int64_t dead = run(queues, dead_sql, those, error);
    if (dead < 0 || run(queues, back_count_sql, those, error) < 0)
        return -1;
    int64_t back = run(queues, back_sql, those, error);
    return back < 0 ? -1 : dead + back;
}

int queue_fail(struct queues *queues,
               const char *run_id,
               int64_t id,
               const char *cause,
               struct mf_error *error)
{
    struct those those = {.run_id = run_id, .first = id, .last = id, .cause = cause};
    return (int)give_back(queues, &those, true, error);
}

int queue_give_back(struct queues *queues,
                    const char *run_id,
                    bool blame,
                    const char *cause,
                    uint64_t *count,
                    struct mf_error *error)
{
    struct those those = {.run_id = run_id, .first = 0, .last = INT64_MAX, .cause = cause};
    int64_t back = give_back(queues, &those, blame, error);
    if (back < 0)
        return -1;
    *count = (uint64_t)back;
    return 0;
}
