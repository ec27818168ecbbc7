/* SPDX-License-Identifier: Apache-2.0 */
/* Open firings are carried on: see sweep.h. */
#include "master/sweep.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "master/queue/firing.h"
#include "master/record/run_db.h"
#include "master/run_folder.h"
#include "master/settle/settle.h"
#include "master/trigger/evaluate.h"
#include "master/trigger/row.h"

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory: a firing");
}

struct recovery {
    struct queues *queues;
    char *starter; /* this process */
    struct trigger_fired fired;
    struct swept report;
    struct mf_error *error;
    bool is_broken; /* queues.db cannot be used: `error` says why */
};

/* What `firing` borrows does not last: a copy of what is needed. */
struct open_firing {
    char run_id[RUN_ID_SIZE];
    char *trigger, *starter;
    char *folder;
};

static void open_firing_fini(struct open_firing *open)
{
    mf_free(open->trigger);
    mf_free(open->starter);
    mf_free(open->folder);
}

static int
copy_firing(const struct firing *firing, struct open_firing *open, struct mf_error *error)
{
    *open = (struct open_firing){0};
    snprintf(open->run_id, sizeof open->run_id, "%s", firing->run_id);
    open->trigger = firing->trigger == NULL ? NULL : mf_strdup(firing->trigger);
    open->starter = mf_strdup(firing->starter);
    open->folder = run_folder_path(firing->run_id, error);
    if (open->folder == NULL)
        return -1;
    if (open->starter == NULL || (firing->trigger != NULL && open->trigger == NULL))
        return raise_memory(error);
    return 0;
}

/* Nobody else carries it on from now on: 1, or 0 when somebody does already. */
static int take(struct recovery *recovery, const struct open_firing *open, struct mf_error *error)
{
    struct queues *queues = recovery->queues;
    if (queues_begin(queues, error) < 0)
        return -1;
    int rc = firing_take(queues, open->run_id, open->starter, recovery->starter, error);
    if (rc > 0 && queues_commit(queues, error) < 0)
        rc = -1;
    queues_rollback(queues);
    if (rc > 0)
        MF_CRASH(TRIGGER_BEFORE_SWEEP);
    return rc;
}

static int carry_on(struct recovery *recovery,
                    const struct open_firing *open,
                    bool is_begun,
                    struct mf_error *error)
{
    int rc = take(recovery, open, error);
    if (rc <= 0)
        return rc;
    if (is_begun)
        recovery->report.resumed++;
    else
        recovery->report.started++;
    return trigger_fired_add(&recovery->fired, open->run_id, open->trigger, is_begun, error);
}

/* A firing that never came about: unless its folder has come in the meantime (whoever makes one
 * looks at the row after that), its messages go back. */
static int give_up(struct recovery *recovery,
                   const struct open_firing *open,
                   const char *why,
                   struct mf_error *error)
{
    struct queues *queues = recovery->queues;
    struct settle_ending ending;
    struct settled settled;
    settle_give_up(open->run_id, why, &ending);
    struct trigger_fired made = {0};
    int rc = queues_begin(queues, error);
    if (rc == 0 && access(open->folder, F_OK) != 0)
        rc = settle_within(queues, &ending, mf_wall_us(), &settled, &made, error);
    if (rc > 0 && queues_commit(queues, error) < 0)
        rc = -1;
    queues_rollback(queues);
    settle_fini(&ending);
    if (rc > 0 && trigger_fired_move(&recovery->fired, &made, error) < 0)
        rc = -1;
    trigger_fired_fini(&made);
    recovery->report.given_up += rc > 0;
    return rc;
}

