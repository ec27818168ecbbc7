/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that commands of a dead run have started. */
#ifndef MAYFLY_MASTER_COMMANDS_CLEAN_WORKERS_H
#define MAYFLY_MASTER_COMMANDS_CLEAN_WORKERS_H

#include "common/error.h"

/* Ends them by the run's copy of its job, and removes their shared folder; 0: also when the run has
 * none. -1: what may be left. */
int clean_workers(const char *run_folder, const char *run_id, struct mf_error *error);

#endif
