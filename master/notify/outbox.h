/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outbox of a run: table notification of its run.db (docs/results-table.md). Read and changed
 * beside the run's master. A struct outbox belongs to one thread.
 */
#ifndef MAYFLY_MASTER_NOTIFY_OUTBOX_H
#define MAYFLY_MASTER_NOTIFY_OUTBOX_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct outbox;

/* To change it. NULL: MF_EINPUT (no run.db, damaged, of a version without an outbox), MF_ESETUP. */
struct outbox *outbox_open(const char *folder, struct mf_error *error);
void outbox_close(struct outbox *outbox);

/* A row. Texts are borrowed until the next call of the same function. */
struct outbox_row {
    int64_t id;
    const char *event;
    int64_t subscriber;
    const char *target, *payload;
    const char *state; /* pending, delivered, failed */
    int64_t attempts;
    int64_t made_us, next_us, delivered_us; /* 0 = none */
    const char *last_error;                 /* NULL = none */
};

/* The first row of a subscriber that is pending. 1 and *row, 0, -1. */
int outbox_next(struct outbox *outbox,
                int64_t subscriber,
                struct outbox_row *row,
                struct mf_error *error);

/* What came of a try: `state` as above; pending: not before next_us. text NULL = no error. */
int outbox_note(struct outbox *outbox,
                int64_t id,
                const char *state,
                int64_t now_us,
                int64_t next_us,
                const char *text,
                struct mf_error *error);

/* Rows to be sent again, at once: that of `id`, whatever its state; 0 = all that are not delivered.
 * *count of them. */
int outbox_again(struct outbox *outbox, int64_t id, uint64_t *count, struct mf_error *error);

/* All rows, in order, until f returns non-zero; on a connection for reading (run_db_open). A file
 * of an older version has none. */
typedef int outbox_each_f(void *arg, const struct outbox_row *row);
int outbox_each(sqlite3 *db, outbox_each_f *f, void *arg, struct mf_error *error);

struct outbox_counts {
    uint64_t delivered, pending, failed;
};
int outbox_count(sqlite3 *db, struct outbox_counts *counts, struct mf_error *error);

#endif
