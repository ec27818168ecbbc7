/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscribers that are queues: the event is pushed on, or each line of the run's result. The key of
 * a message is the event's id (with the number of the line), so that what is pushed twice is there
 * once. All lines are pushed in one transaction, and what waits for them fires in it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/notify/tell.h"
#include "master/queue/queue.h"
#include "master/trigger/evaluate.h"
#include "master/trigger/handover.h"

struct target {
    struct queues *queues;
    struct trigger_fired fired; /* because of what was pushed */
    struct queue_info info;
    const struct tell *tell;
    int64_t now_us;
};

static int push(struct target *target, struct mf_bytes body, uint64_t line, struct mf_error *error)
{
    char key[160];
    struct queue_message message = {.key = key, .body = body};
    if (line == 0)
        snprintf(key, sizeof key, "%s", target->tell->id);
    else
        snprintf(key, sizeof key, "%s:%llu", target->tell->id, (unsigned long long)line);
    if (queue_push(target->queues, &target->info, &message, target->now_us, error) >= 0)
        return 0;
    return line == 0 ? -1
                     : mf_error_prefix(error, "line %llu of the result", (unsigned long long)line);
}

static int push_lines(struct target *target, FILE *result, struct mf_error *error)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    uint64_t number = 0;
    int rc = 0;
    while (rc == 0 && (length = getline(&line, &size, result)) >= 0) {
        number++;
        if (length > 0 && line[length - 1] == '\n')
            length--;
        if (length > 0)
            rc = push(target, mf_bytes_of(line, (size_t)length), number, error);
        if (__atomic_load_n(target->tell->stop, __ATOMIC_RELAXED) != 0 && rc == 0)
            rc = mf_raise(error, MF_ESETUP, "it was given up, because mayfly was to end at once");
    }
    if (rc == 0 && ferror(result))
        rc = mf_raise_errno(error, "the result cannot be read");
    free(line); /* the C library's own */
    return rc;
}

/* Events that have a result: those of a run that has one. */
static int push_result(struct target *target, struct mf_error *error)
{
    const char *event = target->tell->event;
    if (strcmp(event, "succeeded") != 0 && strcmp(event, "partial") != 0)
        return 0;
    char *path = mf_format("%s/result", target->tell->folder);
    FILE *result = path == NULL ? NULL : fopen(path, "re");
    int rc = result != NULL    ? push_lines(target, result, error)
             : path == NULL    ? mf_raise(error, MF_ENOMEM, "out of memory")
             : errno == ENOENT ? 0 /* gather: none */
                               : mf_raise_errno(error, "%s cannot be read", path);
    if (result != NULL)
        fclose(result);
    mf_free(path);
    return rc;
}

static int push_all(struct target *target, struct mf_error *error)
{
    const struct job_notify *to = target->tell->to;
    if (queues_begin(target->queues, error) < 0)
        return -1;
    int rc = queue_find(target->queues, to->queue, &target->info, error) < 0 ? -1
             : to->lines ? push_result(target, error)
                         : push(target, target->tell->body, 0, error);
    if (rc == 0)
        rc = trigger_evaluate_queue(
            target->queues, target->info.id, target->now_us, &target->fired, error);
    if (rc == 0)
        rc = queues_commit(target->queues, error);
    else
        queues_rollback(target->queues);
    return rc;
}

/* What does not begin now is begun by the next sweep; the event is in the queue. */
static void start_fired(struct target *target)
{
    struct mf_error error;
    if (target->fired.count > 0 &&
        trigger_hand_over(target->queues, &target->fired, NULL, NULL, &error) < 0)
        mf_log(MF_WARNING, "what waits for queue %s: %s", target->tell->to->queue, error.text);
}

void tell_queue(const struct tell *tell, struct told *told)
{
    struct mf_error error = {0};
    struct target target = {.tell = tell, .now_us = mf_wall_us()};
    char *path = queues_path(&error);
    int rc = path == NULL ? -1 : queues_open(path, false, &target.queues, &error);
    if (rc == 0)
        rc = mf_raise(&error,
                      MF_EUSAGE,
                      "there is no queue %s: make it with mayfly queue create %s",
                      tell->to->queue,
                      tell->to->queue);
    else if (rc > 0)
        rc = push_all(&target, &error);
    if (rc == 0)
        start_fired(&target);
    if (rc < 0)
        told_set(told, TELL_LATER, "%s", error.text);
    else
        told->verdict = TOLD;
    trigger_fired_fini(&target.fired);
    queues_close(target.queues);
    mf_free(path);
}
