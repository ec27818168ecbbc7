/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly logs: the captured streams of a run from its log store, in the order in which they came
 * home, and behind them what attempts that run have written to standard output. Of one subtask as
 * they are; of all, each line says whose it is.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/mayfly.h"
#include "master/command.h"
#include "master/commands/logs_known.h"
#include "master/commands/overview.h"
#include "master/commands/running.h"
#include "master/commands/selection.h"
#include "master/commands/text.h"
#include "master/record/log_store.h"
#include "master/run_folder.h"

#define AGAIN_MS 500 /* between two looks at what is new */

enum { KEY_STDOUT = 256, KEY_STDERR };

struct arguments {
    const char *run;
    uint64_t subtask, attempt, worker; /* 0 = any */
    unsigned streams;                  /* 0 = those of the subtasks */
    bool is_own;                       /* the own log of the worker, no subtask's */
    bool follow;
};

static const struct argp_option options[] = {
    {"stdout", KEY_STDOUT, NULL, 0, "Only standard output", 0},
    {"stderr", KEY_STDERR, NULL, 0, "Only standard error", 0},
    {"attempt", 'a', "N", 0, "Only attempt N", 0},
    {"worker",
     'w',
     "W",
     0,
     "The own log of worker W; with a subtask, stream or attempt: only what ran on worker W",
     0},
    {"follow",
     'f',
     NULL,
     0,
     "Go on until the SUBTASK (or that attempt of it), or else the run, has ended",
     0},
    {0}};

static uint64_t number(const char *text, uint64_t most, const char *what, struct argp_state *state)
{
    uint64_t value = 0;
    if (text_number(text, 1, most, &value) < 0)
        argp_error(state, "%s is a number from 1, not \"%s\"", what, text);
    return value;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case KEY_STDOUT:
        arguments->streams |= 1u << LOG_STDOUT;
        return 0;
    case KEY_STDERR:
        arguments->streams |= 1u << LOG_STDERR;
        return 0;
    case 'a':
        arguments->attempt = number(text, 65535, "an attempt", state);
        return 0;
    case 'w':
        arguments->worker = number(text, UINT32_MAX, "a worker", state);
        return 0;
    case 'f':
        arguments->follow = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->run == NULL)
            arguments->run = text;
        else if (arguments->subtask == 0)
            arguments->subtask = number(text, SELECTION_SUBTASK_MAX, "a subtask", state);
        else
            argp_error(state, "one subtask at a time: \"%s\" is too much", text);
        return 0;
    case ARGP_KEY_END:
        arguments->is_own = arguments->worker != 0 && arguments->subtask == 0 &&
                            arguments->attempt == 0 && arguments->streams == 0;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What is being printed: whose the last bytes were. */
struct printer {
    bool has_damage; /* that was said */
    bool has_prefix; /* each line says whose it is */
    bool has_last, is_in_line;
    struct log_piece last;
};

static bool is_same(const struct log_piece *a, const struct log_piece *b)
{
    return a->subtask == b->subtask && a->attempt == b->attempt && a->worker == b->worker &&
           a->stream == b->stream;
}

static const char *stream_name(enum log_stream stream)
{
    return stream == LOG_STDOUT ? "stdout" : "stderr";
}

static void print_prefix(const struct log_piece *piece)
{
    printf("%" PRIu64, piece->subtask);
    if (piece->attempt > 1)
        printf(".%" PRIu32, piece->attempt);
    printf(" %s: ", stream_name(piece->stream));
}

static void end_line(struct printer *printer)
{
    if (printer->is_in_line)
        putchar('\n');
    printer->is_in_line = false;
}

static void print_lines(struct printer *printer, const struct log_piece *piece)
{
    const unsigned char *at = piece->data.data, *end = at + piece->data.length;
    while (at < end) {
        const unsigned char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = newline == NULL ? (size_t)(end - at) : (size_t)(newline + 1 - at);
        if (!printer->is_in_line)
            print_prefix(piece);
        fwrite(at, 1, length, stdout);
        printer->is_in_line = newline == NULL;
        at += length;
    }
}

static void print_piece(struct printer *printer, const struct log_piece *piece)
{
    if (piece->data.length == 0 && piece->cut_bytes == 0)
        return;
    bool is_new = !printer->has_last || !is_same(&printer->last, piece);
    if (is_new && printer->has_last) {
        end_line(printer);
        if (!printer->has_prefix && piece->stream != LOG_WORKER)
            printf("[attempt %" PRIu32 ", %s]\n", piece->attempt, stream_name(piece->stream));
    }
    if (printer->has_prefix) {
        print_lines(printer, piece);
    } else if (piece->data.length > 0) {
        fwrite(piece->data.data, 1, piece->data.length, stdout);
        printer->is_in_line = piece->data.data[piece->data.length - 1] != '\n';
    }
    if (piece->cut_bytes > 0) {
        end_line(printer);
        if (printer->has_prefix)
            print_prefix(piece);
        printf("[... %" PRIu64 " bytes cut ...]\n", piece->cut_bytes);
    }
    printer->last = *piece;
    printer->has_last = true;
}

/* What is damaged is left out, but not silently; the rest follows. */
static void warn_of_damage(struct printer *printer, const struct mf_error *error)
{
    end_line(printer);
    fflush(stdout);
    fprintf(stderr, "mayfly: %s: what was there is left out\n", error->text);
    printer->has_damage = true;
}

