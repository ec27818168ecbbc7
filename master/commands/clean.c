/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly clean: removes run folders, never one whose master lives: the run's lock is held while it
 * goes. A folder first loses its name (.RUN.removed), so that a clean that is killed leaves no half
 * run behind: the next one removes the rest.
 */
#include <dirent.h>
#include <errno.h>
#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/claim.h"
#include "master/command.h"
#include "master/commands/clean_workers.h"
#include "master/commands/debug_note.h"
#include "master/commands/overview.h"
#include "master/commands/text.h"
#include "master/job/value.h"
#include "master/launch/slurm_clean.h"
#include "master/record/tree.h"

enum { KEY_OLDER_THAN = 256, KEY_ALL, KEY_INTERRUPTED };

#define REMOVED ".removed"

struct arguments {
    char **runs; /* those named; the array is ours, the texts are not */
    size_t run_count;
    bool all, interrupted, dry_run, by_age;
    uint64_t older_than_us;
};

static const struct argp_option options[] = {
    {"all", KEY_ALL, NULL, 0, "All runs that have ended", 0},
    {"older-than", KEY_OLDER_THAN, "TIME", 0, "Those that ended longer ago, for example 7d", 0},
    {"interrupted", KEY_INTERRUPTED, NULL, 0, "With these: interrupted runs too", 0},
    {"dry-run", 'n', NULL, 0, "Only say what would be removed", 0},
    {0}};

static void add_run(struct arguments *arguments, char *text, struct argp_state *state)
{
    char **more = mf_realloc(arguments->runs, (arguments->run_count + 1) * sizeof *more);
    if (more == NULL) {
        argp_failure(state, 3, 0, "out of memory: the arguments");
        return;
    }
    arguments->runs = more;
    more[arguments->run_count++] = text;
}

