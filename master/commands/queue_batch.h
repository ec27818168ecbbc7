/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that are pushed together: collected first, then written in one transaction, so that the
 * file is locked for the writing only, however slowly they come. One thread.
 */
#ifndef MAYFLY_MASTER_COMMANDS_QUEUE_BATCH_H
#define MAYFLY_MASTER_COMMANDS_QUEUE_BATCH_H

#include <jansson.h>

#include "master/commands/queue_input.h"
#include "master/queue/queue.h"

#define QUEUE_BATCH_MESSAGES 5000u
#define QUEUE_BATCH_BYTES (4u * 1024 * 1024)

struct queue_batch_entry;

/* Zero-initialised but for the first three; release with queue_batch_fini. */
struct queue_batch {
    struct queues *queues;
    const char *queue; /* name */
    json_t *started;   /* gets the runs that a push has started; NULL = nobody wants to know */
    struct mf_buffer texts;
    struct queue_batch_entry *entries;
    size_t count, capacity;
    /* Of all that were written so far: new ones, those whose key came before, and the last line. */
    uint64_t pushed, known, written_to;
};

/* Copies it. */
int queue_batch_add(struct queue_batch *batch,
                    const struct queue_input_item *item,
                    struct mf_error *error);
bool queue_batch_is_full(const struct queue_batch *batch);
/* Writes what was collected: all of it or nothing. *refused is the line of the message that was
 * refused, 0 when it was no message's fault. The batch is empty then in either case. */
int queue_batch_write(struct queue_batch *batch, uint64_t *refused, struct mf_error *error);
void queue_batch_fini(struct queue_batch *batch);

#endif
