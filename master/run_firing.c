/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run has to do with queues.db: it tells how long it lives, and settles when it is over
 * (settle.h). All that goes wrong here is logged and harms no run: the firing stays open then, and
 * the next sweep makes up for it.
 *
 * The loop never waits for others who use the file: a lease that cannot be renewed at once is
 * renewed a second later.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "master/claim.h"
#include "master/run_folder.h"
#include "master/run_internal.h"
#include "master/run_result.h"
#include "master/settle/settle.h"
#include "master/sweep.h"
#include "master/trigger/after.h"
#include "master/trigger/handover.h"

#define LEASE_US 60000000
#define AGAIN_US 1000000

static bool has_note(const struct run *run)
{
    return run->firing.note.cause != NULL;
}

/* Opens queues.db, if it is there, for as long as `use` works with it; what that returns, 0, or -1.
 */
static int with_queues(struct run *run,
                       int (*use)(struct run *run, struct queues *queues, struct mf_error *error),
                       struct mf_error *error)
{
    struct queues *queues = NULL;
    char *path = queues_path(error);
    int rc = path == NULL ? -1 : queues_open(path, false, &queues, error);
    if (rc > 0)
        rc = use(run, queues, error);
    queues_close(queues);
    mf_free(path);
    return rc;
}

/* A firing for a run whose end others wait for, if it has none. */
static int begin(struct run *run, struct queues *queues, struct mf_error *error)
{
    if (queues_begin(queues, error) < 0)
        return -1;
    int rc = after_begin(queues, run->run_id, run->job->name, mf_wall_us(), error);
    if (rc >= 0 && queues_commit(queues, error) < 0)
        return -1;
    queues_rollback(queues);
    run->firing.is_open = rc > 0 || has_note(run);
    return rc;
}

/* The one connection that is kept: it waits for nobody. */
static int open_lease(struct run *run, struct mf_error *error)
{
    char *path = queues_path(error);
    int rc = path == NULL ? -1 : queues_open(path, false, &run->firing.queues, error);
    if (rc > 0)
        sqlite3_busy_timeout(run->firing.queues->db, 0);
    mf_free(path);
    return rc < 0 ? -1 : 0;
}

int run_firing_open(struct run *run, struct mf_error *error)
{
    struct mf_error why;
    char text[400];
    run->firing.renew_us = MF_NEVER;
    if (firing_note_read(run->folder, &run->firing.note, error) < 0)
        return -1;
    if (has_note(run))
        mf_log(MF_INFO, "%s", run_firing_text(run, text, sizeof text));
    int rc = with_queues(run, begin, &why);
    if (rc >= 0 && run->firing.is_open)
        rc = open_lease(run, &why);
    if (rc < 0)
        mf_log(MF_WARNING, "the run cannot say that it lives: %s", why.text);
    if (has_note(run) && rc == 0 && run->firing.queues == NULL)
        mf_log(MF_WARNING, "queues.db is gone: nothing will become of the run's messages");
    run->firing.is_open |= has_note(run);
    run->firing.renew_us = run->firing.queues == NULL ? MF_NEVER : mf_monotonic_us();
    return 0;
}

void run_firing_close(struct run *run)
{
    queues_close(run->firing.queues);
    run->firing.queues = NULL;
    firing_note_fini(&run->firing.note);
}

int64_t run_firing_step(struct run *run, int64_t now_us)
{
    struct mf_error error;
    struct run_firing *firing = &run->firing;
    if (firing->queues == NULL || now_us < firing->renew_us)
        return firing->queues == NULL ? MF_NEVER : firing->renew_us;
    int rc = firing_renew(firing->queues, run->run_id, mf_wall_us() + LEASE_US, &error);
    if (rc < 0 && !firing->is_late)
        mf_log(MF_WARNING, "the run cannot say that it lives: %s", error.text);
    firing->is_late = rc < 0;
    firing->renew_us = now_us + (rc < 0 ? AGAIN_US : LEASE_US / 3);
    return firing->renew_us;
}

json_t *run_firing_json(const struct run *run)
{
    return has_note(run) ? firing_note_json(&run->firing.note) : json_null();
}

