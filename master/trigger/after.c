/* SPDX-License-Identifier: Apache-2.0 */
/* Chains: see after.h. */
#include "master/trigger/after.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "master/queue/firing.h"
#include "master/queue/statements.h"
#include "master/record/sql.h"
#include "master/trigger/row.h"

/* A run by hand may end several times: a retry makes it open again. */
static const char begin_sql[] =
    "INSERT INTO firing(run_id, cause, made_us, starter, state) VALUES(?1, 'hand', ?2, ?3, 'open')"
    " ON CONFLICT(run_id) DO UPDATE SET state = 'open', starter = excluded.starter,"
    " ended_us = NULL, text = NULL WHERE state <> 'open'";

/* Whether a run that ended in `state` concerns a trigger that waits for `on`. */
static bool concerns(const char *on, const char *state)
{
    bool is_success = strcmp(state, "succeeded") == 0 || strcmp(state, "partial") == 0;
    bool is_failure = strcmp(state, "failed") == 0 || strcmp(state, "cancelled") == 0;
    if (strcmp(on, "success") == 0)
        return is_success;
    return strcmp(on, "failure") == 0 ? is_failure : is_success || is_failure;
}

static char *write_event(const struct after_event *event)
{
    json_t *object = json_object();
    json_t *result = event->result == NULL ? json_null() : json_string(event->result);
    int rc = json_object_set_new(object, "run_id", json_string(event->run_id)) |
             json_object_set_new(object, "job", json_string(event->job)) |
             json_object_set_new(object, "state", json_string(event->state)) |
             json_object_set_new(object, "folder", json_string(event->folder)) |
             json_object_set_new(object, "result", result);
    char *dumped = rc == 0 ? json_dumps(object, JSON_COMPACT) : NULL;
    char *text = dumped == NULL ? NULL : mf_strdup(dumped);
    free(dumped); /* jansson's own */
    json_decref(object);
    return text;
}

struct chain {
    const struct after_event *event;
    const char *body, *key;
    int64_t now_us;
    struct trigger_fired *fired;
};

static int
push_to(void *arg, struct queues *queues, struct trigger_row *row, struct mf_error *error)
{
    const struct chain *chain = arg;
    const struct queue_message message = {.key = chain->key, .body = mf_bytes_text(chain->body)};
    struct queue_info queue;
    if (row->after_state == NULL || !concerns(row->after_state, chain->event->state))
        return 0;
    int rc = queue_by_id(queues, row->queue, &queue, error);
    if (rc == 1)
        rc = queue_push(queues, &queue, &message, chain->now_us, error);
    if (rc == 1)
        rc = trigger_evaluate_queue(queues, row->queue, chain->now_us, chain->fired, error);
    return rc < 0 ? -1 : 0;
}

int after_push(struct queues *queues,
               const struct after_event *event,
               int64_t now_us,
               struct trigger_fired *fired,
               struct mf_error *error)
{
    char *body = write_event(event), *key = mf_format("%s.%u", event->run_id, event->epoch);
    struct chain chain = {
        .event = event, .body = body, .key = key, .now_us = now_us, .fired = fired};
    int rc = body == NULL || key == NULL
                 ? mf_raise(error, MF_ENOMEM, "out of memory: the event of a run's end")
                 : trigger_row_each_after(queues, event->job, push_to, &chain, error);
    mf_free(key);
    mf_free(body);
    return rc;
}

static int
note_one(void *arg, struct queues *queues, struct trigger_row *row, struct mf_error *error)
{
    (void)queues;
    (void)row;
    (void)error;
    *(bool *)arg = true;
    return 0;
}

int after_is_awaited(struct queues *queues, const char *job, struct mf_error *error)
{
    bool is_awaited = false;
    int rc = trigger_row_each_after(queues, job, note_one, &is_awaited, error);
    return rc < 0 ? -1 : is_awaited;
}

int after_begin(struct queues *queues,
                const char *run_id,
                const char *job,
                int64_t now_us,
                struct mf_error *error)
{
    int is_awaited = after_is_awaited(queues, job, error);
    if (is_awaited <= 0)
        return is_awaited;
    sqlite3_stmt *stmt = queue_statement(queues, begin_sql, error);
    if (stmt == NULL)
        return -1;
    char *starter = firing_starter();
    if (starter == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a firing");
    sql_bind_string(stmt, 1, run_id);
    sqlite3_bind_int64(stmt, 2, now_us);
    sql_bind_string(stmt, 3, starter);
    int64_t changed = queue_run(queues, stmt, error);
    mf_free(starter);
    return changed < 0 ? -1 : 1;
}
