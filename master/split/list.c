/* SPDX-License-Identifier: Apache-2.0 */
/* Split `list`: the values of the job file, one each. */
#include "common/alloc.h"
#include "master/split/kind.h"

struct split_state {
    const struct job_strings *values;
    size_t next;
};

static struct split_state *list_create(const struct split_from *from, struct mf_error *error)
{
    struct split_state *state = mf_calloc(1, sizeof *state);
    if (state == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory for the split");
        return NULL;
    }
    state->values = &from->job->split.list;
    return state;
}

static int list_next(struct split_state *state, struct mf_subtask *piece, struct mf_error *error)
{
    (void)error;
    if (state->next == state->values->count)
        return 0;
    piece->item = mf_bytes_text(state->values->items[state->next++]);
    return 1;
}

static void list_destroy(struct split_state *state)
{
    mf_free(state);
}

const struct split_class split_list = {list_create, list_next, list_destroy};
