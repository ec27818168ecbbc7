/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of the command launcher as they run: see command_internal.h. Each leads a process
 * group of its own, which is ended with it when it takes too long. It is over when it has exited: a
 * start may leave a worker behind that holds its standard output.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/spawn.h"
#include "master/launch/answer.h"
#include "master/launch/command_internal.h"

#define WORDS_MAX 4096u
#define REST_US 200000 /* for what a command has said last, when it has exited */

int errand_program(const struct launcher *launcher,
                   const struct launch_words *words,
                   const char *key,
                   char *path,
                   size_t size,
                   struct mf_error *error)
{
    const char *name = words->items[0];
    struct stat facts;
    if (strchr(name, '/') == NULL) {
        if (mf_program_find(name, path, size))
            return 0;
        return mf_raise(error, MF_ESETUP, "workers.command.%s: %.200s is not in PATH", key, name);
    }
    name += strncmp(name, "./", 2) == 0 ? 2 : 0;
    const char *folder = name[0] == '/' ? "" : launcher->commands.folder;
    snprintf(path, size, "%s%s%s", folder, name[0] == '/' ? "" : "/", name);
    if (stat(path, &facts) < 0)
        return mf_raise_errno(error, "workers.command.%s: %s cannot be used", key, path);
    if (!S_ISREG(facts.st_mode) || access(path, X_OK) < 0)
        return mf_raise(error,
                        MF_ESETUP,
                        "workers.command.%s: %s is no program that you may run (chmod +x?)",
                        key,
                        path);
    return 0;
}

void errand_problem(const struct launcher *launcher,
                    const struct child_result *result,
                    char *text,
                    size_t size)
{
    char problem[300];
    if (result->code < 0) {
        snprintf(text,
                 size,
                 "it did not end within %.1f s (workers.command.timeout)",
                 (double)launcher->commands.timeout_us / 1e6);
        return;
    }
    answer_problem(result->problem, problem, sizeof problem);
    snprintf(text, size, "exit code %d: %s", result->code, problem);
}

static void finish(struct errand *errand, const struct child_result *result)
{
    struct errand was = *errand;
    struct launcher *launcher = errand->launcher;
    errand->doing = NOTHING;
    errand->child = NULL;
    launcher->running--;
    launcher->starting -= was.doing == START;
    launcher->is_listing = launcher->is_listing && was.doing != LIST;
    if (was.task != NULL && was.doing == STOP)
        was.task->stopping = false;
    command_over(launcher, was.doing, was.task, was.began_us, result);
}

static void on_over(void *arg, const struct child_result *result)
{
    finish(arg, result);
}

static int fill(const struct launcher *launcher,
                const struct launch_words *words,
                const struct task *task,
                char **argv,
                struct mf_error *error)
{
    char worker[16] = "";
    char *name = NULL, *script = NULL;
    const char *folder = launcher->folder == NULL ? "/nonexistent/mayfly-check" : launcher->folder;
    int rc = 0;
    if (task != NULL) {
        snprintf(worker, sizeof worker, "%u", task->worker);
        name = mf_format("mayfly-%s-%u", launcher->run_id, task->worker);
        script = mf_format("%s/start.%u", folder, task->worker);
        if (name == NULL || script == NULL)
            rc = mf_raise(error, MF_ENOMEM, "out of memory: the words of a command");
    }
    const struct mf_named values[] = {{"run", launcher->run_id},
                                      {"worker", worker},
                                      {"name", name == NULL ? "" : name},
                                      {"script", script == NULL ? "" : script},
                                      {"folder", folder},
                                      {"id", task == NULL || task->id == NULL ? "" : task->id}};
    for (size_t i = 1; rc == 0 && i < words->count; i++) {
        struct mf_buffer word = {0};
        rc = mf_placeholder_fill(
            words->items[i], values, sizeof values / sizeof *values, &word, error);
        const char *text = mf_buffer_text(&word);
        if (rc == 0 && (argv[i] = mf_strdup(text == NULL ? "" : text)) == NULL)
            rc = mf_raise(error, MF_ENOMEM, "out of memory: the words of a command");
        mf_buffer_fini(&word);
    }
    mf_free(name);
    mf_free(script);
    return rc;
}

