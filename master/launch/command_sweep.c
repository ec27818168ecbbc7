/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a run whose workers commands have started: see command_internal.h. The run is over
 * when list names nothing any more. What it still names after a grace is stopped; what it names
 * after that is said. Nothing is verified when list fails, nor of an id that list has never named
 * and whose worker has not said goodbye, unless stop
 * has succeeded with it.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/process.h"
#include "master/launch/command_internal.h"
#include "master/launch/shared_folder.h"

#define GIVE_UP_US 45000000

static bool is_alive(const struct launcher *launcher, pid_t pid)
{
    struct mf_buffer environment = {0};
    char *mark = mf_format("MAYFLY_LAUNCH=%s", launcher->run_id);
    bool is_same = mark != NULL && mf_process_read(pid, "environ", &environment) == 0 &&
                   mf_process_has(&environment, mark);
    mf_buffer_fini(&environment);
    mf_free(mark);
    return is_same;
}

bool command_is_cut(struct launcher *launcher, int64_t now_us)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < launcher->cut_count; i++) {
        pid_t pid = launcher->cut_pids[i];
        if (!is_alive(launcher, pid))
            continue;
        if (now_us - launcher->cut_us >= launcher->commands.timeout_us)
            kill(-pid, SIGKILL);
        launcher->cut_pids[kept++] = pid;
    }
    launcher->cut_count = kept;
    return kept > 0;
}

static void tell_swept(struct launcher *launcher, const char *left, bool is_known)
{
    struct mf_error error;
    uint32_t removed = 0;
    struct sweep_report report = {.host = launcher->swept,
                                  .place = launcher->swept->name,
                                  .verified = left == NULL,
                                  .verified_by = is_known ? "command" : "none",
                                  .processes_ended = launcher->ended,
                                  .left = left};
    if (shared_folder_remove(launcher->folder, &removed, &error) < 0 && left == NULL) {
        report.verified = false;
        report.left = error.text;
    }
    report.files_removed = removed;
    launcher->sweep_us = 0;
    launcher->callbacks.swept(launcher->callbacks.arg, &report);
}

static void add_id(char *text, size_t size, const char *id)
{
    size_t n = strlen(text);
    if (n + 1 < size)
        snprintf(text + n, size - n, "%s%s", n == 0 ? "" : ", ", id);
}

/* Nothing is listed. */
static void tell_end(struct launcher *launcher)
{
    char ids[400] = "", left[600];
    for (const struct task *task = launcher->tasks; task != NULL; task = task->next)
        if (task->id != NULL && !task->was_listed && !task->said_farewell && !task->was_stopped)
            add_id(ids, sizeof ids, task->id);
    if (ids[0] != '\0')
        snprintf(left, sizeof left, "list has never named what start printed: %s", ids);
    else if (launcher->is_torn)
        snprintf(left,
                 sizeof left,
                 "a start was cut off with its master, and may have gone on after this list");
    tell_swept(launcher, ids[0] != '\0' || launcher->is_torn ? left : NULL, true);
}

/* All that is listed is asked to end; false: that was done as often as it is. */
static bool stop_listed(struct launcher *launcher)
{
    bool goes_on = false;
    for (struct task *task = launcher->tasks; task != NULL; task = task->next) {
        if (task->id == NULL || !task->is_listed)
            continue;
        if (task->state == OVER)
            task->state = STARTED;
        launcher->ended += !task->unwanted;
        task->unwanted = true;
        goes_on = goes_on || task->stopping || task->was_stopped || task->stops < STOPS_MAX;
    }
    return goes_on;
}

void command_sweep_step(struct launcher *launcher, const struct command_ids *ids)
{
    char text[400] = "", left[900];
    int64_t spent_us = mf_monotonic_us() - launcher->sweep_us;
    int64_t most_us =
        launcher->commands.timeout_us < GIVE_UP_US ? launcher->commands.timeout_us : GIVE_UP_US;
    if (ids->count == 0) {
        tell_end(launcher);
        return;
    }
    if (spent_us < COMMAND_GRACE_US ||
        (stop_listed(launcher) && spent_us < COMMAND_GRACE_US + most_us))
        return;
    for (size_t i = 0; i < ids->count; i++)
        add_id(text, sizeof text, ids->items[i]);
    snprintf(left,
             sizeof left,
             "still listed: %s; stop: %s",
             text,
             launcher->stop_problem[0] == '\0' ? "it says that it did" : launcher->stop_problem);
    tell_swept(launcher, left, false);
}

void command_sweep_failed(struct launcher *launcher, const char *problem)
{
    char ids[400] = "", left[900];
    bool goes_on = false;
    /* What is known is told to end before that is given up. */
    for (struct task *task = launcher->tasks; task != NULL; task = task->next) {
        if (task->id == NULL || task->state == OVER || task->said_farewell)
            continue;
        task->unwanted = true;
        goes_on = goes_on || task->stopping || (!task->was_stopped && task->stops < STOPS_MAX);
        add_id(ids, sizeof ids, task->id);
    }
    if (launcher->lists_failed < LISTS_FAILED_MAX || goes_on)
        return;
    snprintf(left,
             sizeof left,
             "list cannot say (%.300s)%s%s",
             problem,
             ids[0] == '\0' ? "" : "; told to end: ",
             ids);
    tell_swept(launcher, left, false);
}
