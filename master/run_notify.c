/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What subscribers are told of a run, while it has a master: rows of the outbox, written with the
 * state that they tell of, and a session that delivers them. Nothing that goes wrong here harms the
 * run: it is logged, and what was not delivered stays in the outbox.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/utf8.h"
#include "master/notify/notify.h"
#include "master/notify/outbox.h"
#include "master/notify/outbox_json.h"
#include "master/record/run_db.h"
#include "master/run_folder.h"
#include "master/run_internal.h"
#include "master/summary.h"

static int event_of(enum run_state state)
{
    switch (state) {
    case RUN_SUCCEEDED:
        return NOTIFY_SUCCEEDED;
    case RUN_PARTIAL:
        return NOTIFY_PARTIAL;
    case RUN_FAILED:
        return NOTIFY_FAILED;
    case RUN_CANCELLED:
        return NOTIFY_CANCELLED;
    default:
        return 0;
    }
}

static uint64_t dead_letters(const struct run *run)
{
    struct schedule_counts counts = {0};
    if (run->schedule != NULL)
        schedule_counts(run->schedule, &counts);
    return run->base_failed + run->base_dead + counts.failed + counts.dead;
}

static void set_stamp(json_t *object, const char *key, int64_t wall_us)
{
    char stamp[MF_STAMP_SIZE];
    json_object_set_new(
        object, key, wall_us == 0 ? json_null() : json_string(mf_stamp(wall_us, stamp)));
}

static void set_path(json_t *object, const char *key, const struct run *run, const char *name)
{
    char *path = name == NULL ? NULL : run_path(run->folder, name);
    json_object_set_new(object, key, path == NULL ? json_null() : json_string(path));
    mf_free(path);
}

static json_t *subtasks(struct run *run)
{
    struct schedule_counts counts = {0};
    bool has_total = run->schedule != NULL && run_has_total(run);
    if (run->schedule != NULL)
        schedule_counts(run->schedule, &counts);
    uint64_t done = run->base_done + counts.done, failed = run->base_failed + counts.failed,
             dead = run->base_dead + counts.dead;
    return json_pack("{s:o, s:I, s:I, s:I, s:I}",
                     "total",
                     has_total ? json_integer((json_int_t)run_total(run)) : json_null(),
                     "done",
                     (json_int_t)done,
                     "failed",
                     (json_int_t)failed,
                     "dead",
                     (json_int_t)dead,
                     "cancelled",
                     (json_int_t)counts.cancelled);
}

/* What all subscribers of an event are told; docs/notifications.md has the keys. */
static json_t *make_payload(struct run *run, int event, const char *state, const char *reason)
{
    char host[256] = "", why[sizeof((struct mf_error *)NULL)->text] = "";
    bool is_end = event != NOTIFY_STARTED && event != NOTIFY_DEAD;
    bool has_result =
        (event == NOTIFY_SUCCEEDED || event == NOTIFY_PARTIAL) && run->job->gather != GATHER_NONE;
    /* It may quote what is no text (a path, what a command said), or be cut within a character. */
    if (reason != NULL)
        snprintf(why, sizeof why, "%s", reason);
    mf_utf8_mend(why);
    gethostname(host, sizeof host - 1);
    json_t *payload = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s*, s:o}",
                                "version",
                                1,
                                "event",
                                notify_event_name(event),
                                "run_id",
                                run->run_id,
                                "job",
                                run->job->name,
                                "state",
                                state,
                                "reason",
                                *why != '\0' ? why : NULL,
                                "subtasks",
                                subtasks(run));
    if (payload == NULL)
        return NULL;
    json_object_set_new(payload, "folder", json_string(run->folder));
    set_path(payload, "result", run, has_result ? "result" : NULL);
    set_stamp(payload, "started", run->stats.started_wall_us);
    set_stamp(payload, "ended", is_end ? mf_wall_us() : 0);
    json_object_set_new(payload, "host", json_string(host));
    return payload;
}

/* A row for subscriber i. */
static void add_row(const struct run *run, json_t *rows, size_t i, int event, json_t *payload)
{
    char target[NOTIFY_TARGET_SIZE];
    /* A resume goes on with what was told; a retry begins anew. */
    bool is_retry = run->again != NULL && !run->again->is_resume;
    json_array_append_new(
        rows,
        json_pack("{s:s, s:i, s:s, s:O, s:b}",
                  "event",
                  notify_event_name(event),
                  "subscriber",
                  (int)i + 1,
                  "target",
                  notify_target(&run->job->notify[i], target),
                  "payload",
                  payload,
                  "once",
                  (event == NOTIFY_STARTED || event == NOTIFY_DEAD) && !is_retry));
}

/* Rows of one event for all who want it (jansson's own); NULL: none. */
static char *make_rows(struct run *run, int event, const char *state, const char *reason)
{
    const struct job *job = run->job;
    json_t *rows = json_array(), *payload = NULL;
    char *text = NULL;
    for (size_t i = 0; i < job->notify_count; i++) {
        if ((job->notify[i].events & 1u << event) == 0)
            continue;
        if (payload == NULL)
            payload = make_payload(run, event, state, reason);
        if (payload != NULL)
            add_row(run, rows, i, event, payload);
    }
    if (json_array_size(rows) > 0)
        text = json_dumps(rows, JSON_COMPACT);
    if (payload != NULL && text == NULL)
        mf_log(MF_ERROR, "out of memory: notifications of %s", notify_event_name(event));
    json_decref(payload);
    json_decref(rows);
    return text;
}

