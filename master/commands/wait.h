/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a live master: until it listens, until it has ended. It may be killed at any time. */
#ifndef MAYFLY_MASTER_COMMANDS_WAIT_H
#define MAYFLY_MASTER_COMMANDS_WAIT_H

#include "common/error.h"

/* A connection to the live master; while it prepares its run it does not listen yet, and that is
 * waited for. -1: it has ended. */
int wait_connect(const char *folder, struct mf_error *error);
/* Until no master holds the run's lock. */
void wait_end(const char *folder);

#endif
