/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor: see executor.h. It owns the attempts, the slot processes and their order of work;
 * executor_life.c makes and ends it.
 *
 * Submitting only queues; executor_tick, which the loop calls before each wait, hands out, so that
 * callbacks never come out of executor_submit. A slot whose last attempt was short gets one ahead;
 * when its present one then turns out to be long, the one ahead is asked back.
 *
 * Results in memory that nobody has acknowledged are bounded: beyond KEPT_MAX nothing more is
 * started (what runs may still add to it). Large ones are files.
 *
 * A slot process that dies leaves its tree to this process, which is a sub-reaper too: all children
 * that are no slots are killed, and only then the attempt is reported and the slot started again.
 * A slot that dies more than DEATHS_MAX times with nothing to do makes the executor fail.
 */
#include "worker/executor.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "worker/executor_internal.h"
#include "worker/harvest.h"
#include "worker/journal.h"
#include "worker/place.h"

#define SHORT_US 50000      /* attempts up to this are worth handing ahead */
#define RECALL_US 100000    /* a slot that is busy for longer gives back what it has ahead */
#define CLEAN_AGAIN_US 5000 /* between two looks for what a dead slot left */
#define DEATHS_MAX 3
#define KEPT_MAX (32u << 20) /* with so much unacknowledged in memory nothing more is started */

static void fail_executor(struct executor *executor, const struct mf_error *error)
{
    if (executor->failed)
        return;
    executor->failed = true;
    executor->callbacks.failed(executor->callbacks.arg, error);
}

static void end_attempt(struct executor *executor, struct attempt *attempt)
{
    if (executor->stage != NULL)
        stage_release(executor->stage, attempt);
    attempt->state = ATTEMPT_ENDED;
    attempt->kept = sizeof *attempt + attempt->executed.result.inline_result.length +
                    attempt->executed.result.detail.length;
    executor->kept += attempt->kept;
    executor->attempts.unended--;
    MF_CRASH(WORKER_BEFORE_END);
    journal_end(&attempt->executed);
    executor->callbacks.ended(executor->callbacks.arg, &attempt->executed);
    MF_CRASH(WORKER_AFTER_END);
}

/* Forgets an attempt that never ran, and says so. */
static void return_attempt(struct executor *executor, struct attempt *attempt)
{
    struct mf_fence fence = attempt->fence;
    if (executor->stage != NULL)
        stage_release(executor->stage, attempt);
    attempts_remove(&executor->attempts, attempt);
    executor->callbacks.returned(executor->callbacks.arg, &fence);
}

static void slot_died(struct slot_process *slot)
{
    struct executor *executor = slot->executor;
    char why[64], detail[160];
    mf_loop_remove(executor->loop, slot->fd);
    slot_process_kill(slot, why, sizeof why);
    mf_log(MF_WARNING, "the process of slot %u %s", slot->number, why);
    slot->deaths = slot->running == NULL ? slot->deaths + 1 : 0;
    snprintf(detail, sizeof detail, "the slot process that ran it %s", why);
    if (slot->running != NULL)
        harvest_lost(slot->running, detail);
    executor->dead++;
    executor->clean_at_us = 0;
    executor->clean_limit_us = mf_monotonic_us() + CLEAN_LIMIT_US;
}

static void flush_slot(struct slot_process *slot)
{
    bool wanted_room = slot->wants_room;
    if (slot_process_send(slot) < 0)
        return; /* its end of file follows, after what it still has to say */
    if (slot->wants_room != wanted_room)
        mf_loop_change(
            slot->executor->loop, slot->fd, slot->wants_room ? EPOLLIN | EPOLLOUT : EPOLLIN, NULL);
}

static void say(struct slot_process *slot, enum slot_message kind, const struct mf_fence *fence)
{
    struct mf_error error;
    if (slot_process_say(slot, kind, fence, &error) < 0)
        fail_executor(slot->executor, &error);
    else
        flush_slot(slot);
}

static void begin_running(struct slot_process *slot, struct attempt *attempt, int64_t now_us)
{
    struct executor *executor = slot->executor;
    attempt->state = ATTEMPT_RUNNING;
    slot->running = attempt;
    slot->since_us = now_us;
    executor->callbacks.started(executor->callbacks.arg, &attempt->fence);
    if (attempt->cancel)
        say(slot, SLOT_CANCEL, &attempt->fence);
}

