/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly queue push: messages from arguments, files or standard input. What comes by standard input
 * is written in transactions of some thousand messages, and whenever there is nothing more to read
 * for the moment: `producer | mayfly queue push Q --stdin` keeps nothing back, and locks nothing
 * while it waits. When something goes wrong it says what is in the queue and what is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/checksum.h"
#include "master/command.h"
#include "master/commands/queue.h"
#include "master/commands/queue_batch.h"
#include "master/commands/queue_input.h"
#include "master/commands/text.h"

enum { KEY_STDIN = 256, KEY_JSONL, KEY_KEY, KEY_GROUP, KEY_UNIQUE };

#define UNIQUE_KEY_SIZE (QUEUE_KEY_MAX + 1)

struct arguments {
    const char *queue, *key, *group;
    char **bodies, **files; /* the arrays are ours, the texts are not */
    size_t body_count, file_count;
    bool reads, null, jsonl, unique, json, quiet;
};

static const struct argp_option options[] = {
    {"stdin",
     KEY_STDIN,
     NULL,
     0,
     "A message a line of standard input (also without this, when nothing else is given and it is "
     "no "
     "terminal); empty lines are skipped",
     0},
    {"null", '0', NULL, 0, "A message up to each NUL of standard input, exactly as it is", 0},
    {"jsonl",
     KEY_JSONL,
     NULL,
     0,
     "A message a line of JSON: {\"body\", \"key\", \"group\"}, or any other value as the body",
     0},
    {"file", 'f', "FILE", 0, "The whole of FILE is one message (- is standard input)", 0},
    {"key", KEY_KEY, "KEY", 0, "The message's key: one that came before is not pushed again", 0},
    {"unique", KEY_UNIQUE, NULL, 0, "Each body is its own key", 0},
    {"group",
     KEY_GROUP,
     "GROUP",
     0,
     "Messages of a group are worked on in order, one at a time",
     0},
    {"json", 'J', NULL, 0, "Say in JSON what was pushed and which runs were started", 0},
    {"quiet", 'q', NULL, 0, "Say nothing unless it fails", 0},
    {0}};

static void add(char ***list, size_t *count, char *text, struct argp_state *state)
{
    char **more = mf_realloc(*list, (*count + 1) * sizeof *more);
    if (more == NULL) {
        argp_failure(state, 3, 0, "out of memory: the arguments");
        return;
    }
    *list = more;
    more[(*count)++] = text;
}

/* Somebody sends something by standard input: a pipe, a file or a socket, but no terminal and no
 * /dev/null. */
static bool has_input(void)
{
    struct stat status;
    return fstat(0, &status) == 0 &&
           (S_ISFIFO(status.st_mode) || S_ISREG(status.st_mode) || S_ISSOCK(status.st_mode));
}

