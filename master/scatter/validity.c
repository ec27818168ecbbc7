/* SPDX-License-Identifier: Apache-2.0 */
/* Generations of credentials and their ends: see validity.h. */
#include "master/scatter/validity.h"

void validity_start(struct validity *validity, uint32_t newest, int64_t ttl_us, int64_t now_us)
{
    *validity =
        (struct validity){.ttl_us = ttl_us, .newest = newest, .next_us = now_us + ttl_us / 3};
    for (uint32_t before = 0; before < VALIDITY_KEPT - 1 && before < newest; before++)
        validity->expires_us[(newest - before) % VALIDITY_KEPT] = now_us + ttl_us;
}

void validity_advance(struct validity *validity, int64_t now_us)
{
    validity->newest++;
    validity->next_us = now_us + validity->ttl_us / 3;
    validity->expires_us[validity->newest % VALIDITY_KEPT] = now_us + validity->ttl_us;
}

void validity_postpone(struct validity *validity, int64_t now_us)
{
    validity->next_us = now_us + validity->ttl_us / 30;
}

int64_t validity_end(const struct validity *validity, uint32_t generation)
{
    if (generation == 0 || generation > validity->newest ||
        validity->newest - generation >= VALIDITY_KEPT)
        return 0;
    return validity->expires_us[generation % VALIDITY_KEPT];
}
