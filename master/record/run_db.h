/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading run.db: for the command line, gather, retry and resume. Read-only connections beside the
 * one writer. A connection belongs to one thread.
 */
#ifndef MAYFLY_MASTER_RECORD_RUN_DB_H
#define MAYFLY_MASTER_RECORD_RUN_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct run_facts {
    char run_id[96];
    char job_name[128];
    char state[32];
    char reason[512];
    uint32_t epoch;
    uint64_t high_water;
    bool has_total;
    uint64_t total, done, failed, dead, cancelled;
    uint64_t retried, fenced, attempts;
    int64_t started_us, ended_us;
    char address[80]; /* where its master listened last; "" = not known */
};

/* A row of table worker, as a later master needs it; "" and 0 = not known. */
struct run_db_worker {
    uint32_t id, pid, slots;
    uint16_t port;
    char state[16];
    char place[256], host[64], address[64];
};

/* NULL with MF_EINPUT when it is not there, damaged, or of a newer schema (with the version that is
 * needed). */
sqlite3 *run_db_open(const char *path, struct mf_error *error);
void run_db_close(sqlite3 *db);
/* Whether there is a results table: 1; 0 when there is no file, or an empty one, because a master
 * was killed before it had made its tables; -1: as run_db_open. */
int run_db_is_made(const char *path, struct mf_error *error);
/* Counts are computed from table attempt (they hold for a live run too). */
int run_db_facts(sqlite3 *db, struct run_facts *facts, struct mf_error *error);

/* Calls f for each worker that was ever begun, rising ids; it returns 0 to go on. Files of schema
 * version 1 say no places. */
typedef int run_db_worker_f(void *arg, const struct run_db_worker *worker);
int run_db_each_worker(sqlite3 *db, run_db_worker_f *f, void *arg, struct mf_error *error);

/*
 * Re-driving: marks the final rows of failed and dead subtasks (all of them, or those in ids) as
 * superseded, in one transaction on a connection of its own, and sets the run's state back to
 * running. *count = how many. -1 MF_EUSAGE naming the first id that is not a dead letter.
 */
int run_db_redrive(const char *path,
                   bool failed,
                   bool dead,
                   const uint64_t *ids,
                   uint64_t id_count,
                   uint64_t *count,
                   struct mf_error *error);

/*
 * What is to be done yet: calls f for each planned subtask without a final row, rising, with the
 * number of its last recorded attempt and how many of its attempts failed (not counting superseded
 * ones). f returns 0 to go on. `planned` is how many subtasks the plan has.
 */
typedef int run_db_open_f(void *arg, uint64_t subtask, uint32_t last_attempt, uint32_t failures);
int run_db_each_open(
    sqlite3 *db, uint64_t planned, run_db_open_f *f, void *arg, struct mf_error *error);

#endif
