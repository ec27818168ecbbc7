/* SPDX-License-Identifier: Apache-2.0 */
/* The split as a whole: see split.h. Pieces are numbered here, and an empty plan is refused at its
 * end. */
#include "master/split/split.h"

#include "common/alloc.h"
#include "master/split/kind.h"

struct split {
    const struct job *job;
    const struct split_class *class;
    struct split_state *state;
    struct inputs inputs;
    uint64_t count;
};

static const struct split_class *class_of(enum split_kind kind)
{
    switch (kind) {
    case SPLIT_FILES:
        return &split_files;
    case SPLIT_LINES:
    case SPLIT_RECORDS:
        return &split_pieces;
    case SPLIT_RANGE:
        return &split_range;
    case SPLIT_LIST:
        return &split_list;
    }
    return NULL;
}

struct split *split_create(const struct job *job, const char *prepared, struct mf_error *error)
{
    struct split *split = mf_calloc(1, sizeof *split);
    if (split == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory for the split");
        return NULL;
    }
    split->job = job;
    split->class = class_of(job->split.kind);
    if (split->class == NULL) {
        mf_raise(error, MF_EUSAGE, "%s: split: a kind that this version does not know", job->path);
        goto fail;
    }
    if (inputs_expand(&split->inputs, job, prepared, error) < 0)
        goto fail;
    split->state = split->class->create(job, &split->inputs, error);
    if (split->state != NULL)
        return split;
fail:
    split_destroy(split);
    return NULL;
}

static int raise_empty(const struct split *split, struct mf_error *error)
{
    enum split_kind kind = split->job->split.kind;
    const char *why = kind == SPLIT_RANGE  ? "the range holds no number"
                      : kind == SPLIT_LIST ? "the list holds no value"
                                           : "the inputs hold nothing to do";
    return mf_raise(error,
                    MF_EUSAGE,
                    "%s: split: the plan is empty: %s; 'allow_empty: true' allows that",
                    split->job->path,
                    why);
}

int split_next(struct split *split, struct mf_subtask *piece, struct mf_error *error)
{
    *piece = (struct mf_subtask){0};
    int rc = split->class->next(split->state, piece, error);
    if (rc == 0 && split->count == 0 && !split->job->split.allow_empty)
        return raise_empty(split, error);
    if (rc == 1)
        piece->id = ++split->count;
    return rc;
}

void split_destroy(struct split *split)
{
    if (split == NULL)
        return;
    if (split->state != NULL)
        split->class->destroy(split->state);
    inputs_fini(&split->inputs);
    mf_free(split);
}

bool split_is_derivable(const struct job *job)
{
    return job->split.kind == SPLIT_RANGE || job->split.kind == SPLIT_LIST;
}
