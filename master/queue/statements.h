/* SPDX-License-Identifier: Apache-2.0 */
/* Statements on queues.db: each is prepared when it is first used and kept as long as the file is
 * open. For the stations that keep tables there. */
#ifndef MAYFLY_MASTER_QUEUE_STATEMENTS_H
#define MAYFLY_MASTER_QUEUE_STATEMENTS_H

#include "master/queue/queue.h"

/* The statement of `sql`, a constant: it is found again by its address. NULL with an error. It is
 * reset by queue_step and queue_run, whatever becomes of it. */
sqlite3_stmt *queue_statement(struct queues *queues, const char *sql, struct mf_error *error);

/* 1: a row stands; 0: there is none (any more), the statement is reset; -1: so it is. */
int queue_step(struct queues *queues, sqlite3_stmt *stmt, struct mf_error *error);
/* To its end, whatever rows there are. -1, or how many rows it changed. */
int64_t queue_run(struct queues *queues, sqlite3_stmt *stmt, struct mf_error *error);

/* Text that is ours until the next call: what a found row lends. */
struct mf_buffer *queue_scratch(struct queues *queues);

struct queue_statements *queue_statements_create(void);
void queue_statements_destroy(struct queue_statements *statements); /* NULL is fine */

#endif
