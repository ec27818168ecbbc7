/* SPDX-License-Identifier: Apache-2.0 */
/* One firing: see fire.h. */
#include "master/trigger/fire.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/crash.h"
#include "master/queue/statements.h"
#include "master/record/sql.h"

#define ID_TRIES 1000

static const char last_run_sql[] = "UPDATE trigger SET last_run = ?2 WHERE name = ?1";

void trigger_fired_fini(struct trigger_fired *fired)
{
    for (size_t i = 0; i < fired->count; i++)
        mf_free(fired->runs[i].trigger);
    mf_free(fired->runs);
    *fired = (struct trigger_fired){0};
}

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory: a firing");
}

int trigger_fired_add(struct trigger_fired *fired,
                      const char *run_id,
                      const char *trigger,
                      bool is_begun,
                      struct mf_error *error)
{
    struct trigger_run *more = mf_realloc(fired->runs, (fired->count + 1) * sizeof *more);
    if (more == NULL)
        return raise_memory(error);
    fired->runs = more;
    struct trigger_run *run = &more[fired->count];
    run->trigger = mf_strdup(trigger);
    if (run->trigger == NULL)
        return raise_memory(error);
    run->is_begun = is_begun;
    snprintf(run->run_id, sizeof run->run_id, "%s", run_id);
    fired->count++;
    return 0;
}

int trigger_fired_move(struct trigger_fired *to, struct trigger_fired *from, struct mf_error *error)
{
    if (from->count == 0)
        return 0;
    struct trigger_run *more = mf_realloc(to->runs, (to->count + from->count) * sizeof *more);
    if (more == NULL)
        return raise_memory(error);
    memcpy(more + to->count, from->runs, from->count * sizeof *more);
    to->runs = more;
    to->count += from->count;
    mf_free(from->runs);
    *from = (struct trigger_fired){0};
    return 0;
}

/* Whether an id is taken, by a firing or a folder: runs/ is beside queues.db. */
static int is_taken(struct queues *queues, const char *run_id, struct mf_error *error)
{
    struct firing firing;
    const char *slash = strrchr(queues->path, '/');
    char *folder = mf_format(
        "%.*s/runs/%s", slash == NULL ? 0 : (int)(slash - queues->path), queues->path, run_id);
    if (folder == NULL)
        return raise_memory(error);
    bool is_there = access(folder, F_OK) == 0;
    mf_free(folder);
    return is_there ? 1 : firing_find(queues, run_id, &firing, error);
}

static int make_id(struct queues *queues, const char *job, char *run_id, struct mf_error *error)
{
    for (int i = 0; i < ID_TRIES; i++) {
        run_id_make(job, RUN_ID_BY_TRIGGER, run_id);
        int rc = is_taken(queues, run_id, error);
        if (rc <= 0)
            return rc;
    }
    return mf_raise(error,
                    MF_ESYSTEM,
                    "no run id is left for job %s in this second: its trigger fires too often",
                    job);
}

/* Where the run of an event lies. */
struct event_folder {
    char *text;
};

static int read_folder(void *arg, const struct queue_message *message)
{
    struct event_folder *folder = arg;
    json_t *event = json_loadb((const char *)message->body.data, message->body.length, 0, NULL);
    const char *text = json_string_value(json_object_get(event, "folder"));
    if (text != NULL)
        folder->text = mf_strdup(text);
    json_decref(event);
    return 1;
}

static int
set_last_run(struct queues *queues, const char *trigger, const char *run_id, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, last_run_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, trigger);
    sql_bind_string(stmt, 2, run_id);
    return queue_run(queues, stmt, error) < 0 ? -1 : 0;
}

static int insert(struct queues *queues,
                  const struct trigger_row *row,
                  const struct fire *fire,
                  const char *run_id,
                  uint64_t messages,
                  struct mf_error *error)
{
    struct event_folder input = {0};
    if (row->kind == TRIGGER_AFTER && messages > 0 &&
        queue_claimed(queues, run_id, 0, 1, read_folder, &input, error) < 0)
        return -1;
    char *starter = firing_starter();
    const struct firing firing = {.run_id = run_id,
                                  .trigger = row->name,
                                  .queue = row->queue,
                                  .cause = fire->cause,
                                  .due_us = fire->due_us,
                                  .input = input.text,
                                  .made_us = fire->now_us,
                                  .starter = starter,
                                  .messages = messages};
    int rc = starter == NULL ? raise_memory(error) : firing_insert(queues, &firing, error);
    mf_free(starter);
    mf_free(input.text);
    return rc;
}

int trigger_fire_once(struct queues *queues,
                      const struct trigger_row *row,
                      const struct fire *fire,
                      struct trigger_fired *fired,
                      struct mf_error *error)
{
    char run_id[RUN_ID_SIZE];
    uint64_t messages = 0;
    if (make_id(queues, row->name, run_id, error) < 0)
        return -1;
    if (row->queue != 0) {
        if (queue_claim(queues, row->queue, run_id, row->batch_max, &messages, error) < 0)
            return -1;
        if (messages == 0)
            return 0;
    }
    if (insert(queues, row, fire, run_id, messages, error) < 0 ||
        set_last_run(queues, row->name, run_id, error) < 0)
        return -1;
    MF_CRASH(TRIGGER_BEFORE_COMMIT);
    return trigger_fired_add(fired, run_id, row->name, false, error) < 0 ? -1 : 1;
}

int trigger_is_ready(struct queues *queues, const struct trigger_row *row, struct mf_error *error)
{
    char *why;
    if (trigger_row_is_current(row, &why))
        return 1;
    int rc = why == NULL ? raise_memory(error) : trigger_row_note(queues, row->name, why, error);
    mf_free(why);
    return rc;
}
