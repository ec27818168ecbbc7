/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly pause, mayfly unpause: a live run starts nothing new for a while. The master keeps it in
 * memory only: a run that goes on after an interruption is not paused.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/command.h"
#include "master/commands/overview.h"
#include "master/commands/wait.h"
#include "master/control.h"

#define REASON_MAX 200 /* bytes: it stands on one line */

struct arguments {
    const char *run, *reason;
};

static const struct argp_option pause_options[] = {
    {"reason", 'r', "TEXT", 0, "Why, for all who look at the run", 0}, {0}};

static const struct argp_option unpause_options[] = {{0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'r':
        if (strlen(text) > REASON_MAX)
            argp_error(state, "--reason takes at most %d bytes", REASON_MAX);
        arguments->reason = text;
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

static int ask(const char *folder, const char *command, const char *reason, struct mf_error *error)
{
    json_t *request = json_pack("{s:s}", "command", command);
    if (reason != NULL && json_object_set_new(request, "reason", json_string(reason)) < 0) {
        json_decref(request);
        return mf_raise(error, MF_EUSAGE, "--reason takes a text in UTF-8");
    }
    int fd = wait_connect(folder, error);
    if (fd < 0) {
        json_decref(request);
        return -1;
    }
    json_t *answer = control_ask(fd, request, error);
    close(fd);
    if (answer == NULL)
        return -1;
    int rc = json_is_true(json_object_get(answer, "ok"))
                 ? 0
                 : mf_raise(error, MF_ESETUP, "the master refused to %s the run", command);
    json_decref(answer);
    return rc;
}

static int steer(const struct arguments *arguments, const char *command, struct mf_error *error)
{
    struct overview overview;
    char *folder =
        overview_find(arguments->run == NULL ? "last" : arguments->run, &overview, error);
    if (folder == NULL)
        return -1;
    overview_say_interrupted(&overview);
    int rc = overview.is_live ? ask(folder, command, arguments->reason, error)
                              : mf_raise(error,
                                         MF_EUSAGE,
                                         "there is nothing to %s: run %s is not live, its state is "
                                         "%s",
                                         command,
                                         overview.run_id,
                                         overview.state);
    if (rc == 0)
        fprintf(stderr,
                command[0] == 'p'
                    ? "mayfly: run %s is paused: what runs goes on, nothing new starts "
                      "until mayfly unpause\n"
                    : "mayfly: run %s goes on\n",
                overview.run_id);
    mf_free(folder);
    return rc;
}

static int pause_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct mf_error error;
    command_parse(&command_pause,
                  pause_options,
                  parse,
                  "Let a live run (default: the newest) start nothing new, until mayfly unpause. "
                  "What runs goes on.\v"
                  "Leases, time limits and credentials go on as well. The reason is shown by "
                  "status and watch. An interrupted run forgets that it was paused.",
                  argc,
                  argv,
                  &arguments);
    return steer(&arguments, "pause", &error) < 0 ? command_fail(&error) : 0;
}

static int unpause_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct mf_error error;
    command_parse(&command_unpause,
                  unpause_options,
                  parse,
                  "Let a paused run (default: the newest) go on.",
                  argc,
                  argv,
                  &arguments);
    return steer(&arguments, "unpause", &error) < 0 ? command_fail(&error) : 0;
}

const struct command command_pause = {.name = "pause",
                                      .arguments = "[RUN]",
                                      .summary = "let a live run start nothing new",
                                      .main = pause_main};

const struct command command_unpause = {
    .name = "unpause", .arguments = "[RUN]", .summary = "let it go on", .main = unpause_main};
