/* SPDX-License-Identifier: Apache-2.0 */
/* Within the split module: what each kind of split serves. split.c numbers the pieces and refuses
 * an empty plan. */
#ifndef MAYFLY_MASTER_SPLIT_KIND_H
#define MAYFLY_MASTER_SPLIT_KIND_H

#include "common/error.h"
#include "common/message.h"
#include "master/job/job.h"
#include "master/split/inputs.h"

struct split_state;

/* What a kind is made of; borrowed. */
struct split_from {
    const struct job *job;
    const struct inputs *inputs; /* expanded already; empty for kinds without any */
    const char *run_id;          /* NULL: of no run */
};

struct split_class {
    struct split_state *(*create)(const struct split_from *from, struct mf_error *error);
    /* As split_next; the id is set by the caller. */
    int (*next)(struct split_state *state, struct mf_subtask *piece, struct mf_error *error);
    void (*destroy)(struct split_state *state);
};

extern const struct split_class split_range;
extern const struct split_class split_list;
extern const struct split_class split_files;
extern const struct split_class split_pieces; /* lines and records */
extern const struct split_class split_queue;

#endif
