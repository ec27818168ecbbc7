/* SPDX-License-Identifier: Apache-2.0 */
/* What a run whose master is dead has where commands have started workers. */
#ifndef MAYFLY_MASTER_LAUNCH_COMMAND_CLEAN_H
#define MAYFLY_MASTER_LAUNCH_COMMAND_CLEAN_H

#include "master/launch/launcher.h"

/* Has what list names stopped, and removes the run's shared folder, if it is there; waits for the
 * commands, each for its time. -1: what may be left. */
int command_launcher_clean(const struct launch_config *config, struct mf_error *error);

#endif
