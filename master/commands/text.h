/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands print: standard output, and values as readers expect them. One thread. */
#ifndef MAYFLY_MASTER_COMMANDS_TEXT_H
#define MAYFLY_MASTER_COMMANDS_TEXT_H

#include <jansson.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

#define TEXT_SIZE 32

/* Before the first byte of data: a reader who goes away ends the program quietly. */
void text_begin(void);
/* After the last one: `code`, or 3 when not everything could be written (which it says). */
int text_end(int code);

/* Appends bytes so that they fit on one line of a terminal: control characters as \n, \t or \xNN.
 */
int text_printable(struct mf_buffer *out, struct mf_bytes bytes, struct mf_error *error);
/* "0.9 ms", "0.25 s", "1.2 s", "2m05s", "3h07m", "2d04h". `out` holds TEXT_SIZE bytes, as for the
 * others; returns it.
 */
const char *text_duration(int64_t us, char *out);
/* "812 B", "4.2 MiB" */
const char *text_size(uint64_t bytes, char *out);

/* A number of the command line: 0, or -1 when it is none from `least` to `most`. */
int text_number(const char *text, uint64_t least, uint64_t most, uint64_t *value);

/* Sets `key`, or `key`_base64 when the bytes are not UTF-8. -1: memory is exhausted. */
int text_json_bytes(json_t *object, const char *key, struct mf_bytes bytes);
/* Sets a stamp, or null for 0. -1: memory is exhausted. */
int text_json_stamp(json_t *object, const char *key, int64_t wall_us);
/* One line (flags 0) or an indented text on standard output; releases the value. -1 and MF_ENOMEM
 * when it is NULL. */
int text_json_print(json_t *value, size_t flags, struct mf_error *error);

#endif
