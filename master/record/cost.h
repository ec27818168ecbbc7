/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run's hosts were used for, from its results table alone: of every host the time in which a
 * worker of the run was there, and what it went into. So it holds for a run of several masters, for
 * one that goes on, and for one whose master is dead.
 */
#ifndef MAYFLY_MASTER_RECORD_COST_H
#define MAYFLY_MASTER_RECORD_COST_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* Microseconds of one host, or the sum over all hosts. The last four add up to the first. */
struct cost_share {
    char host[256]; /* as the job names it; "" for all */
    uint32_t workers;
    int64_t paid_us;
    int64_t busy_us, idle_us;
    int64_t launching_us, dismissing_us;
};

struct cost {
    struct cost_share total;
    struct cost_share *hosts; /* owned; in the order of their names */
    size_t count;
};

/*
 * Workers whose end is not recorded count up to `open_us` (wall clock): the end of the run, or now.
 * Reads every attempt: about a tenth of a second for a million. -1: MF_EINPUT, MF_ESETUP of the
 * table, MF_ENOMEM; there is nothing to release then.
 */
int cost_read(sqlite3 *db, int64_t open_us, struct cost *cost, struct mf_error *error);
void cost_fini(struct cost *cost);

#endif
