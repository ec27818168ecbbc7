/* SPDX-License-Identifier: Apache-2.0 */
/* What a job of a scheduler does with the shared folder (shared_folder.h), in sh. */
#ifndef MAYFLY_MASTER_LAUNCH_WORKER_SCRIPT_H
#define MAYFLY_MASTER_LAUNCH_WORKER_SCRIPT_H

#include "common/buffer.h"
#include "common/error.h"

/*
 * Appends to a script that has set $w to the worker's number: it takes the worker's input, starts
 * the worker, stays until that has ended, and sweeps. `program`: where the worker's program is
 * there (NULL: in the folder). Neither has a quote or a line end in it. `first`: lines that say
 * more of the job, before all else that it says; "" = none.
 */
int worker_script_append(struct mf_buffer *script,
                         const char *folder,
                         const char *program,
                         const char *run_id,
                         const char *first,
                         struct mf_error *error);

#endif
