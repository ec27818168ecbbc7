/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters as a job of their own: a job file that `mayfly run` takes as it is. One thread. */
#ifndef MAYFLY_MASTER_COMMANDS_EXPORT_H
#define MAYFLY_MASTER_COMMANDS_EXPORT_H

#include <stdbool.h>

#include "master/commands/selection.h"

/*
 * Writes the job of a run, with a split of its selected dead letters alone (of those that used up
 * their attempts, that failed at once, or both), to `path` ("-": standard output). Returns the exit
 * code of the command line (2 when there are none); what was done or went wrong is said on standard
 * error.
 */
int export_letters(const char *run_folder,
                   const struct selection *selection,
                   bool dead,
                   bool failed,
                   const char *path);

#endif
