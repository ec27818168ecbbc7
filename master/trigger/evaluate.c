/* SPDX-License-Identifier: Apache-2.0 */
/* Whether triggers fire: see evaluate.h. */
#include "master/trigger/evaluate.h"

#include <stdbool.h>

#include "common/alloc.h"

#include "master/queue/firing.h"
#include "master/queue/statements.h"
#include "master/record/sql.h"
#include "master/trigger/fire.h"
#include "master/trigger/row.h"

static const char waiting_sql[] = "UPDATE trigger SET waiting = waiting - 1 WHERE name = ?1";

struct evaluation {
    int64_t now_us;
    struct trigger_fired *fired;
};

/* After the clock was set back no message waits until it is again what it was when that came. */
static bool is_old(const struct trigger_row *row, const struct queue_info *queue, int64_t now_us)
{
    if (row->when_age_us == 0 || queue->oldest_us == 0)
        return false;
    return queue->oldest_us - FIRING_CLOCK_SLACK_US > now_us ||
           now_us - queue->oldest_us >= (int64_t)row->when_age_us;
}

/* What of `when` holds; NULL = nothing. */
static const char *
find_cause(const struct trigger_row *row, const struct queue_info *queue, int64_t now_us)
{
    if (queue->ready == 0)
        return NULL;
    if (row->kind == TRIGGER_AFTER)
        return "after";
    if (row->when_count > 0 && queue->ready >= row->when_count)
        return "count";
    if (row->when_bytes > 0 && queue->ready_bytes >= row->when_bytes)
        return "bytes";
    return is_old(row, queue, now_us) ? "age" : NULL;
}

/* Whether max_running leaves room: 1, 0, -1. */
static int has_room(struct queues *queues, const struct trigger_row *row, struct mf_error *error)
{
    uint64_t open;
    if (firing_count_open(queues, row->name, &open, error) < 0)
        return -1;
    return open < row->running_max;
}

/* One firing, if it is time for one: 1, 0, -1. */
static int evaluate_once(struct queues *queues,
                         const struct trigger_row *row,
                         const struct evaluation *evaluation,
                         struct mf_error *error)
{
    struct queue_info queue;
    int rc = queue_by_id(queues, row->queue, &queue, error);
    if (rc <= 0)
        return rc;
    const char *cause = find_cause(row, &queue, evaluation->now_us);
    if (cause == NULL || (rc = has_room(queues, row, error)) <= 0)
        return cause == NULL ? 0 : rc;
    if ((rc = trigger_is_ready(queues, row, error)) <= 0)
        return rc;
    const struct fire fire = {.cause = cause, .now_us = evaluation->now_us};
    return trigger_fire_once(queues, row, &fire, evaluation->fired, error);
}

/* Times that waited for a run of before (overlap: queue). */
static int release_waiting(struct queues *queues,
                           const struct trigger_row *row,
                           const struct evaluation *evaluation,
                           struct mf_error *error)
{
    const struct fire fire = {.cause = "cron", .now_us = evaluation->now_us};
    uint64_t open;
    int rc = row->waiting == 0 ? 0 : firing_count_open(queues, row->name, &open, error);
    if (row->waiting == 0 || rc < 0 || open > 0)
        return rc;
    if ((rc = trigger_is_ready(queues, row, error)) <= 0)
        return rc;
    sqlite3_stmt *stmt = queue_statement(queues, waiting_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, row->name);
    if (queue_run(queues, stmt, error) < 0)
        return -1;
    return trigger_fire_once(queues, row, &fire, evaluation->fired, error) < 0 ? -1 : 0;
}

static int
evaluate(void *arg, struct queues *queues, struct trigger_row *row, struct mf_error *error)
{
    const struct evaluation *evaluation = arg;
    int rc;
    if (firing_rests(row->not_before_us, evaluation->now_us))
        return 0;
    if (row->kind == TRIGGER_CRON)
        return release_waiting(queues, row, evaluation, error);
    while ((rc = evaluate_once(queues, row, evaluation, error)) == 1)
        continue;
    return rc;
}

int trigger_evaluate_queue(struct queues *queues,
                           int64_t queue,
                           int64_t now_us,
                           struct trigger_fired *fired,
                           struct mf_error *error)
{
    struct evaluation evaluation = {.now_us = now_us, .fired = fired};
    return trigger_row_each_of_queue(queues, queue, evaluate, &evaluation, error);
}

int trigger_evaluate_all(struct queues *queues,
                         int64_t now_us,
                         struct trigger_fired *fired,
                         struct mf_error *error)
{
    struct evaluation evaluation = {.now_us = now_us, .fired = fired};
    return trigger_row_each(queues, evaluate, &evaluation, error);
}

int trigger_fire(struct queues *queues,
                 const char *trigger,
                 int64_t now_us,
                 struct trigger_fired *fired,
                 struct mf_error *error)
{
    const struct fire fire = {.cause = "hand", .now_us = now_us};
    struct trigger_row row;
    char *why = NULL;
    int rc = trigger_row_find(queues, trigger, &row, error);
    if (rc == 0)
        rc = mf_raise(error,
                      MF_EUSAGE,
                      "there is no trigger of a job '%s': mayfly trigger list shows those that are "
                      "installed",
                      trigger);
    else if (rc == 1 && !trigger_row_is_current(&row, &why))
        rc = mf_raise(error, MF_EUSAGE, "%s", why == NULL ? "out of memory" : why);
    else if (rc == 1)
        rc = trigger_fire_once(queues, &row, &fire, fired, error);
    mf_free(why);
    trigger_row_fini(&row);
    return rc;
}
