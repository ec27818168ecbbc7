/* SPDX-License-Identifier: Apache-2.0 */
/* Values of results as SQLite values of the declared types. */
#ifndef MAYFLY_MASTER_GATHER_VALUE_H
#define MAYFLY_MASTER_GATHER_VALUE_H

#include <jansson.h>
#include <sqlite3.h>
#include <stdbool.h>

#include "common/buffer.h"
#include "master/job/job.h"

/* What a column takes; VALUE_ANY (jsonl, not declared) keeps the type that the value has. */
#define VALUE_ANY 0

/* Binds a text of csv or tsv (borrowed until the statement is reset); an empty integer or real is
 * NULL. False when it is not of that type. */
bool value_bind_text(sqlite3_stmt *stmt, int index, int type, struct mf_bytes text);
/* The same of a JSON value; null is NULL, arrays and objects are their JSON text. */
bool value_bind_json(sqlite3_stmt *stmt, int index, int type, json_t *value);
/* "an integer", "a number", "text": for messages. */
const char *value_type_name(int type);
/* At most 60 bytes of a value, with control characters as \xNN, for messages. `out` holds 256. */
const char *value_show(struct mf_bytes value, char *out);

#endif
