/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands on queues share. One thread. */
#ifndef MAYFLY_MASTER_COMMANDS_QUEUE_H
#define MAYFLY_MASTER_COMMANDS_QUEUE_H

#include <jansson.h>

#include "master/command.h"
#include "master/queue/queue.h"

extern const struct command queue_command_create, queue_command_dead, queue_command_fan_out,
    queue_command_ls, queue_command_peek, queue_command_purge, queue_command_push,
    queue_command_remove, queue_command_replay, queue_command_stats;

/* The user's queues; NULL: as queues_open, and MF_EUSAGE when there are none and none is to be
 * made.
 */
struct queues *queue_command_open(bool make, struct mf_error *error);

/* A command on the queues that there are: does f with them, says what went wrong, and rolls back
 * what f has begun and not committed. The exit code. */
typedef int queue_command_f(struct queues *queues, const void *arguments, struct mf_error *error);
int queue_command_do(queue_command_f *f, const void *arguments);

/* Evaluates what waits for the queue, commits, and hands over what was fired: the end of each
 * transaction that makes messages ready. `started` (may be NULL) gets {trigger, run_id} objects. */
int queue_command_commit(struct queues *queues,
                         int64_t queue,
                         json_t *started,
                         struct mf_error *error);

/* The parser of a command whose only argument is the name of a queue; its input is a
 * const char **, which is NULL before. */
error_t queue_command_name(int key, char *text, struct argp_state *state);

#endif
