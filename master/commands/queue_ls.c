/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly queue ls and mayfly queue stats: what the queues hold, all of them in a line each, or one
 * with its settings. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "master/command.h"
#include "master/commands/queue.h"
#include "master/commands/table.h"
#include "master/commands/text.h"

struct arguments {
    const char *queue;
    bool json, all;
};

static const struct argp_option ls_options[] = {
    {"all", 'a', NULL, 0, "Also the hidden queues of jobs that wait for others", 0},
    {"json", 'J', NULL, 0, "Write a JSON array, an object a queue", 0},
    {0}};

static const struct argp_option stats_options[] = {{"json", 'J', NULL, 0, "Write a JSON object", 0},
                                                   {0}};

static error_t parse_ls(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'a':
        arguments->all = true;
        return 0;
    case 'J':
        arguments->json = true;
        return 0;
    default:
        return command_no_arguments(key, text, state);
    }
}

static error_t parse_stats(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    if (key == 'J') {
        arguments->json = true;
        return 0;
    }
    state->input = &arguments->queue;
    error_t rc = queue_command_name(key, text, state);
    state->input = arguments;
    return rc;
}

static int set_number(json_t *object, const char *key, uint64_t number)
{
    return json_object_set_new(object, key, json_integer((json_int_t)number));
}

/* All that is said of a queue; NULL when memory is exhausted. */
static json_t *object_of(const struct queue_info *queue)
{
    json_t *object = json_object();
    int rc = json_object_set_new(object, "queue", json_string(queue->name));
    rc |= set_number(object, "ready", queue->ready);
    rc |= set_number(object, "ready_bytes", queue->ready_bytes);
    rc |= text_json_stamp(object, "oldest", queue->oldest_us);
    rc |= set_number(object, "claimed", queue->claimed);
    rc |= set_number(object, "dead", queue->dead);
    rc |= set_number(object, "pushed", queue->pushed);
    rc |= set_number(object, "done", queue->done);
    rc |= text_json_stamp(object, "created", queue->created_us);
    rc |= set_number(object, "max_body", queue->body_max);
    rc |= set_number(object, "max_claims", queue->claims_max);
    rc |= json_object_set_new(object, "key_window_seconds", json_real((double)queue->key_us / 1e6));
    if (rc == 0)
        return object;
    json_decref(object);
    return NULL;
}

static const char *age_of(const struct queue_info *queue, char text[TEXT_SIZE])
{
    int64_t age_us = mf_wall_us() - queue->oldest_us;
    text[0] = '\0';
    return queue->oldest_us == 0 ? text : text_duration(age_us < 0 ? 0 : age_us, text);
}

struct listing {
    const struct arguments *arguments;
    struct table *table;
    json_t *array;
    struct mf_error *error;
    uint64_t count;
    int rc;
};

static int add_row(struct table *table, const struct queue_info *queue, struct mf_error *error)
{
    char age[TEXT_SIZE], size[TEXT_SIZE];
    if (table_text(table, queue->name, error) < 0 || table_number(table, queue->ready, error) < 0 ||
        table_cell(table, mf_bytes_text(text_size(queue->ready_bytes, size)), true, error) < 0 ||
        table_cell(table, mf_bytes_text(age_of(queue, age)), true, error) < 0 ||
        table_number(table, queue->claimed, error) < 0 ||
        table_number(table, queue->dead, error) < 0 ||
        table_number(table, queue->pushed, error) < 0)
        return -1;
    return table_number(table, queue->done, error);
}

static int list_one(void *arg, const struct queue_info *queue)
{
    struct listing *listing = arg;
    if (!listing->arguments->all && strncmp(queue->name, "after.", 6) == 0)
        return 0;
    listing->count++;
    if (listing->table != NULL)
        listing->rc = add_row(listing->table, queue, listing->error);
    else if (json_array_append_new(listing->array, object_of(queue)) < 0)
        listing->rc = mf_raise(listing->error, MF_ENOMEM, "out of memory: the list of queues");
    return listing->rc;
}