static void check(struct arguments *arguments, struct argp_state *state)
{
    size_t given = arguments->body_count + arguments->file_count;
    if (!arguments->reads && given == 0 && arguments->key == NULL)
        arguments->reads = has_input();
    if (arguments->queue == NULL)
        argp_error(state, "say which queue (mayfly queue ls lists them)");
    if (arguments->null && arguments->jsonl)
        argp_error(state, "--null and --jsonl exclude each other");
    if (arguments->reads && given > 0)
        argp_error(state, "push what is given (BODY, --file) or standard input, not both");
    if (!arguments->reads && given == 0)
        argp_error(state, "say what to push: BODY..., --file, --stdin, --null or --jsonl");
    if (arguments->key != NULL && arguments->unique)
        argp_error(state, "--key and --unique exclude each other");
    if (arguments->key != NULL && (arguments->reads || given > 1))
        argp_error(state, "--key is for one message: more with the same key would not be pushed");
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case KEY_STDIN:
        arguments->reads = true;
        return 0;
    case '0':
        arguments->reads = arguments->null = true;
        return 0;
    case KEY_JSONL:
        arguments->reads = arguments->jsonl = true;
        return 0;
    case 'f':
        add(&arguments->files, &arguments->file_count, text, state);
        return 0;
    case KEY_KEY:
        arguments->key = text;
        return 0;
    case KEY_GROUP:
        arguments->group = text;
        return 0;
    case KEY_UNIQUE:
        arguments->unique = true;
        return 0;
    case 'J':
        arguments->json = true;
        return 0;
    case 'q':
        arguments->quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->queue == NULL)
            arguments->queue = text;
        else
            add(&arguments->bodies, &arguments->body_count, text, state);
        return 0;
    case ARGP_KEY_END:
        check(arguments, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What is being pushed, and what it is counted in. */
struct push {
    const struct arguments *arguments;
    struct queue_batch batch;
    const char *unit; /* "line", "item" or "message" */
    bool all_have_keys;
};

/* The body itself, or its checksum where it cannot be a key. */
static const char *key_of(struct mf_bytes body, char key[UNIQUE_KEY_SIZE])
{
    if (body.length > 0 && body.length <= QUEUE_KEY_MAX &&
        memchr(body.data, 0, body.length) == NULL) {
        memcpy(key, body.data, body.length);
        key[body.length] = '\0';
        return key;
    }
    struct mf_sha256 sum;
    unsigned char digest[MF_SHA256_SIZE];
    char text[MF_SHA256_TEXT];
    mf_sha256_init(&sum);
    mf_sha256_update(&sum, body);
    mf_sha256_finish(&sum, digest);
    snprintf(key, UNIQUE_KEY_SIZE, "sha256:%s", mf_sha256_text(digest, text));
    return key;
}

/* What of it all is in the queue, now that something has failed. */
static void say_what_is_in(const struct push *push, char *text, size_t size)
{
    const struct queue_batch *batch = &push->batch;
    bool is_in_doubt = batch->queues != NULL && batch->queues->is_in_doubt;
    const char *rest = is_in_doubt ? "it is not known what is" : "none is";
    int at = 0;
    if (batch->written_to == 0)
        at = snprintf(text,
                      size,
                      "%s",
                      is_in_doubt ? "it is not known what was pushed" : "nothing was pushed");
    else
        at = snprintf(text,
                      size,
                      "up to %s %" PRIu64 " all are in queue \"%s\" (%" PRIu64
                      " new messages), from %s %" PRIu64 " on %s",
                      push->unit,
                      batch->written_to,
                      batch->queue,
                      batch->pushed,
                      push->unit,
                      batch->written_to + 1,
                      rest);
    if (push->all_have_keys && (is_in_doubt || batch->written_to > 0))
        snprintf(text + at, size - (size_t)at, ": pushing all again is safe, they have keys");
}

/* "line 7: ...", and what is in the queue. */
static int raise_at(const struct push *push, uint64_t number, struct mf_error *error)
{
    struct mf_error whole = {.code = error->code};
    char place[64] = "", is_in[384];
    if (number > 0)
        snprintf(place, sizeof place, "%s %" PRIu64 ": ", push->unit, number);
    say_what_is_in(push, is_in, sizeof is_in);
    snprintf(whole.text, sizeof whole.text, "%s%.550s; %s", place, error->text, is_in);
    *error = whole;
    return -1;
}

static int write_batch(struct push *push, struct mf_error *error)
{
    uint64_t refused;
    if (queue_batch_write(&push->batch, &refused, error) == 0)
        return 0;
    return raise_at(push, refused, error);
}

static int add_item(struct push *push, struct queue_input_item item, struct mf_error *error)
{
    const struct arguments *arguments = push->arguments;
    char key[UNIQUE_KEY_SIZE];
    if (item.key == NULL)
        item.key = arguments->unique ? key_of(item.body, key) : arguments->key;
    if (item.group == NULL)
        item.group = arguments->group;
    push->all_have_keys &= item.key != NULL;
    if (item.body.length > QUEUE_BODY_MAX) {
        mf_raise(error,
                 MF_EUSAGE,
                 "a body of %zu bytes is larger than the %u bytes that any queue takes",
                 item.body.length,
                 QUEUE_BODY_MAX);
        return raise_at(push, item.number, error);
    }
    if (queue_batch_add(&push->batch, &item, error) < 0)
        return raise_at(push, item.number, error);
    return queue_batch_is_full(&push->batch) ? write_batch(push, error) : 0;
}

/* As much as a body can be and a byte more. */
static int read_file(int fd, const char *name, struct mf_buffer *out, struct mf_error *error)
{
    ssize_t n = 1;
    while (n > 0 && out->length <= QUEUE_BODY_MAX) {
        if (mf_buffer_reserve(out, 65536, error) < 0)
            return -1;
        n = read(fd, out->data + out->length, 65536);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            return mf_raise_errno(error, "cannot read %s", name);
        else
            out->length += (size_t)n;
    }
    return 0;
}

static int push_file(struct push *push, const char *name, uint64_t number, struct mf_error *error)
{
    struct mf_buffer body = {0};
    bool is_stdin = strcmp(name, "-") == 0;
    int fd = is_stdin ? 0 : open(name, O_RDONLY | O_CLOEXEC);
    int rc = -1;
    if (fd < 0) {
        mf_raise_errno(error, "cannot open %s", name);
        if (error->code == MF_ESYSTEM)
            error->code = MF_EUSAGE;
    } else {
        rc = read_file(fd, is_stdin ? "standard input" : name, &body, error);
    }
    struct queue_input_item item = {.body = mf_buffer_view(&body), .number = number};
    rc = rc < 0 ? raise_at(push, number, error) : add_item(push, item, error);
    if (fd > 0)
        close(fd);
    mf_buffer_fini(&body);
    return rc;
}

static int push_given(struct push *push, struct mf_error *error)
{
    const struct arguments *arguments = push->arguments;
    push->unit = "message";
    for (size_t i = 0; i < arguments->body_count; i++) {
        struct queue_input_item item = {.body = mf_bytes_text(arguments->bodies[i]),
                                        .number = i + 1};
        if (add_item(push, item, error) < 0)
            return -1;
    }
    for (size_t i = 0; i < arguments->file_count; i++)
        if (push_file(push, arguments->files[i], arguments->body_count + i + 1, error) < 0)
            return -1;
    return 0;
}

/* Adds what was read, to its end. */
static int add_read(struct push *push, struct queue_input *input, struct mf_error *error)
{
    struct queue_input_item item;
    int rc;
    while ((rc = queue_input_next(input, &item, error)) == 1)
        if (add_item(push, item, error) < 0)
            return -1;
    return rc < 0 ? raise_at(push, input->items, error) : 0;
}

static int push_input(struct push *push, struct mf_error *error)
{
    const struct arguments *arguments = push->arguments;
    struct queue_input input = {.form = arguments->null    ? QUEUE_INPUT_NUL
                                        : arguments->jsonl ? QUEUE_INPUT_JSONL
                                                           : QUEUE_INPUT_LINES};
    push->unit = arguments->null ? "item" : "line";
    int rc = 1;
    while (rc == 1) {
        rc = queue_input_fill(&input, error);
        if (rc < 0)
            raise_at(push, 0, error);
        if (rc >= 0 && add_read(push, &input, error) < 0)
            rc = -1;
        if (rc == 1 && push->batch.count > 0 && !queue_input_has_more(&input))
            rc = write_batch(push, error) < 0 ? -1 : 1;
    }
    queue_input_fini(&input);
    return rc;
}

static int push_all(struct push *push, struct mf_error *error)
{
    struct queue_info queue;
    const struct arguments *arguments = push->arguments;
    if (queue_find(push->batch.queues, arguments->queue, &queue, error) < 0)
        return -1; /* also when nothing comes by standard input */
    int rc = arguments->reads ? push_input(push, error) : push_given(push, error);
    if (rc < 0 || push->batch.count == 0)
        return rc;
    return write_batch(push, error);
}

static int say(const struct push *push, struct mf_error *error)
{
    const struct queue_batch *batch = &push->batch;
    if (push->arguments->json) {
        json_t *object = json_object();
        int rc = json_object_set_new(object, "queue", json_string(batch->queue));
        rc |= json_object_set_new(object, "pushed", json_integer((json_int_t)batch->pushed));
        rc |= json_object_set_new(object, "known", json_integer((json_int_t)batch->known));
        rc |= json_object_set(object, "started", batch->started);
        return rc == 0 ? text_json_print(object, 0, error)
                       : mf_raise(error, MF_ENOMEM, "out of memory: JSON to print");
    }
    if (push->arguments->quiet)
        return 0;
    printf("pushed %" PRIu64 " message%s to %s",
           batch->pushed,
           batch->pushed == 1 ? "" : "s",
           batch->queue);
    if (batch->known > 0)
        printf(" (%" PRIu64 " came before)", batch->known);
    putchar('\n');
    for (size_t i = 0; i < json_array_size(batch->started); i++) {
        json_t *run = json_array_get(batch->started, i);
        printf("started %s of %s\n",
               json_string_value(json_object_get(run, "run_id")),
               json_string_value(json_object_get(run, "trigger")));
    }
    return 0;
}

static int push_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct mf_error error;
    command_parse(
        &queue_command_push,
        options,
        parse,
        "Push messages to a queue: each BODY is one, or what comes by --stdin, --null, --jsonl or "
        "--file.\v"
        "What is given is pushed whole or not at all, up to 5000 messages or 4 MiB; more, and "
        "what comes by standard input, in parts of this size. When a part fails the message says "
        "what is in the queue. What was pushed is on the disk when the command ends.\n\n"
        "A line of --jsonl that is an object with \"body\" is a message, with \"key\" and "
        "\"group\" if it has them; every other line is a body as it stands.",
        argc,
        argv,
        &arguments);
    struct push push = {.arguments = &arguments,
                        .batch = {.queue = arguments.queue, .started = json_array()},
                        .all_have_keys = true};
    push.batch.queues = queue_command_open(false, &error);
    int rc = push.batch.queues == NULL ? -1 : push_all(&push, &error);
    text_begin();
    if (rc == 0)
        rc = say(&push, &error);
    int code = rc < 0 ? command_fail(&error) : 0;
    queues_close(push.batch.queues);
    queue_batch_fini(&push.batch);
    mf_free(arguments.bodies);
    mf_free(arguments.files);
    return text_end(code);
}

const struct command queue_command_push = {
    .name = "push", .arguments = "QUEUE [BODY...]", .summary = "push messages", .main = push_main};
