/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly queue peek and mayfly queue dead: messages, which stay where they are. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "master/command.h"
#include "master/commands/queue.h"
#include "master/commands/table.h"
#include "master/commands/text.h"

enum { KEY_STATE = 256, KEY_RAW };

#define BODY_SHOWN 60
#define PEEK_MOST 10

struct arguments {
    const char *queue, *state;
    uint64_t most; /* 0 = all */
    bool json, raw, null;
};

static const struct argp_option peek_options[] = {
    {"number", 'n', "N", 0, "Show only the first N (default: 10; 0 = all)", 0},
    {"state", KEY_STATE, "STATE", 0, "ready (default), claimed or dead", 0},
    {"json", 'J', NULL, 0, "Write a line of JSON a message", 0},
    {"raw", KEY_RAW, NULL, 0, "Write the bodies, each with a newline", 0},
    {"null", '0', NULL, 0, "Write the bodies, each with a NUL", 0},
    {0}};

static const struct argp_option dead_options[] = {
    {"number", 'n', "N", 0, "Show only the first N (default: all)", 0},
    {"json", 'J', NULL, 0, "Write a line of JSON a message", 0},
    {"raw", KEY_RAW, NULL, 0, "Write the bodies, each with a newline", 0},
    {"null", '0', NULL, 0, "Write the bodies, each with a NUL", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'n':
        if (text_number(text, 0, UINT64_MAX, &arguments->most) < 0)
            argp_error(state, "-n takes a number, not \"%s\"", text);
        return 0;
    case KEY_STATE:
        if (strcmp(text, "ready") != 0 && strcmp(text, "claimed") != 0 && strcmp(text, "dead") != 0)
            argp_error(state, "--state takes ready, claimed or dead, not \"%s\"", text);
        arguments->state = text;
        return 0;
    case 'J':
        arguments->json = true;
        return 0;
    case KEY_RAW:
        arguments->raw = true;
        return 0;
    case '0':
        arguments->raw = arguments->null = true;
        return 0;
    case ARGP_KEY_END:
        if (arguments->json && arguments->raw)
            argp_error(state, "--json excludes --raw and --null");
        return 0;
    default:
        break;
    }
    state->input = &arguments->queue;
    error_t rc = queue_command_name(key, text, state);
    state->input = arguments;
    return rc;
}

struct printing {
    const struct arguments *arguments;
    struct table *table;
    struct mf_error *error;
    int rc;
};

static int set_text(json_t *object, const char *key, const char *text)
{
    if (text == NULL)
        return json_object_set_new(object, key, json_null());
    return text_json_bytes(object, key, mf_bytes_text(text));
}

static int print_json(const struct queue_message *message, struct mf_error *error)
{
    json_t *object = json_object();
    int rc = json_object_set_new(object, "id", json_integer(message->id));
    rc |= json_object_set_new(object, "state", json_string(message->state));
    rc |= text_json_stamp(object, "arrived", message->arrived_us);
    rc |= json_object_set_new(object, "claims", json_integer((json_int_t)message->claims));
    rc |= json_object_set_new(object, "failures", json_integer((json_int_t)message->failures));
    rc |= set_text(object, "key", message->key);
    rc |= set_text(object, "group", message->group);
    rc |= set_text(object, "run_id", message->run_id);
    rc |= set_text(object, "cause", message->cause);
    rc |= text_json_bytes(object, "body", message->body);
    if (rc == 0)
        return text_json_print(object, 0, error);
    json_decref(object);
    return mf_raise(error, MF_ENOMEM, "out of memory: a message");
}

/* As much of it as fits, cut between characters. */
static int add_body(struct table *table, struct mf_bytes body, struct mf_error *error)
{
    char text[BODY_SHOWN + 4];
    if (body.length <= BODY_SHOWN)
        return table_cell(table, body, false, error);
    size_t length = BODY_SHOWN - 3;
    while (length > BODY_SHOWN - 7 && (body.data[length] & 0xc0) == 0x80)
        length--;
    memcpy(text, body.data, length);
    memset(text + length, '.', 3);
    return table_cell(table, mf_bytes_of(text, length + 3), false, error);
}

