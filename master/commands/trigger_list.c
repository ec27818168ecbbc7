/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly trigger list: what is installed, what it waits for, how much of that is there, and what
 * became of the last run. What keeps a trigger from firing is said below the table.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/commands/table.h"
#include "master/commands/text.h"
#include "master/commands/trigger.h"
#include "master/queue/firing.h"
#include "master/run_folder.h"
#include "master/trigger/due.h"
#include "master/trigger/settings.h"

static const struct argp_option options[] = {
    {"json", 'J', NULL, 0, "Write a JSON array, an object a trigger", 0}, {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    bool *json = state->input;
    if (key != 'J')
        return command_no_arguments(key, text, state);
    *json = true;
    return 0;
}

/* A trigger and how it stands. */
struct standing {
    const struct trigger_row *row;
    struct queue_info queue; /* of kinds queue and after */
    uint64_t open;           /* its runs that are not over */
    char state[24];          /* of the last run; "" = there was none */
    int64_t next_us;         /* when it fires by itself; 0 = that is not known */
    char *error;             /* what keeps it from firing, or kept the last run; NULL = nothing */
};

struct listing {
    struct table *table; /* NULL: JSON */
    json_t *array;
    int64_t now_us;
    uint64_t count;
    struct mf_buffer errors;
};

/* The state of the last run: of its firing, or whether somebody works on it. */
static int look_at_run(struct queues *queues, struct standing *standing, struct mf_error *error)
{
    struct firing firing;
    if (standing->row->last_run == NULL)
        return 0;
    int rc = firing_find(queues, standing->row->last_run, &firing, error);
    if (rc <= 0)
        return rc;
    if (strcmp(firing.state, "open") != 0) {
        snprintf(standing->state, sizeof standing->state, "%s", firing.state);
        return 0;
    }
    char *folder = run_folder_path(firing.run_id, error);
    if (folder == NULL)
        return -1;
    bool is_live = run_folder_is_live(folder);
    mf_free(folder);
    snprintf(standing->state,
             sizeof standing->state,
             "%s",
             is_live                                ? "running"
             : firing_starter_lives(firing.starter) ? "starting"
                                                    : "waits for tick");
    return 0;
}

/* When the oldest message is old enough, or the rest after a failure is over. */
static void look_at_queue(struct standing *standing)
{
    const struct trigger_row *row = standing->row;
    if (row->when_age_us > 0 && standing->queue.oldest_us > 0)
        standing->next_us = standing->queue.oldest_us + (int64_t)row->when_age_us;
    if (row->not_before_us > standing->next_us && standing->queue.ready > 0)
        standing->next_us = row->not_before_us;
}

static int look_at_clock(struct standing *standing, int64_t now_us, char **why)
{
    struct mf_error error;
    if (due_next(standing->row, now_us, &standing->next_us, &error) >= 0)
        return 0;
    *why = mf_strdup(error.text);
    return *why == NULL ? -1 : 0;
}

static int look(struct queues *queues,
                const struct trigger_row *row,
                int64_t now_us,
                struct standing *standing,
                struct mf_error *error)
{
    char *why = NULL;
    *standing = (struct standing){.row = row};
    if (firing_count_open(queues, row->name, &standing->open, error) < 0 ||
        look_at_run(queues, standing, error) < 0)
        return -1;
    if (row->queue != 0 && queue_by_id(queues, row->queue, &standing->queue, error) < 0)
        return -1;
    if (row->queue != 0)
        look_at_queue(standing);
    if (!trigger_row_is_current(row, &why))
        standing->error = why;
    else if (row->kind == TRIGGER_CRON && look_at_clock(standing, now_us, &standing->error) < 0)
        return mf_raise(error, MF_ENOMEM, "out of memory: the triggers");
    if (standing->error == NULL && row->last_error != NULL)
        standing->error = mf_strdup(row->last_error);
    return 0;
}

/* --- As a table. --- */

/* "100 messages, 64.0 MiB or 10m00s" */
static int say_when(const struct trigger_row *row, struct mf_buffer *out, struct mf_error *error)
{
    char text[TEXT_SIZE];
    const char *separator = "";
    int rc = 0;
    if (row->when_count > 0) {
        rc = mf_buffer_printf(
            out, error, "%" PRIu64 " message%s", row->when_count, row->when_count == 1 ? "" : "s");
        separator = ", ";
    }
    if (rc == 0 && row->when_bytes > 0) {
        rc = mf_buffer_printf(out, error, "%s%s", separator, text_size(row->when_bytes, text));
        separator = ", ";
    }
    if (rc == 0 && row->when_age_us > 0)
        rc = mf_buffer_printf(
            out, error, "%s%s old", separator, text_duration((int64_t)row->when_age_us, text));
    return rc;
}

static int say_what(const struct standing *standing, struct mf_buffer *out, struct mf_error *error)
{
    const struct trigger_row *row = standing->row;
    if (row->kind == TRIGGER_CRON)
        return mf_buffer_printf(out,
                                error,
                                "%s%s%s",
                                row->cron,
                                row->zone == NULL ? "" : " ",
                                row->zone == NULL ? "" : row->zone);
    if (row->kind == TRIGGER_AFTER)
        return mf_buffer_printf(out, error, "%s (%s)", row->after_job, row->after_state);
    if (mf_buffer_printf(out, error, "%s: ", standing->queue.name) < 0)
        return -1;
    return say_when(row, out, error);
}

/* "73 of 100" */
static void say_there(const struct standing *standing, int64_t now_us, char *out, size_t size)
{
    const struct trigger_row *row = standing->row;
    const struct queue_info *queue = &standing->queue;
    char a[TEXT_SIZE], b[TEXT_SIZE];
    out[0] = '\0';
    if (row->kind == TRIGGER_CRON && row->waiting > 0)
        snprintf(out, size, "%" PRIu64 " waiting", row->waiting);
    else if (row->kind == TRIGGER_AFTER)
        snprintf(out, size, "%" PRIu64, queue->ready);
    else if (row->when_count > 0)
        snprintf(out, size, "%" PRIu64 " of %" PRIu64, queue->ready, row->when_count);
    else if (row->when_bytes > 0)
        snprintf(
            out, size, "%s of %s", text_size(queue->ready_bytes, a), text_size(row->when_bytes, b));
    else if (row->when_age_us > 0 && queue->oldest_us > 0)
        snprintf(out,
                 size,
                 "%s of %s",
                 text_duration(now_us > queue->oldest_us ? now_us - queue->oldest_us : 0, a),
                 text_duration((int64_t)row->when_age_us, b));
}

static int add_row(struct listing *listing, const struct standing *standing, struct mf_error *error)
{
    const struct trigger_row *row = standing->row;
    struct mf_buffer what = {0};
    char there[96], next[MF_STAMP_SIZE] = "";
    say_there(standing, listing->now_us, there, sizeof there);
    if (standing->next_us != 0) {
        mf_stamp(standing->next_us, next);
        next[19] = 'Z'; /* seconds are enough */
        next[20] = '\0';
    }
    int rc = say_what(standing, &what, error);
    const char *const cells[] = {
        there, row->last_run == NULL ? "" : row->last_run, standing->state, next};
    if (rc == 0)
        rc = table_text(listing->table, row->name, error);
    if (rc == 0)
        rc = table_text(listing->table, trigger_kind_word(row->kind), error);
    if (rc == 0)
        rc = table_cell(listing->table, mf_buffer_view(&what), false, error);
    for (size_t i = 0; rc == 0 && i < sizeof cells / sizeof *cells; i++)
        rc = table_text(listing->table, cells[i], error);
    mf_buffer_fini(&what);
    if (rc == 0 && standing->error != NULL)
        rc = mf_buffer_printf(
            &listing->errors, error, "mayfly: job %s: %s\n", row->name, standing->error);
    return rc;
}

/* --- As JSON. --- */

static int set_text(json_t *object, const char *key, const char *text)
{
    return text == NULL ? json_object_set_new(object, key, json_null())
                        : text_json_bytes(object, key, mf_bytes_text(text));
}

static int set_number(json_t *object, const char *key, uint64_t number)
{
    return json_object_set_new(object, key, json_integer((json_int_t)number));
}

static int set_queue(json_t *object, const struct standing *standing)
{
    const struct trigger_row *row = standing->row;
    const struct queue_info *queue = &standing->queue;
    json_t *when = json_object();
    int rc = set_text(object, "queue", queue->name);
    if (row->when_count > 0)
        rc |= set_number(when, "count", row->when_count);
    if (row->when_bytes > 0)
        rc |= set_number(when, "bytes", row->when_bytes);
    if (row->when_age_us > 0)
        rc |= json_object_set_new(when, "age_seconds", json_real((double)row->when_age_us / 1e6));
    rc |= json_object_set_new(object, "when", when);
    rc |= set_number(object, "max_batch", row->batch_max);
    rc |= set_number(object, "ready_bytes", queue->ready_bytes);
    return rc | text_json_stamp(object, "oldest", queue->oldest_us);
}

static int set_cron(json_t *object, const struct trigger_row *row)
{
    return set_text(object, "cron", row->cron) | set_text(object, "zone", row->zone) |
           set_number(object, "waiting", row->waiting) |
           text_json_stamp(object, "last_due", row->last_due_us);
}

static int set_kind(json_t *object, const struct standing *standing)
{
    const struct trigger_row *row = standing->row;
    int rc = 0;
    if (row->queue != 0)
        rc = set_number(object, "ready", standing->queue.ready) |
             set_number(object, "claimed", standing->queue.claimed) |
             set_number(object, "dead", standing->queue.dead) |
             set_number(object, "max_running", row->running_max);
    if (row->kind == TRIGGER_QUEUE)
        return rc | set_queue(object, standing);
    if (row->kind == TRIGGER_CRON)
        return rc | set_cron(object, row);
    return rc | set_text(object, "after", row->after_job) |
           set_text(object, "on", row->after_state);
}

static int
add_object(struct listing *listing, const struct standing *standing, struct mf_error *error)
{
    const struct trigger_row *row = standing->row;
    json_t *object = json_object();
    int rc = set_text(object, "job", row->name) |
             set_text(object, "kind", trigger_kind_word(row->kind)) |
             set_text(object, "path", row->job_path) | set_kind(object, standing) |
             set_number(object, "running", standing->open) |
             set_text(object, "last_run", row->last_run) |
             set_text(object, "last_state", standing->state[0] == '\0' ? NULL : standing->state) |
             set_number(object, "failed", row->failed) |
             text_json_stamp(object, "not_before", row->not_before_us) |
             text_json_stamp(object, "next", standing->next_us) |
             set_text(object, "error", standing->error) |
             set_text(object, "watcher", row->watcher) |
             text_json_stamp(object, "installed", row->installed_us);
    if (rc == 0 && json_array_append_new(listing->array, object) == 0)
        return 0;
    return mf_raise(error, MF_ENOMEM, "out of memory: the list of triggers");
}

/* --- */

static int
list_one(void *arg, struct queues *queues, struct trigger_row *row, struct mf_error *error)
{
    struct listing *listing = arg;
    struct standing standing;
    int rc = look(queues, row, listing->now_us, &standing, error);
    if (rc == 0)
        rc = listing->table != NULL ? add_row(listing, &standing, error)
                                    : add_object(listing, &standing, error);
    mf_free(standing.error);
    listing->count++;
    return rc;
}

static int print_table(struct listing *listing, struct mf_error *error)
{
    if (listing->count == 0) {
        fputs("mayfly: no trigger is installed: mayfly trigger install JOB registers a job that "
              "has one\n",
              stderr);
        return 0;
    }
    int rc = table_end(listing->table, error);
    fflush(stdout);
    if (listing->errors.length > 0)
        fwrite(listing->errors.data, 1, listing->errors.length, stderr);
    return rc;
}

static int list_all(bool json, struct queues *queues, struct mf_error *error)
{
    static const char *const titles[] = {
        "JOB", "KIND", "WAITS FOR", "THERE", "LAST RUN", "STATE", "NEXT"};
    struct listing listing = {.now_us = mf_wall_us()};
    if (json)
        listing.array = json_array();
    else if ((listing.table = table_create(7, titles, error)) == NULL)
        return -1;
    int rc = queues == NULL ? 0 : trigger_row_each(queues, list_one, &listing, error);
    if (rc == 0)
        rc = json ? text_json_print(json_incref(listing.array), JSON_INDENT(2), error)
                  : print_table(&listing, error);
    json_decref(listing.array);
    table_destroy(listing.table);
    mf_buffer_fini(&listing.errors);
    return rc;
}

static int list_main(int argc, char **argv)
{
    bool json = false;
    struct mf_error error;
    struct queues *queues;
    command_parse(&command_trigger_list,
                  options,
                  parse,
                  "List the installed triggers: what each waits for, how much of it is there, its "
                  "last run, and when it fires next where that is known. What keeps one from "
                  "firing is said below.",
                  argc,
                  argv,
                  &json);
    int rc = queues_open_own(false, &queues, &error);
    text_begin();
    if (rc >= 0)
        rc = list_all(json, queues, &error);
    int code = rc < 0 ? command_fail(&error) : 0;
    queues_close(queues);
    return text_end(code);
}

const struct command command_trigger_list = {
    .name = "list", .arguments = "", .summary = "list the installed triggers", .main = list_main};
