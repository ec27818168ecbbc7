/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slurm launcher: workers as tasks of job arrays. Starts that are asked for together are one
 * sbatch; what becomes of them is read from squeue. All jobs of a run have its name, so that those
 * that nobody knows of (sbatch that did not answer, an earlier master) are found and ended, too.
 *
 * One of Slurm's commands runs at a time: first what has to be ended, then what is to be submitted,
 * then the list. So a list never stands for the time before a submission.
 *
 *     task   WAITING -> SUBMITTING -> QUEUED -> STARTED (told) -> OVER
 *
 * The list is asked for often while something is about to change, every 5 s otherwise.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/launch/answer.h"
#include "master/launch/child.h"
#include "master/launch/launcher.h"
#include "master/launch/program_find.h"
#include "master/launch/shared_folder.h"
#include "master/launch/slurm_internal.h"
#include "master/launch/slurm_sbatch.h"
#include "master/launch/worker_script.h"

#define ARRAY_MAX 1000u    /* Slurm's own default (MaxArraySize) is 1001 */
#define CANCEL_MAX 100u    /* tasks of one scancel */
#define FIRST_US 300000    /* until squeue is asked after something has changed */
#define PENDING_US 5000000 /* while something is awaited, at most */
#define STEADY_US 5000000
#define LISTS_FAILED_MAX 1u /* squeue itself tries for 9 s */
#define GRACE_US 1500000    /* for workers that have said goodbye */
#define GIVE_UP_US 45000000

static void slurm_destroy(struct launcher *launcher);

static int find_programs(struct launcher *launcher, struct mf_error *error)
{
    if (program_find("sbatch", launcher->sbatch, sizeof launcher->sbatch) &&
        program_find("squeue", launcher->squeue, sizeof launcher->squeue) &&
        program_find("scancel", launcher->scancel, sizeof launcher->scancel))
        return 0;
    return mf_raise(
        error,
        MF_ESETUP,
        "launcher slurm needs sbatch, squeue and scancel, and they are not in PATH: run "
        "mayfly on a login node of the cluster, or install its client (Debian: "
        "slurm-client)");
}

static struct launcher *slurm_create(struct mf_loop *loop,
                                     const struct launch_config *config,
                                     const struct launcher_callbacks *callbacks,
                                     struct mf_error *error)
{
    struct launcher *launcher = mf_calloc(1, sizeof *launcher);
    if (launcher == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the slurm launcher");
        return NULL;
    }
    launcher->loop = loop;
    launcher->callbacks = *callbacks;
    launcher->options = config->slurm;
    launcher->list_us = MF_NEVER;
    launcher->folder = mf_strdup(config->shared_folder == NULL ? "" : config->shared_folder);
    launcher->job_name = mf_format("mayfly-%s", config->run_id);
    launcher->run_id = mf_strdup(config->run_id);
    if (launcher->folder == NULL || launcher->job_name == NULL || launcher->run_id == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the slurm launcher");
        goto fail;
    }
    if (strpbrk(launcher->folder, "'\n") != NULL) {
        mf_raise(error,
                 MF_ESETUP,
                 "the folder %s has a quote or a line end in its name: name another one by "
                 "workers.slurm.folder",
                 launcher->folder);
        goto fail;
    }
    if (find_programs(launcher, error) < 0)
        goto fail;
    if (launcher->folder[0] != '\0' &&
        shared_folder_make(launcher->folder, config->worker_binary, "workers.slurm.folder", error) <
            0)
        goto fail;
    return launcher;
fail:
    slurm_destroy(launcher);
    return NULL;
}

static struct task *find_task(const struct launcher *launcher, uint32_t worker)
{
    struct task *task = launcher->tasks;
    while (task != NULL && task->worker != worker)
        task = task->next;
    return task;
}

static void ask_soon(struct launcher *launcher)
{
    launcher->pace_us = FIRST_US;
    launcher->list_us = mf_monotonic_us() + FIRST_US;
}

