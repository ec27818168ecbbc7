/* SPDX-License-Identifier: Apache-2.0 */
/* When results are sent again that the master could not record: twice as long is waited each time.
 * Zero-initialised is valid. */
#ifndef MAYFLY_WORKER_AGAIN_H
#define MAYFLY_WORKER_AGAIN_H

#include <stdint.h>

#define AGAIN_FIRST_US 250000
#define AGAIN_MOST_US 4000000

struct again {
    int64_t at_us;    /* not before; 0 = any time */
    int64_t delay_us; /* 0 = the last results were recorded */
};

static inline void again_later(struct again *again, int64_t now_us)
{
    again->delay_us = again->delay_us == 0 ? AGAIN_FIRST_US : again->delay_us * 2;
    if (again->delay_us > AGAIN_MOST_US)
        again->delay_us = AGAIN_MOST_US;
    again->at_us = now_us + again->delay_us;
}

#endif
