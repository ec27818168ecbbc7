/* SPDX-License-Identifier: Apache-2.0 */
/* The last step: the result goes to standard output or -o FILE, or the summary does (--json). */
#ifndef MAYFLY_MASTER_RUN_RESULT_H
#define MAYFLY_MASTER_RUN_RESULT_H

#include <jansson.h>

#include "common/error.h"

struct run;

int run_result_deliver(struct run *run, json_t *summary, struct mf_error *error);

#endif
