/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly trigger watch: the one small process that serves the triggers of a folder (watcher.h). */
#include "master/commands/trigger.h"
#include "master/watcher.h"

static const struct argp_option options[] = {{0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    const char **folder = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (*folder != NULL)
            argp_error(state, "one folder at a time: \"%s\" is too much", text);
        *folder = text;
        return 0;
    case ARGP_KEY_END:
        if (*folder == NULL)
            argp_error(state, "which folder holds the job files?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int trigger_watch_main(int argc, char **argv)
{
    const char *folder = NULL;
    struct mf_error error;
    command_parse(&command_trigger_watch,
                  options,
                  parse,
                  "Serve the triggers of FOLDER's job files (*.yaml, and job.yaml in its "
                  "sub-folders): cron, also below a minute, the age of messages, arriving files, "
                  "brokers, and runs whose master died. Changed job files are read again by "
                  "themselves. SIGTERM ends it, SIGHUP has all files read anew; the runs that it "
                  "has started go on without it. A unit for systemd is mayfly-watch@.service.",
                  argc,
                  argv,
                  &folder);
    return watcher_run(folder, &error) < 0 ? command_fail(&error) : 0;
}

const struct command command_trigger_watch = {.name = "watch",
                                              .arguments = "FOLDER",
                                              .summary = "serve the triggers of a folder's jobs",
                                              .main = trigger_watch_main};
