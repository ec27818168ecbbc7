/* SPDX-License-Identifier: Apache-2.0 */
/* What a run has left to do, for the commands that go on with one. One thread. */
#ifndef MAYFLY_MASTER_COMMANDS_LEFT_H
#define MAYFLY_MASTER_COMMANDS_LEFT_H

#include <sqlite3.h>

#include "common/error.h"
#include "master/plan.h"

/* Zero-initialised is empty. */
struct left {
    struct plan_open *open; /* heap; rising ids */
    size_t count, capacity;
    bool is_short; /* memory is exhausted */
};

/* All subtasks up to `planned` that have no final record. */
int left_collect(struct left *left, sqlite3 *db, uint64_t planned, struct mf_error *error);
void left_fini(struct left *left);

#endif
