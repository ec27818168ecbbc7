/* SPDX-License-Identifier: Apache-2.0 */
/* tick.log in the state folder: standard error of the ticks that the machine's scheduler starts.
 * Both functions do nothing for other ticks. One thread. */
#ifndef MAYFLY_MASTER_COMMANDS_TICK_LOG_H
#define MAYFLY_MASTER_COMMANDS_TICK_LOG_H

/* Renames it to tick.log.old when it has grown, so that something which fails each minute does not
 * fill the disk. This tick still writes to the old one. */
void tick_log_turn(void);

/* Begins a line with the time. */
void tick_log_stamp(void);

#endif
