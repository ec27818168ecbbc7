/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly: finds the subcommand and hands over. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/crash.h"
#include "master/command.h"

static const struct command *const commands[] = {
    &command_run,
    &command_submit,
    &command_check,
    &command_ls,
    &command_status,
    &command_watch,
    &command_results,
    &command_logs,
    &command_notify,
    &command_resume,
    &command_retry,
    &command_pause,
    &command_unpause,
    &command_cancel,
    &command_sql,
    &command_clean,
    &command_version,
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

int command_fail(const struct mf_error *error)
{
    fprintf(stderr, "mayfly: %s\n", error->text);
    return mf_error_exit_code(error->code);
}

char *command_worker_binary(struct mf_error *error)
{
    char own[4096];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    if (length < 0) {
        mf_raise_errno(error, "cannot find this program's own file");
        return NULL;
    }
    own[length] = '\0';
    char *slash = strrchr(own, '/');
    *slash = '\0';
    char *path = mf_format("%s/mayfly-worker", own);
    if (path == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    return path;
}

static void print_help(FILE *out)
{
    fputs("Mayfly runs a batch on machines that it starts its own workers on, and leaves nothing "
          "behind.\n\n"
          "Usage: mayfly COMMAND [OPTION...] (mayfly COMMAND --help explains each)\n\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        char line[64];
        snprintf(line, sizeof line, "%s %s", commands[i]->name, commands[i]->arguments);
        fprintf(out, "  %-27s %s\n", line, commands[i]->summary);
    }
    fputs("\nRUN is a run id, the start of one, or `last`.\n"
          "Exit codes: 0 succeeded, 1 failed, 2 wrong usage or job file, 3 could not be carried "
          "out,\n"
          "4 cancelled, 130 interrupted.\n",
          out);
}

static int distance(const char *a, const char *b)
{
    size_t columns = strlen(b);
    int row[64];
    if (columns >= 64 || strlen(a) >= 64)
        return 64;
    for (size_t j = 0; j <= columns; j++)
        row[j] = (int)j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        int diagonal = row[0];
        row[0] = (int)i + 1;
        for (size_t j = 0; j < columns; j++) {
            int best = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j + 1] + 1 < best)
                best = row[j + 1] + 1;
            row[j + 1] = best;
        }
    }
    return row[columns];
}

static int unknown(const char *name)
{
    const char *nearest = NULL;
    int best = 3;
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (distance(name, commands[i]->name) < best) {
            best = distance(name, commands[i]->name);
            nearest = commands[i]->name;
        }
    fprintf(stderr,
            "mayfly: there is no command \"%s\"%s%s%s; mayfly --help lists all\n",
            name,
            nearest == NULL ? "" : ", did you mean \"",
            nearest == NULL ? "" : nearest,
            nearest == NULL ? "" : "\"?");
    return 2;
}

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
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return 0;
    }
    const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->name, name) != 0)
            continue;
        char title[64];
        snprintf(title, sizeof title, "mayfly %s", name);
        argv[1] = title;
        return commands[i]->main(argc - 1, argv + 1);
    }
    return unknown(argv[1]);
}
