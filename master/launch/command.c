/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command launcher: workers that commands of the job start, list and stop. Up to ERRANDS_MAX of
 * them run at a time, one of them a list.
 *
 *     task   WAITING -> STARTING -> PENDING (has an id) -> STARTED (told) -> OVER
 *
 * Before the first start list is asked, and has to name nothing: a list that names what is not the
 * run's would have it stopped. From then on each id that it names and no start has printed (a start
 * that failed halfway or did not end, an earlier master that was killed) is stopped. So a list
 * counts for what was started before it began, and for such ids only when no start was under way.
 *
 * Each start is noted in the shared folder before it begins ("?"), with its process ("? PID"), and
 * with the id that it printed ("ID", or "-" when it failed); the last one counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/launch/command_internal.h"
#include "master/launch/shared_folder.h"
#include "master/launch/worker_script.h"

#define KEY "workers.command.folder"
#define FIRST_US 300000    /* until list is asked after something has changed */
#define PENDING_US 5000000 /* while something is awaited, at most */
#define STEADY_US 5000000
#define SWEEP_PACE_US 1000000
#define STOP_AGAIN_US 500000

static void command_destroy(struct launcher *launcher);

void command_ask_soon(struct launcher *launcher)
{
    launcher->pace_us = FIRST_US;
    launcher->list_us = mf_monotonic_us() + FIRST_US;
}

static int find_programs(const struct launcher *launcher, struct mf_error *error)
{
    const struct launch_commands *c = &launcher->commands;
    char path[4096];
    if (errand_program(launcher, &c->start, "start", path, sizeof path, error) < 0 ||
        errand_program(launcher, &c->list, "list", path, sizeof path, error) < 0)
        return -1;
    return errand_program(launcher, &c->stop, "stop", path, sizeof path, error);
}

