/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time zones by name, from the machine's zone files (Debian's tzdata). NULL and "" are the
 * machine's own zone, whatever TZ says: what is installed by somebody in a shell is due when cron,
 * which does not know that shell, looks at it.
 *
 * glibc has one zone for the process: see cron.h for what that means for threads. Times are in
 * seconds since 1970.
 */
#ifndef MAYFLY_MASTER_CRON_ZONE_H
#define MAYFLY_MASTER_CRON_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* 0 when there is such a zone; MF_EUSAGE naming it and the remedy. glibc would take it for UTC. */
int zone_check(const char *zone, struct mf_error *error);

/* The name of the machine's own zone, "local time" when it has none. Returns text. */
#define ZONE_NAME_SIZE 128
const char *zone_own_name(char text[ZONE_NAME_SIZE]);

/* From zone_enter to zone_leave the process is in that zone; nothing else is done meanwhile. */
struct zone_before {
    char *tz; /* heap; NULL = TZ was not set */
};
int zone_enter(const char *zone, struct zone_before *before, struct mf_error *error);
void zone_leave(struct zone_before *before);

/* The rest is between zone_enter and zone_leave. */

/* What is added to UTC at that time. */
int64_t zone_offset(int64_t at);
/* The first time in (from, to] at which the offset is another than just before; `to` + 1 when there
 * is none. For some days at most: every few hours are looked at. */
int64_t zone_change(int64_t from, int64_t to);
/* When the clock first shows `wall` (seconds of a calendar without zones) or, where it skips that,
 * the first time after the gap. */
int64_t zone_reach(int64_t wall);

#endif
