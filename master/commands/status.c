/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly status: how a run stands. A live master is asked; else run.db and summary.json say it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/command.h"
#include "master/commands/explain.h"
#include "master/commands/overview.h"
#include "master/commands/selection.h"
#include "master/commands/text.h"
#include "master/cost_json.h"
#include "master/notify/outbox_json.h"
#include "master/record/run_db.h"
#include "master/firing_note.h"

enum { KEY_EXPLAIN = 256 };

#define HOSTS_SHOWN 16u

struct arguments {
    const char *run;
    bool json, explain;
    uint64_t subtask; /* to be explained, 0 = the run alone */
};

static const struct argp_option options[] = {
    {"explain",
     KEY_EXPLAIN,
     "SUBTASK",
     OPTION_ARG_OPTIONAL,
     "Say why something does not run, and how that SUBTASK stands",
     0},
    {"json", 'J', NULL, 0, "Write one JSON object", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case KEY_EXPLAIN:
        arguments->explain = true;
        if (text != NULL && text_number(text, 1, SELECTION_SUBTASK_MAX, &arguments->subtask) < 0)
            argp_error(state, "--explain takes the number of a subtask, not \"%s\"", text);
        return 0;
    case 'J':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->run != NULL)
            argp_error(state, "one run at a time: \"%s\" is too much", text);
        arguments->run = text;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A new reference, or NULL when there is none (yet) or it is damaged. */
static json_t *load_summary(const char *folder)
{
    char *path = run_path(folder, "summary.json");
    json_t *summary = path == NULL ? NULL : json_load_file(path, 0, NULL);
    mf_free(path);
    return summary;
}

/* What the run's hosts were used for, up to now where it goes on, and up to the last sign of its
 * master where that is dead. NULL when it can't be read. */
static json_t *load_cost(const char *folder, const struct overview *overview)
{
    int64_t until_us = overview->is_ended       ? overview->ended_us
                       : overview->left_us != 0 ? overview->left_us
                                                : mf_wall_us();
    return cost_json(folder, until_us, NULL);
}

/* The outbox of the run; NULL when nobody was to be told, or it cannot be read. */
static json_t *load_outbox(const char *folder)
{
    char *path = run_path(folder, "run.db");
    sqlite3 *db = path == NULL ? NULL : run_db_open(path, NULL);
    json_t *outbox = db == NULL ? NULL : outbox_json(db, NULL);
    run_db_close(db);
    mf_free(path);
    if (outbox != NULL && json_integer_value(json_object_get(outbox, "delivered")) == 0 &&
        json_array_size(json_object_get(outbox, "undelivered")) == 0) {
        json_decref(outbox);
        return NULL;
    }
    return outbox;
}

/* What run.db says, as a live master would. */
static json_t *recorded_status(const char *folder, const struct overview *overview)
{
    json_t *status = json_pack("{s:i, s:s, s:s, s:s, s:o, s:f}",
                               "version",
                               1,
                               "run_id",
                               overview->run_id,
                               "job",
                               overview->job_name,
                               "state",
                               overview->state,
                               "subtasks",
                               overview_subtasks_json(overview),
                               "seconds",
                               (double)overview_wall_us(overview) / 1e6);
    if (status != NULL && overview->reason[0] != '\0')
        json_object_set_new(status, "reason", json_string(overview->reason));
    if (status != NULL)
        json_object_set_new(status, "firing", firing_note_json_of(folder));
    return status;
}

static int print_json(const char *folder,
                      const struct overview *overview,
                      json_t *status,
                      json_t *explanation,
                      struct mf_error *error)
{
    if (status == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a status");
    if (explanation != NULL)
        json_object_set(status, "explain", explanation);
    json_t *summary = overview->is_ended ? load_summary(folder) : NULL;
    json_object_del(status, "ok");
    int rc = text_json_stamp(status, "started", overview->started_us);
    rc |= text_json_stamp(status, "ended", overview->ended_us);
    rc |= text_json_bytes(status, "folder", mf_bytes_text(folder));
    rc |= json_object_set_new(status, "summary", summary == NULL ? json_null() : summary);
    json_t *cost = load_cost(folder, overview), *outbox = load_outbox(folder);
    rc |= json_object_set_new(status, "cost", cost == NULL ? json_null() : cost);
    if (outbox != NULL)
        rc |= json_object_set_new(status, "notifications", outbox);
    if (rc == 0)
        return text_json_print(status, JSON_INDENT(2), error);
    json_decref(status);
    return mf_raise(error, MF_ENOMEM, "out of memory: a status");
}

static json_int_t integer(const json_t *object, const char *group, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(object, group), key));
}

