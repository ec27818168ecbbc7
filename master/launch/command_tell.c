/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of the command launcher's tasks, by what list says and by what the workers
 * themselves have left in the shared folder: see command_internal.h. A list may lag behind: an id
 * is missed twice before a worker that was there counts as gone, and for UNLISTED_US at first.
 */
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/launch/answer.h"
#include "master/launch/command_internal.h"
#include "master/launch/shared_folder.h"

#define UNLISTED_US 5000000
#define MISSED_MAX 2u

void command_tell_failed(
    struct launcher *launcher, struct task *task, bool again, bool given_up, const char *reason)
{
    struct launch_report report = {.worker = task->worker,
                                   .place = launcher->host->name,
                                   .again = again,
                                   .given_up = given_up,
                                   .touched = true};
    mf_raise(&report.error, MF_ESETUP, "%s", reason);
    task->told_over = true;
    shared_folder_drop_input(launcher->folder, task->worker);
    launcher->callbacks.launched(launcher->callbacks.arg, &report);
}

void command_tell_started(struct launcher *launcher, struct task *task)
{
    char output[OUTPUT_MAX], address[64];
    struct launch_report report = {
        .worker = task->worker, .place = launcher->host->name, .ok = true, .touched = true};
    if (shared_folder_read_output(launcher->folder, task->worker, output, sizeof output))
        answer_from_job(output, task->worker, address, sizeof address, &report);
    task->state = STARTED;
    launcher->callbacks.launched(launcher->callbacks.arg, &report);
}

static void tell_died(struct launcher *launcher, struct task *task)
{
    if (task->told_over)
        return;
    task->told_over = true;
    launcher->callbacks.died(launcher->callbacks.arg, task->worker);
}

static bool has_started(const struct launcher *launcher, const struct task *task)
{
    char output[OUTPUT_MAX];
    struct launch_report seen;
    return shared_folder_read_output(launcher->folder, task->worker, output, sizeof output) &&
           answer_started(output, task->worker, &seen);
}

/* What its script has said, or that it has not. */
static void
last_word(const struct launcher *launcher, const struct task *task, char *text, size_t size)
{
    char output[OUTPUT_MAX];
    if (shared_folder_read_output(launcher->folder, task->worker, output, sizeof output))
        answer_problem(output, text, size);
    else
        snprintf(text,
                 size,
                 "it left no word in %.200s (does it run {script}, and see that folder?)",
                 launcher->folder);
}

void command_tell_over(struct launcher *launcher, struct task *task)
{
    char word[400], reason[900];
    if (task->state == PENDING && !task->told_over && has_started(launcher, task))
        command_tell_started(launcher, task); /* it has come and gone between two lists */
    bool was_started = task->state == STARTED;
    task->state = OVER;
    if (task->told_over)
        return;
    if (was_started) {
        tell_died(launcher, task);
        return;
    }
    last_word(launcher, task, word, sizeof word);
    snprintf(
        reason, sizeof reason, "command: %s ended before its worker joined: %s", task->id, word);
    command_tell_failed(launcher, task, true, false, reason);
}

/* It has had its time. */
static void give_up(struct launcher *launcher, struct task *task, const char *what)
{
    char word[400], reason[900];
    last_word(launcher, task, word, sizeof word);
    snprintf(reason, sizeof reason, "command: %s %s: %s", task->id, what, word);
    task->unwanted = true;
    if (task->state == PENDING) {
        command_tell_failed(launcher, task, true, false, reason);
        return;
    }
    mf_log(MF_WARNING, "%s", reason);
    tell_died(launcher, task);
}

static void look_at_listed(struct launcher *launcher, struct task *task, int64_t now_us)
{
    const struct launch_commands *c = &launcher->commands;
    task->missed = 0;
    if (task->state == PENDING && !task->told_over && has_started(launcher, task))
        command_tell_started(launcher, task);
    if (!task->joined && !task->told_over && c->join_us > 0 &&
        now_us - task->started_us >= c->join_us)
        give_up(launcher,
                task,
                "is there, but its worker has not joined in time (workers.command.join)");
    if (task->was_stopped && now_us - task->stop_us >= c->timeout_us) {
        mf_log(MF_WARNING, "command: %s was stopped, and is still listed", task->id);
        snprintf(launcher->stop_problem, sizeof launcher->stop_problem, "it says that it did");
        task->was_stopped = false; /* once more */
        if (task->stops >= STOPS_MAX)
            tell_died(launcher, task);
    }
}

static void look_at_unlisted(struct launcher *launcher, struct task *task, int64_t now_us)
{
    int64_t timeout_us = launcher->commands.timeout_us;
    int64_t unlisted_us = timeout_us < UNLISTED_US ? timeout_us : UNLISTED_US;
    if (task->was_stopped || task->said_farewell ||
        (task->was_listed && ++task->missed >= MISSED_MAX))
        command_tell_over(launcher, task);
    else if (task->was_listed)
        command_ask_soon(launcher);
    else if (!task->joined && !task->told_over && now_us - task->started_us >= unlisted_us)
        give_up(launcher, task, "was printed by start, but list does not name it");
}

void command_look_at_tasks(struct launcher *launcher, struct command_ids *ids, int64_t began_us)
{
    int64_t now_us = mf_monotonic_us();
    for (struct task *task = launcher->tasks; task != NULL; task = task->next) {
        if (task->id == NULL)
            continue;
        task->is_listed = command_ids_has(ids, task->id);
        task->was_listed = task->was_listed || task->is_listed;
        if (task->state == OVER || task->state < PENDING || task->started_us > began_us)
            continue;
        if (task->is_listed)
            look_at_listed(launcher, task, now_us);
        else
            look_at_unlisted(launcher, task, now_us);
    }
}
