/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that can fail and lose power: the program's own write, pwrite, ftruncate, fsync, fdatasync
 * and rename stand here instead of the C library's, also for SQLite.
 *
 * Failures, of files only: the n-th call of a kind fails with an errno, is interrupted, or writes
 * less than asked.
 *
 * Power: below one folder the shim remembers what was synced. Of each file: its bytes at the last
 * sync, and each write since, in sectors of 512 bytes. Of each folder: its entries at the last sync
 * of the folder. disk_cut makes a folder as it may be found after a power cut: what was synced is
 * there, of all else any subset. What is written through a mapping (SQLite's -shm) is lost.
 *
 * Any thread; the shim serialises what it watches.
 */
#ifndef MAYFLY_TESTS_DISK_SHIM_H
#define MAYFLY_TESTS_DISK_SHIM_H

#include <stdbool.h>
#include <stdint.h>

enum disk_call { DISK_WRITE, DISK_SYNC, DISK_RENAME, DISK_CALLS };

#define DISK_SHORT (-1) /* instead of an errno: half of the bytes are written, without an error */

/* From now on the n-th call (from 1) of that kind, and if `stays` all later ones, fail. n = 0:
 * none. */
void disk_fail(enum disk_call call, unsigned long n, int number, bool stays);
/* Calls of that kind since disk_fail was last called for it. */
unsigned long disk_count(enum disk_call call);

/* Watches what is below `folder`; forgets what it knew. NULL: nothing. */
void disk_watch(const char *folder);
/* Calls that changed something since disk_watch. */
unsigned long disk_changes(void);
/* `f` is called before each further change, with the shim locked: it may only look, and cut. */
void disk_before_change(void (*f)(void *arg, unsigned long change), void *arg);
/* Makes `to` what may be left of the watched folder if the power were cut now. */
void disk_cut(const char *to, uint64_t seed);

#endif