static bool shows_stdout(const struct arguments *arguments)
{
    return !arguments->is_own &&
           (arguments->streams == 0 || (arguments->streams & 1u << LOG_STDOUT) != 0);
}

/* All that is there now. */
static int print_new(struct log_reader *reader,
                     struct running *running,
                     const struct arguments *arguments,
                     struct printer *printer,
                     struct mf_error *error)
{
    unsigned streams = arguments->streams;
    if (arguments->is_own)
        streams = 1u << LOG_WORKER;
    else if (streams == 0)
        streams = 1u << LOG_STDOUT | 1u << LOG_STDERR;
    struct log_piece piece;
    int rc;
    while ((rc = log_reader_next(reader,
                                 arguments->subtask,
                                 (uint32_t)arguments->attempt,
                                 (uint32_t)arguments->worker,
                                 streams,
                                 &piece,
                                 error)) != 0 &&
           ferror(stdout) == 0) {
        if (rc < 0 && error->code != MF_EINPUT)
            return -1;
        if (rc < 0) {
            warn_of_damage(printer, error);
            continue;
        }
        running_skip(running, &piece);
        print_piece(printer, &piece);
    }
    while (rc == 0 && shows_stdout(arguments) && ferror(stdout) == 0 &&
           (rc = running_next(running, &piece, error)) > 0) {
        print_piece(printer, &piece);
        rc = 0;
    }
    fflush(stdout);
    return rc < 0 ? -1 : 0;
}

/* What the master has received becomes readable. */
static void flush_live(const char *folder)
{
    if (overview_has_socket(folder))
        json_decref(overview_ask(folder, "flush", NULL)); /* without it, logs are a little older */
}

/* For a while, or until nobody reads any more. */
static bool is_read_on(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return ferror(stdout) == 0 && (poll(&out, 1, AGAIN_MS) <= 0 || (out.revents & POLLERR) == 0);
}

/* Until nothing more is to come. */
static int print_all(struct log_reader *reader,
                     struct running *running,
                     const struct arguments *arguments,
                     const struct logs_wanted *wanted,
                     struct printer *printer,
                     struct mf_error *error)
{
    const char *folder = wanted->folder;
    for (;;) {
        /* Both before: what was written last comes, too. */
        bool is_live = run_folder_is_live(folder);
        bool is_over = is_live && arguments->follow && logs_is_over(wanted);
        if (running_look(running, error) < 0)
            return -1;
        if (is_live)
            flush_live(folder);
        if (print_new(reader, running, arguments, printer, error) < 0)
            return -1;
        if (!is_live || is_over || !arguments->follow || !is_read_on())
            return 0;
    }
}

static int print_logs(struct log_reader *reader,
                      struct running *running,
                      const struct arguments *arguments,
                      const struct logs_wanted *wanted,
                      bool *is_damaged,
                      struct mf_error *error)
{
    struct printer printer = {.has_prefix = arguments->subtask == 0 && !arguments->is_own};
    if (logs_check(wanted, error) < 0 ||
        print_all(reader, running, arguments, wanted, &printer, error) < 0)
        return -1;
    if (printer.has_prefix)
        end_line(&printer); /* the bytes of a single subtask stay as they are */
    *is_damaged = printer.has_damage;
    return printer.has_last || printer.has_damage ? 0 : logs_check_nothing(wanted, error);
}

static int logs(const char *folder,
                const char *run_id,
                const struct arguments *arguments,
                bool *is_damaged,
                struct mf_error *error)
{
    const struct logs_wanted wanted = {.folder = folder,
                                       .run_id = run_id,
                                       .subtask = arguments->subtask,
                                       .attempt = arguments->attempt,
                                       .worker = arguments->worker,
                                       .is_live = run_folder_is_live(folder),
                                       .follows = arguments->follow};
    char *path = run_path(folder, "logs");
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    struct log_reader *reader = log_reader_open(path, error);
    struct running *running = reader == NULL ? NULL
                                             : running_create(folder,
                                                              arguments->subtask,
                                                              (uint32_t)arguments->attempt,
                                                              (uint32_t)arguments->worker,
                                                              error);
    int rc =
        running == NULL ? -1 : print_logs(reader, running, arguments, &wanted, is_damaged, error);
    running_destroy(running);
    log_reader_close(reader);
    mf_free(path);
    return rc;
}

static int logs_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    char run_id[RUN_ID_SIZE];
    struct mf_error error;
    command_parse(
        &command_logs,
        options,
        parse,
        "Print what the subtasks of a run wrote (default: all of the newest run, each line with "
        "subtask and stream; of one SUBTASK the bytes as they are).\v"
        "Standard output of a done attempt is its result: see mayfly results; while an attempt "
        "runs, "
        "what it has written so far is shown, a few seconds late. What was over the job's log "
        "limit "
        "is marked: [... N bytes cut ...].",
        argc,
        argv,
        &arguments);
    char *folder = run_folder_find(arguments.run == NULL ? "last" : arguments.run, run_id, &error);
    text_begin();
    int code = 0;
    bool is_damaged = false;
    if (folder == NULL || logs(folder, run_id, &arguments, &is_damaged, &error) < 0)
        code = command_fail(&error);
    else if (is_damaged)
        code = MAYFLY_EXIT_FAILED;
    mf_free(folder);
    return text_end(code);
}

const struct command command_logs = {.name = "logs",
                                     .arguments = "[RUN [SUBTASK]]",
                                     .summary = "print what subtasks wrote, or a worker's log",
                                     .main = logs_main};