/* If this process dies, the next one begins behind what it has written to. */
static void note_segment(struct slot_process *slot,
                         const struct slot_stream *out,
                         const struct slot_stream *err)
{
    slot->segment = out->segment > err->segment ? out->segment : err->segment;
}

static void slot_took_ended(struct slot_process *slot, struct mf_bytes body)
{
    struct slot_ended ended;
    struct executor *executor = slot->executor;
    struct attempt *attempt = slot->running;
    struct mf_error error;
    memcpy(&ended, body.data, sizeof ended);
    struct mf_bytes inline_result = mf_bytes_of(body.data + sizeof ended, ended.inline_length);
    struct mf_bytes detail =
        mf_bytes_of(inline_result.data + ended.inline_length, ended.detail_length);
    struct harvest harvest = {executor->folder, slot->number, slot->segments};
    if (harvest_ended(&harvest, attempt, &ended, inline_result, detail, &error) < 0) {
        fail_executor(executor, &error);
        return;
    }
    note_segment(slot, &ended.out, &ended.err);
    slot->short_attempts = ended.wall_us <= SHORT_US;
    slot->deaths = 0;
    slot->running = NULL;
    if (slot->ahead != NULL) {
        struct attempt *next = slot->ahead;
        slot->ahead = NULL;
        slot->recalled = false;
        begin_running(slot, next, ended.ended_us);
    }
    end_attempt(executor, attempt);
}

static void slot_took_returned(struct slot_process *slot)
{
    struct executor *executor = slot->executor;
    struct attempt *attempt = slot->ahead;
    slot->ahead = NULL;
    slot->recalled = false;
    if (attempt->take_back || attempt->cancel)
        return_attempt(executor, attempt);
    else
        attempts_push_front(&executor->attempts, attempt);
}

static int slot_took_output(struct slot_process *slot, struct mf_bytes body, struct mf_error *error)
{
    struct slot_output output;
    struct harvest harvest = {slot->executor->folder, slot->number, slot->segments};
    memcpy(&output, body.data, sizeof output);
    struct mf_bytes name = mf_bytes_of(body.data + sizeof output, body.length - sizeof output);
    return harvest_output(&harvest, slot->running, &output, name, error);
}

static int
slot_took_streams(struct slot_process *slot, struct mf_bytes body, struct mf_error *error)
{
    struct slot_streams streams;
    struct executed_growth growth;
    struct executor *executor = slot->executor;
    struct harvest harvest = {executor->folder, slot->number, slot->segments};
    memcpy(&streams, body.data, sizeof streams);
    if (harvest_streams(&harvest, slot->running, &streams, &growth, error) < 0)
        return -1;
    note_segment(slot, &streams.out, &streams.err);
    executor->callbacks.grew(executor->callbacks.arg, &growth);
    return 0;
}

static bool fits(uint32_t kind, const struct slot_process *slot, struct mf_bytes body)
{
    struct slot_ended ended;
    struct mf_fence fence;
    const struct attempt *expected = kind == SLOT_RETURNED ? slot->ahead : slot->running;
    if (expected == NULL || body.length < sizeof fence)
        return false;
    memcpy(&fence, body.data, sizeof fence);
    if (!slot_same_fence(&fence, &expected->fence))
        return false;
    if (kind == SLOT_RETURNED)
        return body.length == sizeof fence;
    if (kind == SLOT_OUTPUT)
        return body.length > sizeof(struct slot_output);
    if (kind == SLOT_STREAMS)
        return body.length == sizeof(struct slot_streams);
    if (kind != SLOT_ENDED || body.length < sizeof ended)
        return false;
    memcpy(&ended, body.data, sizeof ended);
    return body.length == sizeof ended + ended.inline_length + ended.detail_length;
}

