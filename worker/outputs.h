/* SPDX-License-Identifier: Apache-2.0 */
/* The outputs: of an attempt that succeeded: found by their globs and kept beside its folder. */
#ifndef MAYFLY_WORKER_OUTPUTS_H
#define MAYFLY_WORKER_OUTPUTS_H

#include "worker/failure.h"
#include "worker/unpack.h"

/* One collected file; name is borrowed during the call. */
typedef void outputs_found_f(void *arg, const struct slot_output *output, const char *name);

/*
 * Every glob must match at least one regular file, and nothing else; links of ours (the files and
 * inputs of the job) don't count. The files are put into <folder>.out under their numbers. A file
 * that two globs match comes twice.
 */
int outputs_collect(const struct unpacked *request,
                    outputs_found_f *found,
                    void *arg,
                    struct failure *failure);

#endif
