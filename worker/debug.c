/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One subtask in the foreground: see debug.h. Its place is runs/debug-<run id>/<process>/, laid out
 * as a worker's (attempts/, secrets; within what was brought along, if it was), so that neither a
 * worker nor the sweep of the run takes it for its own. It is removed at the end, however the
 * command ended; killed by KILL, it stays, and so does the note of it: `mayfly clean` has the sweep
 * (sweep_debug.c) remove both.
 */
#include "worker/debug.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/close_range.h>

#include "common/alloc.h"
#include "common/message.h"
#include "common/write.h"
#include "worker/folder.h"
#include "worker/foreground.h"
#include "worker/input.h"
#include "worker/place.h"
#include "worker/request.h"
#include "worker/secrets.h"

#define NUMBER_MAX 1000000000ul

struct debug {
    const char *run_id;
    uint32_t worker, slot;
    bool wants_shell, keeps, is_tied;
    const char *note; /* a file that says that this may leave something; NULL = none */
    char *staged;     /* the folder that has job/ and input/; NULL: all is in its own place */
    struct mf_buffer item;
    struct mf_buffer file;
    struct mf_decoder *decoders[2]; /* of the welcome and of the work */
    struct mf_message welcome, work;
    char *place_id; /* stands for the run's in paths */
    char *folder;
    struct secrets *secrets;
    struct mf_buffer start;
};

static int say(const char *text)
{
    fprintf(stderr, "mayfly: %s\n", text);
    return DEBUG_NOT_STARTED;
}

static int read_all(const char *path, struct mf_buffer *out, struct mf_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : 1;
    while (got > 0) {
        if (mf_buffer_reserve(out, 65536, error) < 0) {
            close(fd);
            return -1;
        }
        got = read(fd, out->data + out->length, 65536);
        out->length += got > 0 ? (size_t)got : 0;
    }
    if (got < 0)
        mf_raise_errno(error, "cannot read the subtask from %s", path);
    if (fd >= 0)
        close(fd);
    return got < 0 ? -1 : 0;
}

