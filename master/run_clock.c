/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler's time: monotonic, but without the times in which this process stood still (it was
 * stopped, or its machine was). Workers could not be heard then: their leases, and all else that
 * the scheduler waits for, go on where they were, and what came meanwhile is read first.
 *
 * Standing still is told by a gap between two looks at the clock that is longer than what this
 * process meant to sleep.
 */
#include "common/clock.h"
#include "common/log.h"
#include "master/run_internal.h"

#define GAP_US 1000000

int64_t run_now_us(struct run *run)
{
    struct run_clock *clock = &run->clock;
    int64_t now_us = mf_monotonic_us(), gap_us = now_us - clock->seen_us;
    if (clock->seen_us != 0 && gap_us > GAP_US) {
        clock->stood_us += gap_us;
        mf_log(MF_WARNING,
               "this master stood still for %.1f s: leases go on from there",
               (double)gap_us / 1e6);
    }
    clock->seen_us = now_us;
    return now_us - clock->stood_us;
}

int64_t run_monotonic_us(const struct run *run, int64_t scheduler_us)
{
    return scheduler_us == INT64_MAX ? INT64_MAX : scheduler_us + run->clock.stood_us;
}

void run_sleeps_until(struct run *run, int64_t until_us)
{
    run_now_us(run);
    if (until_us > run->clock.seen_us)
        run->clock.seen_us = until_us;
}
