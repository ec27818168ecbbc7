/* SPDX-License-Identifier: Apache-2.0 */
/* The cost account of a run (record/cost.h) as summary.json and the commands show it. */
#ifndef MAYFLY_MASTER_COST_JSON_H
#define MAYFLY_MASTER_COST_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * Of the run in `folder`: a new reference, NULL with an error. Workers whose end is not recorded
 * count up to `open_us`, wall clock.
 */
json_t *cost_json(const char *folder, int64_t open_us, struct mf_error *error);
/* One object of it, the whole or that of a host, in words: "12.3 host-seconds: 8.1 busy (66 %),
 * ...". Returns `out`. */
const char *cost_text(const json_t *share, char *out, size_t size);

#endif
