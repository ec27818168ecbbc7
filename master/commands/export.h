/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters as a job of their own: a job file that `mayfly run` takes as it is. One thread. */
#ifndef MAYFLY_MASTER_COMMANDS_EXPORT_H
#define MAYFLY_MASTER_COMMANDS_EXPORT_H

#include <stdbool.h>

#include "common/error.h"
#include "master/commands/selection.h"

/*
 * Writes the job of a run, with a split of its selected dead letters alone (of those that used up
 * their attempts, that failed at once, or both), to `path` ("-": standard output), and says so on
 * standard error. MF_EUSAGE when there are none.
 */
int export_letters(const char *run_folder,
                   const struct selection *selection,
                   bool dead,
                   bool failed,
                   const char *path,
                   struct mf_error *error);

#endif
