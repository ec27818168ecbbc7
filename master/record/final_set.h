/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set of subtasks that have a final record: one bit each, so that the fence costs no query a
 * row. Its additions are undone when the transaction that made them is rolled back. One thread.
 */
#ifndef MAYFLY_MASTER_RECORD_FINAL_SET_H
#define MAYFLY_MASTER_RECORD_FINAL_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialised is empty and valid; release with final_set_fini. */
struct final_set {
    unsigned char **chunks; /* FINAL_SET_CHUNK subtasks each; NULL where none is set */
    size_t chunk_count;
    uint64_t *added; /* since the last keep: what undo takes out */
    size_t added_count;
    size_t added_capacity;
};

#define FINAL_SET_CHUNK 65536

void final_set_fini(struct final_set *set);
bool final_set_has(const struct final_set *set, uint64_t subtask);
/* 0, or -1 when memory is exhausted (nothing has changed). */
int final_set_add(struct final_set *set, uint64_t subtask);
void final_set_keep(struct final_set *set); /* committed */
void final_set_undo(struct final_set *set); /* rolled back */

#endif