static int add_row(const struct printing *printing, const struct queue_message *message)
{
    struct table *table = printing->table;
    struct mf_error *error = printing->error;
    bool is_dead = strcmp(printing->arguments->state, "dead") == 0;
    char stamp[MF_STAMP_SIZE];
    mf_stamp(message->arrived_us, stamp);
    stamp[19] = 'Z'; /* seconds are enough */
    stamp[20] = '\0';
    if (table_number(table, (uint64_t)message->id, error) < 0 ||
        table_text(table, stamp, error) < 0 || table_number(table, message->claims, error) < 0 ||
        table_number(table, message->failures, error) < 0 ||
        table_text(table, message->key == NULL ? "" : message->key, error) < 0 ||
        table_text(table, message->group == NULL ? "" : message->group, error) < 0 ||
        table_text(table, message->run_id == NULL ? "" : message->run_id, error) < 0)
        return -1;
    if (is_dead && table_text(table, message->cause == NULL ? "" : message->cause, error) < 0)
        return -1;
    return add_body(table, message->body, error);
}

static int print_one(void *arg, const struct queue_message *message)
{
    struct printing *printing = arg;
    const struct arguments *arguments = printing->arguments;
    if (arguments->raw) {
        fwrite(message->body.data, 1, message->body.length, stdout);
        putchar(arguments->null ? '\0' : '\n');
    } else if (arguments->json) {
        printing->rc = print_json(message, printing->error);
    } else {
        printing->rc = add_row(printing, message);
    }
    return printing->rc != 0 || ferror(stdout) != 0;
}

static int print_all(struct queues *queues, const void *arg, struct mf_error *error)
{
    const struct arguments *arguments = arg;
    static const char *const titles[] = {
        "ID", "ARRIVED", "CLAIMS", "FAILURES", "KEY", "GROUP", "RUN", "BODY"};
    static const char *const dead_titles[] = {
        "ID", "ARRIVED", "CLAIMS", "FAILURES", "KEY", "GROUP", "RUN", "CAUSE", "BODY"};
    struct printing printing = {.arguments = arguments, .error = error};
    struct queue_info queue;
    if (queue_find(queues, arguments->queue, &queue, error) < 0)
        return -1;
    bool is_dead = strcmp(arguments->state, "dead") == 0;
    if (!arguments->json && !arguments->raw) {
        printing.table = table_create(is_dead ? 9 : 8, is_dead ? dead_titles : titles, error);
        if (printing.table == NULL)
            return -1;
    }
    int rc = queue_peek(
        queues, queue.id, arguments->state, arguments->most, print_one, &printing, error);
    if (rc == 0)
        rc = printing.rc;
    if (rc == 0 && printing.table != NULL)
        rc = table_end(printing.table, error);
    table_destroy(printing.table);
    return rc;
}

static int peek_main(int argc, char **argv)
{
    struct arguments arguments = {.state = "ready", .most = PEEK_MOST};
    command_parse(&queue_command_peek,
                  peek_options,
                  parse,
                  "Show the first messages of a queue, which stay there.\v"
                  "What --json writes can be pushed by --jsonl. Messages of a group wait for the "
                  "first of it.",
                  argc,
                  argv,
                  &arguments);
    return queue_command_do(print_all, &arguments);
}

static int dead_main(int argc, char **argv)
{
    struct arguments arguments = {.state = "dead"};
    command_parse(&queue_command_dead,
                  dead_options,
                  parse,
                  "Show the dead messages of a queue, the run in which each failed last, and why.\v"
                  "They stay until they are replayed (mayfly queue replay) or purged (mayfly queue "
                  "purge --dead).",
                  argc,
                  argv,
                  &arguments);
    return queue_command_do(print_all, &arguments);
}

const struct command queue_command_peek = {.name = "peek",
                                           .arguments = "QUEUE",
                                           .summary = "show messages, which stay",
                                           .main = peek_main};
const struct command queue_command_dead = {.name = "dead",
                                           .arguments = "QUEUE",
                                           .summary = "show those that have failed too often",
                                           .main = dead_main};
