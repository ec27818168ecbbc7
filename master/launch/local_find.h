/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds a worker that an earlier master of the run has started on this machine, by what a process
 * says of itself in /proc: the run in its environment, the command line of a started worker, and
 * its own folder as the place where it stands. No other process can be taken for it, whatever
 * became of its number meanwhile.
 */
#ifndef MAYFLY_MASTER_LAUNCH_LOCAL_FIND_H
#define MAYFLY_MASTER_LAUNCH_LOCAL_FIND_H

#include <stdbool.h>
#include <stdint.h>

/* Whether process `pid` is worker `worker` of the run. */
bool local_is_worker(uint32_t pid, const char *run_id, uint32_t worker);
/* Its process; `pid` is looked at first (0 = not known). 0: it is not there. */
uint32_t local_find_worker(uint32_t pid, const char *run_id, uint32_t worker);

#endif
