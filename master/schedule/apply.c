/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events go in here: validated against the tables, room reserved, then applied. Until the room is
 * there nothing has changed, and afterwards nothing can fail.
 */
#include "master/schedule/core.h"

#define NO_WORKER (-1)

/* What an event is to the run and to its worker. */
static const struct {
    const char *name;
    enum run_event run;
    int worker; /* enum worker_event, or NO_WORKER */
} meaning[] = {
    [EVENT_PLANNED] = {"planned", RUN_PLANNED, NO_WORKER},
    [EVENT_PLAN_ENDED] = {"plan ended", RUN_PLAN_ENDED, NO_WORKER},
    [EVENT_PLAN_FAILED] = {"plan failed", RUN_PLAN_FAILED, NO_WORKER},
    [EVENT_WORKER_ADD] = {"worker added", RUN_WORKER_ADD, NO_WORKER},
    [EVENT_WORKER_KNOWN] = {"worker known", RUN_WORKER_ADD, NO_WORKER},
    [EVENT_WORKER_LAUNCHED] = {"launched", RUN_WORKER, WORKER_LAUNCHED},
    [EVENT_WORKER_LAUNCH_FAILED] = {"launch failed", RUN_WORKER, WORKER_LAUNCH_FAILED},
    [EVENT_WORKER_JOINED] = {"joined", RUN_WORKER, WORKER_JOINED},
    [EVENT_ADOPTED] = {"adopted", RUN_WORKER, WORKER_ADOPT},
    [EVENT_WORKER_POLL] = {"poll", RUN_WORKER, WORKER_POLL},
    [EVENT_WORKER_DISCONNECTED] = {"disconnected", RUN_WORKER, WORKER_DISCONNECTED},
    [EVENT_WORKER_DIED] = {"died", RUN_WORKER, WORKER_DIED},
    [EVENT_WORKER_GONE] = {"gone", RUN_WORKER, WORKER_ENDED},
    [EVENT_STARTED] = {"started", RUN_SUBTASK, WORKER_MESSAGE},
    [EVENT_ENDED] = {"ended", RUN_SUBTASK, WORKER_MESSAGE},
    [EVENT_RETURNED] = {"returned", RUN_SUBTASK, WORKER_MESSAGE},
    [EVENT_RECORDED] = {"recorded", RUN_RECORDED, NO_WORKER},
    [EVENT_GATHERED] = {"gathered", RUN_GATHERED, NO_WORKER},
    [EVENT_DRAIN] = {"drain", RUN_DRAIN, NO_WORKER},
    [EVENT_CANCEL] = {"cancel", RUN_CANCEL, NO_WORKER},
    [EVENT_STOP] = {"stop", RUN_STOP, NO_WORKER},
    [EVENT_PAUSE] = {"pause", RUN_PAUSE, NO_WORKER},
    [EVENT_TICK] = {"tick", RUN_TICK, NO_WORKER},
};

#define EVENT_KINDS (sizeof meaning / sizeof *meaning)

static int
check_planned(const struct schedule *s, const struct schedule_event *event, struct mf_error *error)
{
    if (s->counts.plan_ended && s->state <= RUN_DISMISSING)
        return mf_raise(error, MF_EPROTOCOL, "schedule: the plan has ended, nothing can follow it");
    if (event->kind != EVENT_PLANNED)
        return 0;
    if (event->subtask == 0 || event->attempt >= SCHEDULE_ATTEMPT_MAX)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "schedule: subtask %llu can't be planned after attempt %u: subtasks count "
                        "from 1, attempts up to %u",
                        (unsigned long long)event->subtask,
                        event->attempt,
                        SCHEDULE_ATTEMPT_MAX);
    if (core_subtask_find(s, event->subtask) != NONE)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "schedule: subtask %llu was planned twice",
                        (unsigned long long)event->subtask);
    return 0;
}

static int
check_worker(const struct schedule *s, const struct schedule_event *event, struct mf_error *error)
{
    const struct worker *w = core_worker_find(s, event->worker);
    if (event->kind == EVENT_WORKER_ADD || event->kind == EVENT_WORKER_KNOWN) {
        if (w == NULL && event->worker > 0 && event->worker < SCHEDULE_WORKER_MAX)
            return 0;
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "schedule: worker %u can't be added: ids are new and from 1 to %u",
                        event->worker,
                        SCHEDULE_WORKER_MAX - 1);
    }
    if (w == NULL)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "schedule: %s: there is no worker %u",
                        meaning[event->kind].name,
                        event->worker);
    if (worker_edge(w->state, (enum worker_event)meaning[event->kind].worker) < 0)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "schedule: %s: worker %u is %s, and then that can't happen",
                        meaning[event->kind].name,
                        event->worker,
                        worker_state_name(w->state));
    return 0;
}

