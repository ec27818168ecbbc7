/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly run JOB / mayfly submit JOB: the same start, in the foreground or as a daemon. A submitted
 * master is detached before the first thread is made (nng does not survive a fork) and says its run
 * id through a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/claim.h"
#include "master/command.h"
#include "master/commands/background.h"
#include "master/commands/result_options.h"
#include "master/commands/sets.h"
#include "master/commands/ssh_options.h"
#include "master/dry_run.h"
#include "master/job/job.h"
#include "master/record/run_db.h"
#include "master/record/tree.h"
#include "master/run.h"
#include "master/run_folder.h"

enum { KEY_FIRING = 256 };

struct arguments {
    const char *job;
    const char *firing; /* the id of a run that a trigger has decided on; NULL = started by hand */
    struct sets sets;
    bool dry_run;
    struct run_options options;
};

static const struct argp_option options[] = {
    {"set", 's', "KEY=VALUE", 0, "Set a key of the job file, for example --set workers.count=4", 0},
    {"jobs", 'j', "N", 0, "Run N subtasks at a time on each worker (workers.slots)", 0},
    {"dry-run", 'n', NULL, 0, "Print the plan and run nothing", 0},
    {"firing", KEY_FIRING, "RUN", OPTION_HIDDEN, NULL, 0}, /* for triggers: see claim.h */
    {0}};

static const struct argp_child children[] = {
    {&ssh_argp, 0, NULL, 0}, {&result_argp, 0, NULL, 0}, {0}};

