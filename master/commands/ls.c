/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly ls: all runs, the newest first. What can't be read is a line too: one damaged folder does
 * not hide the others.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/command.h"
#include "master/commands/overview.h"
#include "master/commands/table.h"
#include "master/commands/text.h"

struct arguments {
    uint64_t most;
    bool json;
};

static const struct argp_option options[] = {
    {"number", 'n', "N", 0, "Show only the N newest", 0},
    {"json", 'J', NULL, 0, "Write a JSON array, an object a run", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'n':
        if (text_number(text, 1, UINT64_MAX, &arguments->most) < 0)
            argp_error(state, "-n takes a number from 1, not \"%s\"", text);
        return 0;
    case 'J':
        arguments->json = true;
        return 0;
    default:
        return command_no_arguments(key, text, state);
    }
}

/* A run and what was found out about it. */
struct line {
    const char *run_id;
    const char *folder;
    struct overview overview;
    struct mf_error error; /* code != MF_OK: it can't be read */
};

static int add_row(struct table *table, const struct line *line, struct mf_error *error)
{
    const struct overview *overview = &line->overview;
    char done[64] = "", stamp[MF_STAMP_SIZE] = "", wall[TEXT_SIZE] = "";
    bool is_known = line->error.code == MF_OK && overview->started_us != 0;
    if (is_known) {
        char total[24] = "?";
        if (overview->has_total)
            snprintf(total, sizeof total, "%" PRIu64, overview->total);
        snprintf(done, sizeof done, "%" PRIu64 "/%s", overview->done, total);
        mf_stamp(overview->started_us, stamp);
        stamp[19] = 'Z'; /* seconds are enough */
        stamp[20] = '\0';
        text_duration(overview_wall_us(overview), wall);
    }
    if (table_text(table, line->run_id, error) < 0 ||
        table_text(table, is_known ? overview->job_name : "", error) < 0 ||
        table_text(table, line->error.code == MF_OK ? overview->state : "unreadable", error) < 0 ||
        table_cell(table, mf_bytes_text(done), true, error) < 0)
        return -1;
    int rc = is_known ? table_number(table, overview->failed + overview->dead, error)
                      : table_text(table, "", error);
    if (rc < 0 || table_text(table, stamp, error) < 0)
        return -1;
    return table_cell(table, mf_bytes_text(wall), true, error);
}

static int set_known(json_t *object, const struct overview *overview)
{
    double seconds = (double)overview_wall_us(overview) / 1e6;
    int rc = json_object_set_new(object, "job", json_string(overview->job_name));
    rc |= json_object_set_new(object, "state", json_string(overview->state));
    rc |= json_object_set_new(object, "subtasks", overview_subtasks_json(overview));
    rc |= text_json_stamp(object, "started", overview->started_us);
    rc |= text_json_stamp(object, "ended", overview->ended_us);
    rc |= json_object_set_new(object, "seconds", json_real(seconds));
    if (overview->reason[0] != '\0')
        rc |= json_object_set_new(object, "reason", json_string(overview->reason));
    return rc;
}

static int add_object(json_t *array, const struct line *line, struct mf_error *error)
{
    json_t *object = json_object();
    int rc = text_json_bytes(object, "run_id", mf_bytes_text(line->run_id));
    if (line->error.code == MF_OK) {
        rc |= set_known(object, &line->overview);
    } else {
        rc |= json_object_set_new(object, "state", json_string("unreadable"));
        rc |= text_json_bytes(object, "error", mf_bytes_text(line->error.text));
    }
    rc |= text_json_bytes(object, "folder", mf_bytes_text(line->folder));
    if (rc == 0 && json_array_append_new(array, object) == 0)
        return 0;
    json_decref(object);
    return mf_raise(error, MF_ENOMEM, "out of memory: the list of runs");
}

/* One run into the table, or into the array when there is no table. */
static int add_line(struct table *table, json_t *array, const char *run_id, struct mf_error *error)
{
    struct line line = {.run_id = run_id};
    char *folder = run_folder_path(run_id, error);
    if (folder == NULL)
        return -1;
    line.folder = folder;
    if (overview_read(folder, run_id, &line.overview, &line.error) == 0)
        line.error.code = MF_OK;
    int rc = table != NULL ? add_row(table, &line, error) : add_object(array, &line, error);
    if (rc == 0 && table != NULL && line.error.code != MF_OK)
        fprintf(stderr, "mayfly: %s\n", line.error.text);
    mf_free(folder);
    return rc;
}

static int list(const struct arguments *arguments, char **ids, size_t count, struct mf_error *error)
{
    static const char *const titles[] = {
        "RUN", "JOB", "STATE", "DONE", "FAILED", "STARTED", "TIME"};
    struct table *table = NULL;
    json_t *array = NULL;
    int rc = 0;
    if (arguments->json)
        array = json_array();
    else if ((table = table_create(7, titles, error)) == NULL)
        return -1;
    uint64_t left = arguments->most;
    for (int foreign = 0; foreign < 2; foreign++) /* what is no run comes last */
        for (size_t i = count; rc == 0 && i > 0 && left > 0; i--)
            if (run_folder_is_id(ids[i - 1]) == (foreign == 0)) {
                rc = add_line(table, array, ids[i - 1], error);
                left--;
            }
    if (rc == 0)
        rc = arguments->json ? text_json_print(json_incref(array), JSON_INDENT(2), error)
                             : table_end(table, error);
    json_decref(array);
    table_destroy(table);
    return rc;
}

static int ls_main(int argc, char **argv)
{
    struct arguments arguments = {.most = UINT64_MAX};
    struct mf_error error;
    size_t count;
    command_parse(&command_ls,
                  options,
                  parse,
                  "List runs, the newest first: done and planned subtasks, failed and dead ones, "
                  "when the run started (UTC) and how long it took.\v"
                  "States: starting planning running gathering dismissing of a live run; succeeded "
                  "partial failed cancelled of one that has ended; interrupted: its master ended "
                  "before the run did; unreadable: the folder is damaged or is no run.",
                  argc,
                  argv,
                  &arguments);
    char **ids = run_folder_list(&count, &error);
    if (ids == NULL)
        return command_fail(&error);
    text_begin();
    int code = 0;
    if (count == 0 && !arguments.json)
        fputs("mayfly: there are no runs yet\n", stderr);
    else if (list(&arguments, ids, count, &error) < 0)
        code = command_fail(&error);
    run_folder_list_free(ids, count);
    return text_end(code);
}

const struct command command_ls = {
    .name = "ls", .arguments = "", .summary = "list runs, the newest first", .main = ls_main};
