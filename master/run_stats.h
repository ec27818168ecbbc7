/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of a run that only its master knows: times of its phases, workers, sweeps. */
#ifndef MAYFLY_MASTER_RUN_STATS_H
#define MAYFLY_MASTER_RUN_STATS_H

#include <stdbool.h>
#include <stdint.h>

struct run_sweep {
    char place[128];
    char verified_by[16];
    char left[512];
    bool verified;
    uint32_t processes_ended, files_removed;
};

/* Monotonic microseconds; 0 = has not come. */
struct run_stats {
    int64_t started_us, planned_us, first_joined_us, gathering_us, dismissing_us, ended_us;
    int64_t started_wall_us, ended_wall_us;
    int64_t launched_us; /* the first launch was asked for */
    uint64_t failures;   /* final ones that workers reported */
    uint32_t launched, lost, verified_gone, unverified;
    uint32_t known;           /* workers of an earlier master that may have lived */
    struct run_sweep *sweeps; /* one a host */
    uint32_t sweep_count;
    bool credentials_removed; /* from the run folder */
};

#endif
