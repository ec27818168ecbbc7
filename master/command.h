/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: each subcommand is one constant struct in a file of its own (commands/).
 * Options are parsed by argp, which also writes the help.
 */
#ifndef MAYFLY_MASTER_COMMAND_H
#define MAYFLY_MASTER_COMMAND_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct command {
    const char *name;
    const char *arguments;             /* "JOB", "RUN [SUBTASK]" */
    const char *summary;               /* one line for the list of commands */
    const struct argp_child *children; /* options shared with other commands; NULL = none */
    /* argv[0] is "mayfly NAME". Returns the exit code. */
    int (*main)(int argc, char **argv);
};

extern const struct command command_cancel, command_check, command_clean, command_debug,
    command_logs, command_ls, command_notify, command_pause, command_queue, command_results,
    command_resume, command_retry, command_run, command_sql, command_status, command_submit,
    command_trigger, command_unpause, command_version, command_watch;

/* Commands under one name: those of mayfly, or those of `mayfly queue`. */
struct command_list {
    const char *name;  /* "mayfly", "mayfly queue" */
    const char *about; /* the first line of its help */
    const struct command *const *commands;
    size_t count;
    const char *notes; /* below the list */
};

/* Runs the one that argv[1] names, with argv[0] "mayfly NAME"; or prints the help; or says which
 * one may be meant. Returns the exit code. */
int command_list_main(const struct command_list *list, int argc, char **argv);

/* Parses by argp with our exit code for wrong usage (2). Does not return on a wrong command line or
 * --help. */
void command_parse(const struct command *command,
                   const struct argp_option *options,
                   argp_parser_t parser,
                   const char *doc,
                   int argc,
                   char **argv,
                   void *input);

/* The end of the parser of a command that takes options only: an argument is too much. */
error_t command_no_arguments(int key, const char *text, const struct argp_state *state);

/* Says the error on standard error and returns its exit code. */
int command_fail(const struct mf_error *error);

/* The path of mayfly-worker: beside this program (heap). NULL with an error. */
char *command_worker_binary(struct mf_error *error);

#endif
