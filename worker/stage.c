/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Staging: see stage.h.
 *
 * A unit that is not ready stands in a list, in the order in which it was first needed. It waits
 * until it may begin (the job's own files are there, not too much is ahead, the disk has room, no
 * other worker of this host is fetching it), is fetched, and is ready until its last attempt has
 * ended. One that waits for room holds up those behind it, or they would take the room away.
 */
#include "worker/stage.h"

#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "worker/unit.h"

#define BUCKETS 1024u
#define BUSY_US 20000  /* another worker is fetching it: looked at again */
#define ROOM_US 100000 /* the disk is full: the same */
#define FULLS_MAX 5u   /* tries of an input that had room, until it was written */
#define AHEAD_BYTES (256ull << 20)

struct stage {
    struct unit_rules rules;
    char *job_folder;
    uint32_t slots;
    struct cache *cache;
    struct fetch *fetch;
    struct stage_callbacks callbacks;
    struct unit *buckets[BUCKETS];
    struct unit *first, *last; /* not ready */
    struct unit *job;          /* NULL: in their own place */
    bool is_job_ready;
    bool has_job_failed;    /* tried again when the next attempt comes */
    struct attempt *parked; /* waiting for the job's own files only; oldest first */
    struct attempt **parked_last;
    uint32_t ahead; /* units that are fetched or ready, and not used yet */
    uint64_t ahead_bytes;
};

static void enlist(struct stage *stage, struct unit *unit)
{
    unit->next = NULL;
    unit->previous = stage->last;
    if (stage->last != NULL)
        stage->last->next = unit;
    else
        stage->first = unit;
    stage->last = unit;
}

static void delist(struct stage *stage, struct unit *unit)
{
    if (unit->previous != NULL)
        unit->previous->next = unit->next;
    else
        stage->first = unit->next;
    if (unit->next != NULL)
        unit->next->previous = unit->previous;
    else
        stage->last = unit->previous;
    unit->previous = unit->next = NULL;
}

static struct unit **bucket_of(struct stage *stage, const char *key)
{
    unsigned hash = 0;
    for (const char *at = key; *at != '\0' && at < key + 8; at++)
        hash = hash * 31 + (unsigned char)*at;
    return &stage->buckets[hash % BUCKETS];
}

static void leave_ahead(struct stage *stage, const struct unit *unit)
{
    if (unit->is_started || unit->state == UNIT_WAITING || unit == stage->job)
        return;
    stage->ahead--;
    stage->ahead_bytes -= unit->bytes;
}

/* Nobody needs it any more. */
static void drop_unit(struct stage *stage, struct unit *unit)
{
    struct unit **at = bucket_of(stage, unit->key);
    while (*at != unit)
        at = &(*at)->chain;
    *at = unit->chain;
    leave_ahead(stage, unit);
    if (unit->state == UNIT_FETCHING)
        fetch_abandon(stage->fetch, &unit->transfer);
    if (unit->state != UNIT_READY)
        delist(stage, unit);
    unit->entry.bytes = unit->bytes;
    cache_give_back(stage->cache, &unit->entry);
    unit_destroy(unit);
}

static void park(struct stage *stage, struct attempt *attempt)
{
    attempt->hold.is_waiting = true;
    attempt->hold.next = NULL;
    *stage->parked_last = attempt;
    stage->parked_last = &attempt->hold.next;
}

static struct unit *
find_unit(struct stage *stage, const struct mf_subtask *subtask, struct mf_error *error)
{
    char key[CACHE_KEY_SIZE];
    unit_key(&stage->rules, subtask, key);
    struct unit **bucket = bucket_of(stage, key), *unit = *bucket;
    while (unit != NULL && strcmp(unit->key, key) != 0)
        unit = unit->chain;
    if (unit != NULL)
        return unit;
    unit = unit_create(&stage->rules, stage->cache, key, subtask, error);
    if (unit == NULL)
        return NULL;
    unit->chain = *bucket;
    *bucket = unit;
    enlist(stage, unit);
    return unit;
}

int stage_add(struct stage *stage, struct attempt *attempt, struct mf_error *error)
{
    stage->has_job_failed = false;
    if (!unit_is_needed(&stage->rules, &attempt->subtask)) {
        if (stage->is_job_ready)
            return 0;
        park(stage, attempt);
        return 1;
    }
    struct unit *unit = find_unit(stage, &attempt->subtask, error);
    if (unit == NULL)
        return -1;
    attempt->hold.unit = unit;
    unit->users++;
    if (unit->state == UNIT_READY)
        return 0;
    attempt->hold.is_waiting = true;
    attempt->hold.next = NULL;
    *unit->last = attempt;
    unit->last = &attempt->hold.next;
    return 1;
}

