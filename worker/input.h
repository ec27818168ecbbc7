/* SPDX-License-Identifier: Apache-2.0 */
/* What an attempt reads: its input as planned, its standard input. */
#ifndef MAYFLY_WORKER_INPUT_H
#define MAYFLY_WORKER_INPUT_H

#include "worker/failure.h"
#include "worker/unpack.h"

/*
 * Checks the input and opens the attempt's standard input at its start. *fd stays -1 when it is
 * /dev/null; else the caller closes it.
 */
int input_open(const struct unpacked *request, int *fd, struct failure *failure);

#endif
