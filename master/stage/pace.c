/* SPDX-License-Identifier: Apache-2.0 */
/* What is faster: see pace.h. */
#include "master/stage/pace.h"

#define FIRST 4u  /* of each kind, before anything is concluded */
#define EACH 32u  /* one in so many goes the other way */
#define WEIGHT 8u /* of what is known beside a new sample */
#define CLIP 4.0  /* a lane that had nothing to ask for looks slow */

bool pace_deflates(struct pace *pace)
{
    uint32_t asked = pace->asked++;
    if (asked < FIRST || pace->samples[1] == 0)
        return true;
    if (asked < 2 * FIRST || pace->samples[0] == 0)
        return false;
    bool is_faster = pace->ns_per_byte[1] < pace->ns_per_byte[0];
    return asked % EACH == 0 ? !is_faster : is_faster;
}

void pace_note(struct pace *pace, bool was_deflated, uint32_t length, int64_t took_us)
{
    if (length < PACE_FROM || took_us <= 0)
        return;
    double *known = &pace->ns_per_byte[was_deflated];
    double sample = (double)took_us * 1000 / length;
    uint32_t weight = pace->samples[was_deflated] < WEIGHT ? pace->samples[was_deflated] : WEIGHT;
    if (weight > 0 && sample > *known * CLIP)
        sample = *known * CLIP;
    *known = (*known * weight + sample) / (weight + 1);
    pace->samples[was_deflated]++;
}
