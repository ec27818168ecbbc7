/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a worker lives on its host: the first place that is writable and executable of
 * $XDG_CACHE_HOME/mayfly,
 * ~/.cache/mayfly, /var/tmp/mayfly-<uid>, /tmp/mayfly-<uid>; in it runs/<run id>/<worker>/, 0700.
 */
#ifndef MAYFLY_WORKER_PLACE_H
#define MAYFLY_WORKER_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/* All candidate places, existing or not; *count of them, each on the heap like the array. NULL: out
 * of memory. */
char **place_candidates(unsigned *count);
void place_candidates_free(char **places, unsigned count);

/* Makes runs/<run id>/<worker>/ in the first usable place and returns its path (heap). NULL:
 * MF_ESETUP naming each place that was tried and why it is not usable. */
char *place_make(const char *run_id, uint32_t worker, struct mf_error *error);

/* The same folder below `base`, which need not be executable. Its parts that are missing are made;
 * MF_ESETUP when base is not ours alone. */
char *place_make_in(char *base, const char *run_id, uint32_t worker, struct mf_error *error);

/* Where secrets are on this host when it has a file system in memory (heap; NULL: out of memory):
 * runs/<run id>/<worker>/ below that. */
char *place_of_secrets(void);

/* Removes the empty folders above a worker's: run, runs and, with `base`, that of the place. */
void place_leave(const char *path, bool base);

/* Removes a tree: never follows links, never crosses into another file system, repairs modes of
 * folders that it can't enter. *removed counts entries. A missing tree is fine. */
int place_remove(const char *path, uint32_t *removed, struct mf_error *error);

#endif
