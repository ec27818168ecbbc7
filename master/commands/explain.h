/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why something of a run does not run: asked of its master while that lives, else read from what it
 * has recorded. The keys are described in docs/control.md. One thread.
 */
#ifndef MAYFLY_MASTER_COMMANDS_EXPLAIN_H
#define MAYFLY_MASTER_COMMANDS_EXPLAIN_H

#include <jansson.h>
#include <stdint.h>

#include "common/error.h"
#include "master/commands/overview.h"

/* A new reference, NULL with an error. `subtask` 0 = the run alone. */
json_t *explain_run(const char *folder,
                    const struct overview *overview,
                    uint64_t subtask,
                    struct mf_error *error);

/* A line a reason on standard output; NULL is nothing. */
void explain_print(const json_t *explanation);

#endif
