/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers that were lost are named, with what they had: in the log and in table event subtask by
 * subtask, to the user in a sentence. The scheduler tells the worker first and then its subtasks,
 * one action each; with the first action that is another one they are all told.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/run_internal.h"

#define LAST_LINES 5

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

void run_loss_hear(struct run *run, uint32_t id, struct mf_bytes log)
{
    struct run_worker *worker = run_worker(run, id);
    if (worker == NULL)
        return;
    size_t taken = log.length < RUN_SAID_SIZE ? log.length : RUN_SAID_SIZE;
    size_t kept = RUN_SAID_SIZE - taken;
    if (kept > worker->said_length)
        kept = worker->said_length;
    memmove(worker->said, worker->said + worker->said_length - kept, kept);
    memcpy(worker->said + kept, log.data + log.length - taken, taken);
    worker->said_length = (uint16_t)(kept + taken);
}

/* The last whole lines of its log that came home. */
static void say_last_words(struct run *run, const struct run_worker *worker)
{
    size_t end = worker->said_length, begin;
    while (end > 0 && worker->said[end - 1] != '\n')
        end--;
    begin = end;
    for (unsigned lines = 0; begin > 0 && lines < LAST_LINES; lines++)
        for (begin--; begin > 0 && worker->said[begin - 1] != '\n'; begin--)
            continue;
    while (begin < end) {
        const char *line = worker->said + begin;
        size_t length = (size_t)((const char *)memchr(line, '\n', end - begin) - line);
        mf_log(MF_WARNING, "it had said: %.*s", (int)length, line);
        progress_say(run->progress, "  it had said: %.*s", (int)length, line);
        begin += length + 1;
    }
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
    if (run->loss.worker == 0) /* after nearly every action */
        return;
    const struct run_loss loss = run->loss;
    char subtasks[160];
    run->loss = (struct run_loss){0};
    const char *host = run_host_name(run, loss.worker);
    list_subtasks(&loss, subtasks, sizeof subtasks);
    progress_say(run->progress,
                 "worker %u%s%s is lost%s%s%s (all that came home of its log: mayfly logs %s "
                 "--worker %u)",
                 loss.worker,
                 host == NULL ? "" : " on ",
                 host == NULL ? "" : host,
                 loss.count == 0 ? "" : " with ",
                 loss.count == 0   ? ""
                 : loss.count == 1 ? "subtask "
                                   : "subtasks ",
                 subtasks,
                 run->run_id,
                 loss.worker);
    say_last_words(run, &run->workers[loss.worker]);
}
