/* SPDX-License-Identifier: Apache-2.0 */
/* Times as the clock of a zone shows them, and what people should know of those at a clock change.
 */
#ifndef MAYFLY_MASTER_CRON_SHOW_H
#define MAYFLY_MASTER_CRON_SHOW_H

#include "master/cron/cron.h"

#define CRON_LOCAL_SIZE 96
#define CRON_CHANGE_SIZE 192

struct cron_shown {
    char local[CRON_LOCAL_SIZE]; /* "Sun 2026-03-29 03:00:00 +02:00 CEST" */
    char iso[CRON_LOCAL_SIZE];   /* "2026-03-29T03:00:00+02:00" */
    char note[CRON_CHANGE_SIZE]; /* "" = nothing out of the ordinary */
};

/* How `at_us`, at which `cron` is due, looks there; `before_us` is the time that was shown before
 * it, or now. -1: as zone_check. */
int cron_show(const struct cron *cron,
              const char *zone,
              int64_t before_us,
              int64_t at_us,
              struct cron_shown *shown,
              struct mf_error *error);

#endif
