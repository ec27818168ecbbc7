/* SPDX-License-Identifier: Apache-2.0 */
/* What squeue is asked, and what a line of its answer says. */
#ifndef MAYFLY_MASTER_LAUNCH_SLURM_SQUEUE_H
#define MAYFLY_MASTER_LAUNCH_SLURM_SQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Job, index, state, time used, node, reason; jobs that have ended are listed for a while, too. */
#define SLURM_SQUEUE_STATES "--states=all"
#define SLURM_SQUEUE_FORMAT "--format=%F|%K|%T|%M|%N|%r"

struct slurm_line {
    uint32_t job, index;
    bool is_array; /* else there is no index */
    bool is_there; /* it has not ended: something of it may run, or begin */
    bool is_live;  /* ... and is not about to be gone */
    bool is_pending, is_running;
    int64_t used_us; /* since it began; 0 = not begun */
    char state[32], node[64], why[160];
};

/* False: it is no such line. */
bool slurm_line_read(const char *line, struct slurm_line *out);

/* Why it ended, as its last line tells: a clause, "it was cancelled". True: that explains it; else
 * the reason is to be looked for in the job. */
bool slurm_line_ending(const struct slurm_line *line, char *text, size_t size);

/* "[DAYS-][HOURS:]MINUTES:SECONDS"; 0 for what is none. */
int64_t slurm_time_us(const char *text);

#endif
