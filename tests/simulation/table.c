/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake results table: records wait in a ring until they are committed, in their order, and the
 * high-water mark with them. What is committed outlives the master; of what is being committed when
 * it dies, all or nothing does.
 */
#include <stdlib.h>

#include "tests/simulation/sim.h"

void table_begin(struct sim *sim)
{
    static const uint64_t blocks[] = {1, 16, 64, 100000};
    sim->mark_block = blocks[chance(sim, sizeof blocks / sizeof *blocks)];
    sim->mark_block *= 1 + sim->options->subtasks / 1000;
}

void table_add(struct sim *sim, const struct schedule_action *action)
{
    struct rows *rows = &sim->rows;
    if (rows->count == rows->cap) {
        size_t cap = rows->cap == 0 ? 64 : rows->cap * 2;
        struct row *grown = need(malloc(cap * sizeof *grown));
        for (size_t i = 0; i < rows->count; i++)
            grown[i] = rows->at[(rows->head + i) & (rows->cap - 1)];
        free(rows->at);
        rows->at = grown;
        rows->cap = cap;
        rows->head = 0;
    }
    rows->at[(rows->head + rows->count++) & (rows->cap - 1)] =
        (struct row){action->subtask, action->attempt, action->epoch, action->record};
    sim->uncommitted++;
    sim->accounts[action->subtask].waiting++;
}

bool table_has(const struct sim *sim, const struct task *task)
{
    for (size_t i = 0; i < sim->rows.count && sim->accounts[task->subtask].waiting > 0; i++) {
        const struct row *row = &sim->rows.at[(sim->rows.head + i) & (sim->rows.cap - 1)];
        if (row->subtask == task->subtask && row->attempt == task->attempt &&
            row->epoch == task->epoch)
            return false;
    }
    return true;
}

static void write_row(struct sim *sim, const struct row *row)
{
    struct account *account = &sim->accounts[row->subtask];
    if (account->table_final != 0)
        violation(sim,
                  "G2: subtask %llu has a second record behind its final one",
                  (unsigned long long)row->subtask);
    account->waiting--;
    account->table_numbers |= 1ull << (row->attempt & 63);
    if (row->attempt > account->table_last)
        account->table_last = (uint16_t)row->attempt;
    if (row->record == RECORD_RETRIED) {
        account->table_failures++;
        return;
    }
    account->table_final = (uint8_t)(row->record + 1);
    account->table_epoch = sim->epoch;
}

void table_commit(struct sim *sim, uint64_t records, uint64_t mark)
{
    for (; records > 0; records--) {
        write_row(sim, &sim->rows.at[sim->rows.head]);
        sim->rows.head = (sim->rows.head + 1) & (sim->rows.cap - 1);
        sim->rows.count--;
    }
    sim->mark = mark > sim->mark ? mark : sim->mark;
}

void table_forget(struct sim *sim, bool survives)
{
    if (sim->committing && survives)
        table_commit(sim, sim->rows.count - sim->uncommitted, sim->mark_asked);
    sim->committing = false;
    sim->rows.count = 0;
    sim->uncommitted = sim->committed = sim->recorded = 0;
    sim->mark_asked = sim->mark;
}

void table_end(struct sim *sim)
{
    free(sim->rows.at);
}
