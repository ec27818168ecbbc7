/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly queue fan-out: where copies of what is pushed go. */
#include <stdio.h>

#include "common/alloc.h"
#include "master/command.h"
#include "master/commands/queue.h"

enum { KEY_TO = 256, KEY_NOT_TO };

struct change {
    const char *target;
    bool adds;
};

struct arguments {
    const char *queue;
    struct change *changes; /* the array is ours, the texts are not */
    size_t count;
};

static const struct argp_option options[] = {
    {"to", KEY_TO, "QUEUE", 0, "Copy what is pushed from now on to this queue, too", 0},
    {"not-to", KEY_NOT_TO, "QUEUE", 0, "Copy nothing more to this queue", 0},
    {0}};

static void
add_change(struct arguments *arguments, const char *target, bool adds, struct argp_state *state)
{
    struct change *more = mf_realloc(arguments->changes, (arguments->count + 1) * sizeof *more);
    if (more == NULL) {
        argp_failure(state, 3, 0, "out of memory: the arguments");
        return;
    }
    arguments->changes = more;
    more[arguments->count++] = (struct change){.target = target, .adds = adds};
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    if (key == KEY_TO || key == KEY_NOT_TO) {
        add_change(arguments, text, key == KEY_TO, state);
        return 0;
    }
    state->input = &arguments->queue;
    error_t rc = queue_command_name(key, text, state);
    state->input = arguments;
    return rc;
}

static int apply(struct queues *queues,
                 const struct queue_info *queue,
                 const struct change *change,
                 struct mf_error *error)
{
    struct queue_info target;
    if (queue_find(queues, change->target, &target, error) < 0)
        return -1;
    if (change->adds)
        return queue_add_fan_out(queues, queue, &target, error);
    int rc = queue_remove_fan_out(queues, queue, &target, error);
    if (rc == 0)
        return mf_raise(error,
                        MF_EUSAGE,
                        "queue \"%s\" passes nothing on to \"%s\": nothing was changed",
                        queue->name,
                        target.name);
    return rc < 0 ? -1 : 0;
}

static int print_name(void *arg, const struct queue_info *queue)
{
    (void)arg;
    puts(queue->name);
    return 0;
}

static int fan_out(struct queues *queues, const void *arg, struct mf_error *error)
{
    const struct arguments *arguments = arg;
    struct queue_info queue;
    if (queues_begin(queues, error) < 0 || queue_find(queues, arguments->queue, &queue, error) < 0)
        return -1;
    for (size_t i = 0; i < arguments->count; i++)
        if (apply(queues, &queue, &arguments->changes[i], error) < 0)
            return -1;
    if (queues_commit(queues, error) < 0)
        return -1;
    return queue_each_target(queues, queue.id, print_name, NULL, error);
}

static int fan_out_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    command_parse(&queue_command_fan_out,
                  options,
                  parse,
                  "Change to which queues copies of what is pushed go, and list them: a name a "
                  "line.\v"
                  "Both options can be given again; all changes are made or none. What was pushed "
                  "before is not copied. Copies are not passed on again.",
                  argc,
                  argv,
                  &arguments);
    int code = queue_command_do(fan_out, &arguments);
    mf_free(arguments.changes);
    return code;
}

const struct command queue_command_fan_out = {.name = "fan-out",
                                              .arguments = "QUEUE",
                                              .summary = "say where copies of messages go",
                                              .main = fan_out_main};
