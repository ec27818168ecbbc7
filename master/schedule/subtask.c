/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store of live subtasks: records in chunks that never move, an index from id to record, the
 * queues of pending and of held ones, and the heap of those that wait for their backoff.
 *
 * A finished subtask costs nothing: its record is used again, last freed first (it is in the
 * cache). Only subtask_reserve and waiting_reserve allocate.
 */
#include "master/schedule/core.h"

#include <string.h>

#include "common/alloc.h"

/* What a subtask costs is a promise (G8). */
_Static_assert(sizeof(struct subtask) == 56 && sizeof(struct issue) == 16, "a subtask has grown");

static uint32_t home_of(const struct schedule *s, uint32_t tag)
{
    return (uint32_t)(tag * 2654435769u) >> (32 - s->index_bits);
}

static void index_put(struct schedule *s, uint32_t tag, uint32_t index)
{
    uint32_t mask = (1u << s->index_bits) - 1, i = home_of(s, tag);
    while (s->index[i].index != NONE)
        i = (i + 1) & mask;
    s->index[i] = (struct slot){tag, index};
}

static int index_grow(struct schedule *s)
{
    uint32_t bits = s->index == NULL ? 10 : s->index_bits + 1;
    size_t old = s->index == NULL ? 0 : (size_t)1 << s->index_bits, size = (size_t)1 << bits;
    struct slot *was = s->index, *grown = bits > 31 ? NULL : mf_malloc(size * sizeof *grown);
    if (grown == NULL)
        return -1;
    memset(grown, 0xff, size * sizeof *grown);
    s->index = grown;
    s->index_bits = bits;
    for (size_t i = 0; i < old; i++) {
        if (was[i].index != NONE)
            index_put(s, was[i].tag, was[i].index);
    }
    mf_free(was);
    s->bytes += (size - old) * sizeof *grown;
    return 0;
}

static int chunk_add(struct schedule *s)
{
    if (s->subtask_chunk_count == s->subtask_chunk_cap) {
        uint32_t cap = s->subtask_chunk_cap == 0 ? 16 : s->subtask_chunk_cap * 2;
        if (cap > (UINT32_MAX / 2) / SUBTASK_CHUNK) /* two references each, in 32 bits */
            return -1;
        struct subtask **grown = mf_realloc(s->subtask_chunks, cap * sizeof *grown);
        if (grown == NULL)
            return -1;
        s->bytes += (cap - s->subtask_chunk_cap) * sizeof *grown;
        s->subtask_chunks = grown;
        s->subtask_chunk_cap = cap;
    }
    struct subtask *chunk = mf_malloc(SUBTASK_CHUNK * sizeof *chunk);
    if (chunk == NULL)
        return -1;
    uint32_t first = s->subtask_chunk_count * SUBTASK_CHUNK;
    s->subtask_chunks[s->subtask_chunk_count++] = chunk;
    for (uint32_t i = SUBTASK_CHUNK; i-- > 0;) {
        chunk[i].free = s->free_head;
        s->free_head = first + i;
    }
    s->free_count += SUBTASK_CHUNK;
    s->bytes += SUBTASK_CHUNK * sizeof *chunk;
    return 0;
}

int core_subtask_reserve(struct schedule *s)
{
    if (s->free_count == 0 && chunk_add(s) == -1)
        return -1;
    /* At most three quarters full. */
    if (s->index == NULL || (s->live + 1) * 4 > ((uint64_t)3 << s->index_bits))
        return index_grow(s);
    return 0;
}

int waiting_reserve(struct schedule *s)
{
    if (s->waiting_count < s->waiting_cap)
        return 0;
    uint32_t cap = s->waiting_cap == 0 ? 64 : s->waiting_cap * 2;
    struct waiting *grown = mf_realloc(s->waiting, cap * sizeof *grown);
    if (grown == NULL)
        return -1;
    s->bytes += (cap - s->waiting_cap) * sizeof *grown;
    s->waiting = grown;
    s->waiting_cap = cap;
    return 0;
}

static uint32_t slot_find(const struct schedule *s, uint64_t id)
{
    if (s->index == NULL)
        return NONE;
    uint32_t mask = (1u << s->index_bits) - 1, tag = (uint32_t)id;
    for (uint32_t i = home_of(s, tag); s->index[i].index != NONE; i = (i + 1) & mask) {
        if (s->index[i].tag == tag && core_subtask_at(s, s->index[i].index)->id == id)
            return i;
    }
    return NONE;
}

uint32_t core_subtask_find(const struct schedule *s, uint64_t id)
{
    uint32_t i = slot_find(s, id);
    return i == NONE ? NONE : s->index[i].index;
}