static int make_script(struct launcher *launcher, struct mf_buffer *script, struct mf_error *error)
{
    int rc = mf_buffer_printf(script, error, "#!/bin/sh\ntrap : TERM INT\nset --");
    for (const struct task *task = launcher->tasks; rc >= 0 && task != NULL; task = task->next)
        if (task->state == SUBMITTING)
            rc = mf_buffer_printf(script, error, " %u", task->worker);
    if (rc >= 0)
        rc = mf_buffer_printf(script, error, "\nshift \"$SLURM_ARRAY_TASK_ID\"\nw=$1\n");
    if (rc >= 0)
        rc = worker_script_append(script, launcher->folder, NULL, launcher->run_id, error);
    return rc;
}

static void command_over(void *arg, const struct child_result *result);

static int run_command(struct launcher *launcher,
                       enum doing doing,
                       const char *const *argv,
                       struct mf_bytes input,
                       struct mf_error *error)
{
    launcher->child =
        child_start(launcher->loop, argv, environ, input, command_over, launcher, error);
    launcher->doing = launcher->child == NULL ? NOTHING : doing;
    return launcher->child == NULL ? -1 : 0;
}

static int
run_sbatch(struct launcher *launcher, enum doing doing, uint32_t count, struct mf_error *error)
{
    struct mf_buffer script = {0};
    struct slurm_arguments arguments = {0};
    int rc = make_script(launcher, &script, error) < 0 ? -1 : 0;
    if (rc == 0)
        rc = slurm_arguments_make(&launcher->options,
                                  launcher->sbatch,
                                  launcher->job_name,
                                  doing == CHECK,
                                  count,
                                  &arguments,
                                  error);
    if (rc == 0)
        rc = run_command(
            launcher, doing, (const char *const *)arguments.items, mf_buffer_view(&script), error);
    slurm_arguments_fini(&arguments);
    mf_buffer_fini(&script);
    return rc;
}

/* What was submitted together could not be. */
static void fail_submission(struct launcher *launcher, bool again, const char *reason)
{
    for (struct task *task = launcher->tasks; task != NULL; task = task->next)
        if (task->state == SUBMITTING) {
            task->state = OVER;
            if (!task->told_over)
                slurm_tell_failed(launcher, task, again, false, reason);
        }
}

static void submit(struct launcher *launcher)
{
    struct mf_error error;
    uint32_t count = 0;
    for (struct task *task = launcher->tasks; task != NULL && count < ARRAY_MAX; task = task->next)
        if (task->state == WAITING) {
            task->state = SUBMITTING;
            task->index = count++;
        }
    if (count > 0 && run_sbatch(launcher, SUBMIT, count, &error) < 0)
        fail_submission(launcher, true, error.text);
}

static void on_submitted(struct launcher *launcher, const struct child_result *result)
{
    char reason[800], noted[32];
    struct mf_error error;
    char *end;
    unsigned long job = strtoul(result->output, &end, 10);
    if (result->code != 0 || end == result->output || job == 0 || job > UINT32_MAX) {
        slurm_refusal(result, reason, sizeof reason);
        fail_submission(launcher, strstr(result->problem, "timed out") != NULL, reason);
        return;
    }
    uint32_t count = 0;
    for (struct task *task = launcher->tasks; task != NULL; task = task->next) {
        if (task->state != SUBMITTING)
            continue;
        task->state = QUEUED;
        task->job = (uint32_t)job;
        task->is_live = true;
        count++;
        snprintf(noted, sizeof noted, "%u %u", task->job, task->index);
        if (shared_folder_note(launcher->folder, task->worker, noted, &error) < 0)
            mf_log(MF_WARNING, "%s", error.text);
    }
    mf_log(MF_INFO, "slurm: job %lu submitted, %u workers", job, count);
    launcher->pending_since_us = mf_monotonic_us();
    ask_soon(launcher);
}

