/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the subtasks of a run are: its job as recorded, and its plan walked forward beside the
 * records (from plan.seg, or derived again). One thread.
 */
#ifndef MAYFLY_MASTER_COMMANDS_ITEMS_H
#define MAYFLY_MASTER_COMMANDS_ITEMS_H

#include <jansson.h>
#include <sqlite3.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/message.h"
#include "master/job/job.h"

/* The job of a run: job.yaml, with the folder it came from. NULL with an error. */
struct job *items_job(const char *run_folder, sqlite3 *db, struct mf_error *error);

struct items;
struct items *items_open(const char *run_folder, sqlite3 *db, struct mf_error *error);
/* The piece of a subtask, of rising numbers from call to call; NULL when the plan can't tell.
 * Borrowed until the next call. */
const struct mf_subtask *items_find(struct items *items, uint64_t subtask);
/* The command of a piece as it was run, in shell syntax on one line, appended to out. */
int items_command(const struct items *items,
                  const struct mf_subtask *piece,
                  struct mf_buffer *out,
                  struct mf_error *error);
/* Why items_find gave up, NULL when it has not. */
const char *items_trouble(const struct items *items);
void items_close(struct items *items); /* NULL is fine */

/* Sets item, path, offset and length, and the id of a message. -1: memory is exhausted. */
int items_set_json(json_t *object, const struct mf_subtask *piece);
/* The item in words, for a line of text: path (with its place for a piece) or value. */
int items_describe(const struct mf_subtask *piece, struct mf_buffer *out, struct mf_error *error);

#endif
