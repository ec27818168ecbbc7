/* SPDX-License-Identifier: Apache-2.0 */
/* What those need who bring messages from elsewhere into a queue (master/source). */
#ifndef MAYFLY_MASTER_QUEUE_BRIDGE_H
#define MAYFLY_MASTER_QUEUE_BRIDGE_H

#include "master/queue/queue.h"

#define QUEUE_CONSUMER_SIZE 32u

/*
 * A name of this queues.db towards brokers, made when it is first asked for: "mayfly-" and 16
 * digits. What was taken from a broker under it has its keys in this file. Within a transaction.
 */
int queues_consumer(struct queues *queues, char name[QUEUE_CONSUMER_SIZE], struct mf_error *error);

/*
 * A dead letter that never was a message: body (of any size), key and cause of `message`. 1; 0 when
 * a message with that key came before. Within a transaction.
 */
int queue_push_dead(struct queues *queues,
                    const struct queue_info *queue,
                    const struct queue_message *message,
                    int64_t now_us,
                    struct mf_error *error);

/* What a dead message says is something else now. Within a transaction. */
int queue_set_body(struct queues *queues, int64_t id, struct mf_bytes body, struct mf_error *error);

/* Whether a key is new to the queue: 1, and it is remembered; 0; -1. Within a transaction. */
int queue_see(struct queues *queues,
              const struct queue_info *queue,
              const char *key,
              int64_t now_us,
              struct mf_error *error);

#endif
