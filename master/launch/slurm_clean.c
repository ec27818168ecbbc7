/* SPDX-License-Identifier: Apache-2.0 */
/* Cleaning behind a dead master: see slurm_clean.h. Jobs first: what begins later finds no input,
 * and ends at once. */
#include "master/launch/slurm_clean.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/loop.h"
#include "common/spawn.h"
#include "master/launch/answer.h"
#include "master/launch/child.h"
#include "master/launch/shared_folder.h"
#include "master/launch/slurm_sbatch.h"

#define SCANCEL_US 60000000

struct cancelling {
    bool is_over;
    int code;
    char problem[300];
};

static void on_over(void *arg, const struct child_result *result)
{
    struct cancelling *cancelling = arg;
    cancelling->is_over = true;
    cancelling->code = result->code;
    answer_problem(result->problem, cancelling->problem, sizeof cancelling->problem);
}

static int
run_scancel(struct mf_loop *loop, const char *const *argv, struct cancelling *c, struct mf_error *e)
{
    char **environment = slurm_environment(e);
    struct child *child =
        environment == NULL
            ? NULL
            : child_start(loop, argv, environment, mf_bytes_text(""), on_over, c, e);
    int64_t until_us = mf_monotonic_us() + SCANCEL_US;
    int rc = child == NULL ? -1 : 0;
    while (rc == 0 && !c->is_over && mf_monotonic_us() < until_us)
        rc = mf_loop_step(loop, until_us, e);
    if (child != NULL && !c->is_over) {
        child_abandon(child);
        snprintf(c->problem, sizeof c->problem, "it did not answer");
    }
    mf_free(environment);
    return rc;
}

static int cancel_jobs(const char *run_id, struct mf_error *error)
{
    char scancel[PATH_MAX], name[100], user[40];
    struct cancelling cancelling = {.code = -1};
    struct mf_error reason;
    snprintf(name, sizeof name, "--name=mayfly-%s", run_id);
    snprintf(user, sizeof user, "--user=%u", (unsigned)geteuid());
    const char *argv[] = {scancel, name, user, NULL};
    if (!mf_program_find("scancel", scancel, sizeof scancel)) {
        snprintf(cancelling.problem, sizeof cancelling.problem, "there is no scancel in PATH");
    } else {
        struct mf_loop *loop = mf_loop_create(&reason);
        if (loop == NULL || run_scancel(loop, argv, &cancelling, &reason) < 0)
            snprintf(cancelling.problem, sizeof cancelling.problem, "%.299s", reason.text);
        mf_loop_destroy(loop);
    }
    if (cancelling.code == 0)
        return 0;
    return mf_raise(error,
                    MF_ESETUP,
                    "jobs of run %s may be left in Slurm (%s): end them by scancel %s",
                    run_id,
                    cancelling.problem,
                    name);
}

/* Only what has the name that a run gives it. */
static int remove_linked(const char *link, const char *run_id, struct mf_error *error)
{
    char target[PATH_MAX], name[100];
    uint32_t removed;
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < 0)
        return errno == EINVAL ? 0 : mf_raise_errno(error, "cannot read the link %s", link);
    target[length] = '\0';
    snprintf(name, sizeof name, "/mayfly-%s", run_id);
    size_t suffix = strlen(name);
    if ((size_t)length < suffix || strcmp(target + length - suffix, name) != 0)
        return 0;
    return shared_folder_remove(target, &removed, error);
}

int slurm_clean_link(const char *run_folder, const char *shared, struct mf_error *error)
{
    char *link = mf_format("%s/" SLURM_FOLDER, run_folder);
    int rc = link == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path") : 0;
    if (rc == 0 && strcmp(link, shared) != 0 && symlink(shared, link) < 0 && errno != EEXIST)
        rc = mf_raise_errno(error, "cannot make the link %s", link);
    mf_free(link);
    return rc;
}

void slurm_clean_unlink(const char *run_folder)
{
    char *link = mf_format("%s/" SLURM_FOLDER, run_folder);
    if (link != NULL && access(link, F_OK) < 0 && errno == ENOENT)
        unlink(link);
    mf_free(link);
}

int slurm_clean(const char *run_folder, const char *run_id, struct mf_error *error)
{
    struct mf_error problem;
    char *path = mf_format("%s/" SLURM_FOLDER, run_folder);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    if (access(path, F_OK) < 0) { /* it has ended, or was none of Slurm's */
        mf_free(path);
        return 0;
    }
    int rc = cancel_jobs(run_id, error);
    if (remove_linked(path, run_id, &problem) < 0 && rc == 0) {
        *error = problem;
        rc = -1;
    }
    mf_free(path);
    return rc;
}
