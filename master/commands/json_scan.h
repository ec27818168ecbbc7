/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the values of a JSON text stand. For what is passed on byte for byte: a library would give
 * numbers back in its own form, and refuse large ones. Any thread.
 */
#ifndef MAYFLY_MASTER_COMMANDS_JSON_SCAN_H
#define MAYFLY_MASTER_COMMANDS_JSON_SCAN_H

#include "common/buffer.h"
#include "common/error.h"

#define JSON_SCAN_DEPTH 200 /* of arrays and objects in each other */

/* A member of the outermost object; both as they stand, the name with its quotes. Returns 0 to go
 * on; -1 with an error ends the scan. */
typedef int
json_member_f(void *arg, struct mf_bytes name, struct mf_bytes value, struct mf_error *error);

/* One JSON value in `text`, with space around it, and nothing else: 1 when it is an object, each of
 * whose members f (may be NULL) has seen, 0 when it is something else, -1: MF_EUSAGE naming what is
 * wrong at which byte (from 1). */
int json_scan(struct mf_bytes text, json_member_f *f, void *arg, struct mf_error *error);

#endif
