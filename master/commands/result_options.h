/* SPDX-License-Identifier: Apache-2.0 */
/* The options that say what becomes of a run's result, for every command that is a master in the
 * foreground: -o, --json, --quiet. */
#ifndef MAYFLY_MASTER_COMMANDS_RESULT_OPTIONS_H
#define MAYFLY_MASTER_COMMANDS_RESULT_OPTIONS_H

#include <argp.h>

/* A child parser; its input, which the command's parser sets at ARGP_KEY_INIT, is a struct
 * run_options. */
extern const struct argp result_argp;

/* For `children` of a struct command that has no others. */
extern const struct argp_child result_options[];

#endif
