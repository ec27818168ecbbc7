/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether deflating pays on the way to one worker. That depends on its network, on both machines
 * and on the data, so it is measured: how long pieces take either way, from their order until they
 * have come. Both are tried at first and now and then; in between goes what was faster. Pure.
 */
#ifndef MAYFLY_MASTER_STAGE_PACE_H
#define MAYFLY_MASTER_STAGE_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_FROM 65536u /* smaller pieces say nothing */

/* Zero-initialised knows nothing. */
struct pace {
    uint32_t asked;        /* how often pace_deflates was */
    uint32_t samples[2];   /* as they are, deflated */
    double ns_per_byte[2]; /* of the data, not of what travels */
};

/* Whether the next piece is to be deflated. */
bool pace_deflates(struct pace *pace);
/* A piece of `length` bytes has come after `took_us`. */
void pace_note(struct pace *pace, bool was_deflated, uint32_t length, int64_t took_us);

#endif