static void print_live(const json_t *status)
{
    printf("now      %" JSON_INTEGER_FORMAT " running, %" JSON_INTEGER_FORMAT
           " offered, %" JSON_INTEGER_FORMAT " pending, %" JSON_INTEGER_FORMAT
           " waiting to be tried again\n",
           integer(status, "live", "running"),
           integer(status, "live", "offered"),
           integer(status, "live", "pending"),
           integer(status, "live", "waiting"));
    printf("workers  %" JSON_INTEGER_FORMAT " alive of %" JSON_INTEGER_FORMAT
           " launched, %" JSON_INTEGER_FORMAT " lost",
           integer(status, "workers", "alive"),
           integer(status, "workers", "launched"),
           integer(status, "workers", "lost"));
    if (integer(status, "workers", "max") > 0)
        printf(", %" JSON_INTEGER_FORMAT " let go; %" JSON_INTEGER_FORMAT
               " wanted of %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT,
               integer(status, "workers", "let_go"),
               integer(status, "workers", "wanted"),
               integer(status, "workers", "min"),
               integer(status, "workers", "max"));
    putchar('\n');
    printf("rate     %.1f subtasks/s\n", json_number_value(json_object_get(status, "rate_per_s")));
}

static void print_summary(const json_t *summary)
{
    printf("attempts %" JSON_INTEGER_FORMAT ", %" JSON_INTEGER_FORMAT
           " of them tried again, %" JSON_INTEGER_FORMAT " void\n",
           integer(summary, "attempts", "total"),
           integer(summary, "attempts", "retried"),
           integer(summary, "attempts", "fenced"));
    printf("workers  %" JSON_INTEGER_FORMAT " launched, %" JSON_INTEGER_FORMAT
           " lost, %" JSON_INTEGER_FORMAT " verified gone, %" JSON_INTEGER_FORMAT " unverified\n",
           integer(summary, "workers", "launched"),
           integer(summary, "workers", "lost"),
           integer(summary, "workers", "verified_gone"),
           integer(summary, "workers", "unverified"));
    printf("rate     %.1f subtasks/s\n", json_number_value(json_object_get(summary, "rate_per_s")));
    const json_t *firing = json_object_get(summary, "firing");
    if (json_is_string(json_object_get(firing, "queue")) && json_object_get(firing, "done") != NULL)
        printf("messages %" JSON_INTEGER_FORMAT " done, %" JSON_INTEGER_FORMAT
               " failed, %" JSON_INTEGER_FORMAT " given back\n",
               json_integer_value(json_object_get(firing, "done")),
               json_integer_value(json_object_get(firing, "failed")),
               json_integer_value(json_object_get(firing, "back")));
    const char *result = json_string_value(json_object_get(summary, "result"));
    if (result != NULL)
        printf("result   %s\n", result);
}

static void print_firing(const char *folder)
{
    char text[400];
    json_t *note = firing_note_json_of(folder);
    if (json_is_object(note))
        printf("started  %s\n", firing_note_text(note, text, sizeof text));
    json_decref(note);
}

static void print_outbox(const char *folder, const char *run_id)
{
    json_t *outbox = load_outbox(folder);
    size_t undelivered = json_array_size(json_object_get(outbox, "undelivered"));
    if (outbox != NULL)
        printf("told     %" JSON_INTEGER_FORMAT " delivered",
               json_integer_value(json_object_get(outbox, "delivered")));
    if (undelivered > 0)
        printf(", %zu not (mayfly notify %s)", undelivered, run_id);
    if (outbox != NULL)
        putchar('\n');
    json_decref(outbox);
}

