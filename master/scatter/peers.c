/* SPDX-License-Identifier: Apache-2.0 */
/* Open connections in a chained hash: see peers.h. nng's pipe ids are random, so their low bits
 * spread well. */
#include "master/scatter/peers.h"

#include <stddef.h>
#include <stdio.h>

#include "common/alloc.h"

struct peer *peers_add(struct peers *peers, uint32_t pipe, const char *address)
{
    struct peer *peer = mf_calloc(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    struct peer **bucket = &peers->buckets[pipe % PEERS_BUCKETS];
    peer->pipe = pipe;
    snprintf(peer->address, sizeof peer->address, "%s", address);
    peer->next = *bucket;
    *bucket = peer;
    peers->count++;
    return peer;
}

struct peer *peers_find(struct peers *peers, uint32_t pipe)
{
    struct peer *peer = peers->buckets[pipe % PEERS_BUCKETS];
    while (peer != NULL && peer->pipe != pipe)
        peer = peer->next;
    return peer;
}

void peers_remove(struct peers *peers, uint32_t pipe)
{
    struct peer **link = &peers->buckets[pipe % PEERS_BUCKETS];
    while (*link != NULL && (*link)->pipe != pipe)
        link = &(*link)->next;
    struct peer *peer = *link;
    if (peer == NULL)
        return;
    *link = peer->next;
    peers->count--;
    mf_free(peer);
}

void peers_fini(struct peers *peers)
{
    for (unsigned i = 0; i < PEERS_BUCKETS; i++)
        while (peers->buckets[i] != NULL)
            peers_remove(peers, peers->buckets[i]->pipe);
}
