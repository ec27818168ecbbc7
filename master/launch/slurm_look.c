/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows from squeue's list. A task that it does not show any more is over. A job of the
 * run's name that belongs to no task (a sbatch that was killed or did not answer, one that an
 * earlier master did not live to note) is ended: it becomes a task that nobody wants.
 */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/launch/answer.h"
#include "master/launch/shared_folder.h"
#include "master/launch/slurm_internal.h"
#include "master/launch/slurm_squeue.h"

#define GRACE_US 1500000 /* for workers that have said goodbye */
#define GIVE_UP_US 45000000
#define CANCELS_FAILED_MAX 3u

static struct task *find_job(const struct launcher *launcher, const struct slurm_line *line)
{
    struct task *task = launcher->tasks;
    while (task != NULL && (task->job != line->job || task->is_single == line->is_array ||
                            task->index != line->index))
        task = task->next;
    return task;
}

static void add_stranger(struct launcher *launcher, const struct slurm_line *line)
{
    struct mf_error error;
    struct task *task = slurm_add_task(launcher, 0, &error);
    if (task == NULL)
        return; /* the next list shows it again */
    mf_log(MF_WARNING,
           "slurm: job %u_%u has this run's name and none of its workers: it is ended",
           line->job,
           line->index);
    task->state = STARTED;
    task->job = line->job;
    task->index = line->index;
    task->is_single = !line->is_array;
    task->is_there = task->is_live = task->unwanted = task->told_over = true;
}

static void note_task(struct task *task, const struct slurm_line *line)
{
    task->is_listed = true;
    task->is_there = line->is_there;
    task->is_live = line->is_live;
    task->is_running = line->is_running;
    if (line->node[0] != '\0')
        snprintf(task->node, sizeof task->node, "%s", line->node);
    if (task->begun_us == 0 && (line->is_running || line->used_us > 0))
        task->begun_us = mf_wall_us() - line->used_us;
    if (!line->is_there)
        task->is_explained = slurm_line_ending(line, task->ending, sizeof task->ending);
}

static void note_line(struct launcher *launcher, const char *text, char *why, size_t size)
{
    struct slurm_line line;
    if (!slurm_line_read(text, &line))
        return;
    struct task *task = find_job(launcher, &line);
    launcher->listed += line.is_there;
    if (task != NULL)
        note_task(task, &line);
    else if (line.is_live)
        add_stranger(launcher, &line);
    if (task != NULL && line.is_pending && strcmp(line.why, "None") != 0)
        snprintf(why, size, "%s", line.why);
}

static void look_at_task(struct launcher *launcher, struct task *task)
{
    char output[OUTPUT_MAX];
    struct launch_report seen;
    if (task->state == QUEUED && !task->told_over && task->is_running &&
        shared_folder_read_output(launcher->folder, task->worker, output, sizeof output) &&
        answer_started(output, task->worker, &seen))
        slurm_tell_started(launcher, task, output);
}

/* One that had started is missed at once; of one that had not the reason is wanted, which is known
 * when it is gone. */
static bool is_over(const struct task *task)
{
    return task->state == STARTED ? !task->is_live : !task->is_there;
}

static void look_at_tasks(struct launcher *launcher, const char *why)
{
    uint32_t pending = 0;
    for (struct task *task = launcher->tasks; task != NULL; task = task->next) {
        if (!task->is_listed)
            slurm_forget_ending(task);
        slurm_say_ending(launcher, task);
        if (task->state != QUEUED && task->state != STARTED)
            continue;
        if (is_over(task))
            slurm_tell_over(launcher, task);
        else
            look_at_task(launcher, task);
        pending += task->state == QUEUED && task->is_live && !task->is_running && !task->unwanted;
    }
    slurm_say_pending(launcher, pending, why);
}

static void tell_swept(struct launcher *launcher, const char *left)
{
    struct mf_error error;
    uint32_t removed = 0;
    struct sweep_report report = {.host = launcher->swept,
                                  .place = launcher->swept->name,
                                  .verified = left == NULL,
                                  .verified_by = left == NULL ? "scheduler" : "none",
                                  .processes_ended = launcher->ended,
                                  .left = left};
    if (shared_folder_remove(launcher->folder, &removed, &error) < 0 && left == NULL) {
        report.verified = false;
        report.verified_by = "none";
        report.left = error.text;
    }
    report.files_removed = removed;
    launcher->sweep_us = 0;
    launcher->callbacks.swept(launcher->callbacks.arg, &report);
}

static void tell_left(struct launcher *launcher)
{
    char left[500];
    snprintf(left,
             sizeof left,
             "%u jobs named %.100s are still in squeue%s%s",
             launcher->listed,
             launcher->job_name,
             launcher->cancels_failed == 0 ? "" : ", scancel is refused: ",
             launcher->cancels_failed == 0 ? "" : launcher->cancel_problem);
    tell_swept(launcher, left);
}

/* Slurm has answered with its list. */
static void sweep_step(struct launcher *launcher)
{
    int64_t spent_us = mf_monotonic_us() - launcher->sweep_us;
    if (launcher->listed == 0) {
        tell_swept(launcher, NULL);
    } else if (spent_us >= GIVE_UP_US || launcher->cancels_failed >= CANCELS_FAILED_MAX) {
        tell_left(launcher);
    } else if (spent_us >= GRACE_US && !launcher->was_cancelled) {
        launcher->was_cancelled = true;
        launcher->ended = launcher->listed;
        slurm_cancel_all(launcher);
    }
}

/* squeue itself tries for 9 s, so that once is enough for the sweep. */
static void list_failed(struct launcher *launcher, const struct child_result *result)
{
    char problem[300], reason[400];
    if (result->is_cut)
        snprintf(problem, sizeof problem, "its list is too long");
    else
        answer_problem(result->problem, problem, sizeof problem);
    mf_log(MF_WARNING, "slurm: squeue (exit code %d): %s", result->code, problem);
    if (launcher->sweep_us == 0)
        return;
    snprintf(reason, sizeof reason, "squeue cannot say: %s", problem);
    tell_swept(launcher, reason);
}

void slurm_listed(struct launcher *launcher, const struct child_result *result)
{
    char why[256] = "";
    if (result->code != 0 || result->is_cut) { /* what is not in a part of a list is not gone */
        list_failed(launcher, result);
        return;
    }
    launcher->listed = 0;
    for (struct task *task = launcher->tasks; task != NULL; task = task->next)
        task->is_listed = task->is_there = task->is_live = task->is_running = false;
    for (const char *line = result->output; line != NULL && *line != '\0';) {
        note_line(launcher, line, why, sizeof why);
        line = strchr(line, '\n');
        line += line != NULL;
    }
    look_at_tasks(launcher, why);
    if (launcher->sweep_us != 0)
        sweep_step(launcher);
}
