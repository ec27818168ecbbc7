/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is due: see watcher_internal.h.
 *
 * A round lets the sources bring what they have, asks of each trigger of this watcher whether it
 * fires (the very questions that a tick asks of all others), and hands over what has fired. Each
 * question is a transaction of its own, so that whoever pushes meanwhile waits for none of the
 * others.
 *
 * The age of a message that is not there yet can come before the next sweep. Then the first change
 * of queues.db is waited for (stir.h), once a second at most: armed first and asked again after
 * that, so that no push falls in between. That is why the file stays open: opening and closing it
 * are changes, asking in vain is none.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/notify_sweep.h"
#include "master/queue/firing.h"
#include "master/spawn.h"
#include "master/sweep.h"
#include "master/trigger/due.h"
#include "master/trigger/evaluate.h"
#include "master/trigger/handover.h"
#include "master/trigger/row.h"
#include "master/watcher_internal.h"

/* --- The file. --- */

void watcher_close_queues(struct watcher *watcher)
{
    queues_close(watcher->queues);
    watcher->queues = NULL;
}

/* Somebody has removed or replaced the file that is open. */
static bool is_another(const struct watcher *watcher)
{
    struct stat facts;
    return stat(watcher->queues->path, &facts) < 0 || facts.st_dev != watcher->queues_device ||
           facts.st_ino != watcher->queues_inode;
}

struct queues *watcher_queues(struct watcher *watcher, struct mf_error *error)
{
    struct stat facts;
    if (watcher->queues != NULL && is_another(watcher))
        watcher_close_queues(watcher);
    if (watcher->queues != NULL)
        return watcher->queues;
    char *path = queues_path(error);
    if (path != NULL)
        queues_open(path, true, &watcher->queues, error);
    if (watcher->queues != NULL && stat(path, &facts) == 0) {
        watcher->queues_device = facts.st_dev;
        watcher->queues_inode = facts.st_ino;
    }
    mf_free(path);
    return watcher->queues;
}

/* --- Rows. --- */

/* Whether this watcher may have the trigger: -1 says whose it is. */
static int claim_row(const struct watcher *watcher,
                     const struct trigger_row *row,
                     const struct job *job,
                     struct mf_error *error)
{
    long pid;
    if (row->watcher == NULL)
        return mf_raise(
            error,
            MF_EUSAGE,
            "%s: job %s was installed by hand from %s; 'mayfly trigger remove %s' leaves "
            "it to this watcher",
            job->path,
            job->name,
            row->job_path,
            job->name);
    if (strcmp(row->watcher, watcher->folder) != 0 &&
        place_is_live(watcher->state, row->watcher, &pid))
        return mf_raise(error,
                        MF_EUSAGE,
                        "%s: job %s is served by the watcher of %s already (process %ld), from %s",
                        job->path,
                        job->name,
                        row->watcher,
                        pid,
                        row->job_path);
    return 0;
}

/* Nothing has changed: a watcher that begins anew, or is asked to read all, forgets nothing. */
static bool is_same(const struct watcher *watcher,
                    const struct trigger_row *row,
                    const struct trigger_place *place)
{
    char *sum = trigger_file_sum(place->job_path, NULL);
    bool same = sum != NULL && row->watcher != NULL && strcmp(row->watcher, watcher->folder) == 0 &&
                strcmp(row->job_path, place->job_path) == 0 && strcmp(row->job_sha256, sum) == 0 &&
                strcmp(row->environment, place->environment) == 0;
    mf_free(sum);
    return same;
}

static int register_within(struct watcher *watcher,
                           struct queues *queues,
                           const struct job *job,
                           const struct trigger_place *place,
                           struct mf_error *error)
{
    struct trigger_row row;
    bool same = false;
    int rc = trigger_row_find(queues, job->name, &row, error);
    if (rc > 0) {
        rc = claim_row(watcher, &row, job, error);
        same = is_same(watcher, &row, place);
        trigger_row_fini(&row);
    }
    if (rc < 0 || same)
        return rc;
    return trigger_row_install(queues, job, place, mf_wall_us(), error);
}

