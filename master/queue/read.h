/* SPDX-License-Identifier: Apache-2.0 */
/* Messages as rows. Within this station only. */
#ifndef MAYFLY_MASTER_QUEUE_READ_H
#define MAYFLY_MASTER_QUEUE_READ_H

#include "master/queue/queue.h"

#define QUEUE_MESSAGE_COLUMNS                                                                      \
    "id, state, arrived_us, claims, failures, key, grp, run_id, cause, body, queue"

/* Calls f for each row of the statement (of these columns) until it returns non-zero. */
int queue_read_messages(struct queues *queues,
                        sqlite3_stmt *stmt,
                        queue_message_f *f,
                        void *arg,
                        struct mf_error *error);

#endif
