/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress on standard error: one live line on a terminal, a line now and then otherwise. Loop
 * thread only.
 */
#ifndef MAYFLY_MASTER_PROGRESS_H
#define MAYFLY_MASTER_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress_view {
    const char *state;
    bool total_known;
    uint64_t total, done, failed, retried, running;
    uint64_t before; /* of done and failed: what an earlier master had recorded */
    uint32_t workers;
    double seconds;      /* since the first worker joined */
    const char *held_up; /* a sentence: why nothing runs, or nothing new starts; NULL = it does */
};

struct progress;
/* NULL when memory is exhausted: all functions accept that. quiet: nothing is ever written. */
struct progress *progress_create(bool quiet);
/* Whether a line is due; then progress_show. */
bool progress_is_due(const struct progress *progress, int64_t now_us);
int64_t progress_deadline(const struct progress *progress);
void progress_show(struct progress *progress, const struct progress_view *view, int64_t now_us);
/* A sentence of its own, between the lines. */
void progress_say(struct progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Nothing is written from now on (true), so that somebody can type; or it goes on. */
void progress_hold(struct progress *progress, bool is_held);
/* Ends the live line. */
void progress_destroy(struct progress *progress);

#endif
