/* SPDX-License-Identifier: Apache-2.0 */
/* cron_next between zone_enter and zone_leave: many times are asked for at once. */
#ifndef MAYFLY_MASTER_CRON_HERE_H
#define MAYFLY_MASTER_CRON_HERE_H

#include "master/cron/cron.h"
#include "master/cron/zone.h"

/* INT64_MAX when there is none. */
int64_t cron_next_here(const struct cron *cron, int64_t after_us);

#endif
