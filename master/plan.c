/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan at work: see plan.h.
 *
 * Live subtasks stand in an open-addressing table by id (linear probing, deletion by shifting
 * back). A subtask that is only a number (range) needs no memory besides; any other has one block
 * with its struct and all its bytes.
 */
#include "master/plan.h"

#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/run_folder.h"
#include "master/split/plan_seg.h"
#include "master/split/split.h"

#define SLICE 1024u /* pieces made durable together */

struct live {
    uint64_t subtask; /* 0 = free */
    int64_t number;
    struct mf_subtask *piece; /* NULL: only a number */
};

struct pulled {
    uint64_t subtask;
    uint32_t last_attempt, failures;
};

struct plan {
    struct split *split;        /* new plans, and derivable ones */
    struct plan_reader *reader; /* recorded ones */
    struct plan_writer *writer;
    bool sync;
    bool filtered; /* a reopened one */
    struct plan_rest rest;
    size_t open_next;
    const struct job *job; /* borrowed, as are these: to go on with a plan that was not finished */
    char *path, *prepared; /* of plan.seg; copies */
    char *run_id;          /* likewise */
    uint64_t pieces;
    struct live *table;
    size_t capacity, count; /* capacity is a power of two */
    /* Pieces that were taken from the source and not handed out, since they could not be written.
     */
    struct pulled slice[SLICE];
    uint32_t slice_count;
    int taken; /* 1: the source has more behind them, 0: no more, 2: the limit was reached */
    bool is_unwritten;
};

static size_t slot_of(const struct plan *plan, uint64_t subtask)
{
    return (size_t)((subtask * 0x9e3779b97f4a7c15u) >> 20) & (plan->capacity - 1);
}

static struct plan *plan_alloc(bool sync, struct mf_error *error)
{
    struct plan *plan = mf_calloc(1, sizeof *plan);
    if (plan != NULL) {
        plan->sync = sync;
        plan->capacity = 1024;
        plan->table = mf_calloc(plan->capacity, sizeof *plan->table);
        if (plan->table != NULL)
            return plan;
    }
    plan_destroy(plan);
    mf_raise(error, MF_ENOMEM, "out of memory: the plan");
    return NULL;
}

/* A run folder is called by the id of its run. */
static const char *run_id_of(const char *run_folder)
{
    const char *slash = strrchr(run_folder, '/');
    return slash == NULL ? run_folder : slash + 1;
}

struct plan *plan_create(const struct job *job,
                         const char *run_folder,
                         const char *prepared,
                         bool sync,
                         struct mf_error *error)
{
    struct plan *plan = plan_alloc(sync, error);
    if (plan == NULL)
        return NULL;
    plan->split = split_create_for(job, prepared, run_id_of(run_folder), error);
    if (plan->split == NULL)
        goto fail;
    if (!split_is_derivable(job)) {
        char *path = run_path(run_folder, "plan.seg");
        plan->writer = path == NULL ? NULL : plan_writer_create(path, error);
        mf_free(path);
        if (plan->writer == NULL)
            goto fail;
    }
    return plan;
fail:
    plan_destroy(plan);
    return NULL;
}

static int open_source(struct plan *plan, const char *run_folder, struct mf_error *error)
{
    if (split_is_derivable(plan->job)) {
        plan->split = split_create_for(plan->job, plan->prepared, plan->run_id, error);
        return plan->split == NULL ? -1 : 0;
    }
    plan->path = run_path(run_folder, "plan.seg");
    if (plan->path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    plan->reader = plan_reader_open(plan->path, error);
    return plan->reader == NULL ? -1 : 0;
}

struct plan *plan_reopen(const struct job *job,
                         const char *run_folder,
                         const char *prepared,
                         const struct plan_rest *rest,
                         struct mf_error *error)
{
    struct plan *plan = plan_alloc(rest->sync, error);
    if (plan == NULL)
        return NULL;
    plan->filtered = true;
    plan->rest = *rest;
    plan->job = job;
    int rc = 0;
    if ((plan->run_id = mf_strdup(run_id_of(run_folder))) == NULL)
        rc = mf_raise(error, MF_ENOMEM, "out of memory: the plan");
    if (rc == 0 && prepared != NULL && (plan->prepared = mf_strdup(prepared)) == NULL)
        rc = mf_raise(error, MF_ENOMEM, "out of memory: the plan");
    if (rc == 0 && open_source(plan, run_folder, error) == 0)
        return plan;
    plan_destroy(plan);
    return NULL;
}

void plan_destroy(struct plan *plan)
{
    if (plan == NULL)
        return;
    for (size_t i = 0; plan->table != NULL && i < plan->capacity; i++)
        mf_free(plan->table[i].piece);
    mf_free(plan->table);
    split_destroy(plan->split);
    plan_reader_destroy(plan->reader);
    plan_writer_destroy(plan->writer);
    mf_free(plan->path);
    mf_free(plan->prepared);
    mf_free(plan->run_id);
    mf_free(plan);
}

static unsigned char *copy_bytes(unsigned char *at, struct mf_bytes *bytes)
{
    if (bytes->length > 0)
        memcpy(at, bytes->data, bytes->length);
    bytes->data = at;
    return at + bytes->length;
}

static struct mf_subtask *copy_piece(const struct mf_subtask *piece)
{
    size_t size = sizeof *piece + piece->item.length + piece->path.length + piece->fields.length;
    struct mf_subtask *copy = mf_malloc(size);
    if (copy == NULL)
        return NULL;
    *copy = *piece;
    unsigned char *at = copy_bytes((unsigned char *)(copy + 1), &copy->item);
    at = copy_bytes(at, &copy->path);
    copy_bytes(at, &copy->fields);
    return copy;
}

static struct live *find(const struct plan *plan, uint64_t subtask)
{
    size_t i = slot_of(plan, subtask);
    while (plan->table[i].subtask != 0 && plan->table[i].subtask != subtask)
        i = (i + 1) & (plan->capacity - 1);
    return &plan->table[i];
}

static int grow(struct plan *plan, struct mf_error *error)
{
    struct live *old = plan->table;
    size_t old_capacity = plan->capacity;
    struct live *table = mf_calloc(old_capacity * 2, sizeof *table);
    if (table == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: %zu live subtasks", plan->count);
    plan->table = table;
    plan->capacity = old_capacity * 2;
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].subtask != 0)
            *find(plan, old[i].subtask) = old[i];
    mf_free(old);
    return 0;
}

