/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly watch: follows a live run until it ends; the exit code is the run's. The master sends a
 * status twice a second and closes the connection when it ends: what became of the run then stands
 * in run.db.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/command.h"
#include "master/commands/overview.h"
#include "master/commands/text.h"
#include "master/commands/wait.h"
#include "master/control.h"
#include "master/progress.h"

struct arguments {
    const char *run;
    bool json, quiet;
};

static const struct argp_option options[] = {
    {"json", 'J', NULL, 0, "Write each status as a line of JSON to standard output", 0},
    {"quiet", 'q', NULL, 0, "Show no progress, only how the run ended", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'J':
        arguments->json = true;
        return 0;
    case 'q':
        arguments->quiet = true;
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

static uint64_t count(const json_t *status, const char *group, const char *key)
{
    const json_t *value = json_object_get(json_object_get(status, group), key);
    return (uint64_t)json_integer_value(value);
}

static void show(struct progress *progress, const json_t *status)
{
    int64_t now_us = mf_monotonic_us();
    const char *state = json_string_value(json_object_get(status, "state"));
    struct progress_view view = {
        .state = state == NULL ? "?" : state,
        .total_known =
            json_is_integer(json_object_get(json_object_get(status, "subtasks"), "total")),
        .total = count(status, "subtasks", "total"),
        .done = count(status, "subtasks", "done"),
        .failed = count(status, "subtasks", "failed") + count(status, "subtasks", "dead"),
        .retried = count(status, "live", "retried"),
        .running = count(status, "live", "running"),
        .workers = (uint32_t)count(status, "workers", "alive"),
        .held_up = json_string_value(json_object_get(status, "held_up")),
        .seconds = json_number_value(json_object_get(status, "seconds"))};
    if (progress_is_due(progress, now_us))
        progress_show(progress, &view, now_us);
}

/* Each status until the master closes the connection. *drained: its last word was that it stops
 * before the end. */
static int follow(int fd, const struct arguments *arguments, bool *drained, struct mf_error *error)
{
    struct progress *progress = progress_create(arguments->quiet);
    json_t *status = control_ask(fd, json_pack("{s:s}", "command", "watch"), error);
    int rc = 0;
    for (; rc == 0 && status != NULL; status = control_read(fd, error)) {
        const char *state = json_string_value(json_object_get(status, "state"));
        *drained = state != NULL && strcmp(state, "interrupted") == 0;
        show(progress, status);
        json_object_del(status, "ok");
        if (arguments->json) {
            rc = text_json_print(json_incref(status), 0, error);
            fflush(stdout);
        }
        json_decref(status);
    }
    progress_destroy(progress);
    return rc;
}

static void say_end(const struct overview *overview)
{
    char counts[160], time[TEXT_SIZE];
    fprintf(stderr,
            "mayfly: run %s %s%s: %s in %s\n",
            overview->run_id,
            overview->is_ended ? "" : "was ",
            overview->state,
            overview_counts(overview, counts, sizeof counts),
            text_duration(overview_wall_us(overview), time));
    if (overview->reason[0] != '\0')
        fprintf(stderr, "mayfly: reason: %s\n", overview->reason);
}

static int watch(const char *folder,
                 struct overview *overview,
                 const struct arguments *arguments,
                 struct mf_error *error)
{
    bool was_live = overview->is_live, drained = false;
    if (was_live) {
        int fd = wait_connect(folder, error);
        if (fd >= 0) {
            int rc = follow(fd, arguments, &drained, error);
            close(fd);
            if (rc < 0)
                return command_fail(error);
        }
        wait_end(folder);
        if (overview_read(folder, overview->run_id, overview, error) < 0)
            return command_fail(error);
    }
    say_end(overview);
    if (!overview->is_ended && was_live && !drained) {
        fprintf(stderr, "mayfly: its master was lost before the run ended\n");
        overview_say_interrupted(overview);
        return 3;
    }
    overview_say_interrupted(overview);
    return overview_exit_code(overview->state);
}

static int watch_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct overview overview;
    struct mf_error error;
    command_parse(&command_watch,
                  options,
                  parse,
                  "Follow a run until it ends (default: the newest); the exit code is the run's: 0 "
                  "succeeded or partial, 1 failed, 4 cancelled, 130 interrupted, 3 when its master "
                  "was lost.",
                  argc,
                  argv,
                  &arguments);
    char *folder = overview_find(arguments.run == NULL ? "last" : arguments.run, &overview, &error);
    if (folder == NULL)
        return command_fail(&error);
    text_begin();
    int code = watch(folder, &overview, &arguments, &error);
    mf_free(folder);
    return text_end(code);
}

const struct command command_watch = {.name = "watch",
                                      .arguments = "[RUN]",
                                      .summary = "follow a live run until it ends",
                                      .main = watch_main};
