/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cron expressions: five fields (minute, hour, day of month, month, weekday), `@daily` and the
 * like, or `@every 90s`; and when they are due. docs/triggers.md describes them for users.
 *
 *     fields     *  ?  5  1-5  mon-fri  1,15  10-40/5, steps of all (a star, "/10")
 *     days       L (the last of the month); weekdays also 5L (the last Friday), mon#2 (the second
 *                Monday); 0 and 7 are Sunday
 *
 * A struct cron is a value: no memory of its own, it can be copied. What asks for times of a zone
 * goes through glibc, which has one zone for the whole process: these functions set and restore TZ,
 * so they are for programs whose other threads (if any) neither read the environment nor ask for
 * local times meanwhile.
 */
#ifndef MAYFLY_MASTER_CRON_CRON_H
#define MAYFLY_MASTER_CRON_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

#define CRON_TEXT_MAX 1024u

struct cron {
    int64_t every_us; /* @every: from one to the next; 0 = the sets below */
    uint64_t minutes; /* bit n = minute n; so for the others */
    uint32_t hours;
    uint32_t days;    /* 1 to 31 */
    uint16_t months;  /* 1 to 12 */
    uint8_t weekdays; /* 0 = Sunday, to 6 */
    uint8_t nth[7];   /* of each weekday: bits 1 to 5, the n-th of a month; bit 0, the last one */
    bool has_last_day;
    bool is_either; /* days and weekdays are both restricted: one that fits is enough */
    bool is_wild;   /* the hours are not restricted: at clock changes, real time counts */
};

/*
 * MF_EUSAGE naming the field, the position in the text (from 1), what stands there and what was
 * expected; also when it never fires (30 February).
 */
int cron_parse(const char *text, struct cron *cron, struct mf_error *error);

/*
 * The first time after `after_us` at which it is due. Both are stamps of the wall clock. 1 and
 * *next_us; 0 when there is none before the end of time; -1: as zone_check.
 *
 * Clock changes: where the hours are not restricted (`*`, or a step of it), each minute that the
 * clock shows counts. Else each time on the clock counts once: one that the clock skips is due
 * right after the gap, one that it shows twice is due the first time.
 */
int cron_next(const struct cron *cron,
              const char *zone,
              int64_t after_us,
              int64_t *next_us,
              struct mf_error *error);

#endif
