/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers: the table by id, their lists and timers, and their life from launch to gone.
 *
 * All timers of one kind have the same length, so that a list to whose end a worker moves when its
 * timer starts again is in order of time. A worker that is lost keeps its issues until act.c has
 * told of them (LIST_LOSING); it is never offered anything again.
 */
#include "master/schedule/core.h"

#include <string.h>

#include "common/alloc.h"

struct worker *core_worker_find(const struct schedule *s, uint32_t id)
{
    if (id == 0 || id / WORKER_CHUNK >= s->worker_chunk_count)
        return NULL;
    struct worker *w = core_worker_at(s, id);
    return w->id == 0 ? NULL : w;
}

static int chunk_add(struct schedule *s)
{
    if (s->worker_chunk_count == s->worker_chunk_cap) {
        uint32_t cap = s->worker_chunk_cap == 0 ? 16 : s->worker_chunk_cap * 2;
        struct worker **grown = mf_realloc(s->worker_chunks, cap * sizeof *grown);
        if (grown == NULL)
            return -1;
        s->bytes += (cap - s->worker_chunk_cap) * sizeof *grown;
        s->worker_chunks = grown;
        s->worker_chunk_cap = cap;
    }
    struct worker *chunk = mf_calloc(WORKER_CHUNK, sizeof *chunk);
    if (chunk == NULL)
        return -1;
    s->worker_chunks[s->worker_chunk_count++] = chunk;
    s->bytes += WORKER_CHUNK * sizeof *chunk;
    return 0;
}

int core_worker_reserve(struct schedule *s, uint32_t id, uint32_t spare)
{
    uint64_t last = (uint64_t)(id > s->worker_last ? id : s->worker_last) + spare;
    if (last >= SCHEDULE_WORKER_MAX)
        last = SCHEDULE_WORKER_MAX - 1;
    while (last / WORKER_CHUNK >= s->worker_chunk_count) {
        if (chunk_add(s) == -1)
            return -1;
    }
    return 0;
}

static enum worker_link link_of(enum worker_list list)
{
    if (list <= LIST_DISMISS)
        return LINK_TIMER;
    if (list == LIST_GRACE)
        return LINK_GRACE;
    if (list <= LIST_SWEEP)
        return LINK_QUEUE;
    if (list == LIST_IDLE)
        return LINK_IDLE;
    if (list == LIST_REST)
        return LINK_REST;
    return list == LIST_FLUSH ? LINK_FLUSH : LINK_LOAD;
}

void core_list_take(struct schedule *s, enum worker_link link, struct worker *w)
{
    uint8_t list = w->in[link];
    if (list == LIST_NONE)
        return;
    struct worker_ends *ends = &s->list[list];
    struct worker_place *place = &w->place[link];
    if (place->prev == 0)
        ends->head = place->next;
    else
        core_worker_at(s, place->prev)->place[link].next = place->next;
    if (place->next == 0)
        ends->tail = place->prev;
    else
        core_worker_at(s, place->next)->place[link].prev = place->prev;
    w->in[link] = LIST_NONE;
    if (--ends->count == 0 && list >= LIST_LOAD)
        s->load_used &= ~(1ull << (list - LIST_LOAD));
}

/* At the end of the list; stays where it is when it is in that list already. */
void core_list_put(struct schedule *s, enum worker_list list, struct worker *w)
{
    enum worker_link link = link_of(list);
    if (w->in[link] == list)
        return;
    core_list_take(s, link, w);
    struct worker_ends *ends = &s->list[list];
    w->place[link] = (struct worker_place){.prev = ends->tail};
    if (ends->tail == 0)
        ends->head = w->id;
    else
        core_worker_at(s, ends->tail)->place[link].next = w->id;
    ends->tail = w->id;
    w->in[link] = (uint8_t)list;
    if (ends->count++ == 0 && list >= LIST_LOAD)
        s->load_used |= 1ull << (list - LIST_LOAD);
}

