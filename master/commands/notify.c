/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly notify: what subscribers were told of a run, and what waits; sends again what was not
 * delivered. With --due (for the tick and the watcher): delivers what is due of all runs.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/command.h"
#include "master/commands/table.h"
#include "master/commands/text.h"
#include "master/notify/notify.h"
#include "master/notify/outbox.h"
#include "master/notify/outbox_json.h"
#include "master/notify_sweep.h"
#include "master/record/run_db.h"
#include "master/run_folder.h"

enum { KEY_AGAIN = 256, KEY_DUE };

struct arguments {
    const char *run;
    bool again, due, json;
    uint64_t ids[64];
    size_t id_count;
};

static const struct argp_option options[] = {
    {"again", KEY_AGAIN, NULL, 0, "Send again what is not delivered, or those named by ID", 0},
    {"json", 'J', NULL, 0, "Write one JSON object", 0},
    {"due", KEY_DUE, NULL, OPTION_HIDDEN, "Deliver what is due of all runs", 0},
    {0}};

static void add_argument(struct arguments *arguments, char *text, struct argp_state *state)
{
    if (arguments->run == NULL) {
        arguments->run = text;
        return;
    }
    if (arguments->id_count == sizeof arguments->ids / sizeof *arguments->ids)
        argp_error(state, "at most %zu notifications can be named", arguments->id_count);
    if (text_number(text, 1, INT64_MAX, &arguments->ids[arguments->id_count++]) < 0)
        argp_error(state, "\"%s\" is not the number of a notification (column id)", text);
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case KEY_AGAIN:
        arguments->again = true;
        return 0;
    case KEY_DUE:
        arguments->due = true;
        return 0;
    case 'J':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        add_argument(arguments, text, state);
        return 0;
    case ARGP_KEY_END:
        if (arguments->id_count > 0 && !arguments->again)
            argp_error(state, "notifications are named with --again");
        if (arguments->due && arguments->run != NULL)
            argp_error(state, "--due is about all runs");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct listing {
    struct table *table;
    json_t *rows;
    uint64_t count;
    int rc;
    struct mf_error *error;
};

static int list_row(void *arg, const struct outbox_row *row)
{
    struct listing *listing = arg;
    char stamp[MF_STAMP_SIZE];
    listing->count++;
    if (listing->rows != NULL) {
        json_array_append_new(listing->rows, outbox_row_json(row));
        return 0;
    }
    int64_t when_us = row->delivered_us != 0 ? row->delivered_us : row->made_us;
    listing->rc =
        table_number(listing->table, (uint64_t)row->id, listing->error) |
        table_text(listing->table, row->event, listing->error) |
        table_text(listing->table, row->state, listing->error) |
        table_number(listing->table, (uint64_t)row->attempts, listing->error) |
        table_text(listing->table, mf_stamp(when_us, stamp), listing->error) |
        table_text(listing->table, row->target, listing->error) |
        table_text(listing->table, row->last_error == NULL ? "" : row->last_error, listing->error);
    return listing->rc != 0;
}

static int list_table(sqlite3 *db, const char *run_id, struct mf_error *error)
{
    static const char *const titles[] = {
        "id", "event", "state", "tries", "since", "to", "last error"};
    struct listing listing = {.error = error};
    listing.table = table_create(sizeof titles / sizeof *titles, titles, error);
    int rc = listing.table == NULL ? -1 : outbox_each(db, list_row, &listing, error);
    if (rc == 0)
        rc = listing.rc;
    if (rc == 0 && listing.count > 0)
        rc = table_end(listing.table, error);
    if (rc == 0 && listing.count == 0)
        fprintf(stderr, "mayfly: nobody was to be told of run %s so far\n", run_id);
    table_destroy(listing.table);
    return rc;
}

static int list_json(sqlite3 *db, const char *run_id, struct mf_error *error)
{
    struct listing listing = {.rows = json_array(), .error = error};
    json_t *outbox = outbox_json(db, error);
    if (outbox == NULL || outbox_each(db, list_row, &listing, error) < 0) {
        json_decref(outbox);
        json_decref(listing.rows);
        return -1;
    }
    json_object_del(outbox, "undelivered");
    json_object_set_new(outbox, "version", json_integer(1));
    json_object_set_new(outbox, "run_id", json_string(run_id));
    json_object_set_new(outbox, "notifications", listing.rows);
    return text_json_print(outbox, JSON_INDENT(2), error);
}

/* Lists, and says how many are not delivered. */
static int list(const struct arguments *arguments,
                const char *folder,
                const char *run_id,
                uint64_t *undelivered,
                struct mf_error *error)
{
    struct outbox_counts counts = {0};
    char *path = run_path(folder, "run.db");
    sqlite3 *db = path == NULL ? NULL : run_db_open(path, error);
    if (path == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int rc = db == NULL        ? -1
             : arguments->json ? list_json(db, run_id, error)
                               : list_table(db, run_id, error);
    if (rc == 0)
        rc = outbox_count(db, &counts, error);
    *undelivered = counts.pending + counts.failed;
    run_db_close(db);
    mf_free(path);
    return rc;
}

static int mark_again(const struct arguments *arguments, const char *folder, struct mf_error *error)
{
    uint64_t count = 0;
    struct outbox *outbox = outbox_open(folder, error);
    int rc = outbox == NULL ? -1 : 0;
    if (rc == 0 && arguments->id_count == 0)
        rc = outbox_again(outbox, 0, &count, error);
    for (size_t i = 0; rc == 0 && i < arguments->id_count; i++) {
        rc = outbox_again(outbox, (int64_t)arguments->ids[i], &count, error);
        if (rc == 0 && count == 0)
            rc = mf_raise(error,
                          MF_EUSAGE,
                          "there is no notification %" PRIu64 "; mayfly notify lists them",
                          arguments->ids[i]);
    }
    outbox_close(outbox);
    return rc;
}

static int send_again(const struct arguments *arguments,
                      const char *folder,
                      const char *run_id,
                      struct mf_error *error)
{
    uint64_t pending;
    /* What is to be sent again is looked after by the sweep, when it cannot be delivered now. */
    if (mark_again(arguments, folder, error) < 0 || notify_register(run_id, error) < 0)
        return -1;
    return notify_deliver_run(folder, run_id, notify_most_us(), -1, &pending, error);
}

static int of_run(const struct arguments *arguments, struct mf_error *error)
{
    char run_id[RUN_ID_SIZE];
    uint64_t undelivered = 0;
    char *folder = run_folder_find(arguments->run == NULL ? "last" : arguments->run, run_id, error);
    int rc = folder == NULL ? -1 : 0;
    if (rc == 0 && arguments->again)
        rc = send_again(arguments, folder, run_id, error);
    if (rc == 0)
        rc = list(arguments, folder, run_id, &undelivered, error);
    mf_free(folder);
    if (rc < 0)
        return command_fail(error);
    return arguments->again && undelivered > 0 ? 1 : 0;
}

static int of_all(struct mf_error *error)
{
    uint64_t left;
    mf_log_to(2, MF_WARNING);
    return notify_sweep(NOTIFY_SWEEP_US, &left, error) < 0 ? command_fail(error) : 0;
}

static int notify_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct mf_error error;
    command_parse(
        &command_notify,
        options,
        parse,
        "List what the subscribers of a run (default: the newest) were told, and what waits.\v"
        "What is pending is tried again by `mayfly trigger tick`, where that is installed, and by "
        "`mayfly trigger watch`; after a day it is given up (failed). With --again the exit code "
        "is "
        "1 when something is not delivered after it.",
        argc,
        argv,
        &arguments);
    signal(SIGPIPE, SIG_IGN);
    int code = arguments.due ? of_all(&error) : of_run(&arguments, &error);
    return text_end(code);
}

const struct command command_notify = {.name = "notify",
                                       .arguments = "[RUN [ID...]]",
                                       .summary = "list who was told of a run; tell again",
                                       .main = notify_main};
