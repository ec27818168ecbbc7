/* SPDX-License-Identifier: Apache-2.0 */
/* Triggers are registered, removed, and noted what is wrong with them: see row.h. */
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "master/queue/statements.h"
#include "master/record/sql.h"
#include "master/trigger/row.h"
#include "master/trigger/settings.h"

/* Of a trigger that is there already its history stays, and for what is due the times stand: those
 * that were missed meanwhile are made up for as the new job says. */
static const char install_sql[] =
    "INSERT INTO trigger(name, job_path, job_sha256, environment, kind, queue, settings,"
    " when_count, when_bytes, when_age_us, batch_max, running_max, after_job, after_state, watcher,"
    " installed_us, last_due_us)"
    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
    " ON CONFLICT(name) DO UPDATE SET job_path = excluded.job_path,"
    " job_sha256 = excluded.job_sha256, environment = excluded.environment, kind = excluded.kind,"
    " queue = excluded.queue, settings = excluded.settings, when_count = excluded.when_count,"
    " when_bytes = excluded.when_bytes, when_age_us = excluded.when_age_us,"
    " batch_max = excluded.batch_max, running_max = excluded.running_max,"
    " after_job = excluded.after_job, after_state = excluded.after_state,"
    " watcher = excluded.watcher, installed_us = excluded.installed_us,"
    " last_due_us = CASE WHEN json_extract(settings, '$.cron', '$.zone')"
    "   IS json_extract(excluded.settings, '$.cron', '$.zone') THEN last_due_us"
    "   ELSE excluded.last_due_us END,"
    " waiting = CASE WHEN kind = excluded.kind THEN waiting ELSE 0 END,"
    " not_before_us = NULL, failed = 0, last_error = NULL";
static const char remove_sql[] = "DELETE FROM trigger WHERE name = ?1";
static const char note_sql[] =
    "UPDATE trigger SET last_error = ?2 WHERE name = ?1 AND last_error IS NOT ?2";
/* The jobs that ?1 comes after, itself first. */
static const char cycle_sql[] =
    "WITH RECURSIVE chain(name) AS (SELECT ?1 UNION"
    " SELECT after_job FROM trigger JOIN chain USING (name) WHERE after_job IS NOT NULL)"
    " SELECT 1 FROM chain WHERE name = ?2";
static const char queue_sql[] = "SELECT id FROM queue WHERE name = ?1";

/* The id of a queue of that name: 1, 0 when there is none, -1. */
static int look_up(struct queues *queues, const char *name, int64_t *id, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, queue_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, name);
    int rc = queue_step(queues, stmt, error);
    if (rc == 1) {
        *id = sqlite3_column_int64(stmt, 0);
        sqlite3_reset(stmt);
    }
    return rc;
}

static void hidden_name(const char *trigger, char name[QUEUE_NAME_MAX + 32])
{
    snprintf(name, QUEUE_NAME_MAX + 32, TRIGGER_HIDDEN_QUEUE "%s", trigger);
}

/* The queue of a trigger of kind after, made if need be. An event that its run has failed with is
 * kept as a dead letter at once: the same event again is not likely to end otherwise. */
static int hidden_queue(
    struct queues *queues, const char *trigger, int64_t now_us, int64_t *id, struct mf_error *error)
{
    const struct queue_settings settings = {.claims_max = 1};
    char name[QUEUE_NAME_MAX + 32];
    hidden_name(trigger, name);
    int rc = look_up(queues, name, id, error);
    if (rc == 0)
        rc = queue_create(queues, name, &settings, now_us, id, error) < 0 ? -1 : 1;
    return rc < 0 ? -1 : 0;
}

static int find_queue(struct queues *queues,
                      const struct job *job,
                      int64_t now_us,
                      int64_t *id,
                      struct mf_error *error)
{
    struct queue_info info;
    *id = 0;
    if (job->trigger.kind == TRIGGER_AFTER)
        return hidden_queue(queues, job->name, now_us, id, error);
    if (job->trigger.kind != TRIGGER_QUEUE)
        return 0;
    if (queue_find(queues, job->trigger.queue, &info, error) < 0)
        return mf_error_prefix(error, "%s: trigger.queue", job->path);
    *id = info.id;
    return 0;
}

/* Jobs that start after each other never end. */
static int check_cycle(struct queues *queues, const struct job *job, struct mf_error *error)
{
    if (job->trigger.kind != TRIGGER_AFTER)
        return 0;
    sqlite3_stmt *stmt = queue_statement(queues, cycle_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, job->trigger.after);
    sql_bind_string(stmt, 2, job->name);
    int rc = queue_step(queues, stmt, error);
    sqlite3_reset(stmt);
    return rc <= 0
               ? rc
               : mf_raise(error,
                          MF_EUSAGE,
                          "%s: trigger.after: job '%s' itself starts after '%s' (mayfly trigger "
                          "list): they would start each other for ever",
                          job->path,
                          job->trigger.after,
                          job->name);
}

