/* SPDX-License-Identifier: Apache-2.0 */
/* The split as a whole: see split.h. Pieces are numbered here, and an empty plan is refused at its
 * end. */
#include "master/split/split.h"

#include <inttypes.h>

#include "common/alloc.h"
#include "master/split/kind.h"

struct split {
    const struct job *job;
    const struct split_class *class;
    struct split_state *state;
    struct inputs inputs;
    uint64_t count;   /* pieces that were given out */
    uint64_t walked;  /* pieces of the kind so far, with those that `only` leaves out */
    size_t only_next; /* the range of `only` that is at hand or comes next */
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
    case SPLIT_QUEUE:
        return &split_queue;
    }
    return NULL;
}

struct split *split_create(const struct job *job, const char *prepared, struct mf_error *error)
{
    return split_create_for(job, prepared, NULL, error);
}

struct split *split_create_for(const struct job *job,
                               const char *prepared,
                               const char *run_id,
                               struct mf_error *error)
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
    const struct split_from from = {.job = job, .inputs = &split->inputs, .run_id = run_id};
    split->state = split->class->create(&from, error);
    if (split->state != NULL)
        return split;
fail:
    split_destroy(split);
    return NULL;
}

static int raise_empty(const struct split *split, struct mf_error *error)
{
    enum split_kind kind = split->job->split.kind;
    const char *why = kind == SPLIT_RANGE   ? "the range holds no number"
                      : kind == SPLIT_LIST  ? "the list holds no value"
                      : kind == SPLIT_QUEUE ? "the queue has no message that can be claimed"
                                            : "the inputs hold nothing to do";
    return mf_raise(error,
                    MF_EUSAGE,
                    "%s: split: the plan is empty: %s; 'allow_empty: true' allows that",
                    split->job->path,
                    why);
}

/* Whether piece `walked` is wanted. */
static bool is_wanted(struct split *split)
{
    const struct job_only *only = &split->job->split.only;
    if (only->count == 0)
        return true;
    while (split->only_next < only->count && only->ranges[split->only_next].last < split->walked)
        split->only_next++;
    return split->only_next < only->count && only->ranges[split->only_next].first <= split->walked;
}

/* The plan ends, perhaps with the last wanted piece. */
static int end(const struct split *split, struct mf_error *error)
{
    const struct job_only *only = &split->job->split.only;
    uint64_t last = only->count == 0 ? 0 : only->ranges[only->count - 1].last;
    if (last > split->walked)
        return mf_raise(error,
                        MF_EUSAGE,
                        "%s: split.only names piece %" PRIu64 ", but there are only %" PRIu64
                        "; have the inputs changed?",
                        split->job->path,
                        last,
                        split->walked);
    return split->count == 0 && !split->job->split.allow_empty ? raise_empty(split, error) : 0;
}

static bool is_past_only(const struct split *split)
{
    const struct job_only *only = &split->job->split.only;
    return only->count > 0 && split->walked >= only->ranges[only->count - 1].last;
}

int split_next(struct split *split, struct mf_subtask *piece, struct mf_error *error)
{
    int rc;
    do {
        *piece = (struct mf_subtask){0};
        rc = is_past_only(split) ? 0 : split->class->next(split->state, piece, error);
        split->walked += rc == 1;
    } while (rc == 1 && !is_wanted(split));
    if (rc == 0)
        return end(split, error);
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