/* That of this process, and a mark by which a later master knows the command. */
static char **make_environment(char *mark)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **all = mf_calloc(count + 2, sizeof *all);
    if (all == NULL)
        return NULL;
    all[0] = mark;
    memcpy(all + 1, environ, count * sizeof *all);
    return all;
}

static int
run(struct errand *errand, const char *const *argv, const char *input, struct mf_error *error)
{
    struct launcher *launcher = errand->launcher;
    char *mark = mf_format("MAYFLY_LAUNCH=%s", launcher->run_id);
    char **envp = mark == NULL ? NULL : make_environment(mark);
    if (envp == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: the environment of a command");
    else
        errand->child = child_start_in(launcher->loop,
                                       launcher->commands.folder,
                                       argv,
                                       envp,
                                       mf_bytes_text(input),
                                       on_over,
                                       errand,
                                       error);
    mf_free(envp);
    mf_free(mark);
    return errand->child == NULL ? -1 : 0;
}

static struct errand *free_errand(struct launcher *launcher)
{
    for (unsigned i = 0; i < ERRANDS_MAX; i++)
        if (launcher->errands[i].doing == NOTHING)
            return &launcher->errands[i];
    return NULL;
}

/* For a later master of the run, should this one be killed before the id is known. */
static void note_pid(const struct launcher *launcher, const struct errand *errand)
{
    char text[32];
    snprintf(text, sizeof text, "? %d", (int)child_pid(errand->child));
    command_note(launcher, errand->task, text);
}

int errand_begin(struct launcher *launcher,
                 enum doing doing,
                 struct task *task,
                 const char *input,
                 struct mf_error *error)
{
    static const char *const keys[] = {[START] = "start", [LIST] = "list", [STOP] = "stop"};
    const struct launch_commands *c = &launcher->commands;
    const struct launch_words *words = doing == START  ? &c->start
                                       : doing == LIST ? &c->list
                                                       : &c->stop;
    struct errand *errand = free_errand(launcher);
    char path[PATH_MAX];
    if (errand == NULL)
        return mf_raise(error, MF_ESETUP, "too many commands at a time");
    if (errand_program(launcher, words, keys[doing], path, sizeof path, error) < 0)
        return -1;
    char **argv = mf_calloc(words->count + 1, sizeof *argv);
    int rc = argv == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: the words of a command")
                          : fill(launcher, words, task, argv, error);
    *errand = (struct errand){
        .launcher = launcher, .doing = doing, .task = task, .began_us = mf_monotonic_us()};
    if (rc == 0) {
        argv[0] = path;
        rc = run(errand, (const char *const *)argv, input, error);
    }
    for (size_t i = 1; argv != NULL && i < words->count; i++)
        mf_free(argv[i]);
    mf_free(argv);
    if (rc < 0) {
        errand->doing = NOTHING;
        return -1;
    }
    launcher->running++;
    launcher->starting += doing == START;
    launcher->is_listing = launcher->is_listing || doing == LIST;
    if (doing == START)
        note_pid(launcher, errand);
    return 0;
}

/* Its next deadline. */
static int64_t look_at(struct errand *errand, int64_t now_us)
{
    static const struct child_result late = {.code = -1, .output = "", .problem = ""};
    int64_t timeout_us = errand->launcher->commands.timeout_us;
    if (child_has_exited(errand->child)) {
        if (errand->exited_us == 0)
            errand->exited_us = now_us;
        if (now_us - errand->exited_us < REST_US)
            return errand->exited_us + REST_US;
        child_settle(errand->child); /* on_over */
        return now_us;
    }
    if (now_us - errand->began_us < timeout_us) /* its exit wakes the loop */
        return errand->began_us + timeout_us;
    child_abandon_group(errand->child);
    finish(errand, &late);
    return now_us;
}

int64_t errands_tick(struct launcher *launcher, int64_t now_us)
{
    int64_t next_us = MF_NEVER;
    for (unsigned i = 0; i < ERRANDS_MAX; i++) {
        if (launcher->errands[i].doing == NOTHING)
            continue;
        int64_t at_us = look_at(&launcher->errands[i], now_us);
        next_us = at_us < next_us ? at_us : next_us;
    }
    return next_us;
}
