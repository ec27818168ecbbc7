/* SPDX-License-Identifier: Apache-2.0 */
/* A line of JSON as a message: what `mayfly queue push --jsonl` takes (docs/queues.md). */
#ifndef MAYFLY_MASTER_COMMANDS_MESSAGE_LINE_H
#define MAYFLY_MASTER_COMMANDS_MESSAGE_LINE_H

#include "common/buffer.h"
#include "common/error.h"

/* Zero-initialised; release with message_line_fini. What was read lends until the next call. */
struct message_line {
    struct mf_bytes body;
    const char *key, *group; /* NULL = none is said */
    struct mf_buffer own_body, own_key, own_group;
};

/*
 * An object with `body` (or body_base64) is a message: a body that is a string is its text, any
 * other one its JSON as it stands; `key` and `group` are strings; what peek --json writes besides
 * is skipped. Every other line is itself the body. -1: MF_EUSAGE.
 */
int message_line_read(struct message_line *line, struct mf_bytes text, struct mf_error *error);
void message_line_fini(struct message_line *line);

#endif