void stage_started(struct stage *stage, struct attempt *attempt)
{
    struct unit *unit = attempt->hold.unit;
    if (unit == NULL || unit->is_started)
        return;
    leave_ahead(stage, unit);
    unit->is_started = true;
}

void stage_input(const struct stage *stage,
                 const struct attempt *attempt,
                 struct staged_input *input)
{
    (void)stage;
    *input = (struct staged_input){0};
    if (attempt->hold.unit == NULL)
        return;
    input->path = attempt->hold.unit->path;
    input->item = mf_buffer_view(&attempt->hold.unit->item);
}

/* Takes an attempt out of a list of waiting ones. */
static void stop_waiting(struct attempt **first, struct attempt ***last, struct attempt *attempt)
{
    struct attempt **at = first;
    while (*at != attempt)
        at = &(*at)->hold.next;
    *at = attempt->hold.next;
    if (*at == NULL)
        *last = at;
    attempt->hold.next = NULL;
    attempt->hold.is_waiting = false;
}

void stage_release(struct stage *stage, struct attempt *attempt)
{
    struct unit *unit = attempt->hold.unit;
    if (unit == NULL && attempt->hold.is_waiting)
        stop_waiting(&stage->parked, &stage->parked_last, attempt);
    if (unit == NULL)
        return;
    if (attempt->hold.is_waiting)
        stop_waiting(&unit->first, &unit->last, attempt);
    attempt->hold.unit = NULL;
    if (--unit->users == 0)
        drop_unit(stage, unit);
}

/* Fails an attempt that waits for the unit (NULL: for the job's own files). The unit stays. */
static void fail_waiting(struct stage *stage, struct unit *unit, uint32_t cause, const char *detail)
{
    struct attempt *attempt = unit == NULL ? stage->parked : unit->first;
    if (unit == NULL) {
        stop_waiting(&stage->parked, &stage->parked_last, attempt);
    } else {
        stop_waiting(&unit->first, &unit->last, attempt);
        unit->users--;
        attempt->hold.unit = NULL;
    }
    stage->callbacks.failed(stage->callbacks.arg, attempt, cause, detail);
}

static void fail_unit(struct stage *stage, struct unit *unit, uint32_t cause, const char *detail)
{
    if (unit == stage->job) {
        stage->has_job_failed = true;
        while (stage->parked != NULL)
            fail_waiting(stage, NULL, cause, detail);
        for (unsigned i = 0; i < BUCKETS; i++)
            while (stage->buckets[i] != NULL)
                fail_unit(stage, stage->buckets[i], cause, detail);
        return;
    }
    while (unit->first != NULL)
        fail_waiting(stage, unit, cause, detail);
    drop_unit(stage, unit);
}

static void make_ready(struct stage *stage, struct unit *unit)
{
    struct mf_error error;
    unit->state = UNIT_READY;
    if (unit == stage->job) {
        stage->is_job_ready = true;
        while (stage->parked != NULL) {
            struct attempt *attempt = stage->parked;
            stop_waiting(&stage->parked, &stage->parked_last, attempt);
            stage->callbacks.ready(stage->callbacks.arg, attempt);
        }
        return;
    }
    delist(stage, unit);
    if (unit_list(unit, &error) < 0) {
        fail_unit(stage, unit, MF_CAUSE_WORKER_ERROR, error.text);
        return;
    }
    while (unit->first != NULL) {
        struct attempt *attempt = unit->first;
        stop_waiting(&unit->first, &unit->last, attempt);
        stage->callbacks.ready(stage->callbacks.arg, attempt);
    }
}

/* Back to where it was before it began. */
static void stop_fetching(struct stage *stage, struct unit *unit)
{
    leave_ahead(stage, unit);
    cache_give_back(stage->cache, &unit->entry);
    unit->state = UNIT_WAITING;
}

static void publish(struct stage *stage, struct unit *unit)
{
    struct mf_error error;
    if (cache_publish(stage->cache, &unit->entry, &error) == 0) {
        make_ready(stage, unit);
        return;
    }
    stop_fetching(stage, unit);
    fail_unit(stage, unit, MF_CAUSE_WORKER_ERROR, error.text);
}

static void on_done(void *arg, struct transfer *transfer)
{
    struct stage *stage = arg;
    struct unit *unit = transfer->owner;
    /* What a group took shows only now. */
    if (unit->bytes == 0 && unit != stage->job) {
        unit->bytes = transfer->wrote;
        stage->ahead_bytes += unit->is_started ? 0 : unit->bytes;
    }
    publish(stage, unit);
}

static void on_failed(void *arg, struct transfer *transfer, const struct failure *failure)
{
    struct stage *stage = arg;
    struct unit *unit = transfer->owner;
    if (unit->state == UNIT_FETCHING)
        stop_fetching(stage, unit);
    fail_unit(stage, unit, failure->cause, failure->text);
}

