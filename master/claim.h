/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before a master begins: a run gets its messages, and its folder learns of them (firing_note.h).
 * What is claimed here stays the run's until it is settled (settle.h), whoever dies.
 */
#ifndef MAYFLY_MASTER_CLAIM_H
#define MAYFLY_MASTER_CLAIM_H

#include "common/error.h"
#include "master/job/job.h"

/*
 * A run that somebody starts by hand: of a split `queue` it claims up to max_batch messages, with a
 * firing of its own (no trigger, cause "hand"); of any other split nothing happens. -1: MF_EUSAGE
 * when there is no such queue, or nothing in it that can be claimed; then nothing is claimed.
 */
int claim_by_hand(const struct job *job,
                  const char *run_id,
                  const char *folder,
                  struct mf_error *error);

/*
 * A run that a trigger has decided on, with the messages that it was given then; if its split is
 * another queue, it claims of that one as above. -1: MF_EUSAGE when the firing is not open (any
 * more): it was carried out or given up.
 */
int claim_of_firing(const struct job *job,
                    const char *run_id,
                    const char *folder,
                    struct mf_error *error);

/* The run of a firing cannot be started at all: its messages go back without blame, and the trigger
 * waits. What goes wrong here is left to the next sweep. */
void claim_give_up(const char *run_id, const char *why);

/* What a master that died has left to do: if the run in `folder` is final and its firing open, it
 * is settled. -1: it is open still. */
int claim_settle(const char *folder, struct mf_error *error);

/* The run in `folder` is about to be removed: it is settled, or, when it is not final, given up.
 * -1: its messages would be lost. */
int claim_let_go(const char *folder, const char *run_id, struct mf_error *error);

#endif