static int
open_folder(struct launcher *launcher, const struct launch_config *config, struct mf_error *error)
{
    const char *folder = config->shared_folder;
    launcher->folder = mf_strdup(folder);
    if (launcher->folder == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the command launcher");
    launcher->is_proved = shared_folder_has_notes(folder);
    return shared_folder_make(
        folder, config->commands.program == NULL ? config->worker_binary : NULL, KEY, error);
}

static struct launcher *command_create(struct mf_loop *loop,
                                       const struct launch_config *config,
                                       const struct launcher_callbacks *callbacks,
                                       struct mf_error *error)
{
    struct launcher *launcher = mf_calloc(1, sizeof *launcher);
    if (launcher == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the command launcher");
        return NULL;
    }
    launcher->loop = loop;
    launcher->callbacks = *callbacks;
    launcher->commands = config->commands;
    launcher->list_us = MF_NEVER;
    launcher->run_id = mf_strdup(config->run_id);
    if (launcher->run_id == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the command launcher");
        goto fail;
    }
    if (config->shared_folder != NULL &&
        (find_programs(launcher, error) < 0 || open_folder(launcher, config, error) < 0))
        goto fail;
    return launcher;
fail:
    command_destroy(launcher);
    return NULL;
}

static struct task *find_task(const struct launcher *launcher, uint32_t worker)
{
    struct task *task = launcher->tasks;
    while (task != NULL && task->worker != worker)
        task = task->next;
    return task;
}

struct task *command_add_task(struct launcher *launcher, uint32_t worker, struct mf_error *error)
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

/* An id that no worker of this master has: it is ended. */
static void add_stray(struct launcher *launcher, const char *id, bool is_listed)
{
    struct mf_error error;
    for (struct task *task = launcher->tasks; task != NULL; task = task->next)
        if (task->id != NULL && strcmp(task->id, id) == 0)
            return;
    struct task *task = command_add_task(launcher, 0, &error);
    if (task == NULL || (task->id = mf_strdup(id)) == NULL) {
        mf_log(MF_WARNING, "out of memory: %s is not stopped", id);
        return;
    }
    task->state = PENDING;
    task->told_over = task->unwanted = true;
    task->was_listed = is_listed;
    launcher->ended++;
}

void command_note(const struct launcher *launcher, const struct task *task, const char *text)
{
    struct mf_error error;
    struct mf_buffer notes = {0};
    if (shared_note_add(&notes, task->worker, text, &error) < 0 ||
        shared_folder_note(launcher->folder, mf_buffer_view(&notes), &error) < 0)
        mf_log(MF_WARNING, "%s", error.text);
    mf_buffer_fini(&notes);
}

static int write_script(struct launcher *launcher, const struct task *task, struct mf_error *error)
{
    struct mf_buffer script = {0};
    int rc = mf_buffer_printf(&script, error, "#!/bin/sh\nw=%u\n", task->worker);
    if (rc >= 0)
        rc = worker_script_append(
            &script, launcher->folder, launcher->commands.program, launcher->run_id, "", error);
    if (rc >= 0)
        rc = shared_folder_put_script(
            launcher->folder, task->worker, mf_buffer_view(&script), error);
    mf_buffer_fini(&script);
    return rc < 0 ? -1 : 0;
}

/* The worker's input, which stands in the shared folder, too; the caller frees it. */
static char *read_input(const struct launcher *launcher, const struct task *task)
{
    char *path = mf_format("%s/input.%u", launcher->folder, task->worker);
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    if (file != NULL && getline(&line, &room, file) < 0) {
        free(line);
        line = NULL;
    }
    if (file != NULL)
        fclose(file);
    mf_free(path);
    return line;
}

static void begin_start(struct launcher *launcher, struct task *task)
{
    struct mf_error error = {0};
    char *input = read_input(launcher, task);
    task->state = STARTING;
    command_note(launcher, task, "?");
    int rc = input == NULL ? mf_raise(&error, MF_ESYSTEM, "cannot read %s", launcher->folder)
                           : errand_begin(launcher, START, task, input, &error);
    if (input != NULL)
        explicit_bzero(input, strlen(input));
    free(input);
    if (rc == 0)
        return;
    command_note(launcher, task, "-");
    task->state = OVER;
    command_tell_failed(launcher, task, false, false, error.text);
}

static void fail_start(struct launcher *launcher, struct task *task, bool again, const char *what)
{
    char reason[900];
    command_note(launcher, task, "-");
    snprintf(reason, sizeof reason, "command: start of worker %u: %s", task->worker, what);
    task->state = OVER;
    if (task->joined) { /* by the next list it is an id that nobody printed */
        mf_log(MF_WARNING, "%s, but its worker has joined", reason);
        command_tell_started(launcher, task);
        return;
    }
    if (!task->told_over)
        command_tell_failed(launcher, task, again, false, reason);
}

static const struct task *owner_of(const struct launcher *launcher, const char *id)
{
    const struct task *task = launcher->tasks;
    while (task != NULL && (task->id == NULL || strcmp(task->id, id) != 0))
        task = task->next;
    return task;
}

static void take_id(struct launcher *launcher, struct task *task, const char *id)
{
    const struct task *owner = owner_of(launcher, id);
    char what[400];
    if (owner != NULL) {
        snprintf(what,
                 sizeof what,
                 "it printed the id %s, which worker %u has already",
                 id,
                 owner->worker);
        fail_start(launcher, task, false, what);
        return;
    }
    if ((task->id = mf_strdup(id)) == NULL) {
        fail_start(launcher, task, false, "out of memory");
        return;
    }
    command_note(launcher, task, id);
    mf_log(MF_INFO, "command: worker %u is %s", task->worker, id);
    task->state = PENDING;
    task->started_us = mf_monotonic_us();
    if (task->joined && !task->told_over)
        command_tell_started(launcher, task);
}

static void
on_started(struct launcher *launcher, struct task *task, const struct child_result *result)
{
    struct command_ids ids;
    struct mf_error error = {0};
    char problem[400], what[700];
    int rc = command_ids_parse(result->output, &ids, &error);
    launcher->start_over_us = mf_monotonic_us();
    if (result->code == 0 && rc == 0 && ids.count == 1) {
        take_id(launcher, task, ids.items[0]);
        command_ids_fini(&ids);
        return;
    }
    for (size_t i = 0; result->code == 0 && i < ids.count; i++)
        add_stray(launcher, ids.items[i], false);
    if (result->code != 0) {
        errand_problem(launcher, result, problem, sizeof problem);
        snprintf(what, sizeof what, "%s", problem);
    } else if (rc < 0) {
        snprintf(what, sizeof what, "%.600s", error.text);
    } else if (ids.count == 0) {
        snprintf(what, sizeof what, "it printed no id: one line with the id is expected");
    } else {
        snprintf(what,
                 sizeof what,
                 "it printed %zu ids (%.200s, %.200s%s), and one is expected: they are stopped",
                 ids.count,
                 ids.items[0],
                 ids.items[1],
                 ids.count > 2 ? ", ..." : "");
    }
    command_ids_fini(&ids);
    fail_start(launcher, task, result->code != 0, what);
}

/* Nothing was started yet, and nothing will be. */
static void fail_waiting(struct launcher *launcher, const char *reason)
{
    for (struct task *task = launcher->tasks; task != NULL; task = task->next) {
        if (task->state != WAITING)
            continue;
        task->state = OVER;
        if (!task->told_over)
            command_tell_failed(launcher, task, false, false, reason);
    }
}

static void tell_checked(struct launcher *launcher, const char *problem)
{
    struct check_report report = {.host = launcher->checked,
                                  .ok = problem == NULL,
                                  .verdict = problem == NULL ? "ok" : "failed",
                                  .reachable = problem == NULL};
    if (problem != NULL)
        mf_raise(&report.error, MF_ESETUP, "%s", problem);
    launcher->checked = NULL;
    launcher->callbacks.checked(launcher->callbacks.arg, &report);
}

static void on_list_failed(struct launcher *launcher, const char *problem)
{
    char reason[700];
    snprintf(reason, sizeof reason, "command: list: %.600s", problem);
    launcher->lists_failed++;
    if (launcher->checked != NULL) {
        tell_checked(launcher, reason);
        return;
    }
    if (!launcher->is_proved)
        fail_waiting(launcher, reason);
    else if (launcher->lists_failed == 1)
        mf_log(MF_WARNING, "%s", reason);
    if (launcher->sweep_us != 0 && launcher->is_proved)
        command_sweep_failed(launcher, problem);
}

/* The list before the first start. */
static void prove(struct launcher *launcher, const struct command_ids *ids)
{
    char reason[700];
    launcher->is_proved = ids->count == 0;
    snprintf(reason,
             sizeof reason,
             "command: list names %.200s before anything was started: it may name only workers of "
             "this run ({run})",
             ids->count == 0 ? "nothing" : ids->items[0]);
    if (launcher->checked != NULL)
        tell_checked(launcher, ids->count == 0 ? NULL : reason);
    else if (ids->count > 0)
        fail_waiting(launcher, reason);
}

static void on_listed(struct launcher *launcher, struct command_ids *ids, int64_t began_us)
{
    launcher->lists_failed = 0;
    if (!launcher->is_proved) {
        prove(launcher, ids);
        return;
    }
    command_look_at_tasks(launcher, ids, began_us);
    if (launcher->starting > 0 || launcher->start_over_us > began_us ||
        command_is_cut(launcher, mf_monotonic_us()))
        return;
    for (size_t i = 0; i < ids->count; i++) {
        if (ids->known[i])
            continue;
        mf_log(MF_WARNING, "command: list names %s, which no start has printed", ids->items[i]);
        add_stray(launcher, ids->items[i], true);
    }
    if (launcher->sweep_us != 0 && began_us >= launcher->sweep_us)
        command_sweep_step(launcher, ids);
}

static void on_list(struct launcher *launcher, int64_t began_us, const struct child_result *result)
{
    struct command_ids ids = {0};
    struct mf_error error;
    char problem[400];
    if (result->code != 0) {
        errand_problem(launcher, result, problem, sizeof problem);
        on_list_failed(launcher, problem);
    } else if (command_ids_parse(result->output, &ids, &error) < 0) {
        on_list_failed(launcher, error.text);
    } else {
        on_listed(launcher, &ids, began_us);
    }
    command_ids_fini(&ids);
}

static void
on_stopped(struct launcher *launcher, struct task *task, const struct child_result *result)
{
    int64_t now_us = mf_monotonic_us();
    task->was_stopped = result->code == 0;
    task->stop_us = now_us;
    if (!task->was_stopped) {
        errand_problem(launcher, result, launcher->stop_problem, sizeof launcher->stop_problem);
        mf_log(MF_WARNING, "command: stop of %s: %s", task->id, launcher->stop_problem);
        task->stop_us += (int64_t)task->stops * STOP_AGAIN_US;
    }
    if (!task->was_stopped && task->stops >= STOPS_MAX && !task->told_over) {
        task->told_over = true; /* nobody can know */
        launcher->callbacks.died(launcher->callbacks.arg, task->worker);
    }
    command_ask_soon(launcher);
}

static bool is_steady(const struct launcher *launcher)
{
    if (launcher->sweep_us != 0)
        return false;
    for (const struct task *task = launcher->tasks; task != NULL; task = task->next)
        if (task->state == PENDING || (task->state == STARTED && (task->unwanted || !task->joined)))
            return false;
    return true;
}

/* A list that takes long is asked for less often. */
static void pace(struct launcher *launcher, int64_t took_us)
{
    int64_t most_us = launcher->sweep_us != 0 ? SWEEP_PACE_US : PENDING_US;
    launcher->pace_us = launcher->pace_us * 3 / 2;
    launcher->pace_us = launcher->pace_us > most_us ? most_us : launcher->pace_us;
    int64_t rest_us = is_steady(launcher) ? STEADY_US : launcher->pace_us;
    rest_us = rest_us < 2 * took_us ? 2 * took_us : rest_us;
    launcher->list_us = mf_monotonic_us() + rest_us;
}

void command_over(struct launcher *launcher,
                  enum doing doing,
                  struct task *task,
                  int64_t began_us,
                  const struct child_result *result)
{
    if (doing == START) {
        on_started(launcher, task, result);
        command_ask_soon(launcher);
    } else if (doing == STOP) {
        on_stopped(launcher, task, result);
    } else {
        launcher->list_us = MF_NEVER;
        on_list(launcher, began_us, result);
        if (launcher->list_us == MF_NEVER)
            pace(launcher, mf_monotonic_us() - began_us);
    }
}

static int
command_start(struct launcher *launcher, const struct launch_order *order, struct mf_error *error)
{
    launcher->host = order->host;
    if (shared_folder_put_input(launcher->folder, order->worker, order->input, error) < 0)
        return -1;
    struct task *task = command_add_task(launcher, order->worker, error);
    if (task != NULL && write_script(launcher, task, error) == 0)
        return 0;
    if (task != NULL) {
        task->state = OVER;
        task->told_over = true;
    }
    shared_folder_drop_input(launcher->folder, order->worker);
    return -1;
}

/* A start that its master did not see end. */
static void note_cut(struct launcher *launcher, const char *pid)
{
    long number = strtol(pid, NULL, 10);
    launcher->cut_us = mf_monotonic_us();
    if (number > 0 && launcher->cut_count < ERRANDS_MAX)
        launcher->cut_pids[launcher->cut_count++] = (pid_t)number;
    else
        launcher->is_torn = true;
}

static int
command_adopt(struct launcher *launcher, const struct launch_known *known, struct mf_error *error)
{
    char noted[COMMAND_ID_MAX + 1];
    launcher->host = known->host;
    bool is_noted = shared_folder_find(launcher->folder, known->worker, noted, sizeof noted);
    if (!is_noted || noted[0] == '?' || strcmp(noted, "-") == 0) {
        if (is_noted && noted[0] == '?')
            note_cut(launcher, noted + 1);
        shared_folder_drop_input(launcher->folder, known->worker);
        return 0;
    }
    struct task *task = command_add_task(launcher, known->worker, error);
    if (task == NULL || (task->id = mf_strdup(noted)) == NULL)
        return -1;
    task->state = STARTED;
    task->was_listed = true;
    task->started_us = mf_monotonic_us();
    command_ask_soon(launcher);
    return 1;
}

static void command_readdress(struct launcher *launcher,
                              const struct launch_host *host,
                              uint32_t worker,
                              const char *addresses)
{
    (void)launcher;
    (void)host;
    (void)addresses;
    mf_log(MF_WARNING,
           "worker %u was started by a command and cannot be told where its master is: another "
           "takes its place",
           worker);
}

static void command_stop(struct launcher *launcher, const struct launch_host *host, uint32_t worker)
{
    (void)host;
    struct task *task = find_task(launcher, worker);
    if (task != NULL)
        task->unwanted = true;
}

static void command_joined(struct launcher *launcher, uint32_t worker)
{
    struct task *task = find_task(launcher, worker);
    if (task == NULL || task->joined)
        return;
    task->joined = true;
    shared_folder_drop_input(launcher->folder, worker);
    if (task->state == PENDING && !task->told_over)
        command_tell_started(launcher, task);
}

static void command_farewell(struct launcher *launcher, uint32_t worker)
{
    struct task *task = find_task(launcher, worker);
    if (task == NULL || task->told_over)
        return;
    task->said_farewell = task->told_over = true;
    launcher->callbacks.died(launcher->callbacks.arg, worker);
}

static int
command_sweep(struct launcher *launcher, const struct launch_host *host, struct mf_error *error)
{
    (void)error;
    launcher->swept = launcher->host = host;
    launcher->sweep_us = mf_monotonic_us();
    launcher->lists_failed = 0;
    command_ask_soon(launcher);
    return 0;
}

static int
command_check(struct launcher *launcher, const struct launch_host *host, struct mf_error *error)
{
    struct mf_error problem;
    (void)error;
    launcher->checked = host;
    if (find_programs(launcher, &problem) < 0 ||
        errand_begin(launcher, LIST, NULL, "", &problem) < 0)
        tell_checked(launcher, problem.text);
    return 0;
}

static bool has_waiting(const struct launcher *launcher)
{
    for (const struct task *task = launcher->tasks; task != NULL; task = task->next)
        if (task->state == WAITING)
            return true;
    return false;
}

static bool command_is_idle(const struct launcher *launcher)
{
    return launcher->running == 0 && launcher->sweep_us == 0 && !has_waiting(launcher);
}

/* Nobody waits any longer for what has not begun, or has not come yet. */
static void give_up_unwanted(struct launcher *launcher)
{
    for (struct task *task = launcher->tasks; task != NULL; task = task->next) {
        if (!task->unwanted || task->told_over || task->state >= STARTED)
            continue;
        if (task->state == WAITING)
            task->state = OVER;
        command_tell_failed(launcher, task, true, true, "it was given up before it joined");
    }
}

/* The next time that a stop is due. */
static int64_t stop_unwanted(struct launcher *launcher, int64_t now_us)
{
    struct mf_error error;
    int64_t next_us = MF_NEVER;
    for (struct task *task = launcher->tasks; task != NULL; task = task->next) {
        if (!task->unwanted || task->stopping || task->was_stopped || task->stops >= STOPS_MAX ||
            (task->state != PENDING && task->state != STARTED))
            continue;
        if (task->stop_us > now_us) {
            next_us = task->stop_us < next_us ? task->stop_us : next_us;
            continue;
        }
        if (launcher->running >= ERRANDS_MAX - 1) /* one is for list */
            break;
        task->stops++;
        task->stopping = true;
        if (errand_begin(launcher, STOP, task, "", &error) < 0) {
            task->stopping = false;
            task->stop_us = now_us + STOP_AGAIN_US;
            snprintf(launcher->stop_problem, sizeof launcher->stop_problem, "%.290s", error.text);
            mf_log(MF_WARNING, "%s", error.text);
            next_us = task->stop_us;
        }
    }
    return next_us;
}

static void start_waiting(struct launcher *launcher)
{
    for (struct task *task = launcher->tasks; task != NULL && launcher->running < ERRANDS_MAX - 1;
         task = task->next)
        if (task->state == WAITING)
            begin_start(launcher, task);
}

/* Asks for the list when it is time; when it is. */
static int64_t list_step(struct launcher *launcher, int64_t now_us)
{
    struct mf_error error;
    bool proves = !launcher->is_proved && has_waiting(launcher);
    if (launcher->is_listing || (launcher->tasks == NULL && launcher->sweep_us == 0))
        return MF_NEVER;
    if (!proves && launcher->list_us > now_us)
        return launcher->list_us;
    launcher->list_us = MF_NEVER;
    if (errand_begin(launcher, LIST, NULL, "", &error) < 0) {
        on_list_failed(launcher, error.text);
        command_ask_soon(launcher);
    }
    return launcher->list_us;
}

/* Nothing was ever started: nothing is to be looked for. */
static void end_unproved_sweep(struct launcher *launcher)
{
    static const struct command_ids none;
    if (launcher->sweep_us != 0 && !launcher->is_proved && launcher->running == 0 &&
        !has_waiting(launcher))
        command_sweep_step(launcher, &none);
}

static int64_t command_tick(struct launcher *launcher, int64_t now_us)
{
    int64_t late_us = errands_tick(launcher, now_us);
    give_up_unwanted(launcher);
    int64_t stop_us = stop_unwanted(launcher, now_us);
    if (launcher->is_proved)
        start_waiting(launcher);
    end_unproved_sweep(launcher);
    int64_t list_us = list_step(launcher, now_us);
    int64_t next_us = stop_us < late_us ? stop_us : late_us;
    return list_us < next_us ? list_us : next_us;
}

static void command_destroy(struct launcher *launcher)
{
    if (launcher == NULL)
        return;
    for (unsigned i = 0; i < ERRANDS_MAX; i++)
        if (launcher->errands[i].doing != NOTHING)
            child_abandon_group(launcher->errands[i].child);
    while (launcher->tasks != NULL) {
        struct task *task = launcher->tasks;
        launcher->tasks = task->next;
        mf_free(task->id);
        mf_free(task);
    }
    mf_free(launcher->folder);
    mf_free(launcher->run_id);
    mf_free(launcher);
}

const struct launcher_class launcher_command = {.name = "command",
                                                .create = command_create,
                                                .start = command_start,
                                                .adopt = command_adopt,
                                                .readdress = command_readdress,
                                                .stop = command_stop,
                                                .joined = command_joined,
                                                .farewell = command_farewell,
                                                .sweep = command_sweep,
                                                .check = command_check,
                                                .is_idle = command_is_idle,
                                                .tick = command_tick,
                                                .destroy = command_destroy};
