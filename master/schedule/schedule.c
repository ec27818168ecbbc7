/* SPDX-License-Identifier: Apache-2.0 */
/* Beginning and end of a scheduler, and what can be asked of it. See schedule.h and core.h. */
#include "master/schedule/core.h"

#include <string.h>

#include "common/alloc.h"

#define SECOND 1000000u

#ifdef SCHEDULE_BREAKABLE
enum schedule_break schedule_broken_rule = BREAK_NOTHING;
#endif

void schedule_config_default(struct schedule_config *config)
{
    *config = (struct schedule_config){
        .epoch = 1,
        .backoff_us = SECOND,
        .backoff_factor = 2,
        .backoff_cap_us = 60 * SECOND,
        .jitter_full = true,
        .poison_losses = 3,
        .lease_us = 30 * SECOND,
        .grace_us = SECOND / 2,
        .join_us = 60 * SECOND,
        .dismiss_us = 30 * SECOND,
        .batch_max = MF_BATCH_MAX,
        .horizon_us = SECOND / 5,
        .plan_ahead = 8192,
        .straggler_factor = 3,
        .straggler_min_us = 30 * SECOND,
        .relaunch_max = SCHEDULE_RELAUNCH_AUTO,
        .idle_us = 30 * SECOND,
    };
}

struct schedule *schedule_create(const struct schedule_config *config, struct mf_error *error)
{
    struct schedule *s = mf_calloc(1, sizeof *s);
    if (s == NULL)
        goto fail;
    s->bytes = sizeof *s;
    s->config = *config;
    if (s->config.batch_max == 0)
        s->config.batch_max = 1;
    if (s->config.plan_ahead == 0)
        s->config.plan_ahead = 1;
    s->random = config->seed;
    s->worker_last = config->worker_last < SCHEDULE_WORKER_MAX ? config->worker_last : 0;
    s->now_us = INT64_MIN;
    s->first_us = -1;
    s->wind_us = INT64_MAX;
    s->elastic.most = config->workers_max;
    s->elastic.short_us = INT64_MAX;
    if (s->config.resume_us == 0)
        s->config.resume_us = s->config.lease_us;
    s->free_head = NONE;
    s->pending = s->held = (struct subtask_queue){NONE, NONE};
    if (action_reserve(s, EVENT_ACTIONS) == -1)
        goto fail;
    action_push(s, SCHEDULE_RUN_STATE)->state = RUN_PLANNING;
    return s;
fail:
    schedule_destroy(s);
    mf_raise(error, MF_ENOMEM, "schedule: memory is exhausted before the run has begun");
    return NULL;
}

void schedule_destroy(struct schedule *s)
{
    if (s == NULL)
        return;
    core_subtasks_fini(s);
    core_workers_fini(s);
    mf_free(s->ring);
    mf_free(s);
}

int64_t schedule_deadline(const struct schedule *s)
{
    if (s->state > RUN_DISMISSING)
        return INT64_MAX;
    int64_t run = core_run_deadline(s), worker = core_worker_deadline(s);
    return run < worker ? run : worker;
}

void schedule_counts(const struct schedule *s, struct schedule_counts *counts)
{
    *counts = s->counts;
    counts->state = s->state;
    counts->workers_alive = s->worker_in[WORKER_READY] + s->worker_in[WORKER_DRAINING];
    counts->workers_wanted = elastic_wanted(s);
    counts->workers_let_go = s->elastic.let_go;
    counts->workers_gone = s->worker_in[WORKER_GONE];
}

const char *schedule_subtask_state(const struct schedule *s, uint64_t subtask)
{
    uint32_t index = core_subtask_find(s, subtask);
    return index == NONE ? "finished" : subtask_state_name(core_subtask_at(s, index)->state);
}

const char *schedule_worker_state(const struct schedule *s, uint32_t worker)
{
    const struct worker *w = core_worker_find(s, worker);
    return w == NULL ? "unknown" : worker_state_name(w->state);
}

uint64_t schedule_memory(const struct schedule *s)
{
    return s->bytes;
}

void schedule_broken(struct schedule *s, const char *machine, const char *state, const char *event)
{
    if (s->broken_machine != NULL)
        return;
    s->broken_machine = machine;
    s->broken_state = state;
    s->broken_event = event;
}
