/* SPDX-License-Identifier: Apache-2.0 */
/* Chance, the queue of events in virtual time, and small arrays. See sim.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulation/sim.h"

/* splitmix64 */
uint64_t chance(struct sim *sim, uint64_t below)
{
    uint64_t z = sim->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

bool percent(struct sim *sim, unsigned share)
{
    return chance(sim, 100) < share;
}

int64_t between(struct sim *sim, int64_t low, int64_t high)
{
    return low + (int64_t)chance(sim, (uint64_t)(high - low) + 1);
}

bool fault(const struct sim *sim, unsigned fault)
{
    return (sim->options->faults & fault) != 0;
}

void *need(void *memory)
{
    if (memory == NULL) {
        fputs("mayfly-sim: memory is exhausted; simulate fewer subtasks\n", stderr);
        exit(3);
    }
    return memory;
}

static bool before(const struct world_event *a, const struct world_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void later(struct sim *sim, int64_t delay_us, struct world_event event)
{
    event.at_us = sim->now_us + delay_us;
    event.order = sim->order++;
    event.epoch = sim->epoch;
    if (sim->heap_count == sim->heap_cap) {
        sim->heap_cap = sim->heap_cap == 0 ? 256 : sim->heap_cap * 2;
        sim->heap = need(realloc(sim->heap, sim->heap_cap * sizeof *sim->heap));
    }
    size_t i = sim->heap_count++;
    for (; i > 0 && before(&event, &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
        sim->heap[i] = sim->heap[(i - 1) / 2];
    sim->heap[i] = event;
}

bool next_event(struct sim *sim, struct world_event *event)
{
    if (sim->heap_count == 0)
        return false;
    *event = sim->heap[0];
    struct world_event last = sim->heap[--sim->heap_count];
    size_t i = 0, n = sim->heap_count;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!before(&sim->heap[child], &last))
            break;
        sim->heap[i] = sim->heap[child];
    }
    sim->heap[i] = last;
    sim->now_us = event->at_us;
    sim->steps++;
    return true;
}

void tasks_add(struct tasks *tasks, struct task task)
{
    if (tasks->count == tasks->cap) {
        tasks->cap = tasks->cap == 0 ? 8 : tasks->cap * 2;
        tasks->at = need(realloc(tasks->at, tasks->cap * sizeof *tasks->at));
    }
    tasks->at[tasks->count++] = task;
}

void tasks_remove(struct tasks *tasks, uint32_t i)
{
    tasks->count--;
    memmove(&tasks->at[i], &tasks->at[i + 1], (tasks->count - i) * sizeof *tasks->at);
}

bool tasks_find(const struct tasks *tasks, const struct task *task, uint32_t *i)
{
    for (*i = 0; *i < tasks->count; ++*i) {
        const struct task *one = &tasks->at[*i];
        if (one->subtask == task->subtask && one->attempt == task->attempt &&
            one->epoch == task->epoch)
            return true;
    }
    return false;
}

/* The memory goes along. */
void tasks_move(struct tasks *from, struct tasks *to)
{
    *to = *from;
    *from = (struct tasks){0};
}

struct letter *letter_create(unsigned lane, uint64_t sequence, uint32_t epoch)
{
    struct letter *letter = need(calloc(1, sizeof *letter));
    letter->references = 1;
    letter->lane = lane;
    letter->sequence = sequence;
    letter->epoch = epoch;
    return letter;
}

void letter_release(struct letter *letter)
{
    if (letter == NULL || --letter->references > 0)
        return;
    free(letter->results.at);
    free(letter->running.at);
    free(letter->returned.at);
    free(letter->held.at);
    free(letter->offers.at);
    free(letter->take_back.at);
    free(letter->cancel.at);
    free(letter);
}

struct peer *peer_of(struct sim *sim, uint32_t worker)
{
    if (worker >= sim->peer_cap) {
        uint32_t cap = sim->peer_cap == 0 ? 64 : sim->peer_cap;
        while (cap <= worker)
            cap *= 2;
        sim->peers = need(realloc(sim->peers, cap * sizeof *sim->peers));
        memset(sim->peers + sim->peer_cap, 0, (cap - sim->peer_cap) * sizeof *sim->peers);
        sim->live_of = need(realloc(sim->live_of, cap * sizeof *sim->live_of));
        memset(sim->live_of + sim->peer_cap, 0, (cap - sim->peer_cap) * sizeof *sim->live_of);
        sim->peer_cap = cap;
    }
    return &sim->peers[worker];
}
