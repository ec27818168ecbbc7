/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions against a calendar without zones: seconds since 1970-01-01 00:00, as if there were
 * only UTC. Pure; any thread.
 */
#ifndef MAYFLY_MASTER_CRON_CALENDAR_H
#define MAYFLY_MASTER_CRON_CALENDAR_H

#include "master/cron/cron.h"

#define CALENDAR_NEVER INT64_MAX
#define CALENDAR_DAY 86400

/* The first whole minute after `wall` (seconds) that the sets of the expression fit (not @every),
 * or CALENDAR_NEVER: the calendar repeats after 400 years, so far it looks. */
int64_t calendar_after(const struct cron *cron, int64_t wall);

/* a / b, rounded down; b > 0. */
int64_t calendar_floor(int64_t a, int64_t b);

#endif
