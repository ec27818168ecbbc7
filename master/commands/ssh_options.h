/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that say on which hosts workers run and how to get there, for every command that
 * starts some. They become changes of the job file: a command without a job of its own parses a
 * small one with them (job_parse).
 */
#ifndef MAYFLY_MASTER_COMMANDS_SSH_OPTIONS_H
#define MAYFLY_MASTER_COMMANDS_SSH_OPTIONS_H

#include <argp.h>

/*
 * For `children` of struct command. At ARGP_KEY_INIT the command's parser sets
 * state->child_inputs[0] to its struct sets. Relative paths are those of the current folder.
 */
extern const struct argp_child ssh_options[];

#endif
