/* SPDX-License-Identifier: Apache-2.0 */
/* The values of a job file that are more than text: numbers, durations, sizes. All or nothing: a
 * rest is an error. */
#ifndef MAYFLY_MASTER_JOB_VALUE_H
#define MAYFLY_MASTER_JOB_VALUE_H

#include <stdbool.h>
#include <stdint.h>

/* Each: 0, or -1 when the text is none (or too large); *out is unchanged then. */
int value_integer(const char *text, int64_t *out);
int value_number(const char *text, double *out);    /* finite, decimal */
int value_bool(const char *text, bool *out);        /* true, false, yes, no, on, off */
int value_duration(const char *text, uint64_t *us); /* "500ms", "1s", "15m", "1h30m", "0" */
int value_size(const char *text, uint64_t *bytes);  /* "100", "100k", "16MB", "64MiB" */
int value_share(const char *text, double *share);   /* "1%" is 0.01; at most 100% */
/* "1-10", "0-10:2", "-5--1", "10-1:-3". step is 1 when not given, never 0. */
int value_range(const char *text, int64_t *first, int64_t *last, int64_t *step);

#endif
