/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly trigger: the commands on what starts runs, a file each; and what they share. */
#include "master/commands/trigger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "master/trigger/handover.h"

static const struct command *const commands[] = {
    &command_trigger_install,
    &command_trigger_list,
    &command_trigger_next,
    &command_trigger_remove,
    &command_trigger_run,
    &command_trigger_tick,
    &command_trigger_watch,
};

static const struct command_list list = {
    .name = "mayfly trigger",
    .about = "What starts runs by itself: queues that fill, the clock, the end of other runs.",
    .commands = commands,
    .count = sizeof commands / sizeof *commands,
    .notes = "JOB is the name of a job that is installed, or its file.\n"
             "Exit codes: 0 done, 2 wrong usage or job file, 3 could not be carried out.\n"};

static int trigger_main(int argc, char **argv)
{
    return command_list_main(&list, argc, argv);
}

const struct command command_trigger = {.name = "trigger",
                                        .arguments = "COMMAND",
                                        .summary = "have jobs started by queues, clock and runs",
                                        .main = trigger_main};

struct queues *trigger_command_open(struct mf_error *error)
{
    struct queues *queues;
    if (queues_open_own(false, &queues, error) == 0)
        mf_raise(
            error,
            MF_EUSAGE,
            "no trigger is installed: mayfly trigger install JOB registers a job that has one");
    return queues;
}

error_t trigger_command_job(int key, char *text, struct argp_state *state)
{
    const char **job = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (*job != NULL)
            argp_error(state, "one job at a time: \"%s\" is too much", text);
        *job = text;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "say which job (mayfly trigger list shows those that are installed)");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

char *trigger_command_path(const char *job, struct mf_error *error)
{
    struct stat facts;
    bool is_folder = stat(job, &facts) == 0 && S_ISDIR(facts.st_mode);
    char *named = mf_format("%s%s", job, is_folder ? "/job.yaml" : "");
    char *real = named == NULL ? NULL : realpath(named, NULL);
    char *path = real == NULL ? NULL : mf_strdup(real);
    if (named == NULL || (real != NULL && path == NULL))
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    else if (real == NULL)
        mf_raise(error, MF_EUSAGE, "%s: the job file cannot be found: %s", named, strerror(errno));
    free(real); /* the C library's own */
    mf_free(named);
    return path;
}

/* Looking for a row by its job file. */
struct by_path {
    const char *path;
    struct trigger_row *found;
    struct mf_buffer names; /* of all */
};

static int look(void *arg, struct queues *queues, struct trigger_row *row, struct mf_error *error)
{
    struct by_path *by_path = arg;
    (void)queues;
    if (mf_buffer_printf(
            &by_path->names, error, "%s%s", by_path->names.length == 0 ? "" : ", ", row->name) < 0)
        return -1;
    if (by_path->path == NULL || strcmp(row->job_path, by_path->path) != 0)
        return 0;
    *by_path->found = *row;
    *row = (struct trigger_row){0};
    return 1;
}

int trigger_command_find(struct queues *queues,
                         const char *job,
                         struct trigger_row *row,
                         struct mf_error *error)
{
    int rc = trigger_row_find(queues, job, row, error);
    if (rc != 0)
        return rc;
    char *path = trigger_command_path(job, NULL);
    struct by_path by_path = {.path = path, .found = row};
    rc = trigger_row_each(queues, look, &by_path, error);
    const char *names = by_path.names.length == 0 ? NULL : mf_buffer_text(&by_path.names);
    if (rc == 0)
        rc = mf_raise(error,
                      MF_EUSAGE,
                      "no trigger of a job '%s' is installed; %s%s",
                      job,
                      names == NULL ? "none is: mayfly trigger install JOB" : "there are ",
                      names == NULL ? "" : names);
    mf_buffer_fini(&by_path.names);
    mf_free(path);
    return rc;
}

int trigger_command_hand_over(struct queues *queues, struct trigger_fired *fired)
{
    struct mf_error error;
    struct trigger_row row;
    size_t failed;
    int code = 0;
    if (trigger_hand_over(queues, fired, NULL, &failed, &error) < 0)
        return command_fail(&error);
    for (size_t i = 0; i < fired->count; i++)
        printf("%s\n", fired->runs[i].run_id);
    for (size_t i = 0; failed > 0 && i < fired->count; i++) {
        if (trigger_row_find(queues, fired->runs[i].trigger, &row, &error) > 0 &&
            row.last_error != NULL)
            fprintf(stderr, "mayfly: job %s: %s\n", row.name, row.last_error);
        trigger_row_fini(&row);
        code = 3;
    }
    return code;
}
