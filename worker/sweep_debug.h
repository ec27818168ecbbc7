/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which processes of a run belong to a `mayfly debug` of it: those that live are somebody's
 * foreground job and none of the sweep's business; what a killed one has left is found by the
 * folder in which it stands.
 */
#ifndef MAYFLY_WORKER_SWEEP_DEBUG_H
#define MAYFLY_WORKER_SWEEP_DEBUG_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/buffer.h"

/* Whether it is one, or was started by one that still lives, at any depth. */
bool sweep_debug_lives(pid_t pid, struct mf_buffer *scratch);

/* Whether it works in `folder` (absolute, no slash at its end) or has its TMPDIR there. */
bool sweep_debug_is_within(pid_t pid, const char *folder, struct mf_buffer *scratch);

/* The parent of a process, 0 when there is none or it has gone. */
pid_t sweep_parent_of(pid_t pid, struct mf_buffer *scratch);

#endif
