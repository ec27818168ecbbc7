/* SPDX-License-Identifier: Apache-2.0 */
/* The sweep of notifications: see notify_sweep.h. */
#include "master/notify_sweep.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/commands/items.h"
#include "master/commands/overview.h"
#include "master/notify/notify.h"
#include "master/notify/outbox.h"
#include "master/record/run_db.h"
#include "master/run_folder.h"

#define AT_ONCE 8

struct sweep {
    char **run_ids;
    size_t count;
    size_t next; /* atomic */
    int64_t until_us;
    uint64_t left; /* atomic */
};

/* 1 and the job, 0 when nothing waits. */
static int read_run(const char *folder, struct job **job, uint64_t *pending, struct mf_error *error)
{
    struct outbox_counts counts;
    char *path = run_path(folder, "run.db");
    sqlite3 *db = path == NULL ? NULL : run_db_open(path, error);
    int rc = db == NULL ? -1 : outbox_count(db, &counts, error);
    if (path == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    if (rc == 0) {
        *pending = counts.pending;
        if (job != NULL && counts.pending > 0) {
            *job = items_job(folder, db, error);
            rc = *job == NULL ? -1 : 1;
        }
    }
    run_db_close(db);
    mf_free(path);
    return rc;
}

/* When the run has ended and nothing waits. A master that goes on with it registers it again, under
 * its lock. */
static int
forget_run(const char *folder, const char *run_id, uint64_t pending, struct mf_error *error)
{
    struct overview overview;
    if (pending > 0 || run_folder_is_live(folder) ||
        overview_read(folder, run_id, &overview, error) < 0 || !overview.is_ended)
        return 0;
    int lock_fd = run_folder_lock(folder, NULL);
    if (lock_fd < 0)
        return 0;
    int rc = notify_unregister(run_id, error);
    close(lock_fd);
    return rc;
}

int notify_deliver_run(const char *folder,
                       const char *run_id,
                       int64_t most_us,
                       int stop_fd,
                       uint64_t *pending,
                       struct mf_error *error)
{
    struct job *job = NULL;
    int rc = read_run(folder, &job, pending, error);
    if (rc > 0) {
        struct notify_session *session = notify_session_open(job, folder, run_id, error);
        rc = session == NULL ? -1 : 0;
        notify_session_end(session, most_us, stop_fd);
        if (rc == 0)
            rc = read_run(folder, NULL, pending, error);
    }
    job_destroy(job);
    return rc < 0 ? -1 : forget_run(folder, run_id, *pending, error);
}

/* Whether something of the run waits yet. */
static bool sweep_run(const struct sweep *sweep, const char *run_id, struct mf_error *error)
{
    uint64_t pending = 0;
    int64_t left_us = sweep->until_us - mf_monotonic_us();
    char *folder = run_folder_path(run_id, error);
    int rc = folder == NULL ? -1 : 0;
    if (rc == 0 && access(folder, F_OK) < 0) {
        rc = notify_unregister(run_id, error); /* it was cleaned away */
    } else if (rc == 0 && run_folder_is_live(folder)) {
        pending = 1; /* its master sees to it */
    } else if (rc == 0) {
        pending = 1;
        if (left_us > 0)
            rc = notify_deliver_run(folder, run_id, left_us, -1, &pending, error);
    }
    mf_free(folder);
    if (rc < 0)
        mf_log(MF_WARNING, "the notifications of run %s: %s", run_id, error->text);
    return pending > 0;
}

static void *sweep_main(void *arg)
{
    struct sweep *sweep = arg;
    struct mf_error error;
    for (size_t i; (i = __atomic_fetch_add(&sweep->next, 1, __ATOMIC_RELAXED)) < sweep->count;)
        if (sweep_run(sweep, sweep->run_ids[i], &error))
            __atomic_add_fetch(&sweep->left, 1, __ATOMIC_RELAXED);
    return NULL;
}

int notify_sweep(int64_t most_us, uint64_t *left, struct mf_error *error)
{
    struct sweep sweep = {.until_us = mf_monotonic_us() + most_us};
    pthread_t threads[AT_ONCE];
    size_t count = 0;
    *left = 0;
    sweep.run_ids = notify_registered(&sweep.count, error);
    if (sweep.run_ids == NULL)
        return -1;
    while (count + 1 < AT_ONCE && count + 1 < sweep.count &&
           pthread_create(&threads[count], NULL, sweep_main, &sweep) == 0)
        count++;
    sweep_main(&sweep);
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    *left = sweep.left;
    notify_registered_free(sweep.run_ids, sweep.count);
    return 0;
}

int notify_wants_sweep(struct mf_error *error)
{
    size_t count;
    char **run_ids = notify_registered(&count, error);
    if (run_ids == NULL)
        return -1;
    notify_registered_free(run_ids, count);
    return count > 0;
}