const char *run_firing_text(const struct run *run, char *out, size_t size)
{
    json_t *note = run_firing_json(run);
    out[0] = '\0';
    if (has_note(run))
        firing_note_text(note, out, size);
    json_decref(note);
    return out;
}

/* --- What a chained run finds below $MAYFLY_PREPARED. --- */

/* The other run's result, as its own name for the same file, or copied to another file system. */
static int take_result(const char *from, const char *to, struct mf_error *error)
{
    if (link(from, to) == 0)
        return 0;
    if (errno != EXDEV && errno != EPERM && errno != EMLINK)
        return mf_raise(error,
                        MF_EINPUT,
                        "the result that this run was started after, %s, cannot be had: %s",
                        from,
                        strerror(errno));
    return run_result_copy_file(from, to, error);
}

static int
write_inputs(const char *folder, const char *event, const char *result, struct mf_error *error)
{
    char *event_path = mf_format("%s/event.json", folder);
    char *result_path = mf_format("%s/result", folder);
    int rc = event_path == NULL || result_path == NULL
                 ? mf_raise(error, MF_ENOMEM, "out of memory: a path")
                 : write_file(event_path, event, strlen(event), false, error);
    if (rc == 0 && result != NULL)
        rc = take_result(result, result_path, error);
    mf_free(event_path);
    mf_free(result_path);
    return rc;
}

int run_firing_inputs(struct run *run, const char *prepared, struct mf_error *error)
{
    const char *event = run->firing.note.event;
    if (event == NULL)
        return 0;
    char *folder = mf_format("%s/after", prepared);
    json_t *object = json_loads(event, 0, NULL);
    int rc = folder == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path") : 0;
    if (rc == 0 && ((mkdir(prepared, 0700) < 0 && errno != EEXIST) ||
                    (mkdir(folder, 0700) < 0 && errno != EEXIST)))
        rc = mf_raise_errno(error, "cannot make the folder %s", folder);
    if (rc == 0)
        rc = write_inputs(
            folder, event, json_string_value(json_object_get(object, "result")), error);
    json_decref(object);
    mf_free(folder);
    return rc;
}

/* --- The end. --- */

static void say_settled(struct run *run)
{
    const struct settled *settled = &run->firing.settled;
    const char *queue = run->firing.note.queue;
    run->firing.is_settled = true;
    if (queue == NULL || settled->gone + settled->failed + settled->back == 0)
        return;
    mf_log(MF_INFO,
           "messages of queue %s: %" PRIu64 " done, %" PRIu64 " failed, %" PRIu64 " given back",
           queue,
           settled->gone,
           settled->failed,
           settled->back);
}

static int settle(struct run *run, struct queues *queues, struct mf_error *error)
{
    return settle_run(
        queues, run->folder, mf_wall_us(), &run->firing.settled, &run->firing.fired, error);
}

void run_firing_settle(struct run *run)
{
    struct mf_error error;
    if (!run->firing.is_open)
        return;
    MF_CRASH(FIRING_BEFORE_SETTLE);
    int rc = with_queues(run, settle, &error);
    if (rc > 0)
        say_settled(run);
    if (rc >= 0)
        return;
    mf_log(MF_ERROR, "the run is not settled yet: %s", error.text);
    progress_say(run->progress,
                 "the run's messages and triggers are not settled yet (mayfly trigger tick does "
                 "it): %s",
                 error.text);
}

void run_firing_give_up(struct run *run, const struct mf_error *error)
{
    if (run->firing.is_open)
        claim_give_up(run->run_id, error->text);
}

/* What fires because of this run, and what others have left. */
static int carry_on(struct run *run, struct queues *queues, struct mf_error *error)
{
    int rc = trigger_hand_over(queues, &run->firing.fired, NULL, NULL, error);
    return sweep_queues(queues, NULL, NULL, error) < 0 ? -1 : rc;
}

void run_firing_finish(struct run *run)
{
    struct mf_error error;
    if (run->firing.is_settled && with_queues(run, carry_on, &error) < 0)
        fprintf(
            stderr, "mayfly: what the run's end starts waits for the next tick: %s\n", error.text);
    trigger_fired_fini(&run->firing.fired);
}