static void timer_start(struct schedule *s, enum worker_list list, struct worker *w)
{
    core_list_take(s, LINK_TIMER, w);
    w->timer_us = s->now_us;
    core_list_put(s, list, w);
}

/* How many it could give back: offered, not asked for, and more than its slots can take at once. */
static uint32_t spare_of(const struct worker *w)
{
    uint32_t kept = w->held - w->asked, offered = kept - w->running;
    uint32_t spare = kept > w->slots ? kept - w->slots : 0;
    return spare < offered ? spare : offered;
}

static void rest(struct schedule *s, struct worker *w)
{
    if (w->in[LINK_REST] != LIST_REST)
        w->rest_us = s->now_us;
    core_list_put(s, LIST_REST, w);
}

void core_worker_weigh(struct schedule *s, struct worker *w)
{
    bool ready = w->state == WORKER_READY && w->connected;
    if (ready && w->held < w->slots)
        core_list_put(s, LIST_IDLE, w);
    else
        core_list_take(s, LINK_IDLE, w);
    if (ready && w->held == 0 && elastic_on(s))
        rest(s, w);
    else
        core_list_take(s, LINK_REST, w);
    uint32_t spare = ready ? spare_of(w) : 0;
    if (spare == 0) {
        core_list_take(s, LINK_LOAD, w);
        return;
    }
    uint64_t each = w->duration_us16 != 0 ? w->duration_us16 : s->duration_us16;
    uint64_t to_do = (each / 16 + 1) * spare / w->slots + 1;
    unsigned power = 63u - (unsigned)__builtin_clzll(to_do);
    core_list_put(s, LIST_LOAD + (power < LOAD_LISTS ? power : LOAD_LISTS - 1), w);
}

static void worker_step(struct schedule *s, struct worker *w, enum worker_event event)
{
    int to = worker_edge(w->state, event);
    if (to < 0) {
        schedule_broken(s, "a worker", worker_state_name(w->state), worker_event_name(event));
        return;
    }
    s->worker_in[w->state]--;
    s->worker_in[to]++;
    if (w->state <= WORKER_READY && to > WORKER_READY)
        s->elastic.alive_slots -= w->slots;
    w->state = (uint8_t)to;
}

static struct worker *
worker_begin(struct schedule *s, uint32_t id, uint32_t slots, enum worker_state state)
{
    struct worker *w = core_worker_at(s, id);
    *w = (struct worker){.id = id, .slots = slots > 0 ? slots : 1, .state = (uint8_t)state};
    if (id > s->worker_last)
        s->worker_last = id;
    s->worker_in[state]++;
    s->elastic.alive_slots += w->slots;
    s->worker_open++;
    s->counts.workers_launched++;
    return w;
}

void core_worker_add_known(struct schedule *s, uint32_t id, uint32_t slots)
{
    timer_start(s, LIST_KNOWN, worker_begin(s, id, slots, WORKER_JOINING));
}

struct worker *core_worker_add(struct schedule *s, uint32_t id, uint32_t slots, uint32_t replaces)
{
    struct worker *w = worker_begin(s, id, slots, WORKER_LAUNCHING);
    timer_start(s, LIST_JOIN, w);
    struct schedule_action *action = action_push(s, SCHEDULE_LAUNCH);
    action->worker = id;
    action->replaces = replaces;
    return w;
}

/* It can't be spoken to for now, or never again. */
static void away(struct schedule *s, struct worker *w)
{
    if (w->connected) {
        s->ready_slots -= w->slots;
        s->workers_connected--;
    }
    w->connected = false;
    if (w->in[LINK_QUEUE] == LIST_HUNGRY)
        core_list_take(s, LINK_QUEUE, w);
    core_worker_weigh(s, w);
}

/* Its subtasks may be issued again, or no longer: let each find its state. */
static void settle_all(struct schedule *s, struct worker *w)
{
    unsigned k;
    for (unsigned running = 0; running < 2; running++) {
        uint32_t reference = running ? w->running_head : w->offered_head;
        while (reference != 0) {
            uint32_t index = issue_of(reference, &k);
            issue_settle(s, index);
            reference = core_subtask_at(s, index)->issue[k].next;
        }
    }
}

