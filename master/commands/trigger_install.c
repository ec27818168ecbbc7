/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly trigger install: registers a job with what it waits for. All that can be said against it
 * is said now: what goes wrong later, nobody reads at once. */
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/commands/text.h"
#include "master/commands/trigger.h"
#include "master/commands/trigger_entry.h"
#include "master/job/job.h"
#include "master/run_folder.h"
#include "master/trigger_check.h"

#define RUN_ID_STAMP 15u /* 20260102-030405 */

enum { KEY_PRINT = 256 };

struct arguments {
    const char *job;
    enum install_kind kind;
    bool has_no_entry; /* --scheduler=none */
    bool prints;
};

static const struct argp_option options[] = {
    {"scheduler",
     's',
     "KIND",
     0,
     "Where the entry goes that looks after triggers each minute: cron (the user's crontab), "
     "systemd (a timer of the user's), none, or auto, which is the default",
     0},
    {"print", KEY_PRINT, NULL, 0, "Only print the entry", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 's':
        arguments->has_no_entry = strcmp(text, "none") == 0;
        if (strcmp(text, "cron") == 0)
            arguments->kind = INSTALL_CRON;
        else if (strcmp(text, "systemd") == 0)
            arguments->kind = INSTALL_SYSTEMD;
        else if (strcmp(text, "auto") != 0 && !arguments->has_no_entry)
            argp_error(
                state, "--scheduler is one of cron, systemd, none and auto, not \"%s\"", text);
        return 0;
    case KEY_PRINT:
        arguments->prints = true;
        return 0;
    case ARGP_KEY_END:
        if (arguments->job == NULL && !arguments->prints)
            argp_error(state, "a job file is needed");
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->job != NULL)
            argp_error(state, "one job at a time: \"%s\" is too much", text);
        arguments->job = text;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static bool has_run(const char *job)
{
    size_t count = 0;
    char **ids = run_folder_list(&count, NULL), *end = mf_format("-%.60s-", job);
    bool is_there = false;
    for (size_t i = 0; ids != NULL && end != NULL && i < count; i++) /* DATE-TIME-NAME-0a1b */
        is_there |= strlen(ids[i]) == RUN_ID_STAMP + strlen(end) + 4 &&
                    strncmp(ids[i] + RUN_ID_STAMP, end, strlen(end)) == 0;
    run_folder_list_free(ids, count);
    mf_free(end);
    return is_there;
}

/* A name that was mistyped would wait for ever, in silence. */
static void say_unknown(struct queues *queues, const struct job *job)
{
    struct trigger_row row;
    if (job->trigger.kind != TRIGGER_AFTER)
        return;
    int rc = trigger_row_find(queues, job->trigger.after, &row, NULL);
    trigger_row_fini(&row);
    if (rc == 0 && !has_run(job->trigger.after))
        fprintf(stderr,
                "mayfly: nothing is known of a job '%s' yet, neither a trigger nor a run: %s waits "
                "for the end of its first one\n",
                job->trigger.after,
                job->name);
}

/* Registers it and fires at once what is due. Not committed yet. */
static int install_within(struct queues *queues,
                          const struct job *job,
                          const struct trigger_place *place,
                          struct trigger_fired *fired,
                          struct mf_error *error)
{
    struct trigger_row row;
    if (trigger_row_install(queues, job, place, mf_wall_us(), error) < 0)
        return -1;
    int rc = trigger_row_find(queues, job->name, &row, error);
    if (rc > 0 && row.queue != 0)
        rc = trigger_evaluate_queue(queues, row.queue, mf_wall_us(), fired, error);
    trigger_row_fini(&row);
    return rc < 0 ? -1 : 0;
}

/* The entry is made between registering and its commit: neither stands without the other. */
static int install_row(const struct arguments *arguments,
                       struct queues *queues,
                       const struct job *job,
                       const struct trigger_place *place,
                       struct trigger_fired *fired,
                       struct mf_error *error)
{
    int rc = queues_begin(queues, error);
    if (rc == 0)
        rc = install_within(queues, job, place, fired, error);
    if (rc == 0 && !arguments->has_no_entry)
        rc = trigger_entry_make(arguments->kind, error);
    if (rc == 0)
        rc = queues_commit(queues, error);
    queues_rollback(queues);
    return rc;
}

static int install(const struct arguments *arguments,
                   const struct job *job,
                   const struct trigger_place *place,
                   struct mf_error *error)
{
    struct trigger_fired fired = {0};
    struct queues *queues;
    int code = 0;
    if (queues_open_own(true, &queues, error) < 0)
        return command_fail(error);
    if (install_row(arguments, queues, job, place, &fired, error) < 0) {
        code = command_fail(error);
    } else {
        printf("installed %s\n", job->name);
        say_unknown(queues, job);
        code = trigger_command_hand_over(queues, &fired);
    }
    trigger_fired_fini(&fired);
    queues_close(queues);
    return code;
}

static int install_job(const struct arguments *arguments)
{
    struct mf_error error;
    char *path = trigger_command_path(arguments->job, &error);
    struct job *job = path == NULL ? NULL : job_load(path, NULL, 0, &error);
    char *environment = job == NULL ? NULL : trigger_environment(&error);
    int code;
    if (environment == NULL || trigger_check(job, &error) < 0) {
        code = command_fail(&error);
    } else {
        const struct trigger_place place = {.job_path = path, .environment = environment};
        code = install(arguments, job, &place, &error);
    }
    mf_free(environment);
    job_destroy(job);
    mf_free(path);
    return code;
}

static int install_main(int argc, char **argv)
{
    struct arguments arguments = {.kind = INSTALL_AUTO};
    command_parse(
        &command_trigger_install,
        options,
        parse,
        "Register a job, so that what its key `trigger` says starts it. Its runs have the "
        "environment of this command (PATH, HOME, language, XDG folders) and work in the job's "
        "folder.\v"
        "Nothing stays resident: pushes and ending runs start what is due at once; the rest is "
        "looked after each minute, by an entry of crontab or systemd that runs mayfly trigger "
        "tick.\n"
        "A job file that is edited afterwards is run as it then is; only when its name or its "
        "`trigger` have changed it starts nothing until it is installed again.",
        argc,
        argv,
        &arguments);
    text_begin();
    return text_end(arguments.prints ? trigger_entry_print(arguments.kind)
                                     : install_job(&arguments));
}

const struct command command_trigger_install = {.name = "install",
                                                .arguments = "JOB",
                                                .summary = "register a job with what it waits for",
                                                .main = install_main};
