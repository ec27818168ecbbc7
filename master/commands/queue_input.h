/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is pushed, read from a descriptor: lines, items that end with NUL, or lines of JSON. It says
 * when it would have to wait for more, so that nothing that was read waits with it. One thread.
 */
#ifndef MAYFLY_MASTER_COMMANDS_QUEUE_INPUT_H
#define MAYFLY_MASTER_COMMANDS_QUEUE_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "master/commands/message_line.h"

/* An item cannot be longer, whatever its body comes to: a body of 1 MiB all in \u0000 is shorter.
 */
#define QUEUE_INPUT_ITEM_MAX (8u * 1024 * 1024)

enum queue_input_form {
    QUEUE_INPUT_LINES, /* without their newline; empty ones are skipped */
    QUEUE_INPUT_NUL,   /* every item as it is, also an empty one */
    QUEUE_INPUT_JSONL  /* message_line.h; empty lines are skipped */
};

struct queue_input {
    int fd;
    enum queue_input_form form;
    struct mf_buffer read; /* from `at` on it is still to be taken */
    size_t at, looked;     /* up to `looked` there is no end of an item */
    bool is_ended;
    uint64_t items; /* taken so far: the number of the line */
    struct message_line line;
};

struct queue_input_item {
    struct mf_bytes body;
    const char *key, *group; /* NULL = none is said */
    uint64_t number;         /* of its line, from 1 */
};

/* 1 and the next item (lent until the next call of either function); 0: there is none in what was
 * read; -1: MF_EUSAGE, without the line's number, which is input->items. */
int queue_input_next(struct queue_input *input,
                     struct queue_input_item *item,
                     struct mf_error *error);
/* Whether queue_input_fill would return at once. */
bool queue_input_has_more(const struct queue_input *input);
/* Reads on. 1, 0 at the end of the input, -1. */
int queue_input_fill(struct queue_input *input, struct mf_error *error);
void queue_input_fini(struct queue_input *input);

#endif
