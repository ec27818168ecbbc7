/* SPDX-License-Identifier: Apache-2.0 */
/* What the slurm launcher tells the run of its tasks. */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
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
                                   .touched = true};
    mf_raise(&report.error, MF_ESETUP, "%s", reason);
    task->told_over = true;
    shared_folder_drop_input(launcher->folder, task->worker);
    launcher->callbacks.launched(launcher->callbacks.arg, &report);
}

void slurm_tell_started(struct launcher *launcher, struct task *task, const char *output)
{
    char address[64] = "";
    struct launch_report report = {
        .worker = task->worker, .place = launcher->host->name, .ok = true, .touched = true};
    answer_from_job(output, task->worker, address, sizeof address, &report);
    task->state = STARTED;
    launcher->callbacks.launched(launcher->callbacks.arg, &report);
}

void slurm_tell_over(struct launcher *launcher, struct task *task)
{
    char output[OUTPUT_MAX], problem[300], reason[800];
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
        launcher->callbacks.died(launcher->callbacks.arg, task->worker);
        return;
    }
    if (has_word) {
        answer_problem(output, problem, sizeof problem);
        snprintf(reason,
                 sizeof reason,
                 "slurm: job %u_%u ended before its worker joined: %s",
                 task->job,
                 task->index,
                 problem);
    } else {
        snprintf(reason,
                 sizeof reason,
                 "slurm: job %u_%u ended and left no word in %.300s: do the nodes see that folder "
                 "(workers.slurm.folder), or was the job cancelled?",
                 task->job,
                 task->index,
                 launcher->folder);
    }
    slurm_tell_failed(launcher, task, true, false, reason);
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
