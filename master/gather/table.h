/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Table `results` of gather `sql`: made and filled from the results in plan order. Columns:
 * subtask, then those of the header (csv, tsv), those declared and then those that appear (jsonl),
 * or `line` (text).
 */
#ifndef MAYFLY_MASTER_GATHER_TABLE_H
#define MAYFLY_MASTER_GATHER_TABLE_H

#include <sqlite3.h>

#include "common/error.h"
#include "master/gather/kinds.h"

/* `db` is an empty database, `path` its name for messages. MF_EINPUT names subtask, line, column
 * and value. */
int table_load(struct gather *gather, sqlite3 *db, const char *path, struct mf_error *error);

#endif