static void handle_slot_messages(struct slot_process *slot)
{
    struct executor *executor = slot->executor;
    struct mf_bytes body;
    struct mf_error error;
    uint32_t kind;
    while (!executor->failed && slot_process_next(slot, &kind, &body)) {
        if (!fits(kind, slot, body)) {
            mf_raise(&error, MF_EPROTOCOL, "slot %u said something unexpected", slot->number);
            fail_executor(executor, &error);
        } else if (kind == SLOT_ENDED) {
            slot_took_ended(slot, body);
        } else if (kind == SLOT_RETURNED) {
            slot_took_returned(slot);
        } else if ((kind == SLOT_STREAMS ? slot_took_streams(slot, body, &error)
                                         : slot_took_output(slot, body, &error)) < 0) {
            fail_executor(executor, &error);
        }
    }
}

static void on_slot(void *arg, uint32_t events)
{
    struct slot_process *slot = arg;
    struct mf_error error = {0};
    if ((events & EPOLLOUT) != 0)
        flush_slot(slot);
    if ((events & ~(uint32_t)EPOLLOUT) == 0)
        return;
    int rc = slot_process_read(slot, &error);
    if (rc > 0)
        handle_slot_messages(slot);
    else if (rc < 0 && error.code == MF_ENOMEM)
        fail_executor(slot->executor, &error);
    else if (rc < 0)
        slot_died(slot);
}

int executor_start_slot(struct executor *executor,
                        struct slot_process *slot,
                        struct mf_error *error)
{
    if (slot_process_start(slot, executor->binary, executor->folder, executor->slot_env, error) < 0)
        return -1;
    uint32_t events = slot->wants_room ? EPOLLIN | EPOLLOUT : EPOLLIN;
    if (mf_loop_add(executor->loop, slot->fd, events, on_slot, slot, error) == 0)
        return 0;
    slot_process_kill(slot, NULL, 0);
    return -1;
}

/* Hands the queue's first attempt to the slot: at once, or ahead. */
static void hand_over(struct executor *executor, struct slot_process *slot, int64_t now_us)
{
    struct attempt *attempt = executor->attempts.first;
    struct mf_error error;
    struct staged_input staged = {0};
    attempts_unqueue(&executor->attempts, attempt);
    if (executor->stage != NULL) {
        stage_input(executor->stage, attempt, &staged);
        stage_started(executor->stage, attempt);
    }
    if (request_make(
            executor->maker, &attempt->subtask, &staged, slot->number, &slot->out, &error) < 0) {
        bool no_memory = error.code == MF_ENOMEM;
        harvest_failure(
            attempt, no_memory ? MF_CAUSE_WORKER_ERROR : MF_CAUSE_NOT_STARTED, error.text);
        end_attempt(executor, attempt);
        return;
    }
    MF_CRASH(WORKER_BEFORE_START);
    flush_slot(slot);
    MF_CRASH(WORKER_AFTER_START);
    if (slot->running == NULL) {
        begin_running(slot, attempt, now_us);
    } else {
        attempt->state = ATTEMPT_AHEAD;
        slot->ahead = attempt;
    }
}

/* Neither a subtask that was lost or failed before nor one behind it: if that one kills the worker,
 * it is known which of them ran. */
static bool may_have_ahead(const struct slot_process *slot, const struct attempt *next)
{
    return next != NULL && slot->pid > 0 && slot->ahead == NULL && slot->running != NULL &&
           slot->short_attempts && next->fence.attempt == 1 && slot->running->fence.attempt == 1;
}

static void hand_out(struct executor *executor, int64_t now_us)
{
    struct attempts *attempts = &executor->attempts;
    if (executor->kept >= KEPT_MAX)
        return;
    for (uint32_t i = 0; i < executor->slot_count; i++) {
        struct slot_process *slot = &executor->slots[i];
        while (attempts->first != NULL && slot->pid > 0 && slot->running == NULL)
            hand_over(executor, slot, now_us);
    }
    for (uint32_t i = 0; i < executor->slot_count; i++) {
        struct slot_process *slot = &executor->slots[i];
        while (may_have_ahead(slot, attempts->first) && now_us - slot->since_us < RECALL_US)
            hand_over(executor, slot, now_us);
    }
}