int watcher_register(struct watcher *watcher,
                     const struct job *job,
                     const char *job_path,
                     struct mf_error *error)
{
    struct trigger_place place = {
        .job_path = job_path, .watcher = watcher->folder, .may_move = true};
    struct queues *queues = watcher_queues(watcher, error);
    char *environment = queues == NULL ? NULL : trigger_environment(error);
    if (environment == NULL)
        return -1;
    place.environment = environment;
    int rc = queues_begin(queues, error);
    if (rc == 0) {
        rc = register_within(watcher, queues, job, &place, error);
        if (rc == 0)
            rc = queues_commit(queues, error);
        else
            queues_rollback(queues);
    }
    mf_free(environment);
    watcher->is_due = true;
    return rc;
}

/* Whether a job file of the folder stands for the row, be it a broken one. */
static bool is_wanted(const struct watcher *watcher, const struct trigger_row *row)
{
    for (size_t i = 0; i < watcher->job_count; i++) {
        const struct served *served = &watcher->jobs[i];
        if (served->name != NULL && strcmp(served->name, row->name) == 0)
            return true;
        if (served->trouble != NULL && strcmp(served->path, row->job_path) == 0)
            return true;
    }
    return false;
}

struct removal {
    struct watcher *watcher;
    const char *name; /* NULL = all that no file stands for */
};

static int
remove_row(void *arg, struct queues *queues, struct trigger_row *row, struct mf_error *error)
{
    const struct removal *removal = arg;
    uint64_t events = 0;
    if (row->watcher == NULL || strcmp(row->watcher, removal->watcher->folder) != 0)
        return 0;
    if (removal->name == NULL ? is_wanted(removal->watcher, row)
                              : strcmp(removal->name, row->name) != 0)
        return 0;
    if (trigger_row_remove(queues, row->name, &events, error) < 0)
        return -1;
    mf_log(MF_INFO,
           "job %s: its trigger is removed, since no job file has it any more; messages stay where "
           "they are",
           row->name);
    if (events > 0)
        mf_log(MF_WARNING,
               "job %s: %llu ends of other jobs that it waited for are dropped",
               row->name,
               (unsigned long long)events);
    return 0;
}

static int remove_rows(struct removal *removal, struct mf_error *error)
{
    struct queues *queues = watcher_queues(removal->watcher, error);
    int rc = queues == NULL ? -1 : queues_begin(queues, error);
    if (rc == 0) {
        rc = trigger_row_each(queues, remove_row, removal, error);
        if (rc == 0)
            rc = queues_commit(queues, error);
        else
            queues_rollback(queues);
    }
    return rc;
}

int watcher_unregister(struct watcher *watcher, const char *name, struct mf_error *error)
{
    return remove_rows(&(struct removal){watcher, name}, error);
}

int watcher_unregister_others(struct watcher *watcher, struct mf_error *error)
{
    return remove_rows(&(struct removal){watcher, NULL}, error);
}

/* --- The round. --- */

struct round {
    struct watcher *watcher;
    int64_t now_us;
    bool
        has_to_stir; /* an age can come before the next sweep, of a message that is not there yet */
    struct trigger_fired fired;
};

/* Something will be due: what is past is the next sweep's. */
static void note_due(struct round *round, int64_t at_us)
{
    if (at_us > round->now_us && at_us < round->watcher->next_us)
        round->watcher->next_us = at_us;
}

/* When the age of its oldest message will be reached. */
static int note_age(struct round *round,
                    struct queues *queues,
                    const struct trigger_row *row,
                    struct mf_error *error)
{
    struct queue_info info;
    if (row->when_age_us == 0)
        return 0;
    if (queue_by_id(queues, row->queue, &info, error) < 0)
        return -1;
    if (info.oldest_us > 0)
        note_due(round, info.oldest_us + (int64_t)row->when_age_us);
    else if (row->when_age_us < WATCHER_SWEEP_US)
        round->has_to_stir = true;
    return 0;
}

