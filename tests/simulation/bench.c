/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler alone: subtasks through apply and next as fast as one core can, with workers that
 * end each batch at once. Prints nanoseconds a subtask.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/simulation/sim.h"

struct bench {
    struct schedule *schedule;
    uint64_t subtasks, planned, records;
    int64_t now_us;
    struct tasks *offers; /* by worker */
    bool finished, refused;
};

static void apply(struct bench *b, struct schedule_event event)
{
    struct mf_error error = {0};
    event.now_us = b->now_us;
    event.epoch = 1;
    if (schedule_apply(b->schedule, &event, &error) == -1 && !b->refused) {
        b->refused = true;
        fprintf(stderr, "mayfly-sim: %s\n", error.text);
    }
}

static void plan(struct bench *b, uint64_t count)
{
    for (; count > 0 && b->planned < b->subtasks; count--)
        apply(b, (struct schedule_event){.kind = EVENT_PLANNED, .subtask = ++b->planned});
    if (b->planned == b->subtasks)
        apply(b, (struct schedule_event){.kind = EVENT_PLAN_ENDED});
}

static void act(struct bench *b)
{
    struct schedule_action action;
    while (!b->refused && schedule_next(b->schedule, &action)) {
        switch (action.kind) {
        case SCHEDULE_PLAN:
            plan(b, action.count);
            break;
        case SCHEDULE_OFFER:
            tasks_add(&b->offers[action.worker],
                      (struct task){.subtask = action.subtask, .attempt = action.attempt});
            break;
        case SCHEDULE_RECORD:
            b->records++;
            break;
        case SCHEDULE_GATHER:
            apply(b, (struct schedule_event){.kind = EVENT_GATHERED, .ok = true});
            break;
        case SCHEDULE_DISMISS:
            apply(b, (struct schedule_event){.kind = EVENT_WORKER_GONE, .worker = action.worker});
            break;
        case SCHEDULE_FINISH:
            b->finished = true;
            break;
        default:
            break;
        }
    }
    if (b->records > 0) {
        apply(b, (struct schedule_event){.kind = EVENT_RECORDED, .count = b->records});
        b->records = 0;
    }
}

static void round_of(struct bench *b, uint32_t worker)
{
    struct schedule_event event = {
        .kind = EVENT_ENDED, .worker = worker, .cause = MF_CAUSE_NONE, .duration_us = 2};
    struct tasks *offers = &b->offers[worker];
    for (uint32_t i = 0; i < offers->count; i++) {
        event.subtask = offers->at[i].subtask;
        event.attempt = offers->at[i].attempt;
        apply(b, event);
    }
    offers->count = 0;
    apply(b, (struct schedule_event){.kind = EVENT_WORKER_POLL, .worker = worker});
    act(b);
    b->now_us += 10;
}

int bench(const struct options *options)
{
    struct schedule_config config;
    struct mf_error error = {0};
    struct timespec begin, end;
    schedule_config_default(&config);
    struct bench b = {.subtasks = options->subtasks,
                      .offers = need(calloc(options->workers + 1, sizeof *b.offers))};
    b.schedule = need(schedule_create(&config, &error));
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (uint32_t id = 1; id <= options->workers; id++)
        apply(&b, (struct schedule_event){.kind = EVENT_WORKER_ADD, .worker = id, .slots = 2});
    for (uint32_t id = 1; id <= options->workers; id++)
        apply(&b, (struct schedule_event){.kind = EVENT_WORKER_JOINED, .worker = id, .slots = 2});
    for (uint32_t id = 1; !b.finished && !b.refused; id = id < options->workers ? id + 1 : 1)
        round_of(&b, id);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double took = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("mayfly-sim: scheduler alone, %u workers, %llu subtasks: %.2f s, %.0f ns a subtask, "
           "%.0f a second, %llu bytes\n",
           options->workers,
           (unsigned long long)b.subtasks,
           took,
           took * 1e9 / (double)(b.subtasks + (b.subtasks == 0)),
           (double)b.subtasks / took,
           (unsigned long long)schedule_memory(b.schedule));
    for (uint32_t id = 0; id <= options->workers; id++)
        free(b.offers[id].at);
    free(b.offers);
    schedule_destroy(b.schedule);
    return b.refused ? 1 : 0;
}