static uint64_t *count_of(struct schedule *s, enum subtask_state state)
{
    switch (state) {
    case SUBTASK_PENDING:
        return &s->counts.pending;
    case SUBTASK_OFFERED:
        return &s->counts.offered;
    case SUBTASK_RUNNING:
        return &s->counts.running;
    case SUBTASK_WAITING:
        return &s->counts.waiting;
    case SUBTASK_HELD:
        return &s->counts.held;
    case SUBTASK_DONE:
        return &s->counts.done;
    case SUBTASK_FAILED:
        return &s->counts.failed;
    case SUBTASK_DEAD:
        return &s->counts.dead;
    default:
        return &s->counts.cancelled;
    }
}

uint32_t core_subtask_add(struct schedule *s, uint64_t id, enum subtask_state state)
{
    uint32_t index = s->free_head;
    struct subtask *sub = core_subtask_at(s, index);
    s->free_head = sub->free;
    s->free_count--;
    *sub = (struct subtask){.id = id, .state = (uint8_t)state};
    index_put(s, (uint32_t)id, index);
    s->live++;
    ++*count_of(s, state);
    return index;
}

void core_subtask_step(struct schedule *s, uint32_t index, enum subtask_event event)
{
    struct subtask *sub = core_subtask_at(s, index);
    int to = subtask_edge(sub->state, event);
    if (to < 0) {
        schedule_broken(s, "a subtask", subtask_state_name(sub->state), subtask_event_name(event));
        return;
    }
    --*count_of(s, sub->state);
    ++*count_of(s, (enum subtask_state)to);
    sub->state = (uint8_t)to;
}

/* Closes the gap in the index: whatever may move nearer to its home does. */
static void slot_clear(struct schedule *s, uint32_t hole)
{
    uint32_t mask = (1u << s->index_bits) - 1;
    for (uint32_t i = (hole + 1) & mask; s->index[i].index != NONE; i = (i + 1) & mask) {
        uint32_t distance = (i - home_of(s, s->index[i].tag)) & mask;
        if (distance >= ((i - hole) & mask)) {
            s->index[hole] = s->index[i];
            hole = i;
        }
    }
    s->index[hole].index = NONE;
}

void core_subtask_forget(struct schedule *s, uint32_t index)
{
    struct subtask *sub = core_subtask_at(s, index);
    slot_clear(s, slot_find(s, sub->id));
    sub->free = s->free_head;
    s->live--;
    if (BREAKS(FORGET))
        return;
    s->free_head = index;
    s->free_count++;
}

void pending_put(struct schedule *s, uint32_t index, bool front)
{
    struct subtask *sub = core_subtask_at(s, index);
    struct subtask_queue *queue = sub->state == SUBTASK_HELD ? &s->held : &s->pending;
    uint32_t prev = front ? NONE : queue->tail, next = front ? queue->head : NONE;
    sub->pending.next = next;
    sub->pending.prev = prev;
    if (prev == NONE)
        queue->head = index;
    else
        core_subtask_at(s, prev)->pending.next = index;
    if (next == NONE)
        queue->tail = index;
    else
        core_subtask_at(s, next)->pending.prev = index;
}

void pending_take(struct schedule *s, uint32_t index)
{
    struct subtask *sub = core_subtask_at(s, index);
    if (sub->state != SUBTASK_PENDING && sub->state != SUBTASK_HELD)
        return;
    struct subtask_queue *queue = sub->state == SUBTASK_HELD ? &s->held : &s->pending;
    if (sub->pending.prev == NONE)
        queue->head = sub->pending.next;
    else
        core_subtask_at(s, sub->pending.prev)->pending.next = sub->pending.next;
    if (sub->pending.next == NONE)
        queue->tail = sub->pending.prev;
    else
        core_subtask_at(s, sub->pending.next)->pending.prev = sub->pending.prev;
}

void waiting_put(struct schedule *s, uint32_t index, int64_t due_us)
{
    uint32_t i = s->waiting_count++;
    while (i > 0 && s->waiting[(i - 1) / 2].due_us > due_us) {
        s->waiting[i] = s->waiting[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->waiting[i] = (struct waiting){due_us, index};
}

uint32_t waiting_pop(struct schedule *s)
{
    uint32_t first = s->waiting[0].index, n = --s->waiting_count, i = 0;
    struct waiting last = s->waiting[n];
    for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && s->waiting[child + 1].due_us < s->waiting[child].due_us)
            child++;
        if (s->waiting[child].due_us >= last.due_us)
            break;
        s->waiting[i] = s->waiting[child];
    }
    s->waiting[i] = last;
    return first;
}

void core_subtasks_fini(struct schedule *s)
{
    for (uint32_t i = 0; i < s->subtask_chunk_count; i++)
        mf_free(s->subtask_chunks[i]);
    mf_free(s->subtask_chunks);
    mf_free(s->index);
    mf_free(s->waiting);
}
