/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open connections by nng's pipe id: the peer's address, and the worker that has proved to be
 * behind it. Not thread-safe.
 */
#ifndef MAYFLY_MASTER_SCATTER_PEERS_H
#define MAYFLY_MASTER_SCATTER_PEERS_H

#include <stdint.h>

struct peer {
    struct peer *next;
    uint32_t pipe;
    uint32_t worker; /* 0: no request with a valid token came on it yet */
    char address[64];
    uint32_t generation; /* the newest of which a token came on it */
    int64_t expires_us;  /* monotonic: it is closed then, whatever it does */
    int64_t close_at_us; /* monotonic; 0 = it is to stay */
};

#define PEERS_BUCKETS 1024u

/* Zero-initialised is empty. */
struct peers {
    struct peer *buckets[PEERS_BUCKETS];
    uint32_t count;
};

/* NULL when memory is exhausted. */
struct peer *peers_add(struct peers *peers, uint32_t pipe, const char *address);
struct peer *peers_find(struct peers *peers, uint32_t pipe);
void peers_remove(struct peers *peers, uint32_t pipe);
void peers_fini(struct peers *peers);

#endif
