/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly queue create, mayfly queue remove. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/command.h"
#include "master/commands/queue.h"
#include "master/commands/text.h"
#include "master/job/value.h"

enum {
    KEY_MAX_BODY = 256,
    KEY_MAX_CLAIMS,
    KEY_KEY_WINDOW,
    KEY_FAN_OUT_TO,
    KEY_IF_MISSING,
    KEY_WITH_MESSAGES
};

#define CLAIMS_MOST 1000000

struct arguments {
    const char *queue;
    struct queue_settings settings;
    char **targets; /* the array is ours, the texts are not */
    size_t target_count;
    bool if_missing;
};

static const struct argp_option create_options[] = {
    {"max-body", KEY_MAX_BODY, "SIZE", 0, "Refuse larger bodies (default and most: 1MiB)", 0},
    {"max-claims",
     KEY_MAX_CLAIMS,
     "N",
     0,
     "A message that has failed N times is dead (default: 3)",
     0},
    {"key-window", KEY_KEY_WINDOW, "TIME", 0, "How long a key counts (default: 7d)", 0},
    {"fan-out-to",
     KEY_FAN_OUT_TO,
     "QUEUE",
     0,
     "Copy each message to this queue, too; can be given again",
     0},
    {"if-missing",
     KEY_IF_MISSING,
     NULL,
     0,
     "A queue of this name that is there already is fine, and stays as it is",
     0},
    {0}};

static void add_target(struct arguments *arguments, char *text, struct argp_state *state)
{
    char **more = mf_realloc(arguments->targets, (arguments->target_count + 1) * sizeof *more);
    if (more == NULL) {
        argp_failure(state, 3, 0, "out of memory: the arguments");
        return;
    }
    arguments->targets = more;
    more[arguments->target_count++] = text;
}

static error_t parse_create(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct queue_settings *settings = &arguments->settings;
    switch (key) {
    case KEY_MAX_BODY:
        if (value_size(text, &settings->body_max) < 0 || settings->body_max == 0 ||
            settings->body_max > QUEUE_BODY_MAX)
            argp_error(state, "--max-body takes a size up to 1MiB, not \"%s\"", text);
        return 0;
    case KEY_MAX_CLAIMS:
        if (text_number(text, 1, CLAIMS_MOST, &settings->claims_max) < 0)
            argp_error(
                state, "--max-claims takes a number from 1 to %d, not \"%s\"", CLAIMS_MOST, text);
        return 0;
    case KEY_KEY_WINDOW:
        if (value_duration(text, &settings->key_us) < 0 || settings->key_us == 0 ||
            settings->key_us > INT64_MAX)
            argp_error(state, "--key-window takes a time such as 12h or 7d, not \"%s\"", text);
        return 0;
    case KEY_FAN_OUT_TO:
        add_target(arguments, text, state);
        return 0;
    case KEY_IF_MISSING:
        arguments->if_missing = true;
        return 0;
    default:
        return queue_command_name(key, text, state);
    }
}

static int add_fan_out(struct queues *queues,
                       const struct arguments *arguments,
                       int64_t id,
                       struct mf_error *error)
{
    struct queue_info source, target;
    if (queue_by_id(queues, id, &source, error) < 0)
        return -1;
    for (size_t i = 0; i < arguments->target_count; i++)
        if (queue_find(queues, arguments->targets[i], &target, error) < 0 ||
            queue_add_fan_out(queues, &source, &target, error) < 0)
            return -1;
    return 0;
}

/* Within a transaction. */
static int
create_in(struct queues *queues, const struct arguments *arguments, struct mf_error *error)
{
    struct queue_info there;
    int64_t id;
    if (arguments->if_missing && queue_find(queues, arguments->queue, &there, NULL) == 1)
        return 0;
    if (queue_create(queues, arguments->queue, &arguments->settings, mf_wall_us(), &id, error) < 0)
        return -1;
    return add_fan_out(queues, arguments, id, error);
}

static int create(const struct arguments *arguments, struct mf_error *error)
{
    if (queue_check_name(arguments->queue, error) < 0)
        return -1; /* and nothing is made */
    if (strncmp(arguments->queue, "after.", 6) == 0)
        return mf_raise(error,
                        MF_EUSAGE,
                        "\"%s\" cannot be the name of a queue: those with \"after.\" belong to"
                        " jobs that wait for others",
                        arguments->queue);
    struct queues *queues = queue_command_open(true, error);
    if (queues == NULL)
        return -1;
    int rc = queues_begin(queues, error);
    if (rc == 0)
        rc = create_in(queues, arguments, error);
    if (rc == 0)
        rc = queues_commit(queues, error);
    queues_close(queues); /* rolls back what is open */
    return rc;
}

static int create_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct mf_error error;
    command_parse(&queue_command_create,
                  create_options,
                  parse_create,
                  "Make a queue; its name is of letters, digits, '.', '-' and '_'.\v"
                  "A message fails when its subtask does, or when its run fails before any subtask "
                  "did. With --fan-out-to one event goes to several jobs, each behind a queue of "
                  "its own: a copy is pushed in the same transaction, and has the key and the "
                  "group of the message. Copies are not passed on again.",
                  argc,
                  argv,
                  &arguments);
    int rc = create(&arguments, &error);
    mf_free(arguments.targets);
    return rc < 0 ? command_fail(&error) : 0;
}

const struct command queue_command_create = {
    .name = "create", .arguments = "QUEUE", .summary = "make a queue", .main = create_main};

struct removal {
    const char *queue;
    bool with_messages;
};

static const struct argp_option remove_options[] = {
    {"with-messages", KEY_WITH_MESSAGES, NULL, 0, "Even if messages are ready or dead in it", 0},
    {0}};

static error_t parse_remove(int key, char *text, struct argp_state *state)
{
    struct removal *removal = state->input;
    if (key == KEY_WITH_MESSAGES) {
        removal->with_messages = true;
        return 0;
    }
    state->input = &removal->queue;
    error_t rc = queue_command_name(key, text, state);
    state->input = removal;
    return rc;
}

static int remove_queue(struct queues *queues, const void *arg, struct mf_error *error)
{
    const struct removal *removal = arg;
    struct queue_info queue;
    if (queues_begin(queues, error) < 0 || queue_find(queues, removal->queue, &queue, error) < 0)
        return -1;
    if (!removal->with_messages && queue.ready + queue.dead > 0)
        return mf_raise(error,
                        MF_EUSAGE,
                        "queue \"%s\" stays: %" PRIu64 " ready and %" PRIu64
                        " dead messages are in it (--with-messages removes them, too)",
                        queue.name,
                        queue.ready,
                        queue.dead);
    if (queue_remove(queues, &queue, error) < 0)
        return -1;
    return queues_commit(queues, error);
}

static int remove_main(int argc, char **argv)
{
    struct removal removal = {0};
    command_parse(&queue_command_remove,
                  remove_options,
                  parse_remove,
                  "Remove a queue, its keys and what is said of it.\v"
                  "It stays when a run has messages of it, a trigger waits for it, or another "
                  "queue passes its messages on to it.",
                  argc,
                  argv,
                  &removal);
    return queue_command_do(remove_queue, &removal);
}

const struct command queue_command_remove = {.name = "remove",
                                             .arguments = "QUEUE",
                                             .summary = "remove a queue that nobody needs",
                                             .main = remove_main};
