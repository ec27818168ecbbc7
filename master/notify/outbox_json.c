/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox as JSON: see outbox_json.h. */
#include "master/notify/outbox_json.h"

#include <string.h>

#include "common/clock.h"

static json_t *stamp(int64_t wall_us)
{
    char text[MF_STAMP_SIZE];
    return wall_us == 0 ? json_null() : json_string(mf_stamp(wall_us, text));
}

json_t *outbox_row_json(const struct outbox_row *row)
{
    return json_pack("{s:I, s:s, s:I, s:s, s:s, s:I, s:o, s:o, s:o, s:s?}",
                     "id",
                     (json_int_t)row->id,
                     "event",
                     row->event,
                     "subscriber",
                     (json_int_t)row->subscriber,
                     "target",
                     row->target,
                     "state",
                     row->state,
                     "attempts",
                     (json_int_t)row->attempts,
                     "made",
                     stamp(row->made_us),
                     "next",
                     stamp(row->next_us),
                     "delivered",
                     stamp(row->delivered_us),
                     "error",
                     row->last_error);
}

static int add_undelivered(void *arg, const struct outbox_row *row)
{
    json_t *list = arg;
    return strcmp(row->state, "delivered") != 0 &&
                   json_array_append_new(list, outbox_row_json(row)) < 0
               ? 1
               : 0;
}

json_t *outbox_json(sqlite3 *db, struct mf_error *error)
{
    struct outbox_counts counts;
    json_t *undelivered = json_array();
    if (outbox_count(db, &counts, error) < 0 ||
        outbox_each(db, add_undelivered, undelivered, error) < 0) {
        json_decref(undelivered);
        return NULL;
    }
    json_t *outbox = json_pack("{s:I, s:I, s:I, s:o}",
                               "delivered",
                               (json_int_t)counts.delivered,
                               "pending",
                               (json_int_t)counts.pending,
                               "failed",
                               (json_int_t)counts.failed,
                               "undelivered",
                               undelivered);
    if (outbox == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: an outbox");
    return outbox;
}
