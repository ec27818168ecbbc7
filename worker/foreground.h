/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command in the foreground: it has the terminal, where there is one, as a job of a shell has it;
 * signals that come to this process go to it; what it leaves behind is ended.
 */
#ifndef MAYFLY_WORKER_FOREGROUND_H
#define MAYFLY_WORKER_FOREGROUND_H

#include <stdint.h>

#include "worker/failure.h"
#include "worker/unpack.h"

/*
 * Before anything is made that has to be removed: HUP, INT, QUIT and TERM do not end this process
 * from now on.
 */
void foreground_begin(void);

/*
 * Starts the command with `in` as its standard input (-1: ours) and our other two streams, and
 * waits until it and all that it started have ended. tied_fd: when that is at its end somebody has
 * gone, and the command gets TERM; -1 = none. kill_after_us: from TERM to KILL for what is
 * left. Its exit code, or 128 + the signal's number; -1 with the failure when it can't be started.
 */
int foreground_run(const struct unpacked *request,
                   int in,
                   int tied_fd,
                   uint64_t kill_after_us,
                   struct failure *failure);

#endif
