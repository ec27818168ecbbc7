/* SPDX-License-Identifier: Apache-2.0 */
/* The entry of the machine's scheduler that runs `mayfly trigger tick`, as commands make and remove
 * it: what master/install reports is said on standard error. */
#ifndef MAYFLY_MASTER_COMMANDS_TRIGGER_ENTRY_H
#define MAYFLY_MASTER_COMMANDS_TRIGGER_ENTRY_H

#include "common/error.h"
#include "master/install/install.h"

/* Makes it, of that kind, unless it is there. */
int trigger_entry_make(enum install_kind kind, struct mf_error *error);
/* Removes it, if it is there; says what goes wrong. The exit code. */
int trigger_entry_remove(void);
/* Prints it for those who make it themselves. The exit code. */
int trigger_entry_print(enum install_kind kind);

#endif
