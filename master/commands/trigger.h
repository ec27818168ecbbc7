/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of `mayfly trigger`, each in a file of its own (trigger_NAME.c), and what they
 * share. Their argv[0] is "mayfly trigger NAME". One thread. */
#ifndef MAYFLY_MASTER_COMMANDS_TRIGGER_H
#define MAYFLY_MASTER_COMMANDS_TRIGGER_H

#include "master/command.h"
#include "master/queue/queue.h"
#include "master/trigger/evaluate.h"
#include "master/trigger/row.h"

extern const struct command command_trigger_install, command_trigger_list, command_trigger_next,
    command_trigger_remove, command_trigger_run, command_trigger_tick, command_trigger_watch;

/* The user's triggers; NULL: as queues_open, and MF_EUSAGE when nothing was ever installed. */
struct queues *trigger_command_open(struct mf_error *error);

/* The trigger that JOB means: the name of an installed job, or the path of its file or folder. 1
 * and *row (the caller ends it); -1: MF_EUSAGE naming those that there are. */
int trigger_command_find(struct queues *queues,
                         const char *job,
                         struct trigger_row *row,
                         struct mf_error *error);

/* The parser of a command whose only argument is JOB; its input is a const char **, which is NULL
 * before. */
error_t trigger_command_job(int key, char *text, struct argp_state *state);

/* The absolute path of a job file, or of the one in a folder that is named (heap). NULL: MF_EUSAGE.
 */
char *trigger_command_path(const char *job, struct mf_error *error);

/* Hands over what was fired and says the run ids on standard output, what did not begin on standard
 * error. The exit code. */
int trigger_command_hand_over(struct queues *queues, struct trigger_fired *fired);

#endif
