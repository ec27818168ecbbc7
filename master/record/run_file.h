/* SPDX-License-Identifier: Apache-2.0 */
/* The file run.db itself: opening, journal mode, schema version. Shared by the writer and the
 * readers. */
#ifndef MAYFLY_MASTER_RECORD_RUN_FILE_H
#define MAYFLY_MASTER_RECORD_RUN_FILE_H

#include <sqlite3.h>
#include <stdbool.h>

#include "common/error.h"
#include "master/record/record.h"

#define RUN_FILE_APPLICATION_ID 0x4d617966 /* "Mayf" */
#define RUN_FILE_BUSY_MS 10000

/* Opens for writing what is there (`flags` of sqlite3_open_v2), with our time to wait for locks. */
sqlite3 *run_file_open(const char *path, int flags, struct mf_error *error);

/* Whether `db` is a run.db that this version reads: 1, 0 when it is a new empty file, -1 and
 * MF_EINPUT. */
int run_file_check(sqlite3 *db, const char *path, struct mf_error *error);

/*
 * The writer's connection: opens or makes run.db as `config` says, in the journal mode that its
 * disk allows, and commits the next epoch.
 */
sqlite3 *run_file_begin_epoch(const struct record_config *config,
                              uint32_t *epoch,
                              int *notice,
                              struct mf_error *error);

#endif
