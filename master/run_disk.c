/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A full disk, or one that is too slow.
 *
 * What could not be stored for want of room is kept where it is and tried again: rows in their
 * batches (held here, unacknowledged), chunks with the requests that brought them (scatter), pieces
 * of the plan in the plan, gathering from its start. Meanwhile the scheduler is paused: workers
 * finish what they have and keep their results. Whether there is room is found out by making a
 * file, since free blocks say nothing of quotas. After disk_wait the run stops, resumable.
 *
 * `reserve` in the run folder holds RESERVE bytes from the run's start on. It is given back when
 * the run ends, so that its end can be written whatever else fills the disk: most of it for run.db,
 * which takes what it can get when its log is moved into it, the rest for what comes after that.
 *
 * Memory is bounded all along: while rows on their way to the writer hold BATCHES_MOST bytes,
 * results of further polls are not taken; their workers keep them and send them again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/run_folder.h"
#include "master/run_internal.h"

#define RESERVE (2u << 20)
#define RESERVE_LAST (256u << 10) /* of it, for what is written after run.db */
#define RESERVE_LAST (256u << 10) /* of it, for what is written after run.db */
#define ROOM (1u << 20)           /* so much is to be free before anything is tried again */
#define BATCHES_MOST ((size_t)64 << 20)
#define PROBE_FIRST_US 200000
#define PROBE_MOST_US 5000000

/* Makes a file that holds blocks of the disk. */
static int make_filled(const char *path, off_t size, struct mf_error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int number = fd < 0 ? errno : posix_fallocate(fd, 0, size);
    if (fd >= 0)
        close(fd);
    if (number == 0)
        return 0;
    unlink(path);
    errno = number;
    return mf_raise_write(error, "cannot make %s of %u KiB", path, (unsigned)(size >> 10));
}

int run_disk_open(struct run *run, struct mf_error *error)
{
    char *path = run_path(run->folder, "reserve");
    run->disk.held_last = &run->disk.held;
    int rc = path == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path")
                          : make_filled(path, RESERVE, error);
    mf_free(path);
    return rc;
}

void run_disk_release(struct run *run)
{
    char *path = run_path(run->folder, "reserve");
    if (path != NULL && truncate(path, RESERVE_LAST) < 0 && errno != ENOENT)
        mf_log(MF_WARNING, "cannot give the reserve %s back: %s", path, strerror(errno));
    mf_free(path);
}

void run_disk_close(struct run *run)
{
    char *path = run_path(run->folder, "reserve");
    if (path != NULL)
        unlink(path);
    mf_free(path);
}

static bool has_room(const struct run *run)
{
    char *path = run_path(run->folder, "reserve.probe");
    bool room = path != NULL && make_filled(path, ROOM, NULL) == 0;
    if (room)
        unlink(path);
    mf_free(path);
    return room;
}

/* Tests make it smaller: by the environment, once. */
static size_t batches_most(void)
{
    static size_t most;
    const char *text = most == 0 ? getenv("MAYFLY_RESULTS_MOST") : NULL;
    if (most == 0)
        most = text == NULL ? BATCHES_MOST : (size_t)strtoull(text, NULL, 10);
    return most;
}

bool run_disk_takes(const struct run *run)
{
    return !run->disk.is_waiting && run->failure.code == MF_OK && run->batch_bytes < batches_most();
}

void run_pause(struct run *run, bool on)
{
    run->user_paused = on;
    run_apply(run, (struct schedule_event){.kind = EVENT_PAUSE, .ok = on || run->disk.is_waiting});
}

void run_disk_hold(struct run *run, struct run_batch *batch)
{
    batch->next_free = NULL;
    *run->disk.held_last = batch;
    run->disk.held_last = &batch->next_free;
}

static struct run_batch *take_held(struct run *run)
{
    struct run_batch *batches = run->disk.held;
    run->disk.held = NULL;
    run->disk.held_last = &run->disk.held;
    return batches;
}

void run_disk_stored(struct run *run)
{
    if (run->disk.is_waiting || run->disk.since_us == 0)
        return;
    run->disk.since_us = 0;
    run->disk.delay_us = 0;
}