static void check_choice(const struct arguments *arguments, struct argp_state *state)
{
    bool chooses = arguments->all || arguments->by_age;
    if (arguments->run_count == 0 && !chooses)
        argp_error(state, "say which runs are to be removed: RUN..., --older-than TIME or --all");
    if (arguments->run_count > 0 && (chooses || arguments->interrupted))
        argp_error(state, "name runs or choose them by --all or --older-than, not both");
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case KEY_ALL:
        arguments->all = true;
        return 0;
    case KEY_OLDER_THAN:
        if (value_duration(text, &arguments->older_than_us) < 0)
            argp_error(state, "--older-than takes a time such as 7d or 12h, not \"%s\"", text);
        arguments->by_age = true;
        return 0;
    case KEY_INTERRUPTED:
        arguments->interrupted = true;
        return 0;
    case 'n':
        arguments->dry_run = true;
        return 0;
    case ARGP_KEY_ARG:
        add_run(arguments, text, state);
        return 0;
    case ARGP_KEY_END:
        check_choice(arguments, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What was removed so far. */
struct cleaned {
    const struct arguments *arguments;
    uint64_t runs, bytes;
    int code; /* of the first failure */
};

/* What the folder takes on the disk; what can't be looked at counts nothing. */
static uint64_t size_of(char *folder)
{
    char *const paths[] = {folder, NULL};
    uint64_t bytes = 0;
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    FTSENT *entry;
    while (walk != NULL && (entry = fts_read(walk)) != NULL)
        if (entry->fts_info != FTS_DP && entry->fts_statp != NULL && entry->fts_info != FTS_NS)
            bytes += (uint64_t)entry->fts_statp->st_blocks * 512;
    if (walk != NULL)
        fts_close(walk);
    return bytes;
}

/* Whether a master made this folder: others are never touched. */
static bool is_run(const char *folder, const char *run_id)
{
    static const char *const files[] = {"master.lock", "run.db", "job.yaml"};
    bool is_one = false;
    for (size_t i = 0; run_folder_is_id(run_id) && i < sizeof files / sizeof *files; i++) {
        char *path = run_path(folder, files[i]);
        is_one |= path != NULL && access(path, F_OK) == 0;
        mf_free(path);
    }
    return is_one;
}

static int remove_locked(const char *folder, const char *run_id, struct mf_error *error)
{
    char *hidden = mf_format(".%s" REMOVED, run_id);
    char *aside = hidden == NULL ? NULL : run_folder_path(hidden, error);
    int rc = aside == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path") : 0;
    if (rc == 0 && rename(folder, aside) < 0)
        rc = mf_raise_errno(error, "cannot remove %s", folder);
    if (rc == 0)
        rc = tree_remove(aside, error);
    mf_free(aside);
    mf_free(hidden);
    return rc;
}

static int remove_run(struct cleaned *cleaned, char *folder, const char *run_id, const char *state)
{
    struct mf_error error;
    char size[TEXT_SIZE];
    uint64_t bytes = size_of(folder);
    bool is_dry = cleaned->arguments->dry_run;
    int rc = 0, lock_fd = is_dry ? -1 : run_folder_lock(folder, &error);
    if (!is_dry) {
        rc = lock_fd < 0 || debug_clean(folder, run_id, &error) < 0 ||
                     claim_let_go(folder, run_id, &error) < 0
                 ? -1
                 : 0;
        /* Workers that may be left are said, and the exit code tells; the run goes all the same. */
        if (rc == 0 && slurm_clean(folder, run_id, &error) < 0)
            cleaned->code = command_fail(&error);
        if (rc == 0 && clean_workers(folder, run_id, &error) < 0)
            cleaned->code = command_fail(&error);
        if (rc == 0)
            rc = remove_locked(folder, run_id, &error);
        if (lock_fd >= 0)
            close(lock_fd);
    }
    if (rc < 0) {
        cleaned->code = command_fail(&error);
        return -1;
    }
    cleaned->runs++;
    cleaned->bytes += bytes;
    printf("%s %s (%s, %s)\n",
           is_dry ? "would remove" : "removed",
           run_id,
           state,
           text_size(bytes, size));
    return 0;
}

static void clean_named(struct cleaned *cleaned, char *folder, const char *run_id)
{
    struct overview overview;
    struct mf_error error;
    if (!is_run(folder, run_id)) {
        if (access(folder, F_OK) < 0)
            return; /* named twice, and gone already */
        mf_raise(&error, MF_EUSAGE, "%s is not a run folder, so it stays", folder);
    } else if (run_folder_is_live(folder)) {
        mf_raise(&error,
                 MF_EUSAGE,
                 "run %s is live, so it stays: end it first (mayfly cancel %s)",
                 run_id,
                 run_id);
    } else {
        int rc = overview_read(folder, run_id, &overview, &error);
        remove_run(cleaned, folder, run_id, rc < 0 ? "unreadable" : overview.state);
        return;
    }
    cleaned->code = command_fail(&error);
}

/* All names are looked up before the first run is removed. */
static void clean_names(struct cleaned *cleaned)
{
    const struct arguments *arguments = cleaned->arguments;
    size_t count = arguments->run_count;
    char(*ids)[RUN_ID_SIZE] = mf_calloc(count, sizeof *ids);
    char **folders = mf_calloc(count, sizeof *folders);
    struct mf_error error;
    bool is_found = ids != NULL && folders != NULL;
    if (!is_found)
        mf_raise(&error, MF_ENOMEM, "out of memory: the runs");
    for (size_t i = 0; is_found && i < count; i++)
        is_found = (folders[i] = run_folder_find(arguments->runs[i], ids[i], &error)) != NULL;
    if (!is_found)
        cleaned->code = command_fail(&error);
    for (size_t i = 0; is_found && i < count; i++)
        clean_named(cleaned, folders[i], ids[i]);
    for (size_t i = 0; folders != NULL && i < count; i++)
        mf_free(folders[i]);
    mf_free(folders);
    mf_free(ids);
}

static void clean_if_chosen(struct cleaned *cleaned, char *folder, const char *run_id)
{
    const struct arguments *arguments = cleaned->arguments;
    struct overview overview;
    struct mf_error error;
    if (overview_read(folder, run_id, &overview, &error) < 0) {
        fprintf(stderr, "mayfly: %s stays (name it to remove it): %s\n", run_id, error.text);
        return;
    }
    if (overview.is_live || (!overview.is_ended && !arguments->interrupted))
        return;
    int64_t age_us = mf_wall_us() - (overview.ended_us != 0 ? overview.ended_us : overview.left_us);
    if (arguments->by_age && (age_us < 0 || (uint64_t)age_us < arguments->older_than_us))
        return;
    remove_run(cleaned, folder, run_id, overview.state);
}

static void clean_chosen(struct cleaned *cleaned)
{
    struct mf_error error;
    size_t count;
    char **ids = run_folder_list(&count, &error);
    if (ids == NULL) {
        cleaned->code = command_fail(&error);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char *folder = run_folder_path(ids[i], &error);
        if (folder != NULL && run_folder_is_id(ids[i]))
            clean_if_chosen(cleaned, folder, ids[i]);
        mf_free(folder);
    }
    run_folder_list_free(ids, count);
}

static bool is_leftover(const char *name)
{
    size_t length = strlen(name), suffix = sizeof REMOVED - 1;
    return name[0] == '.' && length > suffix && strcmp(name + length - suffix, REMOVED) == 0 &&
           run_folder_is_id(name + 1);
}

/* What a clean that was killed has left. */
static void clean_leftovers(struct cleaned *cleaned)
{
    struct mf_error error;
    char *runs = run_folder_path(".", &error);
    DIR *dir = runs == NULL ? NULL : opendir(runs);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char *path = is_leftover(entry->d_name) ? run_path(runs, entry->d_name) : NULL;
        if (path != NULL) {
            cleaned->bytes += size_of(path);
            if (tree_remove(path, &error) < 0)
                cleaned->code = command_fail(&error);
        }
        mf_free(path);
    }
    if (dir != NULL)
        closedir(dir);
    mf_free(runs);
}

static int clean_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct cleaned cleaned = {.arguments = &arguments};
    char size[TEXT_SIZE];
    command_parse(
        &command_clean,
        options,
        parse,
        "Remove run folders with all that is in them: results, logs, outputs.\v"
        "A live run always stays. Interrupted runs are removed when they are named, or "
        "with --interrupted; damaged ones only when they are named. An interrupted run's "
        "age is the time since its master last wrote. Messages that it has claimed from a "
        "queue go back to it; jobs of Slurm that it left are cancelled, and workers that "
        "commands have started are stopped.",
        argc,
        argv,
        &arguments);
    text_begin();
    if (!arguments.dry_run)
        clean_leftovers(&cleaned);
    if (arguments.run_count > 0)
        clean_names(&cleaned);
    else
        clean_chosen(&cleaned);
    printf("%" PRIu64 " run%s, %s %s\n",
           cleaned.runs,
           cleaned.runs == 1 ? "" : "s",
           text_size(cleaned.bytes, size),
           arguments.dry_run ? "would be freed" : "freed");
    mf_free(arguments.runs);
    return text_end(cleaned.code);
}

const struct command command_clean = {.name = "clean",
                                      .arguments = "[RUN...]",
                                      .summary = "remove the folders of ended runs",
                                      .main = clean_main};