static int
check(const struct schedule *s, const struct schedule_event *event, struct mf_error *error)
{
    if (s->broken_machine != NULL)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "schedule: internal error: %s that is %s met %s",
                        s->broken_machine,
                        s->broken_state,
                        s->broken_event);
    if ((unsigned)event->kind >= EVENT_KINDS)
        return mf_raise(error, MF_EPROTOCOL, "schedule: there is no event %d", (int)event->kind);
    if (run_edge(s->state, meaning[event->kind].run) < 0)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "schedule: %s: the run is %s, and then that can't happen",
                        meaning[event->kind].name,
                        run_state_name(s->state));
    if (event->kind <= EVENT_PLAN_FAILED)
        return check_planned(s, event, error);
    if (event->kind == EVENT_WORKER_ADD || event->kind == EVENT_WORKER_KNOWN ||
        meaning[event->kind].worker != NO_WORKER)
        return check_worker(s, event, error);
    if (event->kind == EVENT_RECORDED && event->count > s->record_asked - s->counts.recorded)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "schedule: %llu records are reported, %llu were asked for",
                        (unsigned long long)event->count,
                        (unsigned long long)(s->record_asked - s->counts.recorded));
    return 0;
}

/* A replacement for each worker that may be lost before the next event; with elasticity, all that
 * may be launched. */
static uint32_t spare_workers(const struct schedule *s)
{
    uint32_t alive = s->worker_in[WORKER_LAUNCHING] + s->worker_in[WORKER_JOINING] +
                     s->worker_in[WORKER_READY] + s->list[LIST_LOSING].count +
                     s->list[LIST_WANTED].count;
    uint32_t left = core_run_relaunches_most(s), ids = SCHEDULE_WORKER_MAX - 1 - s->worker_last;
    if (elastic_on(s))
        return s->config.workers_max < ids ? s->config.workers_max : ids;
    return alive < left ? alive : left;
}

static int reserve(struct schedule *s, const struct schedule_event *event)
{
    if (action_reserve(s, EVENT_ACTIONS) == -1)
        return -1;
    if (event->kind == EVENT_PLANNED)
        return core_subtask_reserve(s);
    if (event->kind == EVENT_ENDED)
        return waiting_reserve(s);
    if (event->kind == EVENT_ADOPTED) { /* losing its worker is a step that names them all */
        uint32_t held = core_worker_at(s, event->worker)->held;
        if (held >= s->config.batch_max && action_reserve(s, action_step_most(held + 1)) == -1)
            return -1;
    }
    if (event->kind == EVENT_WORKER_ADD || event->kind == EVENT_WORKER_KNOWN)
        /* one more that may be replaced, and thrice */
        return core_worker_reserve(s, event->worker, spare_workers(s) + 4);
    return core_worker_reserve(s, 0, spare_workers(s));
}

int schedule_apply(struct schedule *s, const struct schedule_event *event, struct mf_error *error)
{
    if (check(s, event, error) == -1)
        return -1;
    if (reserve(s, event) == -1)
        return mf_raise(error,
                        MF_ENOMEM,
                        "schedule: memory is exhausted with %llu subtasks under way; offer smaller "
                        "batches or plan less ahead",
                        (unsigned long long)s->live);
    if (event->now_us > s->now_us)
        s->now_us = event->now_us;
    if (s->first_us < 0)
        s->first_us = s->now_us;
    switch (event->kind) {
    case EVENT_ADOPTED:
        resume_adopted(s, event);
        break;
    case EVENT_STARTED:
        attempt_started(s, event);
        break;
    case EVENT_ENDED:
        attempt_ended(s, event);
        break;
    case EVENT_RETURNED:
        attempt_returned(s, event);
        break;
    case EVENT_TICK:
        core_worker_tick(s);
        attempt_due(s);
        core_run_tick(s);
        break;
    default:
        if (meaning[event->kind].worker == NO_WORKER)
            core_run_event(s, event);
        else
            core_worker_event(s, core_worker_at(s, event->worker), event);
        break;
    }
    return 0;
}