char *run_notify_end_rows(struct run *run, enum run_state state, const char *reason)
{
    int event = event_of(state);
    if (run->job->notify_count == 0 || event == 0)
        return NULL;
    return make_rows(run, event, run_state_name(state), reason);
}

void run_notify_begin(struct run *run)
{
    struct mf_error error;
    run->has_outbox = run->job->notify_count > 0;
    if (!run->has_outbox)
        return;
    /* First of all: from the first row on, others can take over. */
    if (notify_register(run->run_id, &error) < 0)
        mf_log(MF_WARNING,
               "notifications are delivered by this master only, since the run cannot be noted in "
               "queues.db: %s",
               error.text);
    char *rows = make_rows(run, NOTIFY_STARTED, run_state_name(RUN_PLANNING), NULL);
    struct record_run row = {.outbox = rows};
    if (rows != NULL &&
        (record_run(run->recorder, &row, &error) < 0 || record_flush(run->recorder, &error) < 0))
        mf_log(MF_WARNING, "notifications: %s", error.text);
    free(rows); /* jansson's own */
    run->notify = notify_session_open(run->job, run->folder, run->run_id, &error);
    if (run->notify == NULL)
        mf_log(MF_WARNING, "notifications: %s", error.text);
}

/* A row behind what is queued, so that the session looks when that is committed. */
static void wake_when_committed(struct run *run)
{
    struct run_batch *batch = run_batch_take(run, 0);
    if (batch == NULL)
        return;
    batch->tells = true;
    run_batch_submit(run, batch);
}

/* Subscribers who want to hear of more than so many dead letters, and have not. */
static json_t *rows_of_dead(struct run *run, uint64_t letters)
{
    const struct job *job = run->job;
    json_t *rows = json_array();
    for (size_t i = 0; i < job->notify_count; i++) {
        const struct job_notify *to = &job->notify[i];
        if ((to->events & 1u << NOTIFY_DEAD) == 0 || letters <= to->dead_above ||
            (run->notify_dead & UINT32_C(1) << i) != 0)
            continue;
        run->notify_dead |= UINT32_C(1) << i;
        json_t *payload = make_payload(run, NOTIFY_DEAD, run_state_name(RUN_RUNNING), NULL);
        json_object_set_new(payload, "dead_letters", json_integer((json_int_t)letters));
        json_object_set_new(payload, "dead_above", json_integer((json_int_t)to->dead_above));
        if (payload != NULL)
            add_row(run, rows, i, NOTIFY_DEAD, payload);
        json_decref(payload);
    }
    return rows;
}

void run_notify_dead(struct run *run)
{
    struct mf_error error;
    uint64_t letters = run->job->notify_count == 0 ? 0 : dead_letters(run);
    if (letters == run->notify_letters)
        return;
    run->notify_letters = letters;
    json_t *rows = rows_of_dead(run, letters);
    if (json_array_size(rows) > 0) {
        char *text = json_dumps(rows, JSON_COMPACT);
        struct record_run row = {.outbox = text};
        if (text == NULL || record_run(run->recorder, &row, &error) < 0)
            mf_log(MF_ERROR, "out of memory: notifications of dead letters");
        else
            wake_when_committed(run);
        free(text); /* jansson's own */
    }
    json_decref(rows);
}

void run_notify_wake(struct run *run)
{
    if (run->notify != NULL)
        notify_session_wake(run->notify);
}

static json_t *read_outbox(const struct run *run, uint64_t *pending, struct mf_error *error)
{
    json_t *outbox = NULL;
    char *path = run_path(run->folder, "run.db");
    sqlite3 *db = path == NULL ? NULL : run_db_open(path, error);
    if (path == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    if (db != NULL)
        outbox = outbox_json(db, error);
    run_db_close(db);
    mf_free(path);
    *pending = (uint64_t)json_integer_value(json_object_get(outbox, "pending"));
    return outbox;
}

json_t *run_notify_end(struct run *run, bool is_final)
{
    struct mf_error error;
    uint64_t pending = 1;
    if (!run->has_outbox)
        return NULL;
    run->has_outbox = false;
    /* Who interrupts a run wants it to end; what waits is told by the next master or a sweep. */
    notify_session_end(run->notify, is_final ? notify_most_us() : 0, run->signal_fd);
    run->notify = NULL;
    json_t *outbox = read_outbox(run, &pending, &error);
    if (outbox == NULL || (pending == 0 && is_final && notify_unregister(run->run_id, &error) < 0))
        mf_log(MF_WARNING, "notifications: %s", error.text);
    size_t failed = json_array_size(json_object_get(outbox, "undelivered"));
    if (failed > 0)
        progress_say(run->progress,
                     "%zu notification%s not delivered: mayfly notify %s shows why",
                     failed,
                     failed == 1 ? " is" : "s are",
                     run->run_id);
    return outbox;
}

void run_notify_summary(struct run *run, json_t *summary, bool is_final)
{
    struct mf_error error;
    json_t *outbox = run_notify_end(run, is_final);
    if (outbox == NULL || summary == NULL) {
        json_decref(outbox);
        return;
    }
    json_object_set_new(summary, "notifications", outbox);
    if (run_summary_write(run, summary, &error) < 0)
        mf_log(MF_ERROR, "%s", error.text);
}