static int ask_row(struct round *round,
                   struct queues *queues,
                   const struct trigger_row *row,
                   struct mf_error *error)
{
    int64_t next_us = MF_NEVER;
    if (row->kind == TRIGGER_CRON) {
        if (due_fire(queues, row, round->now_us, &round->fired, &next_us, error) < 0)
            return -1;
        /* There is more than one call makes of it: a bit later. */
        note_due(round, next_us <= round->now_us ? round->now_us + WATCHER_REST_US : next_us);
        return 0;
    }
    if (trigger_evaluate_queue(queues, row->queue, round->now_us, &round->fired, error) < 0)
        return -1;
    note_due(round, row->not_before_us);
    return note_age(round, queues, row, error);
}

/* The row as it is in this transaction. */
static int
ask_within(struct round *round, struct queues *queues, const char *name, struct mf_error *error)
{
    struct trigger_row row;
    int rc = trigger_row_find(queues, name, &row, error);
    if (rc > 0)
        rc = ask_row(round, queues, &row, error);
    trigger_row_fini(&row);
    return rc;
}

/* What was fired by a transaction that is rolled back never was. */
static void forget_fired(struct trigger_fired *fired, size_t from)
{
    while (fired->count > from)
        mf_free(fired->runs[--fired->count].trigger);
}

/* In the log when it is new; in the row, for `mayfly trigger list`, when that can be written. */
static void
note_trouble(struct queues *queues, const struct trigger_row *row, const struct mf_error *trouble)
{
    struct mf_error ignored;
    if (row->last_error == NULL || strcmp(row->last_error, trouble->text) != 0)
        mf_log(MF_WARNING, "job %s: %s", row->name, trouble->text);
    if (queues_begin(queues, &ignored) == 0 &&
        trigger_row_note(queues, row->name, trouble->text, &ignored) == 0)
        queues_commit(queues, &ignored);
    queues_rollback(queues);
}

static int ask(void *arg, struct queues *queues, struct trigger_row *row, struct mf_error *error)
{
    struct round *round = arg;
    size_t before = round->fired.count;
    if (row->watcher == NULL || strcmp(row->watcher, round->watcher->folder) != 0)
        return 0;
    if (queues_begin(queues, error) < 0)
        return -1;
    int rc = ask_within(round, queues, row->name, error);
    if (rc == 0 && queues_commit(queues, error) == 0)
        return 0;
    queues_rollback(queues);
    forget_fired(&round->fired, before);
    note_trouble(queues, row, error);
    return 0; /* the others have their turn */
}

static int ask_all(struct round *round, struct queues *queues, struct mf_error *error)
{
    round->now_us = mf_wall_us();
    round->watcher->next_us = MF_NEVER;
    round->has_to_stir = false;
    return trigger_row_each(queues, ask, round, error);
}

/* Armed now: ask again. */
static bool arm_stir(struct round *round)
{
    struct mf_error error;
    struct watcher *watcher = round->watcher;
    if (!round->has_to_stir || watcher->is_stir_armed)
        return false;
    if (mf_monotonic_us() < watcher->stir_us + WATCHER_REST_US) {
        note_due(round, mf_wall_us() + WATCHER_REST_US);
        return false;
    }
    watcher->is_stir_armed = stir_arm(watcher->stir_fd, watcher->state, &error) == 0;
    if (!watcher->is_stir_armed)
        mf_log(MF_WARNING, "%s", error.text);
    return watcher->is_stir_armed;
}

static int start_fired(const struct round *round, struct queues *queues, struct mf_error *error)
{
    const struct handover handover = {.program = round->watcher->program};
    for (size_t i = 0; i < round->fired.count; i++)
        mf_log(MF_INFO,
               "job %s fires: run %s",
               round->fired.runs[i].trigger,
               round->fired.runs[i].run_id);
    return trigger_hand_over(queues, &round->fired, &handover, NULL, error);
}

/* --- The sweep. --- */

struct release {
    struct queues *queues;
    const char *starter;
    struct mf_error *error;
};

