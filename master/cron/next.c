/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next time: see cron.h. Two ways to go from the calendar to time:
 *
 * Fixed hours: each time on the clock is due when the clock first reaches it. That is in the same
 * order as the clock's times, so the first one that is later than `after` is it.
 *
 * Wild hours: from one clock change to the next, the calendar runs along with time. What fits
 * beyond the next change is not looked at; it goes on from the change instead.
 */
#include <stddef.h>

#include "master/cron/calendar.h"
#include "master/cron/here.h"

#define SECOND 1000000
#define LAST_SECOND 253402300799 /* of the year 9999 */
/* Clock changes shift what the clock shows by less than this. */
#define TWO_DAYS (2 * CALENDAR_DAY)

static int64_t next_fixed(const struct cron *cron, int64_t after)
{
    int64_t wall = after + zone_offset(after);
    for (;;) {
        wall = calendar_after(cron, wall);
        if (wall > LAST_SECOND)
            return CALENDAR_NEVER;
        int64_t at = zone_reach(wall);
        if (at > after)
            return at;
    }
}

static int64_t next_wild(const struct cron *cron, int64_t after)
{
    int64_t from = after, offset = zone_offset(after);
    int64_t shown = after + offset; /* what fits comes later than this on the clock */
    for (;;) {
        int64_t wall = calendar_after(cron, shown);
        if (wall > LAST_SECOND)
            return CALENDAR_NEVER;
        int64_t at = wall - offset;
        int64_t near = at - from > TWO_DAYS ? from + TWO_DAYS : at;
        int64_t change = zone_change(from, near);
        if (change > near && near == at)
            return at;
        if (change <= near) {
            from = change;
            offset = zone_offset(change);
            shown = change + offset - 1;
        } else { /* between `near` and two days before `at`, whatever the zone, nothing fits */
            from = at - TWO_DAYS > near ? at - TWO_DAYS : near;
            offset = zone_offset(from);
            shown = from + offset;
        }
    }
}

int64_t cron_next_here(const struct cron *cron, int64_t after_us)
{
    if (cron->every_us != 0)
        return after_us > CALENDAR_NEVER - cron->every_us ? CALENDAR_NEVER
                                                          : after_us + cron->every_us;
    int64_t after = calendar_floor(after_us, SECOND);
    int64_t at = cron->is_wild ? next_wild(cron, after) : next_fixed(cron, after);
    return at > LAST_SECOND ? CALENDAR_NEVER : at * SECOND;
}

int cron_next(const struct cron *cron,
              const char *zone,
              int64_t after_us,
              int64_t *next_us,
              struct mf_error *error)
{
    struct zone_before before;
    if (zone_enter(zone, &before, error) < 0)
        return -1;
    *next_us = cron_next_here(cron, after_us);
    zone_leave(&before);
    return *next_us == CALENDAR_NEVER ? 0 : 1;
}
