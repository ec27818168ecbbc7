/* SPDX-License-Identifier: Apache-2.0 */
/* Times for people: see show.h. */
#include "master/cron/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "master/cron/calendar.h"
#include "master/cron/zone.h"

#define SECOND 1000000
/* A change that makes the clock show a time again is no further away. */
#define NEAR (3 * 3600)

static void offset_text(int64_t offset, char text[16])
{
    int64_t minutes = llabs(offset) / 60;
    snprintf(text,
             16,
             "%c%02d:%02d",
             offset < 0 ? '-' : '+',
             (int)(minutes / 60 % 100),
             (int)(minutes % 60));
}

static void clock_text(int64_t wall, char text[16])
{
    int64_t minute = calendar_floor(wall, 60);
    int of_day = (int)(minute - calendar_floor(minute, 1440) * 1440);
    snprintf(text, 16, "%02d:%02d", of_day / 60, of_day % 60);
}

static void show_clock(int64_t at, struct cron_shown *shown)
{
    char date[40], time_of_day[16], offset[16];
    time_t time = at;
    struct tm tm;
    localtime_r(&time, &tm);
    offset_text(tm.tm_gmtoff, offset);
    strftime(time_of_day, sizeof time_of_day, "%H:%M:%S", &tm);
    strftime(date, sizeof date, "%a %Y-%m-%d", &tm);
    snprintf(
        shown->local, sizeof shown->local, "%s %s %s %.12s", date, time_of_day, offset, tm.tm_zone);
    strftime(date, sizeof date, "%Y-%m-%d", &tm);
    snprintf(shown->iso, sizeof shown->iso, "%sT%s%s", date, time_of_day, offset);
}

/* Right after the clock went forward. */
static bool note_gap(const struct cron *cron, int64_t at, char *note)
{
    char from[16], to[16];
    int64_t before = zone_offset(at - 1), after = zone_offset(at);
    if (after <= before)
        return false;
    clock_text(at + before, from);
    clock_text(at + after, to);
    bool has_skipped = !cron->is_wild && calendar_after(cron, at + before - 1) < at + after;
    snprintf(note,
             CRON_CHANGE_SIZE,
             "the clock goes from %s to %s here%s",
             from,
             to,
             has_skipped ? ": it stands for what is due in between" : "");
    return true;
}

/* While the clock shows what it shows again, or has shown before. */
static bool note_twice(const struct cron *cron, int64_t at, char *note)
{
    int64_t back = zone_change(at - NEAR, at), next = zone_change(at, at + NEAR);
    if (next <= at + NEAR && at + zone_offset(at) >= next + zone_offset(next)) {
        snprintf(note,
                 CRON_CHANGE_SIZE,
                 "the clock shows this time twice: %s",
                 cron->is_wild ? "this is the first" : "it fires the first time only");
        return true;
    }
    if (back <= at && at + zone_offset(at) < back + zone_offset(back - 1)) {
        snprintf(note, CRON_CHANGE_SIZE, "the clock shows this time for the second time");
        return true;
    }
    return false;
}

static void note_change(int64_t before, int64_t at, char *note)
{
    char from[16], to[16];
    int64_t earlier = zone_offset(before), later = zone_offset(at);
    if (earlier == later)
        return;
    offset_text(earlier, from);
    offset_text(later, to);
    snprintf(note, CRON_CHANGE_SIZE, "the clock has changed from %s to %s", from, to);
}

int cron_show(const struct cron *cron,
              const char *zone,
              int64_t before_us,
              int64_t at_us,
              struct cron_shown *shown,
              struct mf_error *error)
{
    struct zone_before zone_before;
    int64_t before = calendar_floor(before_us, SECOND), at = calendar_floor(at_us, SECOND);
    if (zone_enter(zone, &zone_before, error) < 0)
        return -1;
    show_clock(at, shown);
    shown->note[0] = '\0';
    bool is_said = cron->every_us == 0 &&
                   (note_gap(cron, at, shown->note) || note_twice(cron, at, shown->note));
    if (!is_said)
        note_change(before, at, shown->note);
    zone_leave(&zone_before);
    return 0;
}
