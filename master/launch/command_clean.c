/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cleaning behind a dead master: see command_clean.h. It is the sweep at the end of a run, by a
 * launcher that has taken over what was noted; nobody says goodbye, so that there is no grace.
 */
#include "master/launch/command_clean.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/loop.h"
#include "master/launch/command_internal.h"
#include "master/launch/shared_folder.h"

#define STEP_US 1000000 /* a tick at least so often */

struct cleaning {
    struct launcher *launcher;
    struct launch_host host;
    bool is_over, is_short;
    char left[900]; /* "" = nothing */
};

static void on_swept(void *arg, const struct sweep_report *report)
{
    struct cleaning *cleaning = arg;
    cleaning->is_over = true;
    snprintf(cleaning->left, sizeof cleaning->left, "%s", report->left == NULL ? "" : report->left);
}

static void on_died(void *arg, uint32_t worker)
{
    (void)arg;
    (void)worker;
}

static void on_launched(void *arg, const struct launch_report *report)
{
    (void)arg;
    (void)report;
}

/* The first note of each, of which the last one counts. */
static void take_over(void *arg, uint32_t worker, const char *text)
{
    struct cleaning *cleaning = arg;
    struct mf_error error;
    const struct launch_known known = {.worker = worker, .host = &cleaning->host};
    if (strcmp(text, "?") == 0 && launcher_command.adopt(cleaning->launcher, &known, &error) < 0)
        cleaning->is_short = true;
}

static int sweep(struct cleaning *cleaning,
                 const struct launch_config *config,
                 struct mf_loop *loop,
                 struct mf_error *error)
{
    const struct launcher_callbacks callbacks = {
        .launched = on_launched, .died = on_died, .swept = on_swept, .arg = cleaning};
    cleaning->launcher = launcher_command.create(loop, config, &callbacks, error);
    if (cleaning->launcher == NULL)
        return -1;
    shared_folder_read_notes(config->shared_folder, take_over, cleaning);
    int rc = cleaning->is_short
                 ? mf_raise(error, MF_ENOMEM, "out of memory: the workers of a run")
                 : launcher_command.sweep(cleaning->launcher, &cleaning->host, error);
    cleaning->launcher->sweep_us -= COMMAND_GRACE_US;
    while (rc == 0 && !cleaning->is_over) {
        int64_t now_us = mf_monotonic_us();
        int64_t next_us = launcher_command.tick(cleaning->launcher, now_us);
        if (!cleaning->is_over)
            rc = mf_loop_step(loop, next_us < now_us + STEP_US ? next_us : now_us + STEP_US, error);
    }
    launcher_command.destroy(cleaning->launcher);
    return rc;
}

static void add_noted(void *arg, uint32_t worker, const char *text)
{
    char *ids = arg;
    size_t n = strlen(ids), size = 300;
    (void)worker;
    if (text[0] != '?' && strcmp(text, "-") != 0 && n + 1 < size)
        snprintf(ids + n, size - n, "%s%s", n == 0 ? "" : ", ", text);
}

/* The commands cannot even be tried. Without its input nothing can begin any more. */
static void give_up(struct cleaning *cleaning, const char *folder, const char *reason)
{
    struct mf_error error;
    uint32_t removed;
    char ids[300] = "";
    shared_folder_read_notes(folder, add_noted, ids);
    bool is_removed = shared_folder_remove(folder, &removed, &error) == 0;
    snprintf(cleaning->left,
             sizeof cleaning->left,
             "%.280s%s%s%s%.280s",
             reason,
             ids[0] == '\0' ? "" : "; start has printed: ",
             ids,
             is_removed ? "" : "; ",
             is_removed ? "" : error.text);
}

int command_launcher_clean(const struct launch_config *config, struct mf_error *error)
{
    struct cleaning cleaning = {.host = {.name = "command", .host = "command"}};
    const char *folder = config->shared_folder;
    struct mf_error reason;
    uint32_t removed;
    if (access(folder, F_OK) < 0 && errno == ENOENT) /* it has ended, or not begun */
        return 0;
    if (!shared_folder_has_notes(folder)) /* nothing was started */
        return shared_folder_remove(folder, &removed, error);
    struct mf_loop *loop = mf_loop_create(&reason);
    if (loop == NULL || sweep(&cleaning, config, loop, &reason) < 0)
        give_up(&cleaning, folder, reason.text);
    mf_loop_destroy(loop);
    if (cleaning.left[0] == '\0')
        return 0;
    return mf_raise(error,
                    MF_ESETUP,
                    "workers of run %s may be left (%.700s): end them by hand",
                    config->run_id,
                    cleaning.left);
}
