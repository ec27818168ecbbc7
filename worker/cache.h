/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was fetched to this host, shared by all workers of the run here: inputs/ beside their
 * folders.
 *
 *     inputs/                 held by a lock of each worker; the last one takes it away
 *     inputs/<key>/lock       held: shared by who uses the entry, alone by who fetches or removes
 * it inputs/<key>/part/      being fetched; what a killed fetch leaves, the next one removes
 *     inputs/<key>/whole/     complete: files of any number and names
 *     inputs/data/<sha256>    the contents of complete files, as further links: each is stored once
 *
 * An entry appears by rename, whole, and is not changed any more. Entries that nobody uses are
 * kept, the newest few of each worker, and removed earlier when room is needed. All locks end with
 * their process. Loop thread only.
 */
#ifndef MAYFLY_WORKER_CACHE_H
#define MAYFLY_WORKER_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

#define CACHE_KEY_SIZE 33   /* with its NUL; a name of letters and digits */
#define CACHE_JOB_KEY "job" /* the entry of the job's own files: it stays */

struct cache;

/* An entry in somebody's hands; embedded. */
struct cache_entry {
    char key[CACHE_KEY_SIZE];
    int lock_fd; /* -1: not held */
    bool is_whole;
    uint64_t bytes; /* that it takes, as far as the caller knows; for how long it is kept */
};

/* worker_folder: absolute; inputs/ is made beside it. */
struct cache *cache_open(const char *worker_folder, struct mf_error *error);
/* Gives inputs/ up; the last worker of the run on this host moves it into its own folder, which it
 * is about to remove. Entries must have been given back. */
void cache_close(struct cache *cache);

/* The folder of an entry's files, absolute; heap, NULL when memory is exhausted. */
char *cache_path(const struct cache *cache, const char *key);

/*
 * Takes the entry `key`. 1: it is in use from now on (is_whole), or this worker is to fetch it
 * (else). 0: another worker of this host is fetching it: ask again soon. -1: it can't be had.
 */
int cache_take(struct cache *cache,
               const char *key,
               struct cache_entry *entry,
               struct mf_error *error);

/*
 * Whether `wanted` bytes have room, after removing what nobody uses, oldest first. 1: yes. 0: not
 * now, but entries are in use that will be given back. -1: never, with the sentence that says how
 * much there is.
 */
int cache_make_room(struct cache *cache, uint64_t wanted, struct mf_error *error);

/* Makes a file of the entry that is being fetched, and the folders above it; returns its
 * descriptor. -1 with errno as the reason. */
int cache_create_file(struct cache *cache, const struct cache_entry *entry, const char *name);
int cache_create_folder(struct cache *cache, const struct cache_entry *entry, const char *name);
/* A complete file: it gets its permission bits, and with a sha256 (64 digits; NULL = not a whole
 * file) shares its content with others that have the same. */
int cache_finish_file(struct cache *cache,
                      const struct cache_entry *entry,
                      const char *name,
                      uint32_t mode,
                      const char *sha256,
                      struct mf_error *error);
/* All files are there: the entry is whole and in use. */
int cache_publish(struct cache *cache, struct cache_entry *entry, struct mf_error *error);

/* Gives it back: a whole one is kept for a while, any other is removed. */
void cache_give_back(struct cache *cache, struct cache_entry *entry);

#endif