static bool is_number_only(const struct mf_subtask *piece)
{
    return piece->has_number && piece->path.length == 0 && piece->fields.length == 0 &&
           piece->message == 0;
}

static int remember(struct plan *plan, const struct mf_subtask *piece, struct mf_error *error)
{
    if (plan->count * 2 >= plan->capacity && grow(plan, error) < 0)
        return -1;
    struct live entry = {.subtask = piece->id, .number = piece->number};
    if (!is_number_only(piece) && (entry.piece = copy_piece(piece)) == NULL)
        return mf_raise(
            error, MF_ENOMEM, "out of memory: subtask %llu", (unsigned long long)piece->id);
    *find(plan, piece->id) = entry;
    plan->count++;
    return 0;
}

static bool is_same_piece(const struct mf_subtask *a, const struct mf_subtask *b)
{
    return a->has_number == b->has_number && a->number == b->number &&
           mf_bytes_equal(a->item, b->item) && mf_bytes_equal(a->path, b->path) &&
           a->offset == b->offset && a->length == b->length &&
           a->header_length == b->header_length && a->input_size == b->input_size &&
           a->input_mtime_ns == b->input_mtime_ns && a->input_inode == b->input_inode &&
           a->message == b->message;
}

/* The split, once more, up to where the recorded plan ends: what it says now must be what it said
 * then. */
static int
skip_recorded(const struct plan *plan, struct plan_reader *recorded, struct mf_error *error)
{
    struct mf_subtask then, now;
    int rc;
    while ((rc = plan_reader_next(recorded, &then, error)) > 0) {
        rc = split_next(plan->split, &now, error);
        if (rc < 0)
            return -1;
        if (rc == 0 || !is_same_piece(&then, &now))
            return mf_raise(error,
                            MF_EINPUT,
                            "the plan was not finished, and its inputs have changed since: subtask "
                            "%llu would be another one now; put them back, or start anew",
                            (unsigned long long)then.id);
    }
    return rc;
}

/* The recorded plan has come to its end before that of the split: the rest is planned now. */
static int go_on_planning(struct plan *plan, struct mf_error *error)
{
    struct plan_reader *recorded = plan_reader_open(plan->path, error);
    if (recorded == NULL)
        return -1;
    plan->split = split_create_for(plan->job, plan->prepared, plan->run_id, error);
    int rc = plan->split == NULL ? -1 : skip_recorded(plan, recorded, error);
    if (rc == 0) {
        plan->writer = plan_writer_continue(plan->path, plan_reader_size(recorded), error);
        rc = plan->writer == NULL ? -1 : 0;
    }
    plan_reader_destroy(recorded);
    plan_reader_destroy(plan->reader);
    plan->reader = NULL;
    return rc;
}

/* The next piece of the source: 1, 0 at the end, -1. */
static int next_piece(struct plan *plan, struct mf_subtask *piece, struct mf_error *error)
{
    int rc = 0;
    if (plan->reader != NULL) {
        rc = plan_reader_next(plan->reader, piece, error);
        if (rc == 0 && !plan_reader_complete(plan->reader) && go_on_planning(plan, error) < 0)
            return -1;
    }
    if (rc == 0 && plan->reader == NULL)
        rc = split_next(plan->split, piece, error);
    if (rc > 0)
        plan->pieces++;
    return rc;
}

/* All that is to be done has been given out. */
static bool is_exhausted(const struct plan *plan)
{
    return plan->filtered && plan->rest.is_whole && plan->open_next == plan->rest.open_count;
}