static int release_one(void *arg, const struct firing *firing)
{
    const struct release *release = arg;
    if (strcmp(firing->starter, release->starter) != 0)
        return 0;
    return firing_release(
        release->queues, firing->run_id, release->starter, mf_wall_us(), release->error);
}

/*
 * Between two rounds this process starts nothing. A firing that says so was handed over when
 * queues.db could not be written to: without this, nobody would carry it on while the watcher
 * lives.
 */
static int release_own(struct queues *queues, struct mf_error *error)
{
    char *starter = firing_starter();
    if (starter == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a sweep");
    struct release release = {.queues = queues, .starter = starter, .error = error};
    int rc = queues_begin(queues, error);
    if (rc == 0)
        rc = firing_each_open(queues, release_one, &release, error);
    if (rc == 0)
        rc = queues_commit(queues, error);
    queues_rollback(queues);
    mf_free(starter);
    return rc;
}

static int
sweep_others(const struct watcher *watcher, struct queues *queues, struct mf_error *error)
{
    const struct handover handover = {.program = watcher->program};
    struct swept swept = {0};
    if (release_own(queues, error) < 0 || sweep_queues(queues, &handover, &swept, error) < 0)
        return -1;
    if (swept.started + swept.resumed + swept.settled + swept.given_up + swept.fired > 0)
        mf_log(
            MF_INFO,
            "sweep: of runs that somebody left behind %zu were started, %zu resumed, %zu settled, "
            "%zu given up; %zu new ones",
            swept.started,
            swept.resumed,
            swept.settled,
            swept.given_up,
            swept.fired);
    return 0;
}

/* Notifications that are left over: by a process of its own, since a subscriber may hang, and the
 * library for webhooks is larger than all of this. */
static void deliver(struct watcher *watcher)
{
    struct mf_error error;
    const char *argv[] = {watcher->program, "notify", "--due", NULL};
    if (watcher->deliverer > 0 || notify_wants_sweep(&error) <= 0)
        return;
    int rc = spawn_in_group(
        (char *const *)argv, environ, "/", STDERR_FILENO, STDERR_FILENO, &watcher->deliverer);
    if (rc != 0) {
        watcher->deliverer = 0;
        mf_log(MF_WARNING, "cannot start %s notify --due: %s", watcher->program, strerror(rc));
    }
}

static int sweep_all(struct watcher *watcher, struct queues *queues, struct mf_error *error)
{
    deliver(watcher);
    if (sweep_others(watcher, queues, error) < 0)
        return -1;
    return queues_forget(queues, mf_wall_us(), error);
}

static int ask_until_armed(struct round *round, struct queues *queues, struct mf_error *error)
{
    int rc = ask_all(round, queues, error);
    return rc == 0 && arm_stir(round) ? ask_all(round, queues, error) : rc;
}

static int make_round(struct round *round, bool sweep, struct mf_error *error)
{
    struct watcher *watcher = round->watcher;
    struct queues *queues = watcher_queues(watcher, error);
    struct mf_error later;
    if (queues == NULL)
        return -1;
    for (size_t i = 0; i < watcher->job_count; i++)
        watcher_source_poll(watcher->jobs[i].source, queues, sweep);
    int rc = sweep ? sweep_all(watcher, queues, error) : 0;
    if (ask_until_armed(round, queues, rc < 0 ? &later : error) < 0)
        rc = -1;
    /* What has fired has no other starter, whatever went wrong after that. */
    if (start_fired(round, queues, rc < 0 ? &later : error) < 0)
        rc = -1;
    return rc;
}

int watcher_round(struct watcher *watcher, bool sweep)
{
    struct mf_error error;
    struct round round = {.watcher = watcher};
    watcher->next_us = MF_NEVER;
    int rc = make_round(&round, sweep, &error);
    trigger_fired_fini(&round.fired);
    watcher_say_once(&watcher->round_trouble, rc < 0 ? error.text : NULL);
    if (rc < 0)
        watcher_close_queues(watcher);
    return rc;
}