/* Names the tasks that have to be ended; true when there are any. */
static bool cancel(struct launcher *launcher)
{
    char names[CANCEL_MAX][24];
    const char *argv[CANCEL_MAX + 2] = {launcher->scancel};
    struct mf_error error;
    unsigned count = 0;
    for (struct task *task = launcher->tasks; task != NULL && count < CANCEL_MAX; task = task->next)
        if (task->unwanted && !task->cancelled &&
            (task->state == QUEUED || task->state == STARTED)) {
            task->cancelled = true;
            snprintf(names[count], sizeof names[count], "%u_%u", task->job, task->index);
            argv[1 + count] = names[count];
            count++;
        }
    if (count == 0)
        return false;
    if (run_command(launcher, CANCEL, argv, mf_bytes_text(""), &error) < 0)
        mf_log(MF_WARNING, "%s", error.text);
    return true;
}

static int run_by_name(struct launcher *launcher,
                       enum doing doing,
                       const char *program,
                       const char *const more[3])
{
    struct mf_error error = {0};
    char *name = mf_format("--name=%s", launcher->job_name);
    const char *argv[] = {program, name, more[0], more[1], more[2], NULL};
    int rc = name == NULL ? -1 : run_command(launcher, doing, argv, mf_bytes_text(""), &error);
    if (rc < 0)
        mf_log(MF_WARNING, "slurm: %s", error.text);
    mf_free(name);
    return rc;
}

static void note_line(struct launcher *launcher, const char *line, char *why, size_t size)
{
    unsigned job = 0, index = 0;
    char state[32] = "";
    int at = 0;
    if (sscanf(line, "%u|%u|%31[^|]|%n", &job, &index, state, &at) < 3 &&
        sscanf(line, "%u|%*[^|]|%31[^|]|%n", &job, state, &at) < 2)
        return;
    struct task *task = launcher->tasks;
    while (task != NULL && (task->job != job || task->index != index))
        task = task->next;
    launcher->listed++;
    if (task == NULL)
        return;
    task->is_live = strcmp(state, "COMPLETING") != 0;
    task->is_running = strcmp(state, "RUNNING") == 0;
    if (strcmp(state, "PENDING") == 0 && at > 0)
        snprintf(why, size, "%.*s", (int)strcspn(line + at, "\n"), line + at);
}

static void look_at_tasks(struct launcher *launcher, const char *why)
{
    char output[OUTPUT_MAX];
    struct launch_report seen;
    uint32_t pending = 0;
    for (struct task *task = launcher->tasks; task != NULL; task = task->next) {
        if (task->state != QUEUED && task->state != STARTED)
            continue;
        if (!task->is_live)
            slurm_tell_over(launcher, task);
        else if (task->state == QUEUED && !task->is_running)
            pending += !task->unwanted;
        else if (task->state == QUEUED && !task->told_over &&
                 shared_folder_read_output(launcher->folder, task->worker, output, sizeof output) &&
                 answer_started(output, task->worker, &seen))
            slurm_tell_started(launcher, task, output);
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
        report.left = error.text;
    }
    report.files_removed = removed;
    launcher->sweep_us = 0;
    launcher->callbacks.swept(launcher->callbacks.arg, &report);
}

/* Slurm has answered with its list. */
static void sweep_step(struct launcher *launcher)
{
    char left[200];
    int64_t spent_us = mf_monotonic_us() - launcher->sweep_us;
    if (launcher->listed == 0) {
        tell_swept(launcher, NULL);
    } else if (spent_us >= GIVE_UP_US) {
        snprintf(left,
                 sizeof left,
                 "%u jobs named %s are still in squeue",
                 launcher->listed,
                 launcher->job_name);
        tell_swept(launcher, left);
    } else if (spent_us >= GRACE_US && !launcher->was_cancelled) {
        launcher->was_cancelled = true;
        launcher->ended = launcher->listed;
        run_by_name(launcher, CANCEL, launcher->scancel, (const char *const[3]){NULL});
    }
}