static void back(struct schedule *s, struct worker *w)
{
    if (w->connected)
        return;
    w->connected = true;
    s->workers_connected++;
    s->ready_slots += w->slots;
    core_list_take(s, LINK_GRACE, w);
    if (w->stale) {
        w->stale = false;
        settle_all(s, w);
    }
    core_worker_weigh(s, w);
}

static void close_worker(struct schedule *s, struct worker *w)
{
    core_list_take(s, LINK_TIMER, w);
    if (!w->closed)
        s->worker_open--;
    w->closed = true;
}

/* It has just left the state `from`, not by dismissal. */
static void ended(struct schedule *s, struct worker *w, enum worker_state from, bool certain)
{
    bool unexpected = from <= WORKER_READY;
    w->stale = false;
    core_list_take(s, LINK_GRACE, w);
    core_list_take(s, LINK_FLUSH, w);
    away(s, w);
    if (from <= WORKER_JOINING && w->in[LINK_TIMER] != LIST_KNOWN)
        core_run_pace_launches(s);
    if (w->state == WORKER_GONE || certain || !unexpected)
        close_worker(s, w);
    else
        timer_start(s, LIST_DISMISS, w);
    if (unexpected || w->state == WORKER_LOST) {
        w->replace = unexpected;
        core_list_put(s, LIST_LOSING, w);
    }
}

static void expire(struct schedule *s, struct worker *w)
{
    enum worker_state from = w->state;
    worker_step(s, w, WORKER_EXPIRE);
    if (w->state == WORKER_GONE) {
        close_worker(s, w);
        return;
    }
    w->announce = true;
    ended(s, w, from, false);
}

void core_worker_dismiss(struct schedule *s, struct worker *w, bool early)
{
    worker_step(s, w, WORKER_DISMISS);
    core_list_take(s, LINK_GRACE, w);
    core_list_take(s, LINK_FLUSH, w);
    core_list_take(s, LINK_QUEUE, w);
    away(s, w);
    timer_start(s, LIST_DISMISS, w);
    struct schedule_action *action = action_push(s, SCHEDULE_DISMISS);
    action->worker = w->id;
    action->early = early;
}

/* A worker that is over speaks: it is told to go, and waited for once more. */
static void tell_to_go(struct schedule *s, struct worker *w)
{
    action_push(s, SCHEDULE_DISMISS)->worker = w->id;
    if (w->state == WORKER_LOST && !w->returned && !w->closed)
        timer_start(s, LIST_DISMISS, w);
    w->returned = true;
}

static void joined(struct schedule *s, struct worker *w, const struct schedule_event *event)
{
    if (w->state != WORKER_READY) {
        tell_to_go(s, w);
        return;
    }
    s->launch_failures = 0;
    if (event->slots > 0 && event->slots != w->slots) {
        s->ready_slots += w->connected ? (uint64_t)event->slots - w->slots : 0;
        s->elastic.alive_slots += (uint64_t)event->slots - w->slots;
        w->slots = event->slots;
    }
    back(s, w);
    core_worker_weigh(s, w);
    timer_start(s, LIST_LEASE, w);
}

static void polled(struct schedule *s, struct worker *w)
{
    if (w->state == WORKER_READY) {
        back(s, w);
        timer_start(s, LIST_LEASE, w);
        batch_aim(s, w);
    } else if (w->state != WORKER_DRAINING) {
        tell_to_go(s, w);
    }
}

static void disconnected(struct schedule *s, struct worker *w)
{
    if (w->state != WORKER_READY || !w->connected)
        return;
    away(s, w);
    w->grace_us = s->now_us;
    core_list_put(s, LIST_GRACE, w);
}

static void died(struct schedule *s, struct worker *w, enum worker_state from)
{
    if (from <= WORKER_READY) {
        w->announce = true;
        ended(s, w, from, true);
    } else if (w->state == WORKER_LOST) {
        close_worker(s, w);
    }
}

