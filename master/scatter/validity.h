/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long credentials are valid, by the master's monotonic clock.
 *
 * Credentials are issued in generations, which are numbered through the whole run. A new one begins
 * every third of the ttl, and each is valid for one ttl from its beginning; so a credential lives
 * for two thirds of the ttl at least, and is renewed long before it ends. Nothing here is kept over
 * the master's death: a later epoch gives the newest generation that there may be, and the two
 * before it (they may have been valid when the master died), one more ttl. The time without a
 * master does not count; all older ones are over.
 *
 * Pure: no clock of its own, no memory, not thread-safe.
 */
#ifndef MAYFLY_MASTER_SCATTER_VALIDITY_H
#define MAYFLY_MASTER_SCATTER_VALIDITY_H

#include <stdint.h>

#define VALIDITY_KEPT 4u /* three can be valid at once */

struct validity {
    int64_t ttl_us;
    uint32_t newest;
    int64_t next_us;                   /* when the next generation is due */
    int64_t expires_us[VALIDITY_KEPT]; /* by generation, modulo; 0 = never issued */
};

/* `newest` is what an epoch begins with, from 1: its first generation, or the last of the one
 * before. */
void validity_start(struct validity *validity, uint32_t newest, int64_t ttl_us, int64_t now_us);
/* The next generation begins, whenever it was due. */
void validity_advance(struct validity *validity, int64_t now_us);
/* It can't begin now: it is due again a thirtieth of the ttl later. */
void validity_postpone(struct validity *validity, int64_t now_us);
/* When credentials of the generation end; 0 for those that ended long ago or do not exist. */
int64_t validity_end(const struct validity *validity, uint32_t generation);

#endif
