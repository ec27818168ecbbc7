/* SPDX-License-Identifier: Apache-2.0 */
/* What the slurm launcher tells the run of its tasks. */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/launch/answer.h"
#include "master/launch/shared_folder.h"
#include "master/launch/slurm_internal.h"

#define SAID_US 2000000 /* a queue that holds workers for so long is worth a word */

void slurm_tell_failed(
    struct launcher *launcher, struct task *task, bool again, bool given_up, const char *reason)
{
    struct launch_report report = {.worker = task->worker,
                                   .place = launcher->host->name,
                                   .again = again,
                                   .given_up = given_up,
                                   .touched = true,
                                   .node = task->node[0] == '\0' ? NULL : task->node,
                                   .begun_us = task->begun_us};
    mf_raise(&report.error, MF_ESETUP, "%s", reason);
    task->told_over = true;
    shared_folder_drop_input(launcher->folder, task->worker);
    launcher->callbacks.launched(launcher->callbacks.arg, &report);
}

void slurm_tell_started(struct launcher *launcher, struct task *task, const char *output)
{
    char address[64] = "";
    if (task->node[0] == '\0') /* no list has shown it running yet */
        answer_line(output, "node", task->node, sizeof task->node);
    struct launch_report report = {.worker = task->worker,
                                   .place = launcher->host->name,
                                   .ok = true,
                                   .touched = true,
                                   .node = task->node[0] == '\0' ? NULL : task->node,
                                   .begun_us = task->begun_us};
    answer_started(output, task->worker, &report);
    if (answer_line(output, "address", address, sizeof address))
        address[strcspn(address, " ")] = '\0';
    report.address = address[0] == '\0' ? NULL : address;
    task->state = STARTED;
    launcher->callbacks.launched(launcher->callbacks.arg, &report);
}

/* What its job has said besides what the master asks it for; "" = nothing. */
static void word_of(const char *output, char *text, size_t size)
{
    answer_problem(output, text, size);
    if (output[0] == '\0' || strncmp(text, "mayfly 1 ", 9) == 0)
        text[0] = '\0';
}

static void say_failed(struct launcher *launcher, struct task *task, const char *output)
{
    char word[300], reason[800];
    bool has_word = output != NULL;
    word_of(has_word ? output : "", word, sizeof word);
    if (has_word || task->is_explained)
        snprintf(reason,
                 sizeof reason,
                 "slurm: job %u_%u ended before its worker joined: %s%s%s",
                 task->job,
                 task->index,
                 task->ending[0] == '\0' ? "Slurm does not say why" : task->ending,
                 word[0] == '\0' ? "" : "; it said: ",
                 word);
    else
        snprintf(reason,
                 sizeof reason,
                 "slurm: job %u_%u ended and left no word in %.300s (%s): do the nodes see that "
                 "folder (workers.slurm.folder)?",
                 task->job,
                 task->index,
                 launcher->folder,
                 task->ending[0] == '\0' ? "Slurm does not say why" : task->ending);
    slurm_tell_failed(launcher, task, true, false, reason);
}

void slurm_forget_ending(struct task *task)
{
    if (task->is_unsaid && task->ending[0] == '\0')
        snprintf(task->ending, sizeof task->ending, "Slurm does not say why");
}

/* A worker that had joined; on the terminal once for each such reason. */
void slurm_say_ending(struct launcher *launcher, struct task *task)
{
    char sentence[300];
    if (!task->is_unsaid || task->ending[0] == '\0')
        return;
    task->is_unsaid = false;
    snprintf(sentence,
             sizeof sentence,
             "worker %u is gone with its job %u_%u of Slurm: %s",
             task->worker,
             task->job,
             task->index,
             task->ending);
    if (strcmp(task->ending, launcher->said_ending) == 0 || launcher->callbacks.waits == NULL) {
        mf_log(MF_WARNING, "%s", sentence);
        return;
    }
    snprintf(launcher->said_ending, sizeof launcher->said_ending, "%s", task->ending);
    launcher->callbacks.waits(launcher->callbacks.arg, sentence);
}

void slurm_tell_over(struct launcher *launcher, struct task *task)
{
    char output[OUTPUT_MAX];
    struct launch_report seen;
    bool has_word =
        shared_folder_read_output(launcher->folder, task->worker, output, sizeof output);
    if (task->state == QUEUED && !task->told_over && has_word &&
        answer_started(output, task->worker, &seen))
        slurm_tell_started(launcher, task, output); /* it has come and gone between two lists */
    bool was_started = task->state == STARTED;
    task->state = OVER;
    if (task->told_over)
        return;
    if (was_started) {
        task->told_over = true;
        shared_folder_drop_input(launcher->folder, task->worker);
        task->is_unsaid = true;
        if (!task->is_listed)
            slurm_forget_ending(task);
        slurm_say_ending(launcher, task);
        launcher->callbacks.died(launcher->callbacks.arg, task->worker);
        return;
    }
    say_failed(launcher, task, has_word ? output : NULL);
}

void slurm_say_pending(struct launcher *launcher, uint32_t pending, const char *why)
{
    char sentence[400];
    if (pending == 0 || mf_monotonic_us() - launcher->pending_since_us < SAID_US ||
        strcmp(why, launcher->said) == 0 || launcher->callbacks.waits == NULL)
        return;
    snprintf(launcher->said, sizeof launcher->said, "%s", why);
    snprintf(sentence,
             sizeof sentence,
             "%u worker%s in Slurm's queue: %s",
             pending,
             pending == 1 ? " waits" : "s wait",
             why[0] == '\0' ? "Slurm does not say for what" : why);
    launcher->callbacks.waits(launcher->callbacks.arg, sentence);
}
