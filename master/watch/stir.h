/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether somebody changes queues.db: a descriptor that becomes readable once, at the first change
 * after stir_arm, and then costs nothing however many follow. One thread.
 */
#ifndef MAYFLY_MASTER_WATCH_STIR_H
#define MAYFLY_MASTER_WATCH_STIR_H

#include "common/error.h"

/* The descriptor; -1 with an error. */
int stir_open(struct mf_error *error);
/* `folder` is that of queues.db: its write-ahead log comes and goes there. */
int stir_arm(int fd, const char *folder, struct mf_error *error);
/* Makes the descriptor wait for the next stir_arm. */
void stir_take(int fd);

#endif
