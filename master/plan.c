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
    bool filtered;
    const struct plan_open *open; /* borrowed */
    size_t open_count, open_next;
    uint64_t pieces;
    struct live *table;
    size_t capacity, count; /* capacity is a power of two */
    /* Pieces that were taken from the source and not handed out, since they could not be written.
     */
    struct pulled slice[SLICE];
    uint32_t slice_count;
    bool has_ended; /* the source has no more behind them */
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

struct plan *plan_create(const struct job *job,
                         const char *run_folder,
                         const char *prepared,
                         bool sync,
                         struct mf_error *error)
{
    struct plan *plan = plan_alloc(sync, error);
    if (plan == NULL)
        return NULL;
    plan->split = split_create(job, prepared, error);
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

struct plan *plan_reopen(const struct job *job,
                         const char *run_folder,
                         const char *prepared,
                         const struct plan_open *open,
                         size_t open_count,
                         struct mf_error *error)
{
    struct plan *plan = plan_alloc(false, error);
    if (plan == NULL)
        return NULL;
    plan->filtered = true;
    plan->open = open;
    plan->open_count = open_count;
    if (split_is_derivable(job)) {
        plan->split = split_create(job, prepared, error);
        if (plan->split != NULL)
            return plan;
    } else {
        char *path = run_path(run_folder, "plan.seg");
        plan->reader = path == NULL ? NULL : plan_reader_open(path, error);
        mf_free(path);
        if (plan->reader != NULL)
            return plan;
    }
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
    return piece->has_number && piece->path.length == 0 && piece->fields.length == 0;
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

/* The next piece of the source: 1, 0 at the end, -1. */
static int next_piece(struct plan *plan, struct mf_subtask *piece, struct mf_error *error)
{
    int rc = plan->reader != NULL ? plan_reader_next(plan->reader, piece, error)
                                  : split_next(plan->split, piece, error);
    if (rc > 0)
        plan->pieces++;
    return rc;
}

/* As next_piece, but only what is open, with its history in *pulled. */
static int next_open(struct plan *plan,
                     struct mf_subtask *piece,
                     struct pulled *pulled,
                     struct mf_error *error)
{
    *pulled = (struct pulled){0};
    if (plan->filtered && plan->open_next == plan->open_count)
        return 0;
    int rc;
    while ((rc = next_piece(plan, piece, error)) > 0) {
        pulled->subtask = piece->id;
        if (!plan->filtered)
            return 1;
        const struct plan_open *open = &plan->open[plan->open_next];
        if (piece->id != open->subtask)
            continue;
        plan->open_next++;
        pulled->last_attempt = open->last_attempt;
        pulled->failures = open->failures;
        return 1;
    }
    if (rc == 0 && plan->filtered)
        return mf_raise(error,
                        MF_EINPUT,
                        "the recorded plan ends before subtask %llu, which is still to be done",
                        (unsigned long long)plan->open[plan->open_next].subtask);
    return rc;
}

/* Takes pieces from the source until there are enough. 0, or -1 when the source or memory fails:
 * then the plan is over. */
static int take_slice(struct plan *plan, uint64_t most, int64_t until_us, struct mf_error *error)
{
    int rc = 1;
    plan->slice_count = 0;
    while (rc > 0 && plan->slice_count < most && plan->slice_count < SLICE) {
        struct mf_subtask piece;
        rc = next_open(plan, &piece, &plan->slice[plan->slice_count], error);
        if (rc <= 0)
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
    plan->has_ended = rc == 0;
    if (rc == 0 && plan->writer != NULL)
        return plan_writer_end(plan->writer, plan->pieces, error);
    return 0;
}

/* A slice, durable: 1, 0 when it is the last one, -1. What could not be written (MF_EFULL) is
 * written by the next call. */
static int pull_slice(struct plan *plan, uint64_t most, int64_t until_us, struct mf_error *error)
{
    if (!plan->is_unwritten && take_slice(plan, most, until_us, error) < 0)
        return -1;
    plan->is_unwritten = plan->writer != NULL && (plan->slice_count > 0 || plan->has_ended);
    if (plan->is_unwritten && plan_writer_flush(plan->writer, plan->sync, error) < 0)
        return -1;
    plan->is_unwritten = false;
    return plan->has_ended ? 0 : 1;
}

int plan_pull(struct plan *plan,
              uint64_t most,
              int64_t until_us,
              plan_f *f,
              void *arg,
              struct mf_error *error)
{
    int rc = 1;
    while (rc > 0 && most > 0) {
        rc = pull_slice(plan, most, until_us, error);
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
    return rc;
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
