/* SPDX-License-Identifier: Apache-2.0 */
/* See clean_workers.h. */
#include "master/commands/clean_workers.h"

#include <unistd.h>

#include "common/alloc.h"
#include "master/commands/items.h"
#include "master/launch/command_clean.h"
#include "master/record/run_db.h"
#include "master/run_folder.h"
#include "master/run_hosts.h"

static int clean(const struct job *job, const char *folder, const char *id, struct mf_error *error)
{
    struct launch_config config = launch_config_of(job, id, NULL);
    char *shared = shared_folder_of(job, id, folder);
    config.shared_folder = shared;
    int rc = shared == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path")
                            : command_launcher_clean(&config, error);
    mf_free(shared);
    return rc;
}

int clean_workers(const char *run_folder, const char *run_id, struct mf_error *error)
{
    struct mf_error reason;
    char *path = run_path(run_folder, "run.db");
    char *inside = run_path(run_folder, "workers");
    sqlite3 *db = path == NULL ? NULL : run_db_open(path, &reason);
    struct job *job = db == NULL ? NULL : items_job(run_folder, db, &reason);
    int rc = 0;
    if (path == NULL || inside == NULL)
        rc = mf_raise(error, MF_ENOMEM, "out of memory: a path");
    else if (job != NULL && job->launcher == LAUNCHER_COMMAND)
        rc = clean(job, run_folder, run_id, error);
    else if (job == NULL && access(inside, F_OK) == 0) /* which commands, it cannot tell */
        rc = mf_raise(error,
                      MF_ESETUP,
                      "workers of run %s may be left (%.300s): end them by hand",
                      run_id,
                      reason.text);
    job_destroy(job);
    run_db_close(db);
    mf_free(inside);
    mf_free(path);
    return rc;
}
