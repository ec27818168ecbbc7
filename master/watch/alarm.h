/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor that becomes readable when the wall clock says so, or when somebody has set that
 * clock: then what is due has to be looked at anew. Time that a machine slept through counts. One
 * thread.
 */
#ifndef MAYFLY_MASTER_WATCH_ALARM_H
#define MAYFLY_MASTER_WATCH_ALARM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/* The descriptor; -1 with an error. */
int alarm_open(struct mf_error *error);
/* Due at that stamp, at once when it is past; MF_NEVER: only when the clock is set. 0; 1 when the
 * clock was set meanwhile, of which the descriptor says nothing any more: what the stamp was made
 * from no longer holds. */
int alarm_set(int fd, int64_t wall_us, struct mf_error *error);
/* Whether the clock was set. Makes the descriptor wait again. */
bool alarm_take(int fd);

#endif