/* Attempts of a subtask that is over at the master would never be missed, and are told as such. */
static uint64_t on_gone(void *arg, struct transfer *transfer)
{
    struct stage *stage = arg;
    struct unit *unit = transfer->owner;
    struct attempt *next;
    for (struct attempt *attempt = unit->first; attempt != NULL; attempt = next) {
        next = attempt->hold.next;
        if (attempt->fence.subtask != transfer->subtask)
            return attempt->fence.subtask;
        fail_waiting(stage, unit, MF_CAUSE_CANCELLED, "the subtask is over");
    }
    return 0;
}

static void fail_full(const struct stage *stage,
                      const struct unit *unit,
                      const struct mf_error *why,
                      struct failure *failure)
{
    const struct transfer *transfer = &unit->transfer;
    unsigned long long bytes = (unsigned long long)unit->bytes;
    if (unit == stage->job)
        fail_attempt(failure,
                     MF_CAUSE_WORKER_ERROR,
                     "the job's own files do not fit on this host: %s",
                     why->text);
    else if (transfer->file_count == 1)
        fail_attempt(failure,
                     MF_CAUSE_WORKER_ERROR,
                     "the input \"%s\" of %llu bytes does not fit on this host: %s",
                     transfer->files[0].shown,
                     (unsigned long long)transfer->files[0].size,
                     why->text);
    else
        fail_attempt(failure,
                     MF_CAUSE_WORKER_ERROR,
                     "the group of inputs that begins with \"%s\" (%llu bytes so far) does not fit "
                     "on this host: %s",
                     transfer->files[0].shown,
                     bytes > transfer->wrote ? bytes : (unsigned long long)transfer->wrote,
                     why->text);
}

static bool on_full(void *arg, struct transfer *transfer, struct failure *failure)
{
    struct stage *stage = arg;
    struct unit *unit = transfer->owner;
    uint64_t wanted = unit->bytes > transfer->wrote ? unit->bytes : transfer->wrote + 1;
    struct mf_error error;
    stop_fetching(stage, unit);
    int room = cache_make_room(stage->cache, wanted, &error);
    if (room >= 0 && ++unit->fulls <= FULLS_MAX) {
        unit->try_at_us = mf_monotonic_us() + ROOM_US;
        unit->needs_room = true;
        return true;
    }
    if (room >= 0)
        mf_raise(&error, MF_ESETUP, "it was full again and again while there seemed to be room");
    fail_full(stage, unit, &error, failure);
    return false;
}

