/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly retry: the dead letters of a finished run are tried again, in the same run. What can fail
 * is tried before the run is touched; from the re-drive on it is a run that is under way, and when
 * its master is killed then, an interrupted one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/claim.h"
#include "master/command.h"
#include "master/commands/export.h"
#include "master/commands/items.h"
#include "master/commands/left.h"
#include "master/commands/overview.h"
#include "master/commands/result_options.h"
#include "master/commands/selection.h"
#include "master/record/run_db.h"
#include "master/record/sql.h"
#include "master/run.h"
#include "master/run_folder.h"

enum { KEY_DEAD = 256, KEY_EXPORT, KEY_FAILED };

#define SUBTASKS_MAX 1000000u /* that can be named */

struct arguments {
    const char *run, *export;
    struct selection selection;
    bool dead, failed;
    struct run_options options;
};

static const struct argp_option options[] = {
    {"dead", KEY_DEAD, NULL, 0, "Only those that used up their attempts", 0},
    {"failed", KEY_FAILED, NULL, 0, "Only those that failed for good at once", 0},
    {"export",
     KEY_EXPORT,
     "FILE",
     0,
     "Try nothing: write them as a job to FILE, which mayfly run takes as it is",
     0},
    {0}};

static void add_argument(struct arguments *arguments, const char *text, struct argp_state *state)
{
    struct mf_error error;
    if (arguments->run == NULL)
        arguments->run = text;
    else if (selection_add(&arguments->selection, text, &error) < 0)
        argp_error(state, "%s", error.text);
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->options;
        return 0;
    case KEY_DEAD:
        arguments->dead = true;
        return 0;
    case KEY_FAILED:
        arguments->failed = true;
        return 0;
    case KEY_EXPORT:
        arguments->export = text;
        return 0;
    case ARGP_KEY_ARG:
        add_argument(arguments, text, state);
        return 0;
    case ARGP_KEY_END:
        if (arguments->run == NULL)
            argp_error(state, "a run is needed, for example: mayfly retry last");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Whether there is something to try again, of the kinds that are asked for. */
static bool has_letters(const struct overview *overview, const struct arguments *arguments)
{
    bool any = !arguments->dead && !arguments->failed;
    return ((any || arguments->failed) && overview->failed > 0) ||
           ((any || arguments->dead) && overview->dead > 0);
}

static int refuse_unfinished(const struct overview *overview, struct mf_error *error)
{
    if (!overview->is_ended)
        return mf_raise(
            error,
            MF_EUSAGE,
            "run %s was interrupted, it has not ended: mayfly resume %s goes on with it",
            overview->run_id,
            overview->run_id);
    return mf_raise(error,
                    MF_EUSAGE,
                    "run %s was %s: only a run that has ended partial or failed can be retried; "
                    "its results stay (mayfly results %s), start it anew with mayfly run %s",
                    overview->run_id,
                    overview->state,
                    overview->run_id,
                    overview->job_path);
}

/* Why this run can't be retried, with what to do instead; 0 when it can. */
static int
check(const struct overview *overview, const struct arguments *arguments, struct mf_error *error)
{
    const char *id = overview->run_id, *state = overview->state;
    if (overview->is_live)
        return mf_raise(error,
                        MF_EUSAGE,
                        "run %s is live (%s): wait until it has ended (mayfly watch %s)",
                        id,
                        state,
                        id);
    if (strcmp(state, "succeeded") == 0)
        return mf_raise(
            error, MF_EUSAGE, "run %s succeeded: it has nothing that could be tried again", id);
    if (strcmp(state, "cancelled") == 0 || !overview->is_ended)
        return refuse_unfinished(overview, error);
    if (!has_letters(overview, arguments))
        return mf_raise(error,
                        MF_EUSAGE,
                        "run %s has no such dead letter to try again; it is %s%s%s",
                        id,
                        state,
                        overview->reason[0] == '\0' ? "" : ": ",
                        overview->reason);
    if (!overview->has_total)
        return mf_raise(error,
                        MF_EUSAGE,
                        "the plan of run %s was not finished, so it can't go on; start it anew "
                        "with mayfly run %s",
                        id,
                        overview->job_path);
    return 0;
}

/* The named subtasks one by one (heap). */
static uint64_t *
list_ids(const struct selection *selection, uint64_t *count, struct mf_error *error)
{
    *count = 0;
    for (size_t i = 0; i < selection->count; i++) {
        uint64_t more = selection->ranges[i].last - selection->ranges[i].first + 1;
        if (more > SUBTASKS_MAX - *count) {
            mf_raise(error, MF_EUSAGE, "at most %u subtasks can be named", SUBTASKS_MAX);
            return NULL;
        }
        *count += more;
    }
    uint64_t *ids = mf_calloc(*count + 1, sizeof *ids), n = 0;
    if (ids == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a list of subtasks");
    for (size_t i = 0; ids != NULL && i < selection->count; i++)
        for (uint64_t id = selection->ranges[i].first; id <= selection->ranges[i].last; id++)
            ids[n++] = id;
    return ids;
}

static int redrive(const char *path, const struct arguments *arguments, struct mf_error *error)
{
    bool any = !arguments->dead && !arguments->failed;
    uint64_t id_count, count = 0;
    uint64_t *ids = list_ids(&arguments->selection, &id_count, error);
    if (ids == NULL)
        return -1;
    int rc = run_db_redrive(
        path, any || arguments->failed, any || arguments->dead, ids, id_count, &count, error);
    mf_free(ids);
    return rc;
}

static int collect(sqlite3 *db, struct left *left, struct run_again *retry, struct mf_error *error)
{
    struct run_facts facts;
    if (run_db_facts(db, &facts, error) < 0)
        return -1;
    if (left_collect(left, db, facts.total, error) < 0)
        return -1;
    int64_t last_worker;
    if (sql_integer(
            db, facts.run_id, "SELECT coalesce(max(id), 0) FROM worker", &last_worker, error) < 0)
        return -1;
    uint64_t known = facts.done + facts.failed + facts.dead + left->count;
    if (known != facts.total)
        return mf_raise(error,
                        MF_EINPUT,
                        "the counts of run %s do not add up: %" PRIu64 " of %" PRIu64
                        " subtasks are known",
                        facts.run_id,
                        known,
                        facts.total);
    *retry = (struct run_again){.open = left->open,
                                .open_count = left->count,
                                .is_planned = true,
                                .last_worker = (uint32_t)last_worker,
                                .has_total = true,
                                .high_water = facts.total,
                                .total = facts.total,
                                .done = facts.done,
                                .failed = facts.failed,
                                .dead = facts.dead};
    return 0;
}

/* A retry in the making. */
struct attempt_again {
    const struct arguments *arguments;
    const char *folder;
    char *path; /* of run.db */
    sqlite3 *db;
    struct job *job;
    char *worker_binary;
    int lock_fd; /* -1 = not held */
    struct left left;
};

/* Under the lock: nobody else changes the run now. */
static int check_run(const struct attempt_again *again, const char *run_id, struct mf_error *error)
{
    struct overview overview;
    if (overview_read(again->folder, run_id, &overview, error) < 0)
        return -1;
    if (again->lock_fd >= 0)
        overview.is_live = false; /* the lock is ours */
    return check(&overview, again->arguments, error);
}

/* What failed of a queue is a message, and messages have a life of their own. */
static int
refuse_messages(const struct attempt_again *again, const char *run_id, struct mf_error *error)
{
    const struct job *job = again->job;
    if (claim_settle(again->folder, error) < 0)
        return -1;
    return mf_raise(error,
                    MF_EUSAGE,
                    "the messages of run %s that have failed went back to the queue %s when it "
                    "ended, so they can't be tried again here: the next run gets them, or, if they "
                    "are dead (mayfly queue dead %s), after mayfly queue replay %s",
                    run_id,
                    job->split.queue,
                    job->split.queue,
                    job->split.queue);
}

/* All that can fail before the run is touched. */
static int prepare(struct attempt_again *again, const char *run_id, struct mf_error *error)
{
    again->path = run_path(again->folder, "run.db");
    if (again->path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    again->db = run_db_open(again->path, error);
    if (again->db == NULL || check_run(again, run_id, error) < 0)
        return -1;
    again->lock_fd = run_folder_lock(again->folder, error);
    if (again->lock_fd < 0 || check_run(again, run_id, error) < 0)
        return -1;
    again->job = items_job(again->folder, again->db, error);
    if (again->job == NULL ||
        (again->job->split.kind == SPLIT_QUEUE && refuse_messages(again, run_id, error) < 0))
        return -1;
    again->worker_binary = command_worker_binary(error);
    return again->worker_binary == NULL ? -1 : 0;
}

static int go(struct attempt_again *again, char *folder, const char *run_id)
{
    struct mf_error error;
    struct run_again retry;
    struct run_options run_options = again->arguments->options;
    if (prepare(again, run_id, &error) < 0 || redrive(again->path, again->arguments, &error) < 0 ||
        collect(again->db, &again->left, &retry, &error) < 0)
        return command_fail(&error);
    run_db_close(again->db);
    again->db = NULL;
    run_options.worker_binary = again->worker_binary;
    int lock_fd = again->lock_fd;
    again->lock_fd = -1;
    return run_master(again->job, run_id, folder, lock_fd, &retry, &run_options);
}

static int export(const char *folder, const struct arguments *arguments)
{
    return export_letters(
        folder, &arguments->selection, arguments->dead, arguments->failed, arguments->export);
}

static int retry_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct attempt_again again = {.arguments = &arguments, .lock_fd = -1};
    char run_id[RUN_ID_SIZE];
    struct mf_error error;
    int code;
    command_parse(
        &command_retry,
        options,
        parse,
        "Try the dead letters of a finished run again (default: all of them; SUBTASK is a number "
        "or a range such as 5-9), and gather its result anew.\v"
        "The run must have ended partial or failed. Subtasks that were cancelled because of the "
        "failures are run too. Results that are recorded are kept and not computed again; the old "
        "attempts stay in the results table, marked as superseded.",
        argc,
        argv,
        &arguments);
    selection_close(&arguments.selection);
    char *folder = run_folder_find(arguments.run, run_id, &error);
    again.folder = folder;
    if (folder == NULL)
        code = command_fail(&error);
    else
        code = arguments.export == NULL ? go(&again, folder, run_id) : export(folder, &arguments);
    if (again.lock_fd >= 0)
        close(again.lock_fd);
    run_db_close(again.db);
    job_destroy(again.job);
    mf_free(again.worker_binary);
    mf_free(again.path);
    left_fini(&again.left);
    mf_free(folder);
    selection_fini(&arguments.selection);
    return code;
}

const struct command command_retry = {.name = "retry",
                                      .arguments = "RUN [SUBTASK...]",
                                      .summary = "try the dead letters of a run again",
                                      .children = result_options,
                                      .main = retry_main};
