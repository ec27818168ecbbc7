/* SPDX-License-Identifier: Apache-2.0 */
/* Outcomes as lines of JSON: docs/control.md has the keys. One thread. */
#ifndef MAYFLY_MASTER_COMMANDS_OUTCOME_JSON_H
#define MAYFLY_MASTER_COMMANDS_OUTCOME_JSON_H

#include "common/error.h"
#include "common/message.h"
#include "master/commands/outcome.h"

/* Prints one line. A dead letter has its attempts and losses, and with source->tail_lines the end
 * of its log. `piece` may be NULL. */
int outcome_json_print(const struct outcome_source *source,
                       const struct outcome *outcome,
                       const struct mf_subtask *piece,
                       struct mf_error *error);

#endif
