/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of messages: see queue_batch.h. Texts stand one behind the other, each with a NUL. */
#include "master/commands/queue_batch.h"

#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/commands/queue.h"

#define NONE SIZE_MAX

/* Where the texts of a message begin. */
struct queue_batch_entry {
    size_t body, body_length;
    size_t key, group; /* NONE = it has none */
    uint64_t number;
};

static int
add_text(struct queue_batch *batch, struct mf_bytes text, size_t *at, struct mf_error *error)
{
    *at = batch->texts.length;
    if (mf_buffer_append(&batch->texts, text.data, text.length, error) < 0)
        return -1;
    return mf_buffer_append(&batch->texts, "", 1, error);
}

static int
add_string(struct queue_batch *batch, const char *text, size_t *at, struct mf_error *error)
{
    *at = NONE;
    return text == NULL ? 0 : add_text(batch, mf_bytes_text(text), at, error);
}

static int make_room(struct queue_batch *batch, struct mf_error *error)
{
    if (batch->count < batch->capacity)
        return 0;
    size_t capacity = batch->capacity == 0 ? 16 : 2 * batch->capacity;
    struct queue_batch_entry *more = mf_realloc(batch->entries, capacity * sizeof *more);
    if (more == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: messages to push");
    batch->entries = more;
    batch->capacity = capacity;
    return 0;
}

int queue_batch_add(struct queue_batch *batch,
                    const struct queue_input_item *item,
                    struct mf_error *error)
{
    struct queue_batch_entry entry = {.body_length = item->body.length, .number = item->number};
    if (make_room(batch, error) < 0 || add_text(batch, item->body, &entry.body, error) < 0 ||
        add_string(batch, item->key, &entry.key, error) < 0 ||
        add_string(batch, item->group, &entry.group, error) < 0)
        return -1;
    batch->entries[batch->count++] = entry;
    return 0;
}

bool queue_batch_is_full(const struct queue_batch *batch)
{
    return batch->count >= QUEUE_BATCH_MESSAGES || batch->texts.length >= QUEUE_BATCH_BYTES;
}

static const char *text_at(const struct queue_batch *batch, size_t at)
{
    return at == NONE ? NULL : (const char *)batch->texts.data + at;
}

/* Within the transaction. *pushed of them are new. */
static int push_all(struct queue_batch *batch,
                    const struct queue_info *queue,
                    uint64_t *pushed,
                    uint64_t *refused,
                    struct mf_error *error)
{
    int64_t now_us = mf_wall_us();
    bool has_keys = false;
    for (size_t i = 0; i < batch->count; i++) {
        const struct queue_batch_entry *entry = &batch->entries[i];
        struct queue_message message = {
            .body = mf_bytes_of(batch->texts.data + entry->body, entry->body_length),
            .key = text_at(batch, entry->key),
            .group = text_at(batch, entry->group)};
        int rc = queue_push(batch->queues, queue, &message, now_us, error);
        if (rc < 0) {
            *refused = error->code == MF_EUSAGE ? entry->number : 0;
            return -1;
        }
        *pushed += (uint64_t)rc;
        has_keys |= message.key != NULL;
    }
    return has_keys ? queue_forget_keys(batch->queues, now_us, error) : 0;
}

int queue_batch_write(struct queue_batch *batch, uint64_t *refused, struct mf_error *error)
{
    struct queue_info queue;
    uint64_t pushed = 0, number = 0;
    *refused = 0;
    if (batch->count > 0)
        number = batch->entries[batch->count - 1].number;
    int rc = queues_begin(batch->queues, error);
    if (rc == 0)
        rc = queue_find(batch->queues, batch->queue, &queue, error) < 0 ||
                     push_all(batch, &queue, &pushed, refused, error) < 0
                 ? -1
                 : queue_command_commit(batch->queues, queue.id, batch->started, error);
    if (rc == 0) {
        batch->pushed += pushed;
        batch->known += batch->count - pushed;
        batch->written_to = number;
    }
    queues_rollback(batch->queues);
    batch->count = 0;
    mf_buffer_clear(&batch->texts);
    return rc;
}

void queue_batch_fini(struct queue_batch *batch)
{
    mf_buffer_fini(&batch->texts);
    mf_free(batch->entries);
    json_decref(batch->started);
}
