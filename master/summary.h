/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of a run: its status while it lives, its summary when it has ended. docs/control.md
 * has the keys. */
#ifndef MAYFLY_MASTER_SUMMARY_H
#define MAYFLY_MASTER_SUMMARY_H

#include <jansson.h>

#include "common/error.h"

struct run;

/* New references; NULL when memory is exhausted. */
json_t *run_status_json(struct run *run);
json_t *run_summary_json(struct run *run);

/* Writes summary.json into the run folder. */
int run_summary_write(struct run *run, json_t *summary, struct mf_error *error);
/* The summary in words, on standard error. */
void run_summary_print(struct run *run, const json_t *summary);

#endif
