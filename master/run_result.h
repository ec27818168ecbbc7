/* SPDX-License-Identifier: Apache-2.0 */
/* The last steps: the result goes to standard output or -o FILE, or the summary does (--json). */
#ifndef MAYFLY_MASTER_RUN_RESULT_H
#define MAYFLY_MASTER_RUN_RESULT_H

#include <jansson.h>

#include "common/error.h"

struct run;

/* Copies the gathered result of the run in `folder` to `fd`; `name` is what messages call it. -1
 * with MF_EINPUT when there is none. */
int run_result_copy(const char *folder, int fd, const char *name, struct mf_error *error);

/* Copies a result to a file `to`, which appears whole. */
int run_result_copy_file(const char *from, const char *to, struct mf_error *error);

int run_result_deliver(struct run *run, struct mf_error *error);
int run_result_summary(const struct run *run, const json_t *summary, struct mf_error *error);

#endif
