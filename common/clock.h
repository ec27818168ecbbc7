/* SPDX-License-Identifier: Apache-2.0 */
/* Time in microseconds. Durations come from the monotonic clock, stamps from the wall clock. Any
 * thread. */
#ifndef MAYFLY_COMMON_CLOCK_H
#define MAYFLY_COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define MF_NEVER INT64_MAX

int64_t mf_monotonic_us(void);
int64_t mf_wall_us(void); /* since 1970-01-01T00:00:00Z */
/* "2026-11-22T08:45:12.123Z" of a wall-clock time; text holds at least MF_STAMP_SIZE bytes. Returns
 * text. */
#define MF_STAMP_SIZE 32
const char *mf_stamp(int64_t wall_us, char *text);

#endif
