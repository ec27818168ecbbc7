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
#include "common/crash.h"
#include "common/log.h"
#include "common/spawn.h"
#include "master/launch/answer.h"
#include "master/launch/child.h"
#include "master/launch/launcher.h"
#include "master/launch/shared_folder.h"
#include "master/launch/slurm_internal.h"
#include "master/launch/slurm_notes.h"
#include "master/launch/slurm_sbatch.h"
#include "master/launch/slurm_squeue.h"

#define ARRAY_MAX 1000u    /* Slurm's own default (MaxArraySize) is 1001 */
#define CANCEL_MAX 100u    /* tasks of one scancel */
#define FIRST_US 300000    /* until squeue is asked after something has changed */
#define PENDING_US 5000000 /* while something is awaited, at most */
#define STEADY_US 5000000
#define CANCEL_AGAIN_US 1000000 /* after scancel was refused */
/* Slurm's own limits are shorter, mostly. What is killed while it submits may have submitted. */
#define COMMAND_US 25000000
#define SUBMIT_US 120000000

static void slurm_destroy(struct launcher *launcher);

static int find_programs(struct launcher *launcher, struct mf_error *error)
{
    if (mf_program_find("sbatch", launcher->sbatch, sizeof launcher->sbatch) &&
        mf_program_find("squeue", launcher->squeue, sizeof launcher->squeue) &&
        mf_program_find("scancel", launcher->scancel, sizeof launcher->scancel))
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
    if (find_programs(launcher, error) < 0)
        goto fail;
    launcher->is_fresh = launcher->folder[0] != '\0' && access(launcher->folder, F_OK) < 0;
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

static void command_over(void *arg, const struct child_result *result);

static int run_command(struct launcher *launcher,
                       enum doing doing,
                       const char *const *argv,
                       struct mf_bytes input,
                       struct mf_error *error)
{
    char **environment = slurm_environment(error);
    if (environment == NULL)
        return -1;
    launcher->child =
        child_start(launcher->loop, argv, environment, input, command_over, launcher, error);
    mf_free(environment);
    launcher->doing = launcher->child == NULL ? NOTHING : doing;
    launcher->command_us =
        mf_monotonic_us() + (doing == SUBMIT || doing == CHECK ? SUBMIT_US : COMMAND_US);
    return launcher->child == NULL ? -1 : 0;
}

/* Those that are being submitted, in the order of their array; NULL: out of memory. */
static uint32_t *submitted_workers(const struct launcher *launcher, uint32_t *count)
{
    uint32_t *workers = mf_calloc(ARRAY_MAX, sizeof *workers);
    *count = 0;
    for (const struct task *task = launcher->tasks; workers != NULL && task != NULL;
         task = task->next)
        if (task->state == SUBMITTING)
            workers[(*count)++] = task->worker;
    return workers;
}

static int
run_sbatch(struct launcher *launcher, enum doing doing, uint32_t count, struct mf_error *error)
{
    struct mf_buffer script = {0};
    struct slurm_arguments arguments = {0};
    uint32_t submitted;
    uint32_t *workers = submitted_workers(launcher, &submitted);
    int rc = workers == NULL
                 ? mf_raise(error, MF_ENOMEM, "out of memory: the workers of a job")
                 : slurm_script_make(
                       launcher->folder, launcher->run_id, workers, submitted, &script, error);
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
    mf_free(workers);
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

/* For a later master: before anything else is done about them. */
static void note_submission(struct launcher *launcher, uint32_t job)
{
    struct mf_error error;
    uint32_t count;
    uint32_t *workers = submitted_workers(launcher, &count);
    MF_CRASH(SLURM_BEFORE_NOTE);
    if (workers == NULL)
        mf_raise(&error, MF_ENOMEM, "out of memory: the note of job %u", job);
    if (workers == NULL || slurm_note_job(launcher->folder, job, workers, count, &error) < 0)
        mf_log(MF_WARNING, "slurm: %s", error.text);
    MF_CRASH(SLURM_AFTER_NOTE);
    mf_log(MF_INFO, "slurm: job %u submitted, %u workers", job, count);
    mf_free(workers);
}

static void on_submitted(struct launcher *launcher, const struct child_result *result)
{
    char reason[800];
    uint32_t job;
    if (result->code != 0 || !slurm_job_read(result->output, &job)) {
        bool again = slurm_refusal(result, reason, sizeof reason);
        fail_submission(launcher, again, reason);
        ask_soon(launcher); /* it may have been taken all the same: then it is found by its name */
        return;
    }
    note_submission(launcher, job);
    for (struct task *task = launcher->tasks; task != NULL; task = task->next) {
        if (task->state != SUBMITTING)
            continue;
        task->state = QUEUED;
        task->job = job;
        task->is_there = task->is_live = true;
    }
    launcher->pending_since_us = mf_monotonic_us();
    ask_soon(launcher);
}

/* What is still there after the next list is tried again. */
static void cancel_again(struct launcher *launcher, const char *problem)
{
    mf_log(MF_WARNING, "slurm: scancel: %s", problem);
    snprintf(launcher->cancel_problem, sizeof launcher->cancel_problem, "%.199s", problem);
    launcher->cancels_failed++;
    launcher->was_cancelled = false;
    launcher->cancel_us = mf_monotonic_us() + CANCEL_AGAIN_US;
    for (struct task *task = launcher->tasks; task != NULL; task = task->next)
        task->cancelled = false;
    ask_soon(launcher);
}

static void on_cancelled(struct launcher *launcher, const struct child_result *result)
{
    char problem[200];
    answer_problem(result->problem, problem, sizeof problem);
    if (result->code != 0) {
        cancel_again(launcher, problem);
        return;
    }
    launcher->cancels_failed = 0;
    ask_soon(launcher);
}

/* Names the tasks that have to be ended; true when there are any. */
static bool cancel(struct launcher *launcher)
{
    if (mf_monotonic_us() < launcher->cancel_us)
        return false;
    char names[CANCEL_MAX][24];
    const char *argv[CANCEL_MAX + 2] = {launcher->scancel};
    struct mf_error error;
    unsigned count = 0;
    for (struct task *task = launcher->tasks; task != NULL && count < CANCEL_MAX; task = task->next)
        if (task->unwanted && task->is_live && !task->cancelled &&
            (task->state == QUEUED || task->state == STARTED)) {
            task->cancelled = true;
            snprintf(names[count],
                     sizeof names[count],
                     task->is_single ? "%u" : "%u_%u",
                     task->job,
                     task->index);
            argv[1 + count] = names[count];
            count++;
        }
    if (count == 0)
        return false;
    if (run_command(launcher, CANCEL, argv, mf_bytes_text(""), &error) == 0)
        return true;
    cancel_again(launcher, error.text);
    return false;
}

static int run_by_name(struct launcher *launcher,
                       enum doing doing,
                       const char *program,
                       const char *const more[4])
{
    struct mf_error error = {0};
    char *name = mf_format("--name=%s", launcher->job_name);
    char *user = mf_format("--user=%u", (unsigned)geteuid());
    const char *argv[] = {program, name, user, more[0], more[1], more[2], more[3], NULL};
    int rc = name == NULL || user == NULL
                 ? mf_raise(&error, MF_ENOMEM, "out of memory: the name of the jobs")
                 : run_command(launcher, doing, argv, mf_bytes_text(""), &error);
    if (rc < 0)
        mf_log(MF_WARNING, "slurm: %s", error.text);
    mf_free(name);
    mf_free(user);
    return rc;
}

void slurm_cancel_all(struct launcher *launcher)
{
    if (run_by_name(launcher, CANCEL, launcher->scancel, (const char *const[4]){NULL}) < 0)
        launcher->was_cancelled = false;
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
        if (task->state == QUEUED || (task->state == STARTED && task->unwanted) || task->is_unsaid)
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
        slurm_listed(launcher, result);
        launcher->pace_us = launcher->pace_us * 3 / 2;
        int64_t most_us = launcher->sweep_us != 0 ? 1000000 : PENDING_US;
        if (launcher->pace_us > most_us)
            launcher->pace_us = most_us;
        launcher->list_us =
            mf_monotonic_us() + (is_steady(launcher) ? STEADY_US : launcher->pace_us);
    } else {
        on_cancelled(launcher, result);
    }
}

struct task *slurm_add_task(struct launcher *launcher, uint32_t worker, struct mf_error *error)
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
    if (slurm_add_task(launcher, order->worker, error) != NULL)
        return 0;
    shared_folder_drop_input(launcher->folder, order->worker);
    return -1;
}

