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
 * A child parser; its input, which the command's parser sets at ARGP_KEY_INIT, is a struct sets.
 * Relative paths are those of the current folder.
 */
extern const struct argp ssh_argp;

/* For `children` of a struct command that has no others. */
extern const struct argp_child ssh_options[];

#endif
