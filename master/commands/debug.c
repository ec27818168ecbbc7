/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly debug: one subtask of a run again, in the foreground. The run is only read: its job and
 * plan make the very messages that its master would send, which the worker's program turns into a
 * folder and a command as in the run (worker/debug.c). This process becomes that program.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/mayfly.h"
#include "common/write.h"
#include "master/command.h"
#include "master/commands/debug_host.h"
#include "master/commands/debug_note.h"
#include "master/commands/items.h"
#include "master/commands/selection.h"
#include "master/commands/text.h"
#include "master/record/run_db.h"
#include "master/record/sql.h"
#include "master/run_folder.h"
#include "master/secret_sources.h"

#define NOT_STARTED 125 /* as the worker's program says it: no code of a command, as a rule */

enum { KEY_SHELL = 256, KEY_KEEP, KEY_HOST };

struct arguments {
    const char *run, *subtask_text;
    uint64_t subtask, attempt; /* attempt 0 = as the last one */
    bool wants_shell, keeps;
    bool is_elsewhere; /* on its host, or on `host` */
    const char *host;
};

struct debug {
    const struct arguments *arguments;
    const char *run_id, *folder;
    char *path; /* of run.db */
    sqlite3 *db;
    struct job *job;
    struct items *items;
    struct mf_subtask piece;     /* borrows from items */
    uint32_t worker;             /* that the attempt was with */
    char place[256];             /* of that worker, "" = not known */
    const struct job_host *host; /* NULL: here */
    int64_t started_us;          /* the run */
    struct secret_sources *secrets;
    struct mf_buffer file; /* for the worker's program */
};