/* There is no folder yet. */
static int start(struct recovery *recovery, const struct open_firing *open, struct mf_error *error)
{
    struct trigger_row row = {0};
    char *why = NULL;
    int rc =
        open->trigger == NULL ? 0 : trigger_row_find(recovery->queues, open->trigger, &row, error);
    if (rc == 0)
        rc = give_up(recovery,
                     open,
                     open->trigger == NULL ? "it was started by hand, and its folder is gone"
                                           : "its trigger was removed before it began",
                     error);
    else if (rc > 0 && !trigger_row_is_current(&row, &why))
        rc = give_up(recovery, open, why == NULL ? "its job file has changed" : why, error);
    else if (rc > 0)
        rc = carry_on(recovery, open, false, error);
    mf_free(why);
    trigger_row_fini(&row);
    return rc;
}

static bool has_table(const struct open_firing *open)
{
    char *path = run_path(open->folder, "run.db");
    bool is_there = path != NULL && run_db_is_made(path, NULL) != 0;
    mf_free(path);
    return is_there;
}

/* Whether somebody has its master's lock, or is about to start one. */
static bool is_tended(const struct open_firing *open)
{
    return firing_starter_lives(open->starter) || run_folder_is_live(open->folder);
}

/* There is a folder, and nobody works in it. */
static int go_on(struct recovery *recovery, const struct open_firing *open, struct mf_error *error)
{
    struct settled settled;
    struct trigger_fired made;
    int rc = settle_run(recovery->queues, open->folder, mf_wall_us(), &settled, &made, error);
    recovery->report.settled += rc > 0;
    if (rc > 0 && trigger_fired_move(&recovery->fired, &made, error) < 0)
        rc = -1;
    trigger_fired_fini(&made);
    /* Between looking at the lock and reading the table its master may have come and gone. */
    if (rc != 0 || open->trigger == NULL || is_tended(open))
        return rc;
    return carry_on(recovery, open, has_table(open), error);
}

static int recover_firing(void *arg, const struct firing *firing)
{
    struct recovery *recovery = arg;
    struct open_firing open;
    struct mf_error error = {0};
    bool rests = firing_rests(firing->not_before_us, mf_wall_us());
    int rc = copy_firing(firing, &open, &error);
    if (rc == 0 && !is_tended(&open) && !rests)
        rc = access(open.folder, F_OK) == 0 ? go_on(recovery, &open, &error)
                                            : start(recovery, &open, &error);
    if (rc < 0) {
        mf_log(MF_WARNING, "run %s is not carried on: %s", open.run_id, error.text);
        if (open.trigger != NULL &&
            trigger_row_note(recovery->queues, open.trigger, error.text, recovery->error) < 0)
            recovery->is_broken = true;
    }
    open_firing_fini(&open);
    return recovery->is_broken;
}

static int evaluate_all(struct recovery *recovery, struct mf_error *error)
{
    struct trigger_fired made = {0};
    int rc = queues_begin(recovery->queues, error);
    if (rc == 0)
        rc = trigger_evaluate_all(recovery->queues, mf_wall_us(), &made, error);
    if (rc == 0)
        rc = queues_commit(recovery->queues, error);
    queues_rollback(recovery->queues);
    if (rc == 0)
        rc = trigger_fired_move(&recovery->fired, &made, error);
    trigger_fired_fini(&made);
    return rc;
}

int sweep_queues(struct queues *queues,
                 const struct handover *handover,
                 struct swept *report,
                 struct mf_error *error)
{
    struct recovery recovery = {.queues = queues, .starter = firing_starter(), .error = error};
    int rc = recovery.starter == NULL ? raise_memory(error) : 0;
    if (rc == 0)
        rc = firing_each_open(queues, recover_firing, &recovery, error);
    if (recovery.is_broken)
        rc = -1;
    if (rc == 0)
        rc = evaluate_all(&recovery, error);
    /* What was taken or fired has no other starter, whatever went wrong after that. */
    size_t carried = recovery.report.started + recovery.report.resumed;
    recovery.report.fired = recovery.fired.count - carried;
    if (trigger_hand_over(queues, &recovery.fired, handover, &recovery.report.failed, error) < 0)
        rc = -1;
    trigger_fired_fini(&recovery.fired);
    mf_free(recovery.starter);
    if (report != NULL)
        *report = recovery.report;
    return rc;
}