static int list_all(struct queues *queues, struct listing *listing, struct mf_error *error)
{
    static const char *const titles[] = {
        "QUEUE", "READY", "SIZE", "OLDEST", "CLAIMED", "DEAD", "PUSHED", "DONE"};
    if (listing->arguments->json)
        listing->array = json_array();
    else if ((listing->table = table_create(8, titles, error)) == NULL)
        return -1;
    int rc = queues == NULL ? 0 : queue_each(queues, list_one, listing, error);
    if (rc == 0)
        rc = listing->rc;
    if (rc == 0 && listing->count == 0 && !listing->arguments->json)
        fputs("mayfly: there are no queues yet (mayfly queue create NAME makes one)\n", stderr);
    else if (rc == 0)
        rc = listing->arguments->json
                 ? text_json_print(json_incref(listing->array), JSON_INDENT(2), error)
                 : table_end(listing->table, error);
    json_decref(listing->array);
    table_destroy(listing->table);
    return rc;
}

static int ls_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct mf_error error;
    command_parse(
        &queue_command_ls,
        ls_options,
        parse_ls,
        "List queues: messages that are ready (with the age of the oldest one that can be "
        "claimed), claimed by runs, and dead; and how many were ever pushed and done.",
        argc,
        argv,
        &arguments);
    struct listing listing = {.arguments = &arguments, .error = &error};
    struct queues *queues = NULL;
    int rc = queues_open_own(false, &queues, &error);
    text_begin();
    if (rc >= 0)
        rc = list_all(queues, &listing, &error);
    int code = rc < 0 ? command_fail(&error) : 0;
    queues_close(queues);
    return text_end(code);
}

const struct command queue_command_ls = {
    .name = "ls", .arguments = "", .summary = "list the queues", .main = ls_main};

struct names {
    char text[1024];
    json_t *array;
};

static int add_name(void *arg, const struct queue_info *queue)
{
    struct names *names = arg;
    size_t at = strlen(names->text);
    snprintf(names->text + at, sizeof names->text - at, "%s%s", at == 0 ? "" : ", ", queue->name);
    json_array_append_new(names->array, json_string(queue->name));
    return 0;
}

static void print_stats(const struct queue_info *queue, const char *targets)
{
    char age[TEXT_SIZE], size[TEXT_SIZE], stamp[MF_STAMP_SIZE];
    age_of(queue, age);
    printf("ready       %" PRIu64 " (%s)%s%s\n",
           queue->ready,
           text_size(queue->ready_bytes, size),
           age[0] == '\0' ? "" : ", the oldest that can be claimed for ",
           age);
    printf("claimed     %" PRIu64 "\ndead        %" PRIu64 "\npushed      %" PRIu64
           "\ndone        %" PRIu64 "\n",
           queue->claimed,
           queue->dead,
           queue->pushed,
           queue->done);
    printf("created     %s\n", mf_stamp(queue->created_us, stamp));
    printf("max-body    %s\n", text_size(queue->body_max, size));
    printf("max-claims  %" PRIu64 "\n", queue->claims_max);
    printf("key-window  %s\n", text_duration((int64_t)queue->key_us, age));
    if (targets[0] != '\0')
        printf("fan-out-to  %s\n", targets);
}

static int stats(struct queues *queues, const void *arg, struct mf_error *error)
{
    const struct arguments *arguments = arg;
    struct queue_info queue;
    struct names names = {.array = json_array()};
    int rc = queue_find(queues, arguments->queue, &queue, error) < 0 ||
                     queue_each_target(queues, queue.id, add_name, &names, error) < 0
                 ? -1
                 : 0;
    if (rc == 0 && !arguments->json)
        print_stats(&queue, names.text);
    if (rc == 0 && arguments->json) {
        json_t *object = object_of(&queue);
        json_object_set(object, "fan_out_to", names.array);
        rc = text_json_print(object, JSON_INDENT(2), error);
    }
    json_decref(names.array);
    return rc;
}

static int stats_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    command_parse(&queue_command_stats,
                  stats_options,
                  parse_stats,
                  "Say what a queue holds and how it was made.",
                  argc,
                  argv,
                  &arguments);
    return queue_command_do(stats, &arguments);
}

const struct command queue_command_stats = {.name = "stats",
                                            .arguments = "QUEUE",
                                            .summary = "say what a queue holds and how it was made",
                                            .main = stats_main};
