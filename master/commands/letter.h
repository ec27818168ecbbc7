/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters in words: why a subtask failed, on what, and the last it said. One thread. */
#ifndef MAYFLY_MASTER_COMMANDS_LETTER_H
#define MAYFLY_MASTER_COMMANDS_LETTER_H

#include "common/error.h"
#include "common/message.h"
#include "master/commands/outcome.h"

/* Prints a dead letter with at most `lines` last lines of its standard error. `piece` may be NULL.
 */
int letter_print(const struct outcome *outcome,
                 const struct mf_subtask *piece,
                 const char *run_folder,
                 uint64_t lines,
                 struct mf_error *error);

#endif