static void gone(struct schedule *s, struct worker *w, enum worker_state from, bool announce)
{
    if (from == WORKER_GONE || w->state != WORKER_GONE)
        return;
    if (from <= WORKER_READY) {
        w->announce = announce;
        ended(s, w, from, true);
    } else {
        close_worker(s, w);
    }
}

void core_worker_event(struct schedule *s, struct worker *w, const struct schedule_event *event)
{
    enum worker_state from = w->state;
    switch (event->kind) {
    case EVENT_WORKER_LAUNCHED:
        worker_step(s, w, WORKER_LAUNCHED);
        break;
    case EVENT_WORKER_LAUNCH_FAILED:
        worker_step(s, w, WORKER_LAUNCH_FAILED);
        gone(s, w, from, false);
        w->replace = w->replace && event->ok;
        if (from == WORKER_LAUNCHING && !event->ok)
            elastic_no_host(s);
        break;
    case EVENT_WORKER_JOINED:
        worker_step(s, w, WORKER_JOINED);
        joined(s, w, event);
        break;
    case EVENT_WORKER_POLL:
        worker_step(s, w, WORKER_POLL);
        polled(s, w);
        break;
    case EVENT_WORKER_DISCONNECTED:
        worker_step(s, w, WORKER_DISCONNECTED);
        disconnected(s, w);
        break;
    case EVENT_WORKER_DIED:
        worker_step(s, w, WORKER_DIED);
        died(s, w, from);
        break;
    default:
        worker_step(s, w, WORKER_ENDED);
        gone(s, w, from, true);
        break;
    }
}

static struct worker *first_due(const struct schedule *s, enum worker_list list, uint64_t length_us)
{
    if (s->list[list].head == 0)
        return NULL;
    struct worker *w = core_worker_at(s, s->list[list].head);
    int64_t since = list == LIST_GRACE ? w->grace_us : w->timer_us;
    return since + (int64_t)length_us <= s->now_us ? w : NULL;
}

void core_worker_tick(struct schedule *s)
{
    struct worker *w;
    while ((w = first_due(s, LIST_JOIN, s->config.join_us)) != NULL)
        expire(s, w);
    while (!BREAKS(KNOWN) && (w = first_due(s, LIST_KNOWN, s->config.resume_us)) != NULL)
        expire(s, w);
    while (!BREAKS(LEASE) && (w = first_due(s, LIST_LEASE, s->config.lease_us)) != NULL)
        expire(s, w);
    while ((w = first_due(s, LIST_DISMISS, s->config.dismiss_us)) != NULL)
        expire(s, w);
    while ((w = first_due(s, LIST_GRACE, s->config.grace_us)) != NULL) {
        core_list_take(s, LINK_GRACE, w);
        w->stale = true;
        settle_all(s, w);
    }
}

static int64_t due_of(const struct schedule *s, enum worker_list list, uint64_t length_us)
{
    if (s->list[list].head == 0)
        return INT64_MAX;
    const struct worker *w = core_worker_at(s, s->list[list].head);
    return (list == LIST_GRACE ? w->grace_us : w->timer_us) + (int64_t)length_us;
}

int64_t core_worker_deadline(const struct schedule *s)
{
    int64_t due[] = {due_of(s, LIST_JOIN, s->config.join_us),
                     BREAKS(KNOWN) ? INT64_MAX : due_of(s, LIST_KNOWN, s->config.resume_us),
                     BREAKS(LEASE) ? INT64_MAX : due_of(s, LIST_LEASE, s->config.lease_us),
                     due_of(s, LIST_DISMISS, s->config.dismiss_us),
                     due_of(s, LIST_GRACE, s->config.grace_us)};
    int64_t first = INT64_MAX;
    for (unsigned i = 0; i < sizeof due / sizeof *due; i++)
        first = due[i] < first ? due[i] : first;
    return first;
}

void core_workers_fini(struct schedule *s)
{
    for (uint32_t i = 0; i < s->worker_chunk_count; i++)
        mf_free(s->worker_chunks[i]);
    mf_free(s->worker_chunks);
}
