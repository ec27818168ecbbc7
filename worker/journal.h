/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: an aid for tests (docs/testing.md). When the master was started with
 * MAYFLY_JOURNAL=DIR, each worker keeps a file of its own there, DIR/<run>-<worker>.journal, which
 * nothing of Mayfly reads or removes. A line an event, each appended by one write, so that what
 * stands there has happened, whoever is killed in the next moment; slot processes append to their
 * worker's file. tests/history/check.py reads them beside run.db.
 *
 * One journal a process, as the log; without one all functions return at once. What cannot be
 * written ends the process: a history with holes would prove nothing. One thread.
 */
#ifndef MAYFLY_WORKER_JOURNAL_H
#define MAYFLY_WORKER_JOURNAL_H

#include "common/error.h"
#include "common/message.h"
#include "worker/executor.h"

/* In the worker; folder NULL: no journal. */
int journal_open(const char *folder, const char *run_id, uint32_t worker, struct mf_error *error);
/* Its file, for the worker's slots; NULL without one. */
const char *journal_path(void);
/* In a slot: its worker's file, or NULL. */
int journal_open_file(const char *path, struct mf_error *error);

void journal_joined(uint32_t epoch);
/* The command is about to be started. */
void journal_start(const struct mf_fence *fence);
/* It has ended so; with checksums over its result and its outputs. A second line of the same
 * attempt counts instead of the first: what it made cannot be sent. */
void journal_end(const struct executed *executed);
/* As the noop executor has it: started and ended in one moment. */
void journal_noop(const struct mf_result *result);
/* A master of that epoch has said that it has them. */
void journal_acknowledged(const struct mf_result *results, uint32_t count, uint32_t epoch);
/* For mf_crash_tell. */
void journal_crash(const char *point);

#endif
