/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers that were lost are named, with what they had: in the log and in table event subtask by
 * subtask, to the user in a sentence. The scheduler tells the worker first and then its subtasks,
 * one action each; with the first action that is another one they are all told.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/run_internal.h"

void run_loss_add(struct run *run, const struct schedule_action *action)
{
    struct run_loss *loss = &run->loss;
    struct mf_error error;
    if (loss->worker == action->worker && loss->count < RUN_LOSS_NAMED)
        loss->named[loss->count] = action->subtask;
    loss->count++;
    mf_log(MF_WARNING,
           "worker %u was lost with subtask %" PRIu64 " (attempt %u)",
           action->worker,
           action->subtask,
           action->attempt);
    if (record_event(run->recorder,
                     mf_wall_us(),
                     "lost",
                     action->worker,
                     action->subtask,
                     "the worker was lost with this subtask",
                     &error) < 0)
        run_trouble(run, &error);
}

static void list_subtasks(const struct run_loss *loss, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (uint64_t i = 0; i < loss->count && i < RUN_LOSS_NAMED; i++)
        length += (size_t)snprintf(
            text + length, size - length, "%s%" PRIu64, i == 0 ? "" : ", ", loss->named[i]);
    if (loss->count > RUN_LOSS_NAMED)
        snprintf(
            text + length, size - length, " and %" PRIu64 " more", loss->count - RUN_LOSS_NAMED);
}

void run_loss_say(struct run *run)
{
    const struct run_loss loss = run->loss;
    char subtasks[160];
    run->loss = (struct run_loss){0};
    if (loss.worker == 0)
        return;
    const struct launch_host *host = fleet_host_of(run->fleet, loss.worker);
    list_subtasks(&loss, subtasks, sizeof subtasks);
    progress_say(run->progress,
                 "worker %u%s%s is lost%s%s%s (mayfly logs %s --worker %u has its last words)",
                 loss.worker,
                 host == NULL ? "" : " on ",
                 host == NULL ? "" : host->name,
                 loss.count == 0 ? "" : " with ",
                 loss.count == 0   ? ""
                 : loss.count == 1 ? "subtask "
                                   : "subtasks ",
                 subtasks,
                 run->run_id,
                 loss.worker);
}
