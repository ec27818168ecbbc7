/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks: see clock.h. */
#include "common/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t mf_monotonic_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t mf_wall_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

const char *mf_stamp(int64_t wall_us, char *text)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(text, MF_STAMP_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, MF_STAMP_SIZE - n, ".%03dZ", (int)(wall_us / 1000 % 1000));
    return text;
}
