/* SPDX-License-Identifier: Apache-2.0 */
/* Why an attempt failed, as a slot process finds out: the cause and a sentence. */
#ifndef MAYFLY_WORKER_FAILURE_H
#define MAYFLY_WORKER_FAILURE_H

#include <stdint.h>

#include "worker/slot.h"

struct failure {
    uint32_t cause; /* enum mf_cause; MF_CAUSE_NONE = none yet */
    char text[SLOT_DETAIL_MAX];
};

/* Returns -1. The first failure counts: a later one is its consequence. */
int fail_attempt(struct failure *failure, uint32_t cause, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, with ": " and the text of errno behind it. */
int fail_attempt_errno(struct failure *failure, uint32_t cause, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
