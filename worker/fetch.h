/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire side of staging: what is fetched piece by piece, in the order in which it is wanted.
 *
 * A transfer is one entry of the cache with its files. While one piece is written the next is under
 * way, on the other lane; pieces are taken in the order in which they were asked for, so that
 * checksums are made as they come. Loop thread only.
 */
#ifndef MAYFLY_WORKER_FETCH_H
#define MAYFLY_WORKER_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/checksum.h"
#include "common/error.h"
#include "common/message.h"
#include "worker/cache.h"
#include "worker/failure.h"

#define FETCH_LANES (MF_LANES - MF_LANE_FETCH)

/* One file of a transfer. The caller fills all but the state. */
struct fetch_file {
    char *name;      /* in the entry; heap */
    char *shown;     /* as messages name it; heap */
    char *place;     /* where it may be in its own place, NULL = not to be looked at; heap */
    uint32_t file;   /* of the job's own, from 1; 0 = an input */
    uint32_t member; /* of a grouped item */
    uint32_t mode;
    bool is_folder;
    bool is_known;    /* size and identity are those of the plan; else those that come first */
    bool is_in_place; /* state: the very same file is at `place`: nothing is fetched */
    uint64_t size;
    int64_t mtime_ns;
    uint64_t inode;
    uint64_t header_length, offset, length; /* what is wanted: the start, and a range; the rest of a
                                               larger file stays a hole */
};

struct transfer {
    struct transfer *previous, *next; /* in the order of need */
    struct cache_entry *entry;        /* the caller's */
    uint64_t subtask;                 /* whose input it is, 0 = the job's own files */
    struct fetch_file *files;
    uint32_t file_count;
    void *owner;
    /* state */
    uint32_t asking, taking; /* files */
    uint64_t asked, taken;   /* bytes of what is wanted of them */
    bool is_begun;           /* the file at `taking` has its descriptor */
    int fd;
    struct mf_sha256 sha256;
    uint64_t wrote; /* bytes, in all */
};

struct fetch_callbacks {
    void (*done)(void *arg, struct transfer *transfer);
    /* It is over, and no longer under way. */
    void (*failed)(void *arg, struct transfer *transfer, const struct failure *failure);
    /* The subtask is over at the master: another one for the same input, or 0: there is none. */
    uint64_t (*gone)(void *arg, struct transfer *transfer);
    /* The disk is full: true when it is to be tried again later, from the start; else the failure
     * says how much room there is. It is no longer under way. */
    bool (*full)(void *arg, struct transfer *transfer, struct failure *failure);
    void *arg;
};

struct fetch;

struct fetch *
fetch_create(struct cache *cache, const struct fetch_callbacks *callbacks, struct mf_error *error);
void fetch_destroy(struct fetch *fetch);

/* Begins a transfer, behind those that are under way. It stays the caller's. */
void fetch_begin(struct fetch *fetch, struct transfer *transfer);
/* Gives one up; what is under way for it is dropped when it comes. */
void fetch_abandon(struct fetch *fetch, struct transfer *transfer);

/* What the lane is to ask for next, without the request's head: 1, or 0 for nothing now. */
int fetch_next(struct fetch *fetch, unsigned lane, int64_t now_us, struct mf_fetch *message);
/* The answer of a lane. -1 with MF_EPROTOCOL when it answers nothing, MF_ENOMEM. */
int fetch_take(struct fetch *fetch,
               unsigned lane,
               const struct mf_piece *piece,
               int64_t now_us,
               struct mf_error *error);
/* All that is under way will not be answered: it is asked for again. */
void fetch_restart(struct fetch *fetch);
/* When fetch_next is to be asked again although nothing happened. */
int64_t fetch_deadline(const struct fetch *fetch);

#endif
