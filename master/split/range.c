/* SPDX-License-Identifier: Apache-2.0 */
/* Split `range`: whole numbers from first to last by step. Reaching the end of int64 ends it too.
 */
#include "common/alloc.h"
#include "master/split/kind.h"

struct split_state {
    int64_t next, last, step;
    bool has_ended;
};

static struct split_state *range_create(const struct split_from *from, struct mf_error *error)
{
    struct split_state *state = mf_calloc(1, sizeof *state);
    if (state == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory for the split");
        return NULL;
    }
    state->next = from->job->split.range_first;
    state->last = from->job->split.range_last;
    state->step = from->job->split.range_step;
    return state;
}

static int range_next(struct split_state *state, struct mf_subtask *piece, struct mf_error *error)
{
    (void)error;
    bool is_past = state->step > 0 ? state->next > state->last : state->next < state->last;
    if (state->has_ended || is_past)
        return 0;
    piece->has_number = true;
    piece->number = state->next;
    state->has_ended = __builtin_add_overflow(state->next, state->step, &state->next);
    return 1;
}

static void range_destroy(struct split_state *state)
{
    mf_free(state);
}

const struct split_class split_range = {range_create, range_next, range_destroy};
