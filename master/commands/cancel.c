/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly cancel: asks a live master to end its run, and waits until it has. */
#include <stdio.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/command.h"
#include "master/commands/overview.h"
#include "master/commands/text.h"
#include "master/commands/wait.h"
#include "master/control.h"

enum { KEY_DRAIN = 256, KEY_NO_WAIT };

struct arguments {
    const char *run;
    bool drain, no_wait;
};

static const struct argp_option options[] = {
    {"drain", KEY_DRAIN, NULL, 0, "Let what runs finish and start nothing new", 0},
    {"no-wait", KEY_NO_WAIT, NULL, 0, "Return as soon as the master has heard it", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case KEY_DRAIN:
        arguments->drain = true;
        return 0;
    case KEY_NO_WAIT:
        arguments->no_wait = true;
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

static int ask(const char *folder, bool drain, struct mf_error *error)
{
    int fd = wait_connect(folder, error);
    if (fd < 0)
        return -1;
    json_t *answer =
        control_ask(fd, json_pack("{s:s, s:b}", "command", "cancel", "drain", drain), error);
    close(fd);
    if (answer == NULL)
        return -1;
    int rc = json_is_true(json_object_get(answer, "ok"))
                 ? 0
                 : mf_raise(error, MF_ESETUP, "the master refused to end the run");
    json_decref(answer);
    return rc;
}

static int cancel(const char *folder,
                  struct overview *overview,
                  const struct arguments *arguments,
                  struct mf_error *error)
{
    char counts[160];
    if (!overview->is_live)
        overview_say_interrupted(overview);
    if (!overview->is_live)
        return mf_raise(error,
                        MF_EUSAGE,
                        "there is nothing to cancel: run %s is not live, its state is %s",
                        overview->run_id,
                        overview->state);
    int rc = ask(folder, arguments->drain, error);
    if (rc < 0 && run_folder_is_live(folder))
        return -1;
    if (arguments->no_wait) {
        fprintf(stderr, "mayfly: run %s is ending\n", overview->run_id);
        return 0;
    }
    wait_end(folder); /* also when it ended by itself before it heard us */
    if (overview_read(folder, overview->run_id, overview, error) < 0)
        return -1;
    fprintf(stderr,
            "mayfly: run %s %s%s: %s\n",
            overview->run_id,
            overview->is_ended ? "" : "was ",
            overview->state,
            overview_counts(overview, counts, sizeof counts));
    overview_say_interrupted(overview);
    return 0;
}

static int cancel_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct overview overview;
    struct mf_error error;
    command_parse(
        &command_cancel,
        options,
        parse,
        "End a live run (default: the newest), wait until it has ended, and say its final "
        "state.\v"
        "What runs is ended at once; with --drain it finishes first, and the run is then "
        "interrupted, not cancelled. Results that are recorded stay.",
        argc,
        argv,
        &arguments);
    char *folder = overview_find(arguments.run == NULL ? "last" : arguments.run, &overview, &error);
    if (folder == NULL)
        return command_fail(&error);
    int code = cancel(folder, &overview, &arguments, &error) < 0 ? command_fail(&error) : 0;
    mf_free(folder);
    return code;
}

const struct command command_cancel = {
    .name = "cancel", .arguments = "[RUN]", .summary = "end a live run", .main = cancel_main};
