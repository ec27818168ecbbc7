/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split yields the plan: the ordered sequence of subtasks, one piece at a time and never more
 * than is asked for. One file a kind (files, lines, records, range, list, queue), one interface.
 * Piece n is subtask n, from 1.
 *
 * Kinds that can't be derived again from the job file (files, lines, records, queue) are written to
 * plan.seg before they are offered (plan_seg.h), and read back from there for retry and resume;
 * range and list are derived again.
 */
#ifndef MAYFLY_MASTER_SPLIT_SPLIT_H
#define MAYFLY_MASTER_SPLIT_SPLIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/message.h"
#include "master/job/job.h"

struct split;

/*
 * Opens the split: expands globs (sorted bytewise), checks that inputs are there and readable.
 * `prepared` is the folder of $MAYFLY_PREPARED or NULL: a glob may start with "$MAYFLY_PREPARED/"
 * (or "${MAYFLY_PREPARED}/"). -1 with MF_EUSAGE when a glob matches nothing (naming it and the
 * folder), MF_EINPUT when an input can't be read. Borrows the job.
 */
struct split *split_create(const struct job *job, const char *prepared, struct mf_error *error);

/*
 * The same for a run: of a queue, the messages that are claimed for it, in their order. Of no run
 * (split_create) a queue yields what a run would claim now, and claims nothing.
 */
struct split *split_create_for(const struct job *job,
                               const char *prepared,
                               const char *run_id,
                               struct mf_error *error);

/*
 * The next piece: 1 and *piece (its id set, attempt and epoch 0; borrows from the split until the
 * next call), 0 at the end, -1 with MF_EINPUT naming input, line and remedy (ragged or unfinished
 * CSV, an input that changed meanwhile).
 */
int split_next(struct split *split, struct mf_subtask *piece, struct mf_error *error);

void split_destroy(struct split *split);

/* Whether the kind is derived again from the job file (no plan.seg). */
bool split_is_derivable(const struct job *job);

#endif
