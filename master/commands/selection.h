/* SPDX-License-Identifier: Apache-2.0 */
/* The subtasks that a command line names: "3", "5-9", in any order; none named means all. */
#ifndef MAYFLY_MASTER_COMMANDS_SELECTION_H
#define MAYFLY_MASTER_COMMANDS_SELECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define SELECTION_SUBTASK_MAX (((uint64_t)1 << 47) - 1)

struct selection_range {
    uint64_t first, last;
};

/* Zero-initialised is empty: all. */
struct selection {
    struct selection_range *ranges;
    size_t count, capacity;
};

/* MF_EUSAGE when the text is no subtask and no range of them. */
int selection_add(struct selection *selection, const char *text, struct mf_error *error);
/* Sorts the ranges and joins those that touch. After the last add. */
void selection_close(struct selection *selection);
/* Whether the subtask is named; true when none is. */
bool selection_has(const struct selection *selection, uint64_t subtask);
void selection_fini(struct selection *selection);

#endif
