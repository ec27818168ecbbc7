/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an attempt finds when it starts: its folder with the links, its input as planned, its
 * standard input.
 */
#ifndef MAYFLY_WORKER_INPUT_H
#define MAYFLY_WORKER_INPUT_H

#include "worker/failure.h"
#include "worker/unpack.h"

/* Makes the attempt's folder (relative to the current one), links and cwd. */
int input_make_folder(const struct unpacked *request, struct failure *failure);

/*
 * Checks the input and opens the attempt's standard input at its start. *fd stays -1 when it is
 * /dev/null; else the caller closes it.
 */
int input_open(const struct unpacked *request, int *fd, struct failure *failure);

#endif
