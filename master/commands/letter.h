/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters in words: why a subtask failed, on what, and the last it said. One thread. */
#ifndef MAYFLY_MASTER_COMMANDS_LETTER_H
#define MAYFLY_MASTER_COMMANDS_LETTER_H

#include "common/error.h"
#include "common/message.h"
#include "master/commands/outcome.h"

/* Prints a dead letter: what it is about, its attempts, the workers it was lost with, and the last
 * source->tail_lines of its standard error. `piece` may be NULL. */
int letter_print(const struct outcome_source *source,
                 const struct outcome *outcome,
                 const struct mf_subtask *piece,
                 struct mf_error *error);

/* Appends these last lines alone, as they are. */
int letter_tail(const struct outcome_source *source,
                const struct outcome *outcome,
                struct mf_buffer *tail,
                struct mf_error *error);

#endif