static void set_slots(struct arguments *arguments, const char *text, struct argp_state *state)
{
    char *end;
    errno = 0;
    long slots = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || slots < 1 || slots > 4096)
        argp_error(state, "-j takes a number from 1 to 4096, not \"%s\"", text);
    sets_take(&arguments->sets, mf_format("workers.slots=%ld", slots), state);
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->sets;
        state->child_inputs[1] = &arguments->options;
        return 0;
    case 's':
        sets_add(&arguments->sets, text, state);
        return 0;
    case 'j':
        set_slots(arguments, text, state);
        return 0;
    case 'n':
        arguments->dry_run = true;
        return 0;
    case KEY_FIRING:
        arguments->firing = text;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->job != NULL)
            argp_error(state, "one job at a time: \"%s\" is too much", text);
        arguments->job = text;
        return 0;
    case ARGP_KEY_END:
        if (arguments->job == NULL)
            argp_error(state, "a job file is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int write_job(const struct job *job, const char *folder, struct mf_error *error)
{
    struct mf_buffer text = {0};
    char *path = run_path(folder, "job.yaml");
    int rc = path == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path")
                          : job_write(job, &text, error);
    if (rc == 0)
        rc = write_file(path, text.data, text.length, true, error);
    mf_free(path);
    mf_buffer_fini(&text);
    return rc;
}

/* A run that is about to begin. */
struct beginning {
    char run_id[RUN_ID_SIZE];
    char *folder;
    int lock_fd;
};

/* Under the lock: another master may have had the folder meanwhile. One that died before it had a
 * results table has left nothing of use: the run begins anew. */
static int check_unused(const struct beginning *run, struct mf_error *error)
{
    char *path = run_path(run->folder, "run.db");
    int rc = path == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path")
                          : run_db_is_made(path, error);
    if (rc > 0)
        rc = mf_raise(error,
                      MF_EUSAGE,
                      "run %s has begun already: mayfly resume %s goes on with it",
                      run->run_id,
                      run->run_id);
    mf_free(path);
    return rc;
}

/* Locked, with its job.yaml and its messages; -1: what was made here is removed again. */
static int fill_folder(const struct job *job,
                       const char *firing,
                       struct beginning *run,
                       struct mf_error *error)
{
    run->lock_fd = run_folder_lock(run->folder, error);
    if (run->lock_fd < 0)
        return -1;
    if (check_unused(run, error) < 0) {
        close(run->lock_fd);
        return -1;
    }
    int rc = write_job(job, run->folder, error);
    if (rc == 0)
        rc = firing == NULL ? claim_by_hand(job, run->run_id, run->folder, error)
                            : claim_of_firing(job, run->run_id, run->folder, error);
    if (rc == 0)
        return 0;
    if (firing != NULL && error->code == MF_EUSAGE) /* it would be so the next time, too */
        claim_give_up(firing, error->text);
    if (error->code == MF_ESYSTEM)
        error->code = MF_ESETUP;
    tree_remove(run->folder, NULL);
    close(run->lock_fd);
    return -1;
}

static char *make_folder(const struct job *job,
                         const char *firing,
                         struct beginning *run,
                         struct mf_error *error)
{
    if (firing == NULL)
        return run_folder_create(job->name, run->run_id, error);
    if (!run_folder_is_id(firing)) {
        mf_raise(error, MF_EUSAGE, "\"%.100s\" is no id of a run", firing);
        return NULL;
    }
    snprintf(run->run_id, sizeof run->run_id, "%s", firing);
    return run_folder_create_as(firing, error);
}

/* A run folder with all that its master needs; -1 with an error. */
static int
make_run(const struct job *job, const char *firing, struct beginning *run, struct mf_error *error)
{
    run->folder = make_folder(job, firing, run, error);
    if (run->folder == NULL)
        return -1;
    if (fill_folder(job, firing, run, error) == 0)
        return 0;
    mf_free(run->folder);
    run->folder = NULL;
    return -1;
}

static int start(const struct arguments *arguments,
                 const struct job *job,
                 const char *worker_binary,
                 int say_fd)
{
    struct mf_error error;
    struct beginning run;
    if (make_run(job, arguments->firing, &run, &error) < 0)
        return command_fail(&error);
    if (say_fd >= 0)
        background_say(say_fd, run.folder, run.run_id);
    struct run_options run_options = arguments->options;
    run_options.worker_binary = worker_binary;
    run_options.detached = say_fd >= 0;
    int code = run_master(job, run.run_id, run.folder, run.lock_fd, NULL, &run_options);
    mf_free(run.folder);
    return code;
}

/* A run that cannot even be tried, unless somebody else has begun it: whoever makes its folder asks
 * after that whether it was given up. */
static void give_up_firing(const char *run_id, const char *why)
{
    char *folder = run_folder_path(run_id, NULL);
    if (folder != NULL && access(folder, F_OK) != 0)
        claim_give_up(run_id, why);
    mf_free(folder);
}

static int main_of(const struct command *command,
                   const char *doc,
                   int argc,
                   char **argv,
                   int (*go)(struct arguments *, const struct job *, const char *))
{
    struct arguments arguments = {0};
    struct mf_error error;
    command_parse(command, options, parse, doc, argc, argv, &arguments);
    struct job *job = job_load(arguments.job, arguments.sets.items, arguments.sets.count, &error);
    sets_fini(&arguments.sets);
    char *worker_binary = job == NULL ? NULL : command_worker_binary(&error);
    int code;
    if (worker_binary == NULL && arguments.firing != NULL)
        give_up_firing(arguments.firing, error.text);
    if (worker_binary == NULL)
        code = command_fail(&error);
    else if (arguments.dry_run)
        code = dry_run(job);
    else
        code = go(&arguments, job, worker_binary);
    mf_free(worker_binary);
    job_destroy(job);
    return code;
}

static int
go_foreground(struct arguments *arguments, const struct job *job, const char *worker_binary)
{
    return start(arguments, job, worker_binary, -1);
}

static int run_main(int argc, char **argv)
{
    return main_of(
        &command_run,
        "Run a job here and now; its result goes to standard output, all else to standard "
        "error.",
        argc,
        argv,
        go_foreground);
}

/* What `submit` hands to its child. */
struct submission {
    const struct arguments *arguments;
    const struct job *job;
    const char *worker_binary;
};

static int run_detached(void *arg, int say_fd)
{
    const struct submission *submission = arg;
    return start(submission->arguments, submission->job, submission->worker_binary, say_fd);
}

static int
go_background(struct arguments *arguments, const struct job *job, const char *worker_binary)
{
    struct submission submission = {
        .arguments = arguments, .job = job, .worker_binary = worker_binary};
    return background_start(run_detached, &submission);
}

static int submit_main(int argc, char **argv)
{
    return main_of(&command_submit,
                   "Start a job in the background; its run id goes to standard output. The master "
                   "logs to the run's "
                   "folder and ends with the run.",
                   argc,
                   argv,
                   go_background);
}

const struct command command_run = {.name = "run",
                                    .arguments = "JOB",
                                    .summary = "run a job and wait for its result",
                                    .children = children,
                                    .main = run_main};
const struct command command_submit = {.name = "submit",
                                       .arguments = "JOB",
                                       .summary = "start a job in the background",
                                       .children = children,
                                       .main = submit_main};
