/* SPDX-License-Identifier: Apache-2.0 */
/* Within the job module: whether the keys of a split `queue` go together, and what templates may
 * ask of a message. */
#include <string.h>

#include "common/alloc.h"
#include "common/placeholder.h"
#include "master/job/read.h"

#define QUEUE_NAME_MAX_BYTES 64 /* as in master/queue/queue.h */

static bool is_queue_name(const char *name)
{
    static const char others[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t length = strlen(name);
    return length > 0 && length <= QUEUE_NAME_MAX_BYTES && strspn(name, others) == length;
}

/* The bare word: the queue of the trigger. */
static int take_queue_of_trigger(const struct reader *reader, struct mf_error *error)
{
    struct job *job = reader->job;
    if (job->trigger.kind != TRIGGER_QUEUE)
        return reader_raise(reader,
                            "split",
                            error,
                            "the bare word 'queue' means that of trigger.queue, which is not "
                            "given; expected for example {queue: documents}");
    job->split.queue = mf_strdup(job->trigger.queue);
    return job->split.queue == NULL
               ? mf_raise(error, MF_ENOMEM, "out of memory while reading the job file")
               : 0;
}

static int refuse_others(const struct reader *reader, struct mf_error *error)
{
    static const char *const options[] = {"split.max_batch", "split.items"};
    for (size_t i = 0; i < 2; i++)
        if (reader_seen(reader, options[i]) > 0)
            return reader_raise(reader, options[i], error, "this option is only for queue");
    return 0;
}

int check_queue_split(const struct reader *reader, struct mf_error *error)
{
    struct job *job = reader->job;
    struct job_split *split = &job->split;
    if (split->kind != SPLIT_QUEUE)
        return refuse_others(reader, error);
    if (split->queue == NULL && take_queue_of_trigger(reader, error) < 0)
        return -1;
    if (split->queue == NULL || !is_queue_name(split->queue))
        return reader_raise(reader,
                            "split.queue",
                            error,
                            "expected a queue's name of at most %d letters, digits, '.', '-' and "
                            "'_', got '%.80s'",
                            QUEUE_NAME_MAX_BYTES,
                            split->queue);
    if (split->only.count > 0)
        return reader_raise(reader,
                            "split.only",
                            error,
                            "a queue has no pieces with numbers that stay: each run gets others");
    if (reader_seen(reader, "split.max_batch") == 0 && job->trigger.kind == TRIGGER_QUEUE &&
        strcmp(job->trigger.queue, split->queue) == 0)
        split->batch_max = job->trigger.batch_max;
    return 0;
}

int check_queue_template(const struct reader *reader,
                         const char *key,
                         const char *text,
                         struct mf_error *error)
{
    const struct job_split *split = &reader->job->split;
    bool is_queue = split->kind == SPLIT_QUEUE;
    if (mf_placeholder_has(text, "message") && !is_queue)
        return reader_raise(reader,
                            key,
                            error,
                            "{message} is of no use here: only the split queue has messages; "
                            "{{message}} is the text itself");
    if (mf_placeholder_has(text, "field") && (!is_queue || split->items == QUEUE_FILES))
        return reader_raise(reader,
                            key,
                            error,
                            "{field:NAME} is of no use here: only messages of a queue that are "
                            "JSON objects have fields");
    return 0;
}