/* The message at *at, which it advances. */
static int next_message(struct debug *debug,
                        size_t *at,
                        unsigned number,
                        enum mf_message_type type,
                        struct mf_message *message,
                        struct mf_error *error)
{
    const unsigned char *head = debug->file.data + *at;
    size_t left = debug->file.length - *at, length = 0;
    if (left >= 4)
        length = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    if (left < 4 || left - 4 < length)
        return mf_raise(error, MF_EPROTOCOL, "what mayfly sent of the subtask is cut off");
    *at += 4 + length;
    debug->decoders[number] = mf_decoder_create();
    if (debug->decoders[number] == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a subtask");
    if (mf_decode(debug->decoders[number], mf_bytes_of(head + 4, length), message, error) < 0)
        return -1;
    if (message->type != type)
        return mf_raise(error, MF_EPROTOCOL, "mayfly sent something else than a subtask");
    return 0;
}

static int take_file(struct debug *debug, const char *path, struct mf_error *error)
{
    size_t at = 0;
    if (read_all(path, &debug->file, error) < 0 ||
        next_message(debug, &at, 0, MF_WELCOME, &debug->welcome, error) < 0 ||
        next_message(debug, &at, 1, MF_WORK, &debug->work, error) < 0)
        return -1;
    if (debug->work.work.subtask_count != 1)
        return mf_raise(error, MF_EPROTOCOL, "mayfly sent no subtask");
    return 0;
}

static int make_place(struct debug *debug, struct mf_error *error)
{
    const struct mf_welcome *welcome = &debug->welcome.welcome;
    uint32_t own = (uint32_t)getpid();
    debug->place_id = mf_format("debug-%s", debug->run_id);
    if (debug->place_id == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    /* What was brought along goes as a whole, and so does all that is made of it. */
    debug->folder = debug->staged == NULL
                        ? place_make(debug->place_id, own, error)
                        : place_make_in(debug->staged, debug->place_id, own, error);
    if (debug->folder == NULL)
        return -1;
    if (chdir(debug->folder) < 0 || mkdir("attempts", 0700) < 0 || chdir("attempts") < 0)
        return mf_raise_errno(error, "cannot use the folder %s", debug->folder);
    if (welcome->secret_count == 0)
        return 0;
    char *memory = place_of_secrets();
    debug->secrets = secrets_create(memory,
                                    debug->place_id,
                                    own,
                                    debug->folder,
                                    welcome->secrets,
                                    welcome->secret_count,
                                    error);
    mf_free(memory);
    return debug->secrets == NULL ? -1 : 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* Where the inputs are: of a group the list, else *path on the heap. */
static int
find_staged(struct debug *debug, struct staged_input *staged, char **path, struct mf_error *error)
{
    const struct mf_subtask *subtask = debug->work.work.subtasks;
    const char *at = (const char *)subtask->item.data, *end = at + subtask->item.length;
    if (debug->welcome.welcome.task.is_grouped) {
        for (unsigned i = 0; at < end; i++, at += strlen(at) + 1)
            if (mf_buffer_printf(
                    &debug->item, error, "%s/input/%u/%s%c", debug->staged, i, base_name(at), 0) <
                0)
                return -1;
        staged->item = mf_buffer_view(&debug->item);
        return 0;
    }
    if (subtask->path.length == 0)
        return 0;
    char *name = mf_memdup(subtask->path.data, subtask->path.length); /* with a NUL behind it */
    *path = name == NULL ? NULL : mf_format("%s/input/0/%s", debug->staged, base_name(name));
    mf_free(name);
    staged->path = *path;
    return *path != NULL ? 0 : mf_raise(error, MF_ENOMEM, "out of memory: an input");
}

static int make_start(struct debug *debug, struct mf_error *error)
{
    struct staged_input staged = {0};
    char *path = NULL, *files = NULL;
    int rc = 0;
    if (debug->staged != NULL) {
        rc = find_staged(debug, &staged, &path, error);
        files = mf_format("%s/job", debug->staged);
        if (rc == 0 && files == NULL)
            rc = mf_raise(error, MF_ENOMEM, "out of memory: a path");
    }
    const struct mf_task *task = &debug->welcome.welcome.task;
    struct request_maker *maker =
        rc < 0
            ? NULL
            : request_maker_create(task, files, debug->run_id, debug->worker, debug->folder, error);
    rc = maker == NULL
             ? -1
             : request_make(
                   maker, debug->work.work.subtasks, &staged, debug->slot, &debug->start, error);
    request_maker_destroy(maker);
    mf_free(path);
    mf_free(files);
    return rc;
}

static int make_request(struct debug *debug, struct unpacked *request, struct mf_error *error)
{
    if (make_start(debug, error) < 0)
        return -1;
    const size_t head = sizeof(struct slot_header);
    if (unpack(debug->start.data + head, debug->start.length - head, request) != UNPACK_OK)
        return mf_raise(error,
                        MF_EINPUT,
                        "the command has more than %u arguments and variables",
                        SLOT_STRINGS_MAX);
    return 0;
}

/* A shell has our own standard input; the subtask's is kept beside the folder. */
static int keep_input(const struct debug *debug, int in, struct mf_error *error)
{
    static unsigned char piece[65536];
    ssize_t got = 0;
    int out = open("../stdin", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return mf_raise_errno(error, "cannot make %s/stdin", debug->folder);
    while ((got = read(in, piece, sizeof piece)) > 0)
        if (mf_write_all(out, mf_bytes_of(piece, (size_t)got)) < 0)
            break;
    int rc = got == 0 ? 0 : mf_raise_errno(error, "cannot write %s/stdin", debug->folder);
    close(out);
    if (rc == 0)
        fprintf(stderr, "mayfly: the subtask's standard input is in %s/stdin\n", debug->folder);
    return rc;
}

static void use_shell(struct unpacked *request)
{
    static char *argv[2];
    char *shell = getenv("SHELL");
    argv[0] = shell != NULL && shell[0] == '/' && access(shell, X_OK) == 0
                  ? shell
                  : (char *)(uintptr_t) "/bin/sh";
    request->argv = argv;
}

/* -1: our own standard input. */
static int choose_input(const struct debug *debug, int in, struct mf_error *error)
{
    if (!debug->wants_shell)
        return in >= 0 ? in : open("/dev/null", O_RDONLY | O_CLOEXEC);
    int rc = in < 0 ? 0 : keep_input(debug, in, error);
    if (in >= 0)
        close(in);
    return rc < 0 ? -2 : -1;
}

static int run(struct debug *debug, struct unpacked *request)
{
    struct failure failure = {.cause = MF_CAUSE_NONE};
    struct mf_error error;
    int in = -1;
    if (input_open(request, &in, &failure) < 0 || folder_make(request, &failure) < 0)
        return say(failure.text);
    if ((in = choose_input(debug, in, &error)) == -2)
        return say(error.text);
    if (debug->wants_shell) {
        use_shell(request);
        fprintf(stderr,
                "mayfly: %s in %s/attempts/%s\n",
                request->argv[0],
                debug->folder,
                request->folder);
    }
    int code = foreground_run(
        request, in, debug->is_tied ? 0 : -1, request->start->kill_after_us, &failure);
    if (in >= 0)
        close(in);
    if (code < 0)
        return say(failure.text);
    if (code > 128)
        fprintf(stderr, "mayfly: ended by signal %d (%s)\n", code - 128, strsignal(code - 128));
    return code;
}

/* The folder of notes goes when it is empty. */
static void remove_note(const char *note)
{
    char *folder = mf_strdup(note), *slash = folder == NULL ? NULL : strrchr(folder, '/');
    unlink(note);
    if (slash != NULL) {
        *slash = '\0';
        rmdir(folder);
    }
    mf_free(folder);
}

static void leave(struct debug *debug, const char *attempt)
{
    struct mf_error error;
    bool is_left = false;
    secrets_destroy(debug->secrets);
    if (debug->folder != NULL && debug->keeps)
        fprintf(stderr, "mayfly: kept: %s/attempts/%s\n", debug->folder, attempt);
    else if (debug->folder != NULL &&
             (is_left = chdir("/") < 0 || place_remove(debug->folder, NULL, &error) < 0))
        fprintf(stderr, "mayfly: the folder %s cannot be removed\n", debug->folder);
    else if (debug->folder != NULL)
        place_leave(debug->folder, debug->staged == NULL);
    if (debug->note != NULL && !is_left)
        remove_note(debug->note);
    for (int i = 0; i < 2; i++)
        mf_decoder_destroy(debug->decoders[i]);
    mf_buffer_fini(&debug->file);
    mf_buffer_fini(&debug->start);
    mf_buffer_fini(&debug->item);
    free(debug->staged); /* libc's own */
    mf_free(debug->place_id);
    mf_free(debug->folder);
}

static int read_number(const char *text, uint32_t *number)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    *number = (uint32_t)value;
    return errno == 0 && end != text && *end == '\0' && value <= NUMBER_MAX ? 0 : -1;
}

int debug_main(int argc, char **argv)
{
    struct debug debug = {0};
    struct unpacked request = {.folder = ""};
    struct mf_error error;
    if (argc < 6 || read_number(argv[3], &debug.worker) < 0 ||
        read_number(argv[4], &debug.slot) < 0) {
        fprintf(stderr,
                "usage: mayfly-worker debug RUN WORKER SLOT FILE [shell] [keep] [staged] [tied] "
                "[note=PATH]\n");
        return 2;
    }
    debug.run_id = argv[2];
    for (int i = 6; i < argc; i++) {
        debug.wants_shell |= strcmp(argv[i], "shell") == 0;
        debug.keeps |= strcmp(argv[i], "keep") == 0;
        debug.is_tied |= strcmp(argv[i], "tied") == 0;
        if (strncmp(argv[i], "note=", 5) == 0)
            debug.note = argv[i] + 5;
        if (strcmp(argv[i], "staged") == 0 && debug.staged == NULL &&
            (debug.staged = realpath(".", NULL)) == NULL)
            return say("the current folder cannot be told");
    }
    /* The command gets no other descriptor; least of all that of FILE. */
    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    foreground_begin();
    int code = take_file(&debug, argv[5], &error) < 0 || make_place(&debug, &error) < 0 ||
                       make_request(&debug, &request, &error) < 0
                   ? say(error.text)
                   : run(&debug, &request);
    leave(&debug, request.folder);
    return code;
}