/* Whether the piece is to be done, with its history in *pulled. */
static bool is_open(struct plan *plan, uint64_t subtask, struct pulled *pulled)
{
    *pulled = (struct pulled){.subtask = subtask};
    if (!plan->filtered || subtask > plan->rest.mark)
        return true;
    if (plan->open_next == plan->rest.open_count ||
        plan->rest.open[plan->open_next].subtask != subtask)
        return false;
    const struct plan_open *open = &plan->rest.open[plan->open_next++];
    pulled->last_attempt = open->last_attempt;
    pulled->failures = open->failures;
    return true;
}

/* As next_piece, but only what is open, of pieces up to `limit`: 2 when that is reached. */
static int next_open(struct plan *plan,
                     uint64_t limit,
                     struct mf_subtask *piece,
                     struct pulled *pulled,
                     struct mf_error *error)
{
    int rc;
    do {
        if (is_exhausted(plan))
            return 0;
        if (plan->pieces >= limit)
            return 2;
        rc = next_piece(plan, piece, error);
    } while (rc > 0 && !is_open(plan, piece->id, pulled));
    if (rc == 0 && plan->filtered && plan->rest.is_whole)
        return mf_raise(error,
                        MF_EINPUT,
                        "the recorded plan ends before subtask %llu, which is still to be done",
                        (unsigned long long)plan->rest.open[plan->open_next].subtask);
    return rc;
}

/* Takes pieces from the source until there are enough, and notes why it stopped. 0, or -1 when the
 * source or memory fails: then the plan is over. */
static int take_slice(
    struct plan *plan, uint64_t limit, uint64_t most, int64_t until_us, struct mf_error *error)
{
    int rc = 1;
    plan->slice_count = 0;
    while (rc == 1 && plan->slice_count < most && plan->slice_count < SLICE) {
        struct mf_subtask piece;
        rc = next_open(plan, limit, &piece, &plan->slice[plan->slice_count], error);
        if (rc != 1)
            break;
        if (plan->writer != NULL && plan_writer_append(plan->writer, &piece, error) < 0)
            return -1;
        if (remember(plan, &piece, error) < 0)
            return -1;
        plan->slice_count++;
        if ((plan->slice_count & 63) == 0 && mf_monotonic_us() >= until_us)
            break;
    }
    if (rc < 0)
        return -1;
    plan->taken = rc;
    if (rc == 0 && plan->writer != NULL)
        return plan_writer_end(plan->writer, plan->pieces, error);
    return 0;
}

/* A slice, durable: 1, 0 when it is the last one, 2 when the limit was reached, -1. What could not
 * be written (MF_EFULL) is written by the next call. */
static int pull_slice(
    struct plan *plan, uint64_t limit, uint64_t most, int64_t until_us, struct mf_error *error)
{
    if (!plan->is_unwritten && take_slice(plan, limit, most, until_us, error) < 0)
        return -1;
    plan->is_unwritten = plan->writer != NULL && (plan->slice_count > 0 || plan->taken == 0);
    if (plan->is_unwritten && plan_writer_flush(plan->writer, plan->sync, error) < 0)
        return -1;
    plan->is_unwritten = false;
    return plan->taken;
}

static int pull(struct plan *plan,
                uint64_t limit,
                uint64_t most,
                int64_t until_us,
                plan_f *f,
                void *arg,
                struct mf_error *error)
{
    int rc = 1;
    while (rc == 1 && most > 0) {
        rc = pull_slice(plan, limit, most, until_us, error);
        if (rc < 0)
            return -1;
        const struct pulled *slice = plan->slice;
        for (uint32_t i = 0; i < plan->slice_count; i++)
            if (f(arg, slice[i].subtask, slice[i].last_attempt, slice[i].failures) < 0)
                return -1;
        most -= plan->slice_count < most ? plan->slice_count : most;
        if (mf_monotonic_us() >= until_us)
            break;
    }
    return rc > 0;
}

int plan_pull(struct plan *plan,
              uint64_t most,
              int64_t until_us,
              plan_f *f,
              void *arg,
              struct mf_error *error)
{
    return pull(plan, UINT64_MAX, most, until_us, f, arg, error);
}

int plan_pull_marked(struct plan *plan, plan_f *f, void *arg, struct mf_error *error)
{
    return pull(plan, plan->rest.mark, UINT64_MAX, MF_NEVER, f, arg, error);
}

int plan_payload(const struct plan *plan, uint64_t subtask, struct mf_subtask *out)
{
    const struct live *live = find(plan, subtask);
    if (live->subtask != subtask)
        return -1;
    if (live->piece != NULL)
        *out = *live->piece;
    else
        *out = (struct mf_subtask){.has_number = true, .number = live->number};
    return 0;
}

void plan_forget(struct plan *plan, uint64_t subtask)
{
    struct live *live = find(plan, subtask);
    if (live->subtask != subtask)
        return;
    mf_free(live->piece);
    size_t hole = (size_t)(live - plan->table), mask = plan->capacity - 1;
    for (size_t i = (hole + 1) & mask; plan->table[i].subtask != 0; i = (i + 1) & mask) {
        size_t home = slot_of(plan, plan->table[i].subtask);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            plan->table[hole] = plan->table[i];
            hole = i;
        }
    }
    plan->table[hole] = (struct live){0};
    plan->count--;
}