static int
slurm_adopt(struct launcher *launcher, const struct launch_known *known, struct mf_error *error)
{
    uint32_t job, index;
    launcher->host = known->host;
    if (!slurm_find_job(launcher->folder, known->worker, &job, &index)) {
        shared_folder_drop_input(launcher->folder, known->worker);
        return 0;
    }
    struct task *task = slurm_add_task(launcher, known->worker, error);
    if (task == NULL)
        return -1;
    /* The job takes its input when it begins. */
    bool has_begun = !shared_folder_has_input(launcher->folder, known->worker);
    task->state = has_begun ? STARTED : QUEUED;
    task->job = job;
    task->index = index;
    task->is_there = task->is_live = true;
    launcher->pending_since_us = mf_monotonic_us();
    ask_soon(launcher);
    return has_begun ? 1 : LAUNCH_WAITS;
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
    char output[OUTPUT_MAX];
    struct task *task = find_task(launcher, worker);
    if (task == NULL || task->told_over)
        return;
    if (task->state == QUEUED) {
        shared_folder_read_output(launcher->folder, worker, output, sizeof output);
        slurm_tell_started(launcher, task, output);
    }
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

/* Nobody waits any longer for what has not begun. What has (its input is gone) ends by scancel, and
 * is told when the list says so. */
static void give_up_unwanted(struct launcher *launcher)
{
    for (struct task *task = launcher->tasks; task != NULL; task = task->next) {
        if (!task->unwanted || task->told_over || task->state >= STARTED || task->is_running ||
            !shared_folder_has_input(launcher->folder, task->worker))
            continue;
        if (task->state == WAITING)
            task->state = OVER;
        slurm_tell_failed(
            launcher, task, true, true, "it was given up while it waited in Slurm's queue");
    }
}

/* It hangs. What it was to do may have been done all the same: the next list says so. */
static void end_command(struct launcher *launcher)
{
    const struct child_result result = {
        .code = 124, .output = "", .problem = "it did not answer in time"};
    child_abandon(launcher->child);
    command_over(launcher, &result);
}

static int64_t slurm_tick(struct launcher *launcher, int64_t now_us)
{
    give_up_unwanted(launcher);
    if (launcher->child != NULL && now_us >= launcher->command_us)
        end_command(launcher);
    if (launcher->child != NULL || cancel(launcher))
        return launcher->command_us;
    if (has_waiting(launcher)) {
        submit(launcher);
        return launcher->child != NULL ? launcher->command_us : now_us;
    }
    if (launcher->tasks == NULL && launcher->sweep_us == 0)
        return MF_NEVER;
    if (launcher->list_us > now_us)
        return launcher->list_us;
    if (run_by_name(launcher,
                    LIST,
                    launcher->squeue,
                    (const char *const[4]){
                        "--noheader", "--array", SLURM_SQUEUE_STATES, SLURM_SQUEUE_FORMAT}) < 0)
        ask_soon(launcher);
    return launcher->child != NULL ? launcher->command_us : launcher->list_us;
}

static void slurm_destroy(struct launcher *launcher)
{
    if (launcher == NULL)
        return;
    child_abandon(launcher->child);
    if (launcher->is_fresh && launcher->tasks == NULL) { /* the run ended before it began */
        uint32_t removed;
        struct mf_error error;
        if (shared_folder_remove(launcher->folder, &removed, &error) < 0)
            mf_log(MF_WARNING, "slurm: %s", error.text);
    }
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