static int set_up(struct stage *stage,
                  const struct mf_task *task,
                  const char *worker_folder,
                  struct mf_error *error)
{
    struct fetch_callbacks callbacks = {on_done, on_failed, on_gone, on_full, stage};
    stage->job_folder = mf_strdup(task->job_folder);
    if (stage->job_folder == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: staging");
    stage->rules = (struct unit_rules){.staging = task->staging,
                                       .stdin_mode = task->stdin_mode,
                                       .is_grouped = task->is_grouped,
                                       .job_folder = stage->job_folder};
    if ((stage->cache = cache_open(worker_folder, error)) == NULL ||
        (stage->fetch = fetch_create(stage->cache, &callbacks, error)) == NULL)
        return -1;
    bool is_in_place = task->own_file_count == 0 ||
                       (task->staging == MF_STAGING_AUTO && unit_job_is_in_place(task));
    stage->is_job_ready = is_in_place;
    if (!is_in_place && (stage->job = unit_create_job(task, stage->cache, error)) == NULL)
        return -1;
    return 0;
}

struct stage *stage_create(const struct mf_task *task,
                           const char *worker_folder,
                           uint32_t slots,
                           struct mf_error *error)
{
    struct stage *stage = mf_calloc(1, sizeof *stage);
    if (stage == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: staging");
        return NULL;
    }
    stage->slots = slots;
    stage->parked_last = &stage->parked;
    if (set_up(stage, task, worker_folder, error) == 0)
        return stage;
    stage_destroy(stage);
    return NULL;
}

void stage_destroy(struct stage *stage)
{
    if (stage == NULL)
        return;
    for (unsigned i = 0; i < BUCKETS; i++)
        while (stage->buckets[i] != NULL)
            drop_unit(stage, stage->buckets[i]);
    if (stage->job != NULL) {
        if (stage->job->state == UNIT_FETCHING)
            fetch_abandon(stage->fetch, &stage->job->transfer);
        cache_give_back(stage->cache, &stage->job->entry);
        unit_destroy(stage->job);
    }
    fetch_destroy(stage->fetch);
    cache_close(stage->cache);
    mf_free(stage->job_folder);
    mf_free(stage);
}

void stage_watch(struct stage *stage, const struct stage_callbacks *callbacks)
{
    stage->callbacks = *callbacks;
}

const char *stage_job_folder(const struct stage *stage)
{
    return stage->job == NULL ? NULL : stage->job->folder;
}

/* Only folders: nothing is to be asked for. */
static bool has_no_file(const struct unit *unit)
{
    for (uint32_t i = 0; i < unit->transfer.file_count; i++)
        if (!unit->transfer.files[i].is_folder)
            return false;
    return true;
}

static void make_folders(struct stage *stage, struct unit *unit)
{
    struct mf_error error;
    for (uint32_t i = 0; i < unit->transfer.file_count; i++)
        if (cache_create_folder(stage->cache, &unit->entry, unit->transfer.files[i].name) < 0) {
            mf_raise_errno(&error,
                           "cannot make the folder \"%s\" on this host",
                           unit->transfer.files[i].shown);
            stop_fetching(stage, unit);
            fail_unit(stage, unit, MF_CAUSE_WORKER_ERROR, error.text);
            return;
        }
    publish(stage, unit);
}

static void begin_fetching(struct stage *stage, struct unit *unit)
{
    unit->state = UNIT_FETCHING;
    if (unit != stage->job) {
        stage->ahead++;
        stage->ahead_bytes += unit->bytes;
    }
    if (unit->entry.is_whole)
        make_ready(stage, unit);
    else if (has_no_file(unit))
        make_folders(stage, unit);
    else
        fetch_begin(stage->fetch, &unit->transfer);
}

/* Lets a waiting unit begin, if it can now; else it has a time for its next try. */
static void try_unit(struct stage *stage, struct unit *unit, int64_t now_us)
{
    struct mf_error error;
    struct failure failure = {0};
    int rc = cache_make_room(stage->cache, unit->bytes, &error);
    unit->needs_room = rc == 0;
    if (rc == 0) {
        unit->try_at_us = now_us + ROOM_US;
        return;
    }
    if (rc < 0) {
        fail_full(stage, unit, &error, &failure);
        fail_unit(stage, unit, failure.cause, failure.text);
        return;
    }
    rc = cache_take(stage->cache, unit->key, &unit->entry, &error);
    if (rc < 0)
        fail_unit(stage, unit, MF_CAUSE_WORKER_ERROR, error.text);
    else if (rc == 0)
        unit->try_at_us = now_us + BUSY_US;
    else
        begin_fetching(stage, unit);
}

/* `busy` more are ahead, with other workers. */
static bool may_begin(const struct stage *stage, const struct unit *unit, uint32_t busy)
{
    if (stage->ahead + busy == 0)
        return true;
    return stage->ahead + busy < 2 * stage->slots + 2 && stage->ahead_bytes < AHEAD_BYTES &&
           unit->bytes <= AHEAD_BYTES - stage->ahead_bytes;
}

static int64_t begin_units(struct stage *stage, int64_t now_us)
{
    int64_t deadline_us = MF_NEVER;
    uint32_t busy = 0;
    struct unit *next;
    for (struct unit *unit = stage->first; unit != NULL; unit = next) {
        next = unit->next;
        if (unit->state != UNIT_WAITING)
            continue;
        if (!may_begin(stage, unit, busy))
            break;
        if (now_us < unit->try_at_us) {
            deadline_us = unit->try_at_us < deadline_us ? unit->try_at_us : deadline_us;
            busy++;
            if (unit->needs_room)
                break;
            continue;
        }
        try_unit(stage, unit, now_us);
        next = stage->first; /* from the start: it may have gone, or have a time now */
        busy = 0;
    }
    return deadline_us;
}

int64_t stage_tick(struct stage *stage, int64_t now_us)
{
    int64_t deadline_us = MF_NEVER;
    struct unit *job = stage->job;
    if (!stage->is_job_ready && job->state == UNIT_WAITING && !stage->has_job_failed) {
        if (now_us >= job->try_at_us)
            try_unit(stage, job, now_us);
        if (job->state == UNIT_WAITING && !stage->has_job_failed)
            deadline_us = job->try_at_us;
    }
    /* Nothing else before: an input must not take the room that they need. */
    if (stage->is_job_ready)
        deadline_us = begin_units(stage, now_us);
    int64_t fetch_us = fetch_deadline(stage->fetch);
    return fetch_us < deadline_us ? fetch_us : deadline_us;
}

int stage_next(struct stage *stage, unsigned lane, int64_t now_us, struct mf_fetch *message)
{
    return fetch_next(stage->fetch, lane, now_us, message);
}

int stage_take(struct stage *stage,
               unsigned lane,
               const struct mf_piece *piece,
               int64_t now_us,
               struct mf_error *error)
{
    return fetch_take(stage->fetch, lane, piece, now_us, error);
}

void stage_restart(struct stage *stage)
{
    fetch_restart(stage->fetch);
}