static void on_listed(struct launcher *launcher, const struct child_result *result)
{
    char why[256] = "", problem[300], reason[400];
    if (result->code != 0) {
        answer_problem(result->problem, problem, sizeof problem);
        mf_log(MF_WARNING, "slurm: squeue (exit code %d): %s", result->code, problem);
        if (++launcher->lists_failed >= LISTS_FAILED_MAX && launcher->sweep_us != 0) {
            snprintf(reason, sizeof reason, "squeue cannot say: %s", problem);
            tell_swept(launcher, reason);
        }
        return;
    }
    launcher->lists_failed = 0;
    launcher->listed = 0;
    for (struct task *task = launcher->tasks; task != NULL; task = task->next)
        task->is_live = task->is_running = false;
    for (const char *line = result->output; line != NULL && *line != '\0';) {
        note_line(launcher, line, why, sizeof why);
        line = strchr(line, '\n');
        line += line != NULL;
    }
    look_at_tasks(launcher, why);
    if (launcher->sweep_us != 0)
        sweep_step(launcher);
}

static void on_looked(struct launcher *launcher, const struct child_result *result)
{
    char reason[800];
    bool ok = result->code == 0;
    struct check_report report = {
        .host = launcher->checked, .ok = ok, .verdict = ok ? "ok" : "failed", .reachable = ok};
    launcher->checked = NULL;
    if (!report.ok) {
        slurm_refusal(result, reason, sizeof reason);
        mf_raise(&report.error, MF_ESETUP, "%s", reason);
    }
    launcher->callbacks.checked(launcher->callbacks.arg, &report);
}

static bool is_steady(const struct launcher *launcher)
{
    if (launcher->sweep_us != 0)
        return false;
    for (const struct task *task = launcher->tasks; task != NULL; task = task->next)
        if (task->state == QUEUED || (task->state == STARTED && task->unwanted))
            return false;
    return true;
}

static void command_over(void *arg, const struct child_result *result)
{
    struct launcher *launcher = arg;
    enum doing doing = launcher->doing;
    launcher->child = NULL;
    launcher->doing = NOTHING;
    if (doing == SUBMIT) {
        on_submitted(launcher, result);
    } else if (doing == CHECK) {
        on_looked(launcher, result);
    } else if (doing == LIST) {
        on_listed(launcher, result);
        launcher->pace_us = launcher->pace_us * 3 / 2;
        int64_t most_us = launcher->sweep_us != 0 ? 1000000 : PENDING_US;
        if (launcher->pace_us > most_us)
            launcher->pace_us = most_us;
        launcher->list_us =
            mf_monotonic_us() + (is_steady(launcher) ? STEADY_US : launcher->pace_us);
    } else {
        if (result->code != 0)
            mf_log(MF_WARNING, "slurm: scancel (exit code %d): %s", result->code, result->problem);
        ask_soon(launcher);
    }
}

static struct task *add_task(struct launcher *launcher, uint32_t worker, struct mf_error *error)
{
    struct task *task = mf_calloc(1, sizeof *task), **last = &launcher->tasks;
    if (task == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: worker %u", worker);
        return NULL;
    }
    task->worker = worker;
    while (*last != NULL)
        last = &(*last)->next;
    *last = task;
    return task;
}

static int
slurm_start(struct launcher *launcher, const struct launch_order *order, struct mf_error *error)
{
    launcher->host = order->host;
    if (shared_folder_put_input(launcher->folder, order->worker, order->input, error) < 0)
        return -1;
    if (add_task(launcher, order->worker, error) != NULL)
        return 0;
    shared_folder_drop_input(launcher->folder, order->worker);
    return -1;
}

static int
slurm_adopt(struct launcher *launcher, const struct launch_known *known, struct mf_error *error)
{
    char noted[32], *rest = noted;
    launcher->host = known->host;
    bool is_noted = shared_folder_find(launcher->folder, known->worker, noted, sizeof noted);
    uint32_t job = is_noted ? (uint32_t)strtoul(noted, &rest, 10) : 0;
    if (job == 0) {
        shared_folder_drop_input(launcher->folder, known->worker);
        return 0;
    }
    struct task *task = add_task(launcher, known->worker, error);
    if (task == NULL)
        return -1;
    task->state = STARTED;
    task->job = job;
    task->index = (uint32_t)strtoul(rest, NULL, 10);
    ask_soon(launcher);
    return 1;
}