static int check(struct queues *queues,
                 const struct job *job,
                 const struct trigger_place *place,
                 enum trigger_kind *before,
                 struct mf_error *error)
{
    struct trigger_row row;
    if (job->trigger.kind == TRIGGER_NONE)
        return mf_raise(
            error,
            MF_EUSAGE,
            "%s: trigger: this key is missing, so nothing would ever start the job; for "
            "example 'trigger: {cron: \"0 2 * * *\"}'",
            job->path);
    if (check_cycle(queues, job, error) < 0)
        return -1;
    int rc = trigger_row_find(queues, job->name, &row, error);
    if (rc == 1 && !place->may_move && strcmp(row.job_path, place->job_path) != 0)
        rc = mf_raise(error,
                      MF_EUSAGE,
                      "%s: a job of the name '%s' is installed from %s: remove that one (mayfly "
                      "trigger remove %s), or give this one another name",
                      job->path,
                      job->name,
                      row.job_path,
                      job->name);
    *before = row.kind;
    trigger_row_fini(&row);
    return rc < 0 ? -1 : 0;
}

static void bind(sqlite3_stmt *stmt,
                 const struct job *job,
                 const struct trigger_place *place,
                 int64_t queue,
                 int64_t now_us)
{
    const struct job_trigger *trigger = &job->trigger;
    bool is_after = trigger->kind == TRIGGER_AFTER, is_cron = trigger->kind == TRIGGER_CRON;
    sql_bind_string(stmt, 1, job->name);
    sql_bind_string(stmt, 2, place->job_path);
    sql_bind_string(stmt, 4, place->environment);
    sql_bind_string(stmt, 5, trigger_kind_word(trigger->kind));
    sql_bind_nonzero(stmt, 6, queue);
    sql_bind_nonzero(stmt, 8, is_after ? 1 : is_cron ? 0 : (int64_t)trigger->when_count);
    sql_bind_nonzero(stmt, 9, (int64_t)trigger->when_bytes);
    sql_bind_nonzero(stmt, 10, (int64_t)trigger->when_age_us);
    sql_bind_nonzero(stmt, 11, is_after ? 1 : (int64_t)trigger->batch_max);
    sql_bind_nonzero(stmt, 12, (int64_t)trigger->running_max);
    sql_bind_string(stmt, 13, trigger->after);
    sql_bind_string(stmt, 14, is_after ? trigger_on_word(trigger->on) : NULL);
    sql_bind_string(stmt, 15, place->watcher);
    sqlite3_bind_int64(stmt, 16, now_us);
    sql_bind_nonzero(stmt, 17, is_cron ? now_us : 0);
}

/* The hidden queue goes with its trigger, unless a run has an event of it. */
static int
remove_hidden(struct queues *queues, const char *trigger, uint64_t *events, struct mf_error *error)
{
    struct queue_info info;
    char name[QUEUE_NAME_MAX + 32];
    int64_t id = 0;
    hidden_name(trigger, name);
    int rc = look_up(queues, name, &id, error);
    if (rc <= 0)
        return rc;
    if (queue_by_id(queues, id, &info, error) < 0 ||
        queue_purge(queues, id, "ready", events, error) < 0)
        return -1;
    return info.claimed > 0 ? 0 : queue_remove(queues, &info, error);
}

int trigger_row_install(struct queues *queues,
                        const struct job *job,
                        const struct trigger_place *place,
                        int64_t now_us,
                        struct mf_error *error)
{
    int64_t queue;
    uint64_t events;
    enum trigger_kind before;
    sqlite3_stmt *stmt = queue_statement(queues, install_sql, error);
    if (stmt == NULL || check(queues, job, place, &before, error) < 0 ||
        find_queue(queues, job, now_us, &queue, error) < 0)
        return -1;
    char *sum = trigger_file_sum(place->job_path, error),
         *settings = trigger_settings_write(&job->trigger, error);
    int rc = -1;
    if (sum != NULL && settings != NULL) {
        bind(stmt, job, place, queue, now_us);
        sql_bind_string(stmt, 3, sum);
        sql_bind_string(stmt, 7, settings);
        rc = queue_run(queues, stmt, error) < 0 ? -1 : 0;
    }
    if (rc == 0 && before == TRIGGER_AFTER && job->trigger.kind != TRIGGER_AFTER)
        rc = remove_hidden(queues, job->name, &events, error);
    mf_free(settings);
    mf_free(sum);
    return rc;
}

int trigger_row_remove(struct queues *queues,
                       const char *name,
                       uint64_t *events,
                       struct mf_error *error)
{
    uint64_t none;
    sqlite3_stmt *stmt = queue_statement(queues, remove_sql, error);
    if (events == NULL)
        events = &none;
    *events = 0;
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, name);
    int64_t removed = queue_run(queues, stmt, error);
    if (removed <= 0)
        return (int)removed;
    return remove_hidden(queues, name, events, error) < 0 ? -1 : 1;
}

int trigger_row_note(struct queues *queues,
                     const char *name,
                     const char *text,
                     struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, note_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, name);
    sql_bind_string(stmt, 2, text);
    return queue_run(queues, stmt, error) < 0 ? -1 : 0;
}