/* Once per time that it is full, not each time that some room was found and used up. */
static void say_waiting(struct run *run, int64_t now_us)
{
    struct run_disk *disk = &run->disk;
    mf_log(MF_WARNING, "paused: %s", disk->text);
    if (disk->since_us != 0)
        return;
    disk->since_us = now_us;
    disk->since_wall_us = mf_wall_us();
    progress_say(run->progress,
                 "paused: %s; waiting up to %.0f s for room (disk_wait)",
                 disk->text,
                 (double)run->job->disk_wait_us / 1e6);
}

void run_trouble(struct run *run, const struct mf_error *error)
{
    struct run_disk *disk = &run->disk;
    if (error->code != MF_EFULL || run->failure.code != MF_OK || disk->is_last_try) {
        run_fail(run, error);
        return;
    }
    if (disk->is_waiting)
        return;
    int64_t now_us = mf_monotonic_us();
    snprintf(disk->text, sizeof disk->text, "%.500s", error->text);
    say_waiting(run, now_us);
    disk->is_waiting = true;
    disk->delay_us = disk->delay_us == 0                  ? PROBE_FIRST_US
                     : disk->delay_us * 2 < PROBE_MOST_US ? disk->delay_us * 2
                                                          : PROBE_MOST_US;
    disk->probe_us = now_us + disk->delay_us;
    run_queue(run, (struct schedule_event){.kind = EVENT_PAUSE, .ok = true});
}

/* Everything that was kept is tried again; what fails for want of room is kept once more. */
static void go_on(struct run *run, int64_t now_us)
{
    struct run_disk *disk = &run->disk;
    struct mf_error error;
    mf_log(MF_INFO,
           "there is room again after %.1f s: going on (%s)",
           (double)(now_us - disk->since_us) / 1e6,
           disk->text);
    disk->is_waiting = false;
    for (struct run_batch *batch = take_held(run), *next; batch != NULL; batch = next) {
        next = batch->next_free;
        run->batch_bytes -= batch->weight;
        run_batch_submit(run, batch);
    }
    for (uint32_t id = 1; id < run->worker_count; id++)
        if (run->workers[id].lost && intake_lost(run->intake, id, &error) < 0)
            run_trouble(run, &error);
    if (!disk->is_waiting)
        scatter_retry_chunks(run->scatter);
    if (disk->gather_again && !disk->is_waiting) {
        disk->gather_again = false;
        run_gather_start(run);
    }
    run_apply(
        run,
        (struct schedule_event){.kind = EVENT_PAUSE, .ok = run->user_paused || disk->is_waiting});
}

/* The results in held batches stay unacknowledged: their subtasks are executed again by whoever
 * resumes. */
static void stop_waiting(struct run *run)
{
    struct run_disk *disk = &run->disk;
    disk->is_waiting = false;
    for (struct run_batch *batch = take_held(run), *next; batch != NULL; batch = next) {
        next = batch->next_free;
        run->batch_bytes -= batch->weight;
        run_batch_free(run, batch);
    }
}

static void give_up(struct run *run)
{
    struct mf_error error;
    run_disk_release(run);
    stop_waiting(run);
    mf_raise(&error,
             MF_EFULL,
             "%s; there was no room within %.0f s (disk_wait)",
             run->disk.text,
             (double)run->job->disk_wait_us / 1e6);
    run_fail(run, &error);
    scatter_retry_chunks(run->scatter);
    run_act(run);
}

int64_t run_disk_step(struct run *run, int64_t now_us)
{
    struct run_disk *disk = &run->disk;
    if (!disk->is_waiting)
        return MF_NEVER;
    if (run->failure.code != MF_OK) {
        stop_waiting(run);
        return MF_NEVER;
    }
    int64_t limit_us = disk->since_us + (int64_t)run->job->disk_wait_us;
    if (__atomic_load_n(&run->gather_stop, __ATOMIC_RELAXED) != 0) {
        /* Cancelled: with what the reserve has it may end as it should. */
        disk->is_last_try = true;
        run_disk_release(run);
        go_on(run, now_us);
        return MF_NEVER;
    }
    if (now_us >= disk->probe_us) {
        if (has_room(run)) {
            go_on(run, now_us);
            return disk->is_waiting ? disk->probe_us : MF_NEVER;
        }
        disk->probe_us = now_us + disk->delay_us;
    }
    if (now_us >= limit_us) {
        give_up(run);
        return MF_NEVER;
    }
    return disk->probe_us < limit_us ? disk->probe_us : limit_us;
}