static void slurm_readdress(struct launcher *launcher,
                            const struct launch_host *host,
                            uint32_t worker,
                            const char *addresses)
{
    (void)launcher;
    (void)host;
    (void)addresses;
    mf_log(MF_WARNING,
           "worker %u is a job of Slurm and cannot be told where its master is: another takes its "
           "place",
           worker);
}

static void slurm_stop(struct launcher *launcher, const struct launch_host *host, uint32_t worker)
{
    (void)host;
    struct task *task = find_task(launcher, worker);
    if (task == NULL)
        return;
    task->unwanted = true;
    ask_soon(launcher);
}

static void slurm_farewell(struct launcher *launcher, uint32_t worker)
{
    struct task *task = find_task(launcher, worker);
    if (task == NULL || task->told_over)
        return;
    if (task->state == QUEUED)
        slurm_tell_started(launcher, task, "");
    task->told_over = true;
    launcher->callbacks.died(launcher->callbacks.arg, worker);
}

static int
slurm_sweep(struct launcher *launcher, const struct launch_host *host, struct mf_error *error)
{
    (void)error;
    launcher->swept = launcher->host = host;
    launcher->sweep_us = mf_monotonic_us();
    launcher->was_cancelled = false;
    launcher->lists_failed = 0;
    ask_soon(launcher);
    return 0;
}

static int
slurm_check(struct launcher *launcher, const struct launch_host *host, struct mf_error *error)
{
    launcher->checked = host;
    return run_sbatch(launcher, CHECK, 1, error);
}

static bool has_waiting(const struct launcher *launcher)
{
    for (const struct task *task = launcher->tasks; task != NULL; task = task->next)
        if (task->state == WAITING)
            return true;
    return false;
}

static bool slurm_is_idle(const struct launcher *launcher)
{
    return launcher->child == NULL && launcher->sweep_us == 0 && !has_waiting(launcher);
}

/* Nobody waits any longer for what has not begun. */
static void give_up_unwanted(struct launcher *launcher)
{
    for (struct task *task = launcher->tasks; task != NULL; task = task->next) {
        if (!task->unwanted || task->told_over || task->state >= STARTED)
            continue;
        if (task->state == WAITING)
            task->state = OVER;
        slurm_tell_failed(
            launcher, task, true, true, "it was given up while it waited in Slurm's queue");
    }
}

static int64_t slurm_tick(struct launcher *launcher, int64_t now_us)
{
    give_up_unwanted(launcher);
    if (launcher->child != NULL)
        return MF_NEVER;
    if (cancel(launcher))
        return MF_NEVER;
    if (has_waiting(launcher)) {
        submit(launcher);
        return launcher->child != NULL ? MF_NEVER : now_us;
    }
    if (launcher->tasks == NULL && launcher->sweep_us == 0)
        return MF_NEVER;
    if (launcher->list_us > now_us)
        return launcher->list_us;
    if (run_by_name(launcher,
                    LIST,
                    launcher->squeue,
                    (const char *const[3]){"--noheader", "--array", "--format=%F|%K|%T|%r"}) < 0)
        ask_soon(launcher);
    return launcher->child != NULL ? MF_NEVER : launcher->list_us;
}

static void slurm_destroy(struct launcher *launcher)
{
    if (launcher == NULL)
        return;
    child_abandon(launcher->child);
    while (launcher->tasks != NULL) {
        struct task *task = launcher->tasks;
        launcher->tasks = task->next;
        mf_free(task);
    }
    mf_free(launcher->folder);
    mf_free(launcher->job_name);
    mf_free(launcher->run_id);
    mf_free(launcher);
}

const struct launcher_class launcher_slurm = {.name = "slurm",
                                              .create = slurm_create,
                                              .start = slurm_start,
                                              .adopt = slurm_adopt,
                                              .readdress = slurm_readdress,
                                              .stop = slurm_stop,
                                              .farewell = slurm_farewell,
                                              .sweep = slurm_sweep,
                                              .check = slurm_check,
                                              .is_idle = slurm_is_idle,
                                              .tick = slurm_tick,
                                              .destroy = slurm_destroy};