/* Of several hosts each, so far as it is of use on a screen. */
static void print_cost(const char *folder, const struct overview *overview)
{
    char text[160];
    json_t *cost = load_cost(folder, overview);
    const json_t *hosts = json_object_get(cost, "hosts");
    size_t count = json_array_size(hosts);
    if (count > 0)
        printf("paid     %s\n", cost_text(cost, text, sizeof text));
    for (size_t i = 0; count > 1 && i < count && i < HOSTS_SHOWN; i++) {
        const json_t *share = json_array_get(hosts, i);
        printf("         %s: %s\n",
               json_string_value(json_object_get(share, "host")),
               cost_text(share, text, sizeof text));
    }
    if (count > HOSTS_SHOWN)
        printf("         ... and %zu hosts more (--json has all)\n", count - HOSTS_SHOWN);
    json_decref(cost);
}

static void print_text(const char *folder, const struct overview *overview, const json_t *status)
{
    char counts[160], total[24] = "?", time[TEXT_SIZE];
    if (overview->has_total)
        snprintf(total, sizeof total, "%" PRIu64, overview->total);
    printf("run      %s\njob      %s\n", overview->run_id, overview->job_name);
    print_firing(folder);
    const char *held_up = json_string_value(json_object_get(status, "held_up"));
    printf("state    %s%s%s\n",
           overview->state,
           held_up == NULL ? "" : ": ",
           held_up == NULL ? "" : held_up);
    printf("subtasks %s planned: %s\n", total, overview_counts(overview, counts, sizeof counts));
    if (status != NULL)
        print_live(status);
    printf("time     %s\n", text_duration(overview_wall_us(overview), time));
    if (overview->reason[0] != '\0')
        printf("reason   %s\n", overview->reason);
    if (strcmp(overview->state, "interrupted") == 0)
        printf("next     mayfly resume %s\n", overview->run_id);
    json_t *summary = overview->is_ended ? load_summary(folder) : NULL;
    if (summary != NULL)
        print_summary(summary);
    json_decref(summary);
    print_cost(folder, overview);
    print_outbox(folder, overview->run_id);
    printf("folder   %s\n", folder);
}

static int show(const char *folder,
                const struct overview *overview,
                const struct arguments *arguments,
                json_t *live,
                struct mf_error *error)
{
    json_t *explanation = NULL;
    int rc = 0;
    if (arguments->explain) {
        explanation = explain_run(folder, overview, arguments->subtask, error);
        if (explanation == NULL)
            return -1;
    }
    if (arguments->json) {
        rc = print_json(folder,
                        overview,
                        live == NULL ? recorded_status(folder, overview) : json_incref(live),
                        explanation,
                        error);
    } else {
        print_text(folder, overview, live);
        explain_print(explanation);
    }
    json_decref(explanation);
    return rc;
}

static int status_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct overview overview;
    struct mf_error error;
    command_parse(&command_status,
                  options,
                  parse,
                  "Show how a run stands (default: the newest).\v"
                  "With --explain=7 also what subtask 7 waits for, or how it ended. "
                  "The keys of --json are described in docs/control.md.",
                  argc,
                  argv,
                  &arguments);
    char *folder = overview_find(arguments.run == NULL ? "last" : arguments.run, &overview, &error);
    if (folder == NULL)
        return command_fail(&error);
    text_begin();
    json_t *live =
        overview.is_live && !overview.is_silent ? overview_ask(folder, "status", &error) : NULL;
    if (overview.is_silent)
        fputs("mayfly: the run's master does not answer (is it stopped?): this is what it has "
              "recorded\n",
              stderr);
    int code = show(folder, &overview, &arguments, live, &error) < 0 ? command_fail(&error) : 0;
    json_decref(live);
    mf_free(folder);
    return text_end(code);
}

const struct command command_status = {.name = "status",
                                       .arguments = "[RUN]",
                                       .summary = "show how a run stands",
                                       .main = status_main};
