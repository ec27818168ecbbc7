/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly results: what the subtasks of a run came to, in plan order: their results, their dead
 * letters, or a line each for programs. Works on a live run too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "master/command.h"
#include "master/commands/export.h"
#include "master/commands/items.h"
#include "master/commands/letter.h"
#include "master/commands/outcome.h"
#include "master/commands/outcome_json.h"
#include "master/commands/overview.h"
#include "master/commands/text.h"
#include "master/record/run_db.h"
#include "master/run_folder.h"
#include "master/run_result.h"

enum { KEY_DEAD = 256, KEY_EXPORT, KEY_FAILED, KEY_GATHERED, KEY_JOBLOG, KEY_TAIL };

struct arguments {
    const char *run, *export;
    struct selection selection;
    bool gathered, dead, failed, json, joblog;
    uint64_t tail;
};

static const struct argp_option options[] = {
    {"gathered", KEY_GATHERED, NULL, 0, "Print the one gathered result of the run", 0},
    {"dead", KEY_DEAD, NULL, 0, "List the subtasks that used up their attempts, and why", 0},
    {"failed", KEY_FAILED, NULL, 0, "List those that failed for good at once", 0},
    {"export",
     KEY_EXPORT,
     "FILE",
     0,
     "Write the dead letters as a job to FILE, which mayfly run takes as it is",
     0},
    {"tail", KEY_TAIL, "N", 0, "Show the last N lines of their standard error (5)", 0},
    {"json", 'J', NULL, 0, "Write a line of JSON a finished subtask", 0},
    {"joblog", KEY_JOBLOG, NULL, 0, "Write the columns of GNU Parallel's joblog", 0},
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
    case KEY_GATHERED:
        arguments->gathered = true;
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
    case KEY_TAIL:
        if (text_number(text, 0, 1000, &arguments->tail) < 0)
            argp_error(state, "--tail takes a number up to 1000, not \"%s\"", text);
        return 0;
    case 'J':
        arguments->json = true;
        return 0;
    case KEY_JOBLOG:
        arguments->joblog = true;
        return 0;
    case ARGP_KEY_ARG:
        add_argument(arguments, text, state);
        return 0;
    case ARGP_KEY_END:
        if (arguments->json && arguments->joblog)
            argp_error(state, "--json and --joblog exclude each other");
        if (arguments->export != NULL && (arguments->json || arguments->joblog))
            argp_error(state, "--export excludes --json and --joblog");
        if (arguments->gathered &&
            (arguments->export != NULL || arguments->json || arguments->joblog || arguments->dead ||
             arguments->failed || arguments->selection.count > 0))
            argp_error(state, "--gathered stands alone");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The walk over the outcomes. */
struct walk {
    const struct arguments *arguments;
    struct outcome_source source;
    struct items *items; /* NULL when no items are shown, or the plan can't be read */
    uint64_t seen;       /* selected subtasks that have ended */
    uint64_t without;    /* of these, named ones that have no result */
};

static int print_result(struct walk *walk, const struct outcome *outcome, struct mf_error *error)
{
    char why[96];
    if (strcmp(outcome->state, "done") == 0)
        return outcome_write(outcome, walk->source.folder, error);
    if (walk->arguments->selection.count > 0) {
        walk->without++;
        fprintf(stderr,
                "mayfly: subtask %" PRIu64 " has no result, it is %s: %s\n",
                outcome->subtask,
                outcome->state,
                outcome_why(outcome->cause, outcome->exit_code, outcome->signal, why));
    }
    return 0;
}

/* Exitval and Signal as GNU Parallel has them; -1 for an end that was neither. */
static int joblog_exit(const struct outcome *outcome)
{
    if (outcome->signal != 0)
        return 0;
    if (outcome->exit_code == 0 && strcmp(outcome->state, "done") != 0)
        return -1;
    return outcome->exit_code;
}

static int print_joblog(const struct walk *walk,
                        const struct outcome *outcome,
                        const struct mf_subtask *piece,
                        struct mf_error *error)
{
    struct mf_buffer command = {0};
    int64_t started_us = outcome->ended_us == 0 ? 0 : outcome->ended_us - outcome->wall_us;
    int rc = 0;
    if (piece != NULL)
        rc = items_command(walk->items, piece, &command, error);
    if (rc == 0) {
        printf("%" PRIu64 "\t%s\t%.3f\t%10.3f\t0\t%" PRIu64 "\t%d\t%d\t",
               outcome->subtask,
               outcome->host,
               (double)started_us / 1e6,
               (double)outcome->wall_us / 1e6,
               outcome->result_bytes,
               joblog_exit(outcome),
               outcome->signal);
        fwrite(command.data, 1, command.length, stdout);
        putchar('\n');
    }
    mf_buffer_fini(&command);
    return rc;
}

static bool is_wanted(const struct arguments *arguments, const char *state)
{
    if (!arguments->dead && !arguments->failed)
        return true;
    return (arguments->dead && strcmp(state, "dead") == 0) ||
           (arguments->failed && strcmp(state, "failed") == 0);
}

static int on_outcome(void *arg, const struct outcome *outcome, struct mf_error *error)
{
    struct walk *walk = arg;
    const struct arguments *arguments = walk->arguments;
    walk->seen++;
    if (!is_wanted(arguments, outcome->state))
        return 0;
    const struct mf_subtask *piece =
        walk->items == NULL ? NULL : items_find(walk->items, outcome->subtask);
    int rc;
    if (arguments->json)
        rc = outcome_json_print(&walk->source, outcome, piece, error);
    else if (arguments->joblog)
        rc = print_joblog(walk, outcome, piece, error);
    else if (arguments->dead || arguments->failed)
        rc = letter_print(&walk->source, outcome, piece, error);
    else
        rc = print_result(walk, outcome, error);
    return rc == 0 && ferror(stdout) != 0 ? 1 : rc;
}

/* 1 when named subtasks have no record yet, which it says. */
static int check_named(const struct walk *walk)
{
    const struct selection *selection = &walk->arguments->selection;
    uint64_t named = 0;
    for (size_t i = 0; i < selection->count; i++)
        named += selection->ranges[i].last - selection->ranges[i].first + 1;
    if (walk->seen >= named || ferror(stdout) != 0)
        return walk->without > 0;
    fprintf(stderr,
            "mayfly: %" PRIu64 " of the %" PRIu64 " named subtasks have not ended, or are not in "
            "the plan\n",
            named - walk->seen,
            named);
    return 1;
}

static int print_all(struct walk *walk, struct mf_error *error)
{
    const struct arguments *arguments = walk->arguments;
    struct mf_error trouble;
    bool needs_items = arguments->json || arguments->joblog || arguments->dead || arguments->failed;
    if (needs_items &&
        (walk->items = items_open(walk->source.folder, walk->source.db, &trouble)) == NULL)
        fprintf(stderr, "mayfly: the items can't be shown: %s\n", trouble.text);
    if (arguments->joblog)
        puts("Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand");
    int rc = outcome_each(
        walk->source.db, walk->source.path, &arguments->selection, on_outcome, walk, error);
    if (walk->items != NULL && items_trouble(walk->items) != NULL)
        fprintf(stderr, "mayfly: not all items can be shown: %s\n", items_trouble(walk->items));
    items_close(walk->items);
    return rc < 0 ? -1 : check_named(walk);
}

static int print_gathered(const char *folder)
{
    struct mf_error error;
    return run_result_copy(folder, 1, "standard output", &error) < 0 ? command_fail(&error) : 0;
}

static int results(const char *folder, const struct arguments *arguments)
{
    struct walk walk = {.arguments = arguments, .source = {.folder = folder}};
    struct mf_error error;
    char *path = run_path(folder, "run.db");
    if (arguments->dead || arguments->failed)
        walk.source.tail_lines = arguments->tail;
    if (path == NULL) {
        mf_raise(&error, MF_ENOMEM, "out of memory: a path");
        return command_fail(&error);
    }
    if ((arguments->dead || arguments->failed) && overview_has_socket(folder))
        json_decref(overview_ask(folder, "flush", NULL)); /* without it, logs are a little older */
    walk.source.path = path;
    walk.source.db = run_db_open(path, &error);
    int code = walk.source.db == NULL ? -1 : print_all(&walk, &error);
    if (code < 0)
        code = command_fail(&error);
    run_db_close(walk.source.db);
    mf_free(path);
    return code;
}

static int export(const char *folder, const struct arguments *arguments)
{
    return export_letters(
        folder, &arguments->selection, arguments->dead, arguments->failed, arguments->export);
}

/* What stands there is not all of it. */
static void say_unfinished(const char *folder, const char *run_id)
{
    struct overview overview;
    if (overview_read(folder, run_id, &overview, NULL) == 0)
        overview_say_interrupted(&overview);
}

static int print(const char *folder, const struct arguments *arguments)
{
    if (arguments->export != NULL)
        return export(folder, arguments);
    return arguments->gathered ? print_gathered(folder) : results(folder, arguments);
}

static int results_main(int argc, char **argv)
{
    struct arguments arguments = {.tail = 5};
    char run_id[RUN_ID_SIZE];
    struct mf_error error;
    command_parse(
        &command_results,
        options,
        parse,
        "Print the results of a run's done subtasks in plan order, as they are (default: all of "
        "the newest run); SUBTASK is a number or a range such as 5-9.\v"
        "A live run shows what is recorded so far. The exit code is 1 when a named subtask has no "
        "result. The keys of --json are described in docs/control.md.",
        argc,
        argv,
        &arguments);
    selection_close(&arguments.selection);
    char *folder = run_folder_find(arguments.run == NULL ? "last" : arguments.run, run_id, &error);
    text_begin();
    int code = folder == NULL ? command_fail(&error) : print(folder, &arguments);
    if (folder != NULL)
        say_unfinished(folder, run_id);
    mf_free(folder);
    selection_fini(&arguments.selection);
    return text_end(code);
}

const struct command command_results = {.name = "results",
                                        .arguments = "[RUN [SUBTASK...]]",
                                        .summary = "print results, or list dead letters",
                                        .main = results_main};