/* Asks back what waits behind a long attempt; returns when to look again. */
static int64_t recall_long(struct slot_process *slot, int64_t now_us)
{
    if (slot->ahead == NULL || slot->recalled)
        return MF_NEVER;
    if (now_us - slot->since_us < RECALL_US)
        return slot->since_us + RECALL_US;
    slot->recalled = true;
    slot->short_attempts = false;
    say(slot, SLOT_RECALL, &slot->ahead->fence);
    return MF_NEVER;
}

static void remove_attempt_folders(const struct executor *executor, const struct mf_fence *fence)
{
    char name[SLOT_NAME_SIZE];
    slot_folder_name(name, fence);
    for (int i = 0; i < 2; i++) {
        char *path = mf_format("%s/attempts/%s%s", executor->folder, name, i == 0 ? "" : ".out");
        if (path != NULL)
            place_remove(path, NULL, NULL);
        mf_free(path);
    }
}

/* The leftovers of a dead slot are gone: reports its attempt and starts it again. */
static void revive_slot(struct executor *executor, struct slot_process *slot)
{
    struct attempt *running = slot->running, *ahead = slot->ahead;
    struct mf_error error;
    slot->running = slot->ahead = NULL;
    slot->segment++;
    if (ahead != NULL && (ahead->take_back || ahead->cancel))
        return_attempt(executor, ahead);
    else if (ahead != NULL)
        attempts_push_front(&executor->attempts, ahead);
    if (running != NULL) {
        remove_attempt_folders(executor, &running->fence);
        end_attempt(executor, running);
    }
    if (slot->deaths > DEATHS_MAX) {
        mf_raise(&error,
                 MF_ESYSTEM,
                 "the process of slot %u has died %u times without doing anything",
                 slot->number,
                 slot->deaths);
        fail_executor(executor, &error);
    } else if (executor_start_slot(executor, slot, &error) < 0) {
        fail_executor(executor, &error);
    }
}

static int64_t clean_up(struct executor *executor, int64_t now_us)
{
    if (executor->dead == 0)
        return MF_NEVER;
    if (now_us < executor->clean_at_us)
        return executor->clean_at_us;
    unsigned found = slots_kill_leftovers(executor->slots, executor->slot_count);
    if (found > 0 && now_us < executor->clean_limit_us) {
        executor->clean_at_us = now_us + CLEAN_AGAIN_US;
        return executor->clean_at_us;
    }
    if (found > 0)
        mf_log(MF_WARNING, "%u processes that a slot left behind cannot be ended", found);
    executor->dead = 0;
    for (uint32_t i = 0; i < executor->slot_count && !executor->failed; i++)
        if (executor->slots[i].pid == 0)
            revive_slot(executor, &executor->slots[i]);
    return MF_NEVER;
}

/* What it needs is there: into the queue. */
static void on_ready(void *arg, struct attempt *attempt)
{
    struct executor *executor = arg;
    executor->attempts.staging--;
    attempts_push_back(&executor->attempts, attempt);
}

static void on_unstaged(void *arg, struct attempt *attempt, uint32_t cause, const char *detail)
{
    struct executor *executor = arg;
    executor->attempts.staging--;
    harvest_failure(attempt, cause, detail);
    end_attempt(executor, attempt);
}

void executor_watch_stage(struct executor *executor)
{
    if (executor->stage != NULL)
        stage_watch(executor->stage, &(struct stage_callbacks){on_ready, on_unstaged, executor});
}

int64_t executor_tick(struct executor *executor, int64_t now_us)
{
    if (executor->failed)
        return MF_NEVER;
    int64_t next = clean_up(executor, now_us);
    int64_t stage_us = executor->stage == NULL ? MF_NEVER : stage_tick(executor->stage, now_us);
    next = stage_us < next ? stage_us : next;
    hand_out(executor, now_us);
    for (uint32_t i = 0; i < executor->slot_count; i++) {
        int64_t at = recall_long(&executor->slots[i], now_us);
        next = at < next ? at : next;
    }
    return next;
}

