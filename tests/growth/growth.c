/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a subtask costs the master: `memory` counts the bytes that stay behind when it has ended,
 * `steps` the basic blocks that run for it, with a short queue and a long one, with few workers and
 * with many. The scheduler is driven as by a master whose workers end everything at once. Exit code
 * 1 when something grows that must not.
 */
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/record/final_set.h"
#include "master/schedule/schedule.h"

#define HELD_MAX 8192u /* by one worker */

/* Of GCC and clang: called by each basic block of the marked objects. */
void __sanitizer_cov_trace_pc(void);

static uint64_t steps;

void __sanitizer_cov_trace_pc(void)
{
    steps++;
}

struct offer {
    uint64_t subtask;
    uint32_t attempt;
};

struct worker {
    struct offer held[HELD_MAX];
    uint32_t count;
};

struct stand {
    struct schedule *schedule;
    struct final_set finals;
    struct worker *workers; /* by id */
    uint32_t worker_count;
    uint64_t planned, ended, records;
    int64_t now_us;
};

static void die(const char *text)
{
    fprintf(stderr, "mayfly-growth: %s\n", text);
    exit(1);
}

static void apply(struct stand *stand, struct schedule_event event)
{
    struct mf_error error;
    event.now_us = stand->now_us;
    event.epoch = 1;
    if (schedule_apply(stand->schedule, &event, &error) < 0)
        die(error.text);
}

static void keep_offer(struct stand *stand, const struct schedule_action *action)
{
    struct worker *worker = &stand->workers[action->worker];
    if (worker->count == HELD_MAX)
        die("a worker was offered more than it may hold");
    worker->held[worker->count++] =
        (struct offer){.subtask = action->subtask, .attempt = action->attempt};
}

static void act(struct stand *stand)
{
    struct schedule_action action;
    while (schedule_next(stand->schedule, &action)) {
        if (action.kind == SCHEDULE_OFFER)
            keep_offer(stand, &action);
        for (; action.kind == SCHEDULE_PLAN && action.count > 0; action.count--)
            apply(stand,
                  (struct schedule_event){.kind = EVENT_PLANNED, .subtask = ++stand->planned});
        if (action.kind == SCHEDULE_RECORD) {
            stand->records++;
            if (final_set_add(&stand->finals, action.subtask) < 0)
                die("out of memory");
        }
    }
    final_set_keep(&stand->finals);
    if (stand->records > 0)
        apply(stand, (struct schedule_event){.kind = EVENT_RECORDED, .count = stand->records});
    stand->records = 0;
}

static void begin(struct stand *stand, uint32_t queue, uint32_t workers)
{
    struct schedule_config config;
    schedule_config_default(&config);
    config.plan_ahead = queue;
    config.batch_max = 16;
    *stand = (struct stand){.worker_count = workers,
                            .workers = calloc(workers + 1, sizeof *stand->workers),
                            .schedule = schedule_create(&config, NULL)};
    if (stand->schedule == NULL || stand->workers == NULL)
        die("out of memory");
    for (uint32_t id = 1; id <= workers; id++)
        apply(stand, (struct schedule_event){.kind = EVENT_WORKER_ADD, .worker = id, .slots = 2});
    act(stand);
    for (uint32_t id = 1; id <= workers; id++)
        apply(stand,
              (struct schedule_event){.kind = EVENT_WORKER_JOINED, .worker = id, .slots = 2});
    act(stand);
}

static void end(struct stand *stand)
{
    schedule_destroy(stand->schedule);
    final_set_fini(&stand->finals);
    free(stand->workers);
}

/* One worker after the other starts and ends what it has, and polls, until so many have ended. */
static void work(struct stand *stand, uint64_t count)
{
    uint64_t until = stand->ended + count;
    for (uint32_t id = 1; stand->ended < until; id = id % stand->worker_count + 1) {
        struct worker *worker = &stand->workers[id];
        struct schedule_event event = {.worker = id, .duration_us = 1000};
        for (uint32_t i = 0; i < worker->count; i++, stand->ended++) {
            event.subtask = worker->held[i].subtask;
            event.attempt = worker->held[i].attempt;
            event.kind = EVENT_STARTED;
            apply(stand, event);
            event.kind = EVENT_ENDED;
            apply(stand, event);
        }
        worker->count = 0;
        apply(stand, (struct schedule_event){.kind = EVENT_WORKER_POLL, .worker = id});
        act(stand);
        stand->now_us += 100;
    }
}

static size_t heap(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Bytes that a subtask leaves behind when it has ended. */
static int measure_memory(void)
{
    const uint64_t count = 400000;
    struct stand stand;
    begin(&stand, 8192, 8);
    work(&stand, 20000);
    size_t before = heap();
    work(&stand, count);
    double each = (double)((int64_t)heap() - (int64_t)before) / (double)count;
    end(&stand);
    printf("%.3f bytes stay behind for each subtask that has ended\n", each);
    return each < 1 ? 0 : 1;
}

/* Basic blocks a subtask, once things have settled. */
static double steps_each(uint32_t queue, uint32_t workers)
{
    const uint64_t count = 20000;
    struct stand stand;
    begin(&stand, queue, workers);
    work(&stand, 2 * queue + 16 * workers);
    steps = 0;
    work(&stand, count);
    double each = (double)steps / (double)count;
    end(&stand);
    printf("%.1f steps a subtask, %u of them queued, %u workers\n", each, queue, workers);
    return each;
}

static int measure_steps(void)
{
    double base = steps_each(1000, 4);
    double queued = steps_each(100000, 4), workers = steps_each(100000, 1000);
    if (base < 10)
        die("the scheduler's steps are not counted: it was built without marks");
    /* The same but for what a longer list costs now and then: a step at each of them would be more
     * by thousands. */
    return queued < 2 * base && workers < 2 * base ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "memory") == 0)
        return measure_memory();
    if (argc == 2 && strcmp(argv[1], "steps") == 0)
        return measure_steps();
    fprintf(stderr, "usage: mayfly-growth memory|steps\n");
    return 2;
}
