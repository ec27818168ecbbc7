/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly resume: a run whose master was killed, interrupted or stopped goes on. Nothing of it is
 * touched before all has been looked at: the lock, the results table, the plan, the inputs.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/changed.h"
#include "master/command.h"
#include "master/commands/background.h"
#include "master/commands/items.h"
#include "master/commands/left.h"
#include "master/commands/overview.h"
#include "master/commands/result_options.h"
#include "master/record/run_db.h"
#include "master/record/sql.h"
#include "master/run.h"
#include "master/run_folder.h"
#include "master/split/split.h"

enum { KEY_CHANGED = 256 };

struct arguments {
    const char *run;
    bool may_change; /* --changed=fail */
    struct run_options options;
};

static const struct argp_option options[] = {
    {"changed",
     KEY_CHANGED,
     "fail",
     0,
     "Go on although inputs have changed: their subtasks fail (\"input changed\"), the others run",
     0},
    {"detach", 'd', NULL, 0, "Go on in the background, as mayfly submit does", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->options;
        return 0;
    case KEY_CHANGED:
        if (strcmp(text, "fail") != 0)
            argp_error(state, "--changed takes \"fail\", not \"%s\"", text);
        arguments->may_change = true;
        return 0;
    case 'd':
        arguments->options.detached = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->run != NULL)
            argp_error(state, "one run at a time: \"%s\" is too much", text);
        arguments->run = text;
        return 0;
    case ARGP_KEY_END:
        if (arguments->run == NULL)
            arguments->run = "last";
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A resume in the making. */
struct resume {
    const struct arguments *arguments;
    char *folder;
    const char *run_id;
    char *path; /* of run.db */
    sqlite3 *db;
    struct job *job;
    char *worker_binary;
    int lock_fd; /* -1 = not held */
    struct run_facts facts;
    struct left left;
    struct run_db_worker *workers;
    size_t worker_count;
    bool is_planned;
};

static int refuse_ended(const struct overview *overview, struct mf_error *error)
{
    const char *id = overview->run_id, *state = overview->state;
    if (strcmp(state, "cancelled") == 0)
        return mf_raise(error,
                        MF_EUSAGE,
                        "run %s was cancelled, so it does not go on: its results stay (mayfly "
                        "results %s), start it anew with mayfly run %s",
                        id,
                        id,
                        overview->job_path);
    if (overview->failed + overview->dead > 0)
        return mf_raise(error,
                        MF_EUSAGE,
                        "run %s has ended (%s): mayfly retry %s tries its dead letters again",
                        id,
                        state,
                        id);
    return mf_raise(error,
                    MF_EUSAGE,
                    "run %s has ended (%s): there is nothing to resume%s%s",
                    id,
                    state,
                    overview->reason[0] == '\0' ? "" : ": ",
                    overview->reason);
}

/* Under the lock: nobody else changes the run now. An overview counts all rows: it is only read to
 * say what is wrong. */
static int open_table(struct resume *resume, struct mf_error *error)
{
    struct overview overview;
    struct mf_error why;
    int64_t is_ended = 0;
    if (access(resume->path, F_OK) < 0 && errno == ENOENT)
        return mf_raise(error,
                        MF_EINPUT,
                        "run %s has no run.db: its master ended before it made one, or it was "
                        "removed; mayfly clean %s removes the rest, and messages that it has "
                        "claimed go back to their queue",
                        resume->run_id,
                        resume->run_id);
    resume->db = run_db_open(resume->path, error);
    if (resume->db == NULL) {
        if (overview_read(resume->folder, resume->run_id, &overview, &why) < 0)
            *error = why;
        return -1;
    }
    if (sql_integer(resume->db,
                    resume->path,
                    "SELECT state IN ('succeeded', 'partial', 'failed', 'cancelled') FROM run",
                    &is_ended,
                    error) < 0)
        return -1;
    if (is_ended == 0)
        return 0;
    if (overview_read(resume->folder, resume->run_id, &overview, error) < 0)
        return -1;
    return refuse_ended(&overview, error);
}

struct workers {
    struct run_db_worker *items;
    size_t count, capacity;
    bool is_short; /* memory is exhausted */
};

static int add_worker(void *arg, const struct run_db_worker *worker)
{
    struct workers *workers = arg;
    if (workers->count == workers->capacity) {
        size_t capacity = workers->capacity == 0 ? 16 : workers->capacity * 2;
        struct run_db_worker *more = mf_realloc(workers->items, capacity * sizeof *more);
        workers->is_short = more == NULL;
        if (more == NULL)
            return 1;
        workers->items = more;
        workers->capacity = capacity;
    }
    workers->items[workers->count++] = *worker;
    return 0;
}

static int read_workers(struct resume *resume, struct mf_error *error)
{
    struct workers workers = {0};
    int rc = run_db_each_worker(resume->db, add_worker, &workers, error);
    resume->workers = workers.items;
    resume->worker_count = workers.count;
    if (rc == 0 && workers.is_short)
        rc = mf_raise(error, MF_ENOMEM, "out of memory: the workers of run %s", resume->run_id);
    return rc;
}

/* Whether there is a plan at all; where there must be one, it is missed. */
static int find_plan(struct resume *resume, struct mf_error *error)
{
    resume->is_planned = resume->facts.has_total || resume->facts.high_water > 0;
    if (split_is_derivable(resume->job))
        return 0;
    char *path = run_path(resume->folder, "plan.seg");
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    bool is_there = access(path, F_OK) == 0;
    int rc = 0;
    if (!is_there && (resume->facts.attempts > 0 || resume->facts.has_total))
        rc = mf_raise(error,
                      MF_EINPUT,
                      "the plan %s is missing, so nobody knows what is left to do: start anew from "
                      "the job file; what is recorded stays (mayfly results %s)",
                      path,
                      resume->run_id);
    resume->is_planned = is_there;
    mf_free(path);
    return rc;
}

static int
refuse_changed(const struct resume *resume, const struct changed *changed, struct mf_error *error)
{
    char choice[256] = "";
    if (resume->facts.has_total)
        snprintf(choice,
                 sizeof choice,
                 ", or go on with mayfly resume --changed=fail %s (these subtasks fail, the others "
                 "run)",
                 resume->run_id);
    return mf_raise(error,
                    MF_EINPUT,
                    "%" PRIu64 " inputs of run %s, which %" PRIu64
                    " subtasks still need, are not as they were planned: %s%s; put them back%s, or "
                    "start anew%s",
                    changed->inputs,
                    resume->run_id,
                    changed->subtasks,
                    changed->names,
                    changed->inputs > CHANGED_NAMED ? " ..." : "",
                    choice,
                    resume->facts.has_total ? "" : " (the plan was not finished)");
}

static int check_inputs(const struct resume *resume, struct mf_error *error)
{
    struct changed changed;
    const struct plan_rest rest = {.open = resume->left.open,
                                   .open_count = resume->left.count,
                                   .mark = resume->facts.high_water,
                                   .is_whole = resume->facts.has_total};
    if (resume->job->split.kind == SPLIT_QUEUE) /* an input is a message's: it alone fails */
        return 0;
    if (!resume->is_planned || (resume->arguments->may_change && resume->facts.has_total))
        return 0;
    if (changed_find(resume->job, resume->folder, &rest, &changed, error) < 0)
        return -1;
    return changed.inputs == 0 ? 0 : refuse_changed(resume, &changed, error);
}

static int collect(struct resume *resume, struct mf_error *error)
{
    struct run_facts *facts = &resume->facts;
    if (run_db_facts(resume->db, facts, error) < 0 || read_workers(resume, error) < 0)
        return -1;
    if (facts->has_total && facts->high_water < facts->total)
        facts->high_water = facts->total;
    return left_collect(
        &resume->left, resume->db, facts->has_total ? facts->total : facts->high_water, error);
}

/* All that can fail before the run is touched. */
static int prepare(struct resume *resume, struct mf_error *error)
{
    resume->path = run_path(resume->folder, "run.db");
    if (resume->path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    if ((resume->lock_fd = run_folder_lock(resume->folder, error)) < 0 ||
        open_table(resume, error) < 0 || collect(resume, error) < 0 ||
        (resume->job = items_job(resume->folder, resume->db, error)) == NULL ||
        find_plan(resume, error) < 0 || check_inputs(resume, error) < 0)
        return -1;
    resume->worker_binary = command_worker_binary(error);
    return resume->worker_binary == NULL ? -1 : 0;
}

/* say_fd: where the run is said once nothing is refused any more; -1 = nowhere. */
static int go(struct resume *resume, int say_fd)
{
    struct mf_error error;
    struct run_options run_options = resume->arguments->options;
    if (prepare(resume, &error) < 0)
        return command_fail(&error);
    const struct run_facts *facts = &resume->facts;
    const struct run_again again = {
        .is_resume = true,
        .is_planned = resume->is_planned,
        .open = resume->left.open,
        .open_count = resume->left.count,
        .high_water = facts->high_water,
        .has_total = facts->has_total,
        .total = facts->total,
        .done = facts->done,
        .failed = facts->failed,
        .dead = facts->dead,
        .last_worker = resume->worker_count == 0 ? 0 : resume->workers[resume->worker_count - 1].id,
        .address = facts->address,
        .workers = resume->workers,
        .worker_count = resume->worker_count};
    run_db_close(resume->db);
    resume->db = NULL;
    run_options.worker_binary = resume->worker_binary;
    if (say_fd >= 0)
        background_say(say_fd, resume->folder, resume->run_id);
    int lock_fd = resume->lock_fd;
    resume->lock_fd = -1;
    return run_master(resume->job, resume->run_id, resume->folder, lock_fd, &again, &run_options);
}

static int go_detached(void *arg, int say_fd)
{
    return go(arg, say_fd);
}

static int resume_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct resume resume = {.arguments = &arguments, .lock_fd = -1};
    char run_id[RUN_ID_SIZE];
    struct mf_error error;
    command_parse(
        &command_resume,
        options,
        parse,
        "Go on with a run whose master was killed, interrupted (exit code 130) or stopped by a "
        "full "
        "disk (exit code 3); default: the last run.\v"
        "What is recorded is not run again. Workers that are still alive are taken over with what "
        "they are running; others are started in place of those that are not.",
        argc,
        argv,
        &arguments);
    char *folder = run_folder_find(arguments.run, run_id, &error);
    resume.folder = folder;
    resume.run_id = run_id;
    int code = folder == NULL               ? command_fail(&error)
               : arguments.options.detached ? background_start(go_detached, &resume)
                                            : go(&resume, -1);
    if (resume.lock_fd >= 0)
        close(resume.lock_fd);
    run_db_close(resume.db);
    job_destroy(resume.job);
    left_fini(&resume.left);
    mf_free(resume.workers);
    mf_free(resume.worker_binary);
    mf_free(resume.path);
    mf_free(folder);
    return code;
}

const struct command command_resume = {.name = "resume",
                                       .arguments = "[RUN]",
                                       .summary = "go on with a run that was interrupted",
                                       .children = result_options,
                                       .main = resume_main};
