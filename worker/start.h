/* SPDX-License-Identifier: Apache-2.0 */
/* Starting an attempt's command: looked up as a shell would, made by posix_spawn. */
#ifndef MAYFLY_WORKER_START_H
#define MAYFLY_WORKER_START_H

#include <sys/types.h>

#include "worker/failure.h"
#include "worker/unpack.h"

/* in, out, err: its streams; it gets no other descriptor. 0 and *pid, or -1 and the failure. */
int start_command(
    const struct unpacked *request, int in, int out, int err, pid_t *pid, struct failure *failure);

/* The same as a process group of this session, with our own standard output and error, and in
 * the foreground of `terminal` (-1 = none) from its start on. A process uses one of the two
 * functions, not both. */
int start_in_foreground(
    const struct unpacked *request, int in, int terminal, pid_t *pid, struct failure *failure);

#endif
