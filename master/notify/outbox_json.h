/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox as JSON, for the summary and the command line; docs/control.md has the keys. */
#ifndef MAYFLY_MASTER_NOTIFY_OUTBOX_JSON_H
#define MAYFLY_MASTER_NOTIFY_OUTBOX_JSON_H

#include <jansson.h>
#include <sqlite3.h>

#include "common/error.h"
#include "master/notify/outbox.h"

/* {delivered, pending, failed, undelivered: [row ...]}: a new reference, NULL with an error. */
json_t *outbox_json(sqlite3 *db, struct mf_error *error);
/* One row; NULL when memory is exhausted. */
json_t *outbox_row_json(const struct outbox_row *row);

#endif
