/* SPDX-License-Identifier: Apache-2.0 */
/* What master and worker make of the lease, so that a connection that is dead in silence is
 * replaced well within it. All in microseconds. */
#ifndef MAYFLY_COMMON_LEASE_H
#define MAYFLY_COMMON_LEASE_H

#include <stdint.h>

/* The master answers a poll at the latest after so long, with nothing to say, too. */
static inline uint64_t mf_lease_hold_us(uint64_t lease_us)
{
    return lease_us / 6 < 5000000 ? lease_us / 6 : 5000000;
}

/* A worker that has heard nothing for so long connects anew. */
static inline uint64_t mf_lease_silence_us(uint64_t lease_us)
{
    return lease_us / 2 < 10000000 ? lease_us / 2 : 10000000;
}

#endif
