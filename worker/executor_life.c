/* SPDX-License-Identifier: Apache-2.0 */
/* Making and ending an executor: see executor.h. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "worker/executor_internal.h"
#include "worker/harvest.h"
#include "worker/journal.h"
#include "worker/place.h"

#define END_MARGIN_US 15000000 /* what a slot may take to end its tree, beyond kill_after */

static int make_folder(const struct executor *executor, const char *name, struct mf_error *error)
{
    char *path = mf_format("%s/%s", executor->folder, name);
    int rc = path == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: the executor") : 0;
    if (rc == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
        rc = mf_raise_errno(error, "cannot make the folder %s", path);
    mf_free(path);
    return rc;
}

static int start_slots(struct executor *executor, uint32_t count, struct mf_error *error)
{
    executor->slots = mf_calloc(count, sizeof *executor->slots);
    if (executor->slots == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: %u slots", count);
    for (uint32_t i = 0; i < count; i++) {
        executor->slots[i] =
            (struct slot_process){.executor = executor, .number = i + 1, .fd = -1, .segment = 1};
        executor->slot_count++;
        if (executor_start_slot(executor, &executor->slots[i], error) < 0)
            return -1;
    }
    return 0;
}

struct executor *executor_create(struct mf_loop *loop,
                                 const struct mf_task *task,
                                 const char *run_id,
                                 uint32_t worker,
                                 const char *folder,
                                 const char *binary,
                                 uint32_t slots,
                                 struct stage *stage,
                                 const struct executor_callbacks *callbacks,
                                 struct mf_error *error)
{
    struct executor *executor = mf_calloc(1, sizeof *executor);
    char *absolute = realpath(folder, NULL);
    if (absolute == NULL) {
        mf_raise_errno(error, "cannot use the worker's folder %s", folder);
        goto fail;
    }
    if (executor == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the executor");
        goto fail;
    }
    executor->loop = loop;
    executor->callbacks = *callbacks;
    executor->stage = stage;
    executor_watch_stage(executor);
    executor->kill_after_us = task->kill_after_us;
    executor->folder = mf_strdup(absolute);
    executor->binary = mf_strdup(binary);
    /* The sweep finds slots by it too. */
    executor->slot_env[0] = mf_format("MAYFLY_RUN=%s", run_id);
    executor->slot_env[1] = mf_format("MAYFLY_WORKER=%u", worker);
    if (executor->folder == NULL || executor->binary == NULL || executor->slot_env[0] == NULL ||
        executor->slot_env[1] == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the executor");
        goto fail;
    }
    if (journal_path() != NULL &&
        (executor->slot_env[2] = mf_format("MAYFLY_JOURNAL=%s", journal_path())) == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the executor");
        goto fail;
    }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) {
        mf_raise_errno(error, "cannot become the reaper of what slots may leave behind");
        goto fail;
    }
    if (attempts_init(&executor->attempts, error) < 0 ||
        make_folder(executor, "attempts", error) < 0 ||
        make_folder(executor, "streams", error) < 0 ||
        (executor->maker = request_maker_create(task,
                                                stage == NULL ? NULL : stage_job_folder(stage),
                                                run_id,
                                                worker,
                                                absolute,
                                                error)) == NULL ||
        start_slots(executor, slots, error) < 0)
        goto fail;
    free(absolute);
    return executor;
fail:
    free(absolute);
    executor_destroy(executor);
    return NULL;
}

/* Their control sockets have ended, so the slots end their trees and then themselves. */
static void await_slots(struct executor *executor)
{
    int64_t limit_us = mf_monotonic_us() + (int64_t)executor->kill_after_us + END_MARGIN_US;
    for (uint32_t i = 0; i < executor->slot_count; i++) {
        struct slot_process *slot = &executor->slots[i];
        while (slot->pid > 0 && mf_monotonic_us() < limit_us) {
            if (waitpid(slot->pid, NULL, WNOHANG) != 0)
                slot->pid = 0;
            else
                poll(NULL, 0, 1);
        }
        if (slot->pid > 0)
            slot_process_kill(slot, NULL, 0);
    }
    limit_us = mf_monotonic_us() + CLEAN_LIMIT_US;
    while (slots_kill_leftovers(executor->slots, executor->slot_count) > 0 &&
           mf_monotonic_us() < limit_us)
        poll(NULL, 0, 5);
}

static void release_each(void *arg, struct attempt *attempt)
{
    struct executor *executor = arg;
    if (executor->stage != NULL)
        stage_release(executor->stage, attempt);
    harvest_release(executor->folder, attempt);
}

static void remove_folder(const struct executor *executor, const char *name)
{
    char *path = executor->folder == NULL ? NULL : mf_format("%s/%s", executor->folder, name);
    struct mf_error error;
    if (path != NULL && place_remove(path, NULL, &error) < 0)
        mf_log(MF_WARNING, "%s", error.text);
    mf_free(path);
}

void executor_destroy(struct executor *executor)
{
    if (executor == NULL)
        return;
    for (uint32_t i = 0; i < executor->slot_count; i++) {
        struct slot_process *slot = &executor->slots[i];
        if (slot->fd < 0)
            continue;
        mf_loop_remove(executor->loop, slot->fd);
        close(slot->fd);
        slot->fd = -1;
    }
    if (executor->slots != NULL)
        await_slots(executor);
    if (executor->attempts.buckets != NULL)
        attempts_each(&executor->attempts, release_each, executor);
    attempts_fini(&executor->attempts);
    for (uint32_t i = 0; i < executor->slot_count; i++)
        slot_process_fini(&executor->slots[i]);
    mf_free(executor->slots);
    remove_folder(executor, "attempts");
    remove_folder(executor, "streams");
    request_maker_destroy(executor->maker);
    for (size_t i = 0; i < sizeof executor->slot_env / sizeof *executor->slot_env; i++)
        mf_free(executor->slot_env[i]);
    mf_free(executor->folder);
    mf_free(executor->binary);
    mf_free(executor);
}
