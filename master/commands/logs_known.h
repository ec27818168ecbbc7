/* SPDX-License-Identifier: Apache-2.0 */
/* What the results table has of what `mayfly logs` is asked for: so that a number that was mistyped
 * is not taken for something that wrote nothing. A table that is not there (yet) or can't be read
 * knows nothing, which is no failure: logs are shown without it. */
#ifndef MAYFLY_MASTER_COMMANDS_LOGS_KNOWN_H
#define MAYFLY_MASTER_COMMANDS_LOGS_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct logs_wanted {
    const char *folder, *run_id;
    uint64_t subtask, attempt, worker; /* 0 = any */
    bool is_live, follows;
};

/* Before anything is printed. -1: MF_EUSAGE, there is no such subtask or worker, and (of a run that
 * is followed) there can't be one later. */
int logs_check(const struct logs_wanted *wanted, struct mf_error *error);

/* When nothing was printed: -1, MF_EUSAGE, there is no such attempt; else says on standard error
 * that the subtask has not been executed, where that is so. */
int logs_check_nothing(const struct logs_wanted *wanted, struct mf_error *error);

/* Whether the subtask (or, with one, the attempt) has ended: nothing comes of it any more. */
bool logs_is_over(const struct logs_wanted *wanted);

#endif