int executor_submit(struct executor *executor,
                    const struct mf_subtask *subtask,
                    struct mf_error *error)
{
    struct mf_fence fence = {subtask->id, subtask->attempt, subtask->epoch};
    if (attempts_find(&executor->attempts, &fence) != NULL)
        return 0;
    struct attempt *attempt = attempts_add(&executor->attempts, subtask, error);
    if (attempt == NULL)
        return -1;
    int waits = executor->stage == NULL ? 0 : stage_add(executor->stage, attempt, error);
    if (waits < 0) {
        attempts_remove(&executor->attempts, attempt);
        return -1;
    }
    if (waits == 0) {
        attempts_push_back(&executor->attempts, attempt);
        return 0;
    }
    attempt->state = ATTEMPT_STAGING;
    executor->attempts.staging++;
    return 0;
}

static struct slot_process *holder_of(const struct executor *executor,
                                      const struct attempt *attempt)
{
    for (uint32_t i = 0; i < executor->slot_count; i++)
        if (executor->slots[i].running == attempt || executor->slots[i].ahead == attempt)
            return &executor->slots[i];
    return NULL;
}

static bool is_not_with_a_slot(const struct attempt *attempt)
{
    return attempt->state == ATTEMPT_STAGING || attempt->state == ATTEMPT_QUEUED;
}

static void give_back(struct executor *executor, struct attempt *attempt)
{
    if (attempt->state == ATTEMPT_STAGING)
        executor->attempts.staging--;
    else
        attempts_unqueue(&executor->attempts, attempt);
    return_attempt(executor, attempt);
}

void executor_take_back(struct executor *executor, const struct mf_fence *fence)
{
    struct attempt *attempt = attempts_find(&executor->attempts, fence);
    if (attempt == NULL)
        return;
    if (is_not_with_a_slot(attempt)) {
        give_back(executor, attempt);
    } else if (attempt->state == ATTEMPT_AHEAD) {
        struct slot_process *slot = holder_of(executor, attempt);
        attempt->take_back = true;
        if (slot->pid > 0 && !slot->recalled) {
            slot->recalled = true;
            say(slot, SLOT_RECALL, fence);
        }
    }
}

static void cancel(struct executor *executor, struct attempt *attempt)
{
    if (is_not_with_a_slot(attempt)) {
        give_back(executor, attempt);
    } else if (attempt->state != ATTEMPT_ENDED && !attempt->cancel) {
        struct slot_process *slot = holder_of(executor, attempt);
        attempt->cancel = true;
        if (slot->pid > 0)
            say(slot, SLOT_CANCEL, &attempt->fence);
    }
}

void executor_cancel(struct executor *executor, const struct mf_fence *fence)
{
    struct attempt *attempt = attempts_find(&executor->attempts, fence);
    if (attempt != NULL)
        cancel(executor, attempt);
}

static void cancel_each(void *arg, struct attempt *attempt)
{
    cancel(arg, attempt);
}

void executor_cancel_all(struct executor *executor)
{
    attempts_each(&executor->attempts, cancel_each, executor);
}

void executor_release(struct executor *executor, struct executed *executed)
{
    if (executed == NULL)
        return;
    struct attempt *attempt =
        (struct attempt *)(void *)((char *)executed - offsetof(struct attempt, executed));
    executor->kept -= attempt->kept;
    harvest_release(executor->folder, attempt);
    attempts_remove(&executor->attempts, attempt);
}

uint32_t executor_running(const struct executor *executor, struct mf_fence *fences, uint32_t size)
{
    uint32_t count = 0;
    for (uint32_t i = 0; executor != NULL && i < executor->slot_count; i++) {
        const struct attempt *held[2] = {executor->slots[i].running, executor->slots[i].ahead};
        for (int j = 0; j < 2; j++)
            if (held[j] != NULL && count < size)
                fences[count++] = held[j]->fence;
    }
    return count;
}

uint32_t executor_free_places(const struct executor *executor)
{
    uint32_t idle = 0;
    if (executor->kept >= KEPT_MAX)
        return 0;
    for (uint32_t i = 0; i < executor->slot_count; i++)
        idle += executor->slots[i].pid > 0 && executor->slots[i].running == NULL;
    uint32_t waiting = executor->attempts.staging + executor->attempts.queued;
    return idle > waiting ? idle - waiting : 0;
}

uint32_t executor_queued(const struct executor *executor)
{
    return executor->attempts.unended;
}
