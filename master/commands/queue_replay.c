/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly queue replay and mayfly queue purge: dead messages come back; messages are removed. */
#include <inttypes.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/command.h"
#include "master/commands/queue.h"
#include "master/commands/text.h"

enum { KEY_ALL = 256, KEY_DEAD };

struct replay {
    const char *queue;
    uint64_t *ids; /* the array is ours */
    size_t id_count;
    bool all;
};

static const struct argp_option replay_options[] = {
    {"all", KEY_ALL, NULL, 0, "All dead messages of the queue", 0}, {0}};

static void add_id(struct replay *replay, const char *text, struct argp_state *state)
{
    uint64_t *more = mf_realloc(replay->ids, (replay->id_count + 1) * sizeof *more);
    if (more == NULL) {
        argp_failure(state, 3, 0, "out of memory: the arguments");
        return;
    }
    replay->ids = more;
    if (text_number(text, 1, INT64_MAX, &more[replay->id_count++]) < 0)
        argp_error(state, "\"%s\" is not the id of a message", text);
}

static error_t parse_replay(int key, char *text, struct argp_state *state)
{
    struct replay *replay = state->input;
    switch (key) {
    case KEY_ALL:
        replay->all = true;
        return 0;
    case ARGP_KEY_ARG:
        if (replay->queue == NULL)
            replay->queue = text;
        else
            add_id(replay, text, state);
        return 0;
    case ARGP_KEY_END:
        if (replay->queue == NULL)
            argp_error(state, "say which queue (mayfly queue ls lists them)");
        if (replay->all == (replay->id_count > 0))
            argp_error(state,
                       "name messages by their ids (mayfly queue dead shows them) or say --all");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int replay_ids(struct queues *queues,
                      const struct queue_info *queue,
                      const struct replay *replay,
                      uint64_t *count,
                      struct mf_error *error)
{
    int64_t now_us = mf_wall_us();
    if (replay->all)
        return queue_replay(queues, queue->id, 0, now_us, count, error);
    *count = 0;
    for (size_t i = 0; i < replay->id_count; i++) {
        uint64_t one = 0;
        if (queue_replay(queues, queue->id, (int64_t)replay->ids[i], now_us, &one, error) < 0)
            return -1;
        if (one == 0)
            return mf_raise(error,
                            MF_EUSAGE,
                            "message %" PRIu64 " is not a dead one of queue \"%s\": nothing was"
                            " replayed",
                            replay->ids[i],
                            queue->name);
        *count += one;
    }
    return 0;
}

static int replay(struct queues *queues, const void *arg, struct mf_error *error)
{
    const struct replay *replay = arg;
    struct queue_info queue;
    uint64_t count;
    if (queues_begin(queues, error) < 0 || queue_find(queues, replay->queue, &queue, error) < 0 ||
        replay_ids(queues, &queue, replay, &count, error) < 0 ||
        queue_command_commit(queues, queue.id, NULL, error) < 0)
        return -1;
    printf("replayed %" PRIu64 " message%s\n", count, count == 1 ? "" : "s");
    return 0;
}

static int replay_main(int argc, char **argv)
{
    struct replay arguments = {0};
    command_parse(&queue_command_replay,
                  replay_options,
                  parse_replay,
                  "Make dead messages ready again, behind all others, as if they had just come and "
                  "never failed.\v"
                  "ID is that of a message as mayfly queue dead shows it; replayed messages get "
                  "new ones.",
                  argc,
                  argv,
                  &arguments);
    int code = queue_command_do(replay, &arguments);
    mf_free(arguments.ids);
    return code;
}

const struct command queue_command_replay = {.name = "replay",
                                             .arguments = "QUEUE [ID...]",
                                             .summary = "make dead messages ready again",
                                             .main = replay_main};

struct purge {
    const char *queue;
    bool dead;
};

static const struct argp_option purge_options[] = {
    {"dead", KEY_DEAD, NULL, 0, "The dead messages instead of those that are ready", 0}, {0}};

static error_t parse_purge(int key, char *text, struct argp_state *state)
{
    struct purge *purge = state->input;
    if (key == KEY_DEAD) {
        purge->dead = true;
        return 0;
    }
    state->input = &purge->queue;
    error_t rc = queue_command_name(key, text, state);
    state->input = purge;
    return rc;
}

static int purge(struct queues *queues, const void *arg, struct mf_error *error)
{
    const struct purge *purge = arg;
    struct queue_info queue;
    uint64_t count;
    const char *state = purge->dead ? "dead" : "ready";
    if (queues_begin(queues, error) < 0 || queue_find(queues, purge->queue, &queue, error) < 0 ||
        queue_purge(queues, queue.id, state, &count, error) < 0 || queues_commit(queues, error) < 0)
        return -1;
    printf("purged %" PRIu64 " %s message%s\n", count, state, count == 1 ? "" : "s");
    return 0;
}

static int purge_main(int argc, char **argv)
{
    struct purge arguments = {0};
    command_parse(&queue_command_purge,
                  purge_options,
                  parse_purge,
                  "Remove all messages of a queue that are ready, or all dead ones.\v"
                  "Those that runs have claimed stay, and so do keys: what was purged is not "
                  "pushed again by the same key before its time is over.",
                  argc,
                  argv,
                  &arguments);
    return queue_command_do(purge, &arguments);
}

const struct command queue_command_purge = {.name = "purge",
                                            .arguments = "QUEUE",
                                            .summary = "remove messages that are ready, or dead",
                                            .main = purge_main};
