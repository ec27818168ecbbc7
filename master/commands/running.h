/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standard output of the attempts that run, for `mayfly logs`: what came home of it stands in live/
 * until the attempt has ended, then in the results (a done one) or in the log store. Here it is
 * followed over that change, so that nothing is printed twice or left out.
 *
 *     round:  running_look -> (flush) -> every piece of the store through running_skip
 *             -> running_next until 0
 */
#ifndef MAYFLY_MASTER_COMMANDS_RUNNING_H
#define MAYFLY_MASTER_COMMANDS_RUNNING_H

#include "common/error.h"
#include "master/record/log_store.h"

struct running;

/* Of one subtask, attempt and worker, 0 = any. `folder` (of the run) is borrowed. */
struct running *running_create(const char *folder,
                               uint64_t subtask,
                               uint32_t attempt,
                               uint32_t worker,
                               struct mf_error *error);
void running_destroy(struct running *running);

int running_look(struct running *running, struct mf_error *error);
/* Takes from a piece of the log store what was printed while the attempt ran. */
void running_skip(struct running *running, struct log_piece *piece);
/* What is new: 1 and a piece (borrowed until the next call), 0 when there is no more now, -1. */
int running_next(struct running *running, struct log_piece *piece, struct mf_error *error);

#endif