static const struct argp_option options[] = {
    {"shell",
     KEY_SHELL,
     NULL,
     0,
     "A shell in the subtask's folder and environment in place of its command",
     0},
    {"host",
     KEY_HOST,
     "HOST",
     OPTION_ARG_OPTIONAL,
     "On the host it last ran on, or on another HOST of the run (by ssh); without: here",
     0},
    {"keep", KEY_KEEP, NULL, 0, "Leave the folder as the command left it, and say where", 0},
    {"attempt", 'a', "N", 0, "As attempt N (default: as the last one that is recorded)", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case KEY_SHELL:
        arguments->wants_shell = true;
        return 0;
    case KEY_KEEP:
        arguments->keeps = true;
        return 0;
    case KEY_HOST:
        arguments->is_elsewhere = true;
        arguments->host = text;
        return 0;
    case 'a':
        if (text_number(text, 1, 65535, &arguments->attempt) < 0)
            argp_error(state, "an attempt is a number from 1, not \"%s\"", text);
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->run == NULL)
            arguments->run = text;
        else if (arguments->subtask != 0)
            argp_error(state, "one subtask at a time: \"%s\" is too much", text);
        else if (text_number(text, 1, SELECTION_SUBTASK_MAX, &arguments->subtask) < 0)
            argp_error(state, "a subtask is a number from 1, not \"%s\"", text);
        return 0;
    case ARGP_KEY_END:
        if (arguments->subtask == 0)
            argp_error(state, "a run and the number of a subtask are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Which attempt it is to be, and what of the run it needs. */
static int read_attempt(struct debug *debug, struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc =
        sql_prepare(debug->db,
                    debug->path,
                    "SELECT epoch, started_us,"
                    " (SELECT max(id) & 65535 FROM attempt WHERE id BETWEEN ?1 AND ?1 + 65535),"
                    " (SELECT worker FROM attempt WHERE id BETWEEN ?1 AND ?1 + 65535"
                    "  AND (?2 = 0 OR id = ?1 + ?2) ORDER BY id DESC LIMIT 1) FROM run",
                    &stmt,
                    error);
    if (rc < 0)
        return -1;
    sqlite3_bind_int64(stmt, 1, (int64_t)(debug->arguments->subtask << 16));
    sqlite3_bind_int64(stmt, 2, (int64_t)debug->arguments->attempt);
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        uint32_t last = (uint32_t)sqlite3_column_int(stmt, 2);
        debug->piece.epoch = (uint32_t)sqlite3_column_int(stmt, 0);
        debug->piece.attempt = last > 0 ? last : 1;
        debug->started_us = sqlite3_column_int64(stmt, 1);
        debug->worker = (uint32_t)sqlite3_column_int64(stmt, 3);
    } else {
        rc = sql_raise(debug->db, debug->path, error);
    }
    sqlite3_finalize(stmt);
    if (debug->arguments->attempt != 0)
        debug->piece.attempt = (uint32_t)debug->arguments->attempt;
    if (debug->worker == 0)
        debug->worker = 1;
    return rc;
}

static int read_place(struct debug *debug, struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    if (sql_prepare(debug->db, debug->path, "SELECT place FROM worker WHERE id = ?", &stmt, error) <
        0)
        return -1;
    sqlite3_bind_int64(stmt, 1, debug->worker);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        sql_column_copy(stmt, 0, debug->place, sizeof debug->place);
    sqlite3_finalize(stmt);
    return 0;
}

/* The host that is meant; a run without hosts was on this machine. */
static int find_host(struct debug *debug, struct mf_error *error)
{
    const struct job_hosts *hosts = &debug->job->hosts;
    const char *wanted = debug->arguments->host;
    if (!debug->arguments->is_elsewhere || (hosts->count == 0 && wanted == NULL))
        return 0;
    if (wanted == NULL) {
        if (read_place(debug, error) < 0)
            return -1;
        wanted = debug->place;
    }
    for (size_t i = 0; i < hosts->count; i++)
        if (strcmp(hosts->items[i].name, wanted) == 0) {
            debug->host = hosts->items[i].is_local ? NULL : &hosts->items[i];
            return 0;
        }
    if (wanted[0] == '\0')
        return mf_raise(error,
                        MF_EUSAGE,
                        "it is not known where subtask %" PRIu64 " ran: name a host of the run "
                        "(--host=HOST)",
                        debug->piece.id);
    return mf_raise(error,
                    MF_EUSAGE,
                    "\"%s\" is no host of the run: its job has %s%s",
                    wanted,
                    hosts->count == 0 ? "none" : hosts->items[0].name,
                    hosts->count > 1 ? " and others" : "");
}

static int find_piece(struct debug *debug, struct mf_error *error)
{
    const uint64_t id = debug->arguments->subtask;
    const struct mf_subtask *piece = items_find(debug->items, id);
    if (piece == NULL && items_trouble(debug->items) != NULL)
        return mf_raise(error,
                        MF_EINPUT,
                        "what subtask %" PRIu64 " is about cannot be told: %s",
                        id,
                        items_trouble(debug->items));
    if (piece == NULL)
        return mf_raise(error,
                        MF_EUSAGE,
                        "run %s has no subtask %" PRIu64 " in its plan (mayfly results %s)",
                        debug->run_id,
                        id,
                        debug->run_id);
    debug->piece = *piece;
    return 0;
}

static char *absolute(const struct job *job, struct mf_bytes path)
{
    if (path.data[0] == '/')
        return mf_format("%.*s", (int)path.length, (const char *)path.data);
    return mf_format("%s/%.*s", job->folder, (int)path.length, (const char *)path.data);
}

/* Says that the input is another now, which is used all the same. */
static void adopt_input(struct mf_subtask *piece, const struct stat *facts)
{
    int64_t mtime_ns = (int64_t)facts->st_mtim.tv_sec * 1000000000 + facts->st_mtim.tv_nsec;
    bool is_same = (uint64_t)facts->st_size == piece->input_size &&
                   mtime_ns == piece->input_mtime_ns &&
                   (uint64_t)facts->st_ino == piece->input_inode;
    if (is_same || piece->input_inode == 0)
        return;
    fprintf(stderr,
            "mayfly: the input %.*s has changed since the run: it had %" PRIu64
            " bytes and has %lld now%s\n",
            (int)piece->path.length,
            (const char *)piece->path.data,
            piece->input_size,
            (long long)facts->st_size,
            piece->length < piece->input_size ? "; the piece is what is at its place now" : "");
    piece->input_size = (uint64_t)facts->st_size;
    piece->input_mtime_ns = mtime_ns;
    piece->input_inode = (uint64_t)facts->st_ino;
}

static int look_at_input(struct debug *debug, struct mf_error *error)
{
    struct mf_subtask *piece = &debug->piece;
    struct stat facts;
    if (piece->path.length == 0)
        return 0;
    char *path = absolute(debug->job, piece->path);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the path of an input");
    int rc = stat(path, &facts);
    if (rc < 0)
        mf_raise(error,
                 MF_EINPUT,
                 "the input %s of subtask %" PRIu64 " cannot be read any more: %s",
                 path,
                 piece->id,
                 strerror(errno));
    else
        adopt_input(piece, &facts);
    mf_free(path);
    return rc;
}

/* The job's own files are used as they are now: those that were written since are named. */
static int look_at_files(const struct debug *debug, struct mf_error *error)
{
    for (size_t i = 0; i < debug->job->files.count; i++) {
        struct stat facts;
        const char *name = debug->job->files.items[i];
        char *path = absolute(debug->job, mf_bytes_text(name));
        if (path == NULL)
            return mf_raise(error, MF_ENOMEM, "out of memory: the path of a file");
        if (stat(path, &facts) < 0)
            fprintf(stderr, "mayfly: files: %s is not there any more: %s\n", name, strerror(errno));
        else if (S_ISREG(facts.st_mode) &&
                 (int64_t)facts.st_mtim.tv_sec * 1000000 + facts.st_mtim.tv_nsec / 1000 >
                     debug->started_us)
            fprintf(stderr, "mayfly: files: %s has changed since the run began\n", name);
        mf_free(path);
    }
    return 0;
}

/* Appends a message behind its length. */
static int add_message(struct mf_buffer *file,
                       int (*encode)(const void *what, struct mf_buffer *out, struct mf_error *),
                       const void *what,
                       struct mf_error *error)
{
    static const unsigned char nothing[4];
    size_t at = file->length;
    if (mf_buffer_append(file, nothing, sizeof nothing, error) < 0 || encode(what, file, error) < 0)
        return -1;
    size_t length = file->length - at - sizeof nothing;
    for (unsigned i = 0; i < sizeof nothing; i++)
        file->data[at + i] = (unsigned char)(length >> (8 * i));
    return 0;
}

static int encode_welcome(const void *what, struct mf_buffer *out, struct mf_error *error)
{
    return mf_encode_welcome(what, out, error);
}

static int encode_work(const void *what, struct mf_buffer *out, struct mf_error *error)
{
    return mf_encode_work(what, out, error);
}

static int make_messages(struct debug *debug, struct mf_error *error)
{
    struct mf_welcome welcome = {.epoch = debug->piece.epoch,
                                 .lease_us = debug->job->lease_us,
                                 .orphan_us = debug->job->orphan_us};
    const struct mf_work work = {.subtask_count = 1, .subtasks = &debug->piece};
    void *scratch = NULL;
    char *prepared = run_path(debug->folder, "prepared");
    if (prepared == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int rc = job_task(
        debug->job, access(prepared, F_OK) == 0 ? prepared : NULL, &welcome.task, &scratch, error);
    welcome.task.is_grouped = debug->job->split.group_bytes > 0;
    if (rc == 0 && debug->job->secret_count > 0) {
        bool is_interrupted = false;
        debug->secrets = secret_sources_open(debug->job, -1, &is_interrupted, error);
        rc = debug->secrets == NULL ? -1 : 0;
        if (rc == 0)
            welcome.secrets = secret_sources_list(debug->secrets, &welcome.secret_count);
    }
    if (rc == 0 && (add_message(&debug->file, encode_welcome, &welcome, error) < 0 ||
                    add_message(&debug->file, encode_work, &work, error) < 0))
        rc = -1;
    mf_free(scratch);
    mf_free(prepared);
    return rc;
}

static void say_what(const struct debug *debug)
{
    struct mf_buffer line = {0};
    if (items_command(debug->items, &debug->piece, &line, NULL) == 0 &&
        mf_buffer_text(&line) != NULL)
        fprintf(stderr,
                "mayfly: subtask %" PRIu64 " of %s, as attempt %u: %s\n",
                debug->piece.id,
                debug->run_id,
                debug->piece.attempt,
                mf_buffer_text(&line));
    mf_buffer_fini(&line);
}

static int prepare(struct debug *debug, struct mf_error *error)
{
    if ((debug->path = run_path(debug->folder, "run.db")) == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    if ((debug->db = run_db_open(debug->path, error)) == NULL ||
        (debug->items = items_open(debug->folder, debug->db, error)) == NULL ||
        (debug->job = items_job(debug->folder, debug->db, error)) == NULL ||
        find_piece(debug, error) < 0 || read_attempt(debug, error) < 0 ||
        find_host(debug, error) < 0)
        return -1;
    say_what(debug);
    if (look_at_input(debug, error) < 0 || look_at_files(debug, error) < 0)
        return -1;
    return make_messages(debug, error);
}

/* Never on a disk: there may be secrets in it. Not closed on exec. */
static int make_file(const struct debug *debug, struct mf_error *error)
{
    int fd = memfd_create("mayfly-debug", 0);
    if (fd < 0 || mf_write_all(fd, mf_buffer_view(&debug->file)) < 0) {
        mf_raise_errno(error, "cannot hand the subtask over");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

/* Returns only when that fails. */
static int become_worker(const struct debug *debug, struct mf_error *error)
{
    char worker[24], path[40], number[24], *note = NULL;
    char *binary = command_worker_binary(error);
    int fd = binary == NULL ? -1 : make_file(debug, error);
    if (fd < 0) {
        mf_free(binary);
        return -1;
    }
    snprintf(number, sizeof number, "%d", (int)getpid());
    int note_fd = debug_note_make(debug->folder, number, "", &note, error);
    char *note_word = note == NULL ? NULL : mf_format("note=%s", note);
    if (note_fd < 0 || note_word == NULL) {
        close(fd);
        mf_free(note);
        mf_free(binary);
        return note_fd < 0 ? -1 : mf_raise(error, MF_ENOMEM, "out of memory: a path");
    }
    fcntl(note_fd, F_SETFD, 0); /* it stays locked as long as that lives */
    snprintf(worker, sizeof worker, "%u", debug->worker);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const struct arguments *arguments = debug->arguments;
    const char *argv[] = {
        binary, "debug", debug->run_id, worker, "1", path, note_word, NULL, NULL, NULL};
    size_t count = 7;
    if (arguments->wants_shell)
        argv[count++] = "shell";
    if (arguments->keeps)
        argv[count++] = "keep";
    execv(binary, (char **)(uintptr_t)argv);
    mf_raise_errno(error, "cannot start %s, which belongs beside mayfly", binary);
    debug_note_remove(note);
    close(note_fd);
    mf_free(note_word);
    mf_free(note);
    close(fd);
    mf_free(binary);
    return -1;
}

static int run_there(const struct debug *debug, int *code, struct mf_error *error)
{
    int fd = make_file(debug, error);
    const struct debug_order order = {.job = debug->job,
                                      .host = debug->host,
                                      .run_id = debug->run_id,
                                      .run_folder = debug->folder,
                                      .worker = debug->worker,
                                      .piece = &debug->piece,
                                      .request_fd = fd,
                                      .wants_shell = debug->arguments->wants_shell,
                                      .keeps = debug->arguments->keeps};
    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC); /* tar reads it by its name in /proc */
    int rc = fd < 0 ? -1 : debug_on_host(&order, code, error);
    if (fd >= 0)
        close(fd);
    return rc;
}

static void fini(struct debug *debug)
{
    secret_sources_close(debug->secrets);
    items_close(debug->items);
    job_destroy(debug->job);
    run_db_close(debug->db);
    mf_free(debug->path);
}

static int debug_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    char run_id[RUN_ID_SIZE];
    struct mf_error error;
    command_parse(
        &command_debug,
        options,
        parse,
        "Run one subtask of a run again, in the foreground: the same command, environment, inputs, "
        "files and standard input, in a folder of its own that is laid out as in the run.\v"
        "Nothing of it is recorded, and the run stays as it is. Its streams are shown as they "
        "come. Inputs that have changed since are named, and used as they are now. There is no "
        "time limit. The exit code is that of the command, 128 + N when signal N ended it, and "
        "125 when it could not be started.",
        argc,
        argv,
        &arguments);
    struct debug debug = {.arguments = &arguments, .run_id = run_id};
    char *folder = run_folder_find(arguments.run, run_id, &error);
    debug.folder = folder;
    int rc = folder == NULL ? -1 : prepare(&debug, &error), code = 0;
    bool is_there = rc == 0 && debug.host != NULL;
    if (is_there)
        rc = run_there(&debug, &code, &error);
    fini(&debug);
    if (rc == 0 && !is_there) {
        fflush(NULL);
        rc = become_worker(&debug, &error);
    }
    mf_buffer_fini(&debug.file);
    mf_free(folder);
    if (rc == 0)
        return code;
    code = command_fail(&error);
    return code == MAYFLY_EXIT_USAGE ? code : NOT_STARTED;
}

const struct command command_debug = {.name = "debug",
                                      .arguments = "RUN SUBTASK",
                                      .summary = "run one subtask again, in the foreground",
                                      .main = debug_main};
