/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of `mayfly trigger`, each in a file of its own (trigger_NAME.c). Their `name` is
 * "trigger NAME" and their argv[0] "mayfly trigger NAME". */
#ifndef MAYFLY_MASTER_COMMANDS_TRIGGER_H
#define MAYFLY_MASTER_COMMANDS_TRIGGER_H

#include "master/command.h"

extern const struct command command_trigger_install, command_trigger_list, command_trigger_next,
    command_trigger_remove, command_trigger_run, command_trigger_tick, command_trigger_watch;

#endif
