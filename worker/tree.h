/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes below this one, as the kernel lists them. For a sub-reaper these are all that it or
 * its children ever started and that still exist, whatever sessions and groups they made.
 */
#ifndef MAYFLY_WORKER_TREE_H
#define MAYFLY_WORKER_TREE_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether a process, with all below it, is left out. */
typedef bool tree_spares_f(const void *arg, pid_t pid);

/*
 * Sends a signal to all descendants; parents before their children. Left out are those that
 * `spares` (NULL = none) names, and members of the process group `done_group` (0 = none), which had
 * it already. SIGKILL goes to whole process groups, so that what forks quickly can't run away from
 * it. Returns how many descendants were found: what forks meanwhile may be missed, so callers
 * repeat.
 */
unsigned tree_signal(int signal, pid_t done_group, tree_spares_f *spares, const void *arg);

#endif
