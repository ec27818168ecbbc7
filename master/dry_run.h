/* SPDX-License-Identifier: Apache-2.0 */
/* `mayfly run --dry-run`: prints the plan, one subtask a line, and runs nothing (not even
 * `prepare:`). */
#ifndef MAYFLY_MASTER_DRY_RUN_H
#define MAYFLY_MASTER_DRY_RUN_H

#include "master/job/job.h"

int dry_run(const struct job *job); /* the exit code */

#endif
