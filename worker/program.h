/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's program on a host: <place>/bin/<sha256>/mayfly-worker, where the launcher put it
 * (place.h). It goes with the last run there.
 */
#ifndef MAYFLY_WORKER_PROGRAM_H
#define MAYFLY_WORKER_PROGRAM_H

#include <stdbool.h>

/* Removes the file that this process was started from, and the folders above it that are empty
 * then: only if it was put here for runs, and no run has a folder beside it. True when it went. */
bool program_remove(void);

#endif
