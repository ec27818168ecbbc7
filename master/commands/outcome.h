/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outcomes of a run: the final record of each finished subtask, in plan order, from run.db;
 * also of a live run. One thread.
 */
#ifndef MAYFLY_MASTER_COMMANDS_OUTCOME_H
#define MAYFLY_MASTER_COMMANDS_OUTCOME_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "master/commands/selection.h"

/* Borrowed for the call. */
struct outcome {
    uint64_t subtask;
    uint32_t attempt;  /* the number of the one that ended it */
    uint32_t attempts; /* recorded ones, with those of earlier rounds */
    const char *state; /* done, failed, dead */
    const char *cause;
    const char *host; /* of the worker, "" when not known */
    int exit_code, signal;
    uint32_t epoch, worker;
    int64_t ended_us; /* wall clock; 0 = not known */
    int64_t wall_us, user_us, system_us, peak_kib;
    uint64_t result_bytes, output_count, output_bytes;
    struct mf_bytes detail;
    bool has_result; /* inline: `result`; else, with result_bytes > 0, a file */
    struct mf_bytes result;
};

/* Where outcomes are read from, and how much of a log is shown; all borrowed. */
struct outcome_source {
    const char *folder; /* of the run */
    const char *path;   /* of its run.db */
    sqlite3 *db;
    uint64_t tail_lines; /* last lines of standard error, 0 = none */
};

/* An attempt on the way to an outcome. Borrowed for the call. */
struct outcome_try {
    uint32_t attempt, epoch, worker;
    const char *state; /* done, retried, failed, dead */
    bool superseded;   /* before a retry by the user */
    const char *cause, *host;
    int exit_code, signal;
    int64_t ended_us, wall_us; /* ended_us 0 = not known */
    struct mf_bytes detail;
};

/* 0 to go on, 1 to end early, -1 with an error. */
typedef int outcome_f(void *arg, const struct outcome *outcome, struct mf_error *error);

/* Calls f for each selected subtask that has a final record. 0, or -1 with the error of SQLite or
 * of f. */
int outcome_each(sqlite3 *db,
                 const char *path,
                 const struct selection *selection,
                 outcome_f *f,
                 void *arg,
                 struct mf_error *error);

/* Each recorded attempt of a subtask, in order; what `f` returns ends it, as in outcome_each. */
typedef int outcome_try_f(void *arg, const struct outcome_try *one, struct mf_error *error);
int outcome_each_try(const struct outcome_source *source,
                     uint64_t subtask,
                     outcome_try_f *f,
                     void *arg,
                     struct mf_error *error);

/* Each worker that was lost while it had the subtask, in order; `host` is "" when not known. */
typedef int outcome_loss_f(void *arg, uint32_t worker, const char *host, struct mf_error *error);
int outcome_each_loss(const struct outcome_source *source,
                      uint64_t subtask,
                      outcome_loss_f *f,
                      void *arg,
                      struct mf_error *error);

/* "exit code 3", "killed by signal 9 (KILL)", "ended at its time limit" ... `out` holds 96 bytes;
 * returns it. */
const char *outcome_why(const char *cause, int exit_code, int signal, char *out);

/* Writes the result of a done subtask to standard output, wherever it lies. -1: MF_EINPUT when its
 * file is gone or has another size. What can't be written shows in the stream's state. */
int outcome_write(const struct outcome *outcome, const char *run_folder, struct mf_error *error);

#endif
