/* SPDX-License-Identifier: Apache-2.0 */
/* The run in the history of all runs: a convenience beside the run folders, which are the truth. */
#include "common/alloc.h"
#include "common/log.h"
#include "master/record/history.h"
#include "master/run_folder.h"
#include "master/run_internal.h"

enum change { BEGIN, END, REMOVE };

static int change(enum change what, const struct history_run *entry, struct mf_error *error)
{
    char *state = state_folder(error);
    if (state == NULL)
        return -1;
    char *path = run_path(state, "history.db");
    int rc;
    if (path == NULL)
        rc = mf_raise(error, MF_ENOMEM, "out of memory: a path");
    else if (what == BEGIN)
        rc = history_begin(path, entry, error);
    else if (what == END)
        rc = history_end(path, entry, error);
    else
        rc = history_remove(path, entry->run_id, error);
    mf_free(path);
    mf_free(state);
    return rc;
}

static void note(enum change what, const struct history_run *entry)
{
    struct mf_error error;
    if (change(what, entry, &error) < 0)
        mf_log(MF_WARNING, "the history was not written: %s", error.text);
}

void run_history_begin(struct run *run)
{
    note(BEGIN,
         &(struct history_run){.run_id = run->run_id,
                               .job_name = run->job->name,
                               .job_path = run->job->path,
                               .folder = run->folder,
                               .started_us = run->stats.started_wall_us});
}

void run_history_end(struct run *run, const struct record_run *row)
{
    if (row->state == NULL) /* not final: it can go on */
        return;
    note(END,
         &(struct history_run){.run_id = run->run_id,
                               .state = row->state,
                               .reason = row->reason == NULL ? "" : row->reason,
                               .ended_us = row->ended_us,
                               .has_total = row->has_total,
                               .total = row->total,
                               .done = row->done,
                               .failed = row->failed,
                               .dead = row->dead,
                               .cancelled = row->cancelled});
}

void run_history_remove(struct run *run)
{
    note(REMOVE, &(struct history_run){.run_id = run->run_id});
}
