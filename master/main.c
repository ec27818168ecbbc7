/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly: hands over to the subcommand. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/alloc.h"
#include "common/crash.h"
#include "common/process.h"
#include "master/command.h"

static const struct command *const commands[] = {
    &command_run,    &command_submit,  &command_check, &command_ls,      &command_status,
    &command_watch,  &command_results, &command_logs,  &command_debug,   &command_notify,
    &command_resume, &command_retry,   &command_pause, &command_unpause, &command_cancel,
    &command_queue,  &command_trigger, &command_sql,   &command_clean,   &command_version,
};

#define COMMAND_COUNT (sizeof commands / sizeof *commands)

const char *argp_program_bug_address = NULL;

void command_parse(const struct command *command,
                   const struct argp_option *options,
                   argp_parser_t parser,
                   const char *doc,
                   int argc,
                   char **argv,
                   void *input)
{
    const struct argp argp = {.options = options,
                              .parser = parser,
                              .args_doc = command->arguments,
                              .doc = doc,
                              .children = command->children};
    argp_err_exit_status = 2;
    error_t rc = argp_parse(&argp, argc, argv, 0, NULL, input);
    if (rc == 0)
        return;
    fprintf(stderr, "mayfly: %s: %s\n", command->name, strerror(rc));
    exit(rc == ENOMEM ? 3 : 2);
}

error_t command_no_arguments(int key, const char *text, const struct argp_state *state)
{
    if (key != ARGP_KEY_ARG)
        return ARGP_ERR_UNKNOWN;
    argp_error(state, "there are no arguments: \"%s\" is too much", text);
    return 0;
}

int command_fail(const struct mf_error *error)
{
    fprintf(stderr, "mayfly: %s\n", error->text);
    return mf_error_exit_code(error->code);
}

char *command_worker_binary(struct mf_error *error)
{
    char *own = mf_process_program(error);
    if (own == NULL)
        return NULL;
    char *slash = strrchr(own, '/');
    *slash = '\0';
    char *path = mf_format("%s/mayfly-worker", own);
    mf_free(own);
    if (path == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    return path;
}

static const struct command_list list = {
    .name = "mayfly",
    .about =
        "Mayfly runs a batch on machines that it starts its own workers on, and leaves nothing "
        "behind.",
    .commands = commands,
    .count = COMMAND_COUNT,
    .notes = "RUN is a run id, the start of one, or `last`.\n"
             "Exit codes: 0 succeeded, 1 failed, 2 wrong usage or job file, 3 could not be carried "
             "out,\n"
             "4 cancelled, 130 interrupted.\n"};

/* A stream that is closed is taken by something that fails: else the next file would be it. */
static void open_missing_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    struct mf_error error;
    open_missing_streams();
    if (mf_crash_arm(getenv("MAYFLY_CRASH"), 0, &error) < 0)
        return command_fail(&error);
    static char version[] = "version";
    if (argc > 1 && strcmp(argv[1], "--version") == 0)
        argv[1] = version;
    return command_list_main(&list, argc, argv);
}
