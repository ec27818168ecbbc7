/* SPDX-License-Identifier: Apache-2.0 */
/* What is left: see left.h. */
#include "master/commands/left.h"

#include "common/alloc.h"
#include "master/record/run_db.h"

static int add(void *arg, uint64_t subtask, uint32_t last_attempt, uint32_t failures)
{
    struct left *left = arg;
    if (left->count == left->capacity) {
        size_t capacity = left->capacity == 0 ? 64 : left->capacity * 2;
        struct plan_open *more = mf_realloc(left->open, capacity * sizeof *more);
        if (more == NULL) {
            left->is_short = true;
            return 1;
        }
        left->open = more;
        left->capacity = capacity;
    }
    left->open[left->count++] =
        (struct plan_open){.subtask = subtask, .last_attempt = last_attempt, .failures = failures};
    return 0;
}

int left_collect(struct left *left, sqlite3 *db, uint64_t planned, struct mf_error *error)
{
    if (run_db_each_open(db, planned, add, left, error) < 0)
        return -1;
    if (left->is_short)
        return mf_raise(error, MF_ENOMEM, "out of memory: %zu open subtasks", left->count);
    return 0;
}

void left_fini(struct left *left)
{
    mf_free(left->open);
    *left = (struct left){0};
}
