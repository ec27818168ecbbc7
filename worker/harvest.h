/* SPDX-License-Identifier: Apache-2.0 */
/* From what a slot says of an ended attempt to the struct executed that the session gets. */
#ifndef MAYFLY_WORKER_HARVEST_H
#define MAYFLY_WORKER_HARVEST_H

#include "worker/attempts.h"
#include "worker/slot.h"

/* Where things lie. */
struct harvest {
    const char *folder; /* the worker's */
    uint32_t slot;
    struct segment_list *segments; /* [0] of standard output, [1] of standard error */
};

/* One output; it counts only when the attempt then ends well. */
int harvest_output(const struct harvest *harvest,
                   struct attempt *attempt,
                   const struct slot_output *output,
                   struct mf_bytes name,
                   struct mf_error *error);

/* The streams of a running attempt have grown. -1 only with MF_ENOMEM. */
int harvest_streams(const struct harvest *harvest,
                    struct attempt *attempt,
                    const struct slot_streams *streams,
                    struct executed_growth *growth,
                    struct mf_error *error);

/* The end, as the slot says it. -1 only with MF_ENOMEM. */
int harvest_ended(const struct harvest *harvest,
                  struct attempt *attempt,
                  const struct slot_ended *ended,
                  struct mf_bytes inline_result,
                  struct mf_bytes detail,
                  struct mf_error *error);

/* An end that no slot has seen. Without memory the sentence is missing. */
void harvest_failure(struct attempt *attempt, uint32_t cause, const char *detail);

/* The end of one whose slot died: of its streams there is what was told while it ran. */
void harvest_lost(struct attempt *attempt, const char *detail);

/* Frees what executed owns, and removes its outputs from the disk. */
void harvest_release(const char *folder, struct attempt *attempt);

#endif
