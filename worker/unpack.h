/* SPDX-License-Identifier: Apache-2.0 */
/* A START as the slot process reads it: views into the message. */
#ifndef MAYFLY_WORKER_UNPACK_H
#define MAYFLY_WORKER_UNPACK_H

#include "worker/slot.h"

struct unpacked {
    const struct slot_start *start;
    const char *folder; /* relative to attempts/ */
    const char *cwd;    /* relative to folder; "" = folder itself */
    const char *input;  /* absolute; "" = none */
    char **argv;        /* NULL-terminated, like env; valid until the next one is unpacked */
    char **env;
    const char *links; /* name NUL target NUL ... */
    const char *outputs;
    const unsigned char *item;
};

enum unpack_result {
    UNPACK_OK,
    UNPACK_TOO_MANY, /* more than SLOT_STRINGS_MAX strings; argv and env are empty */
    UNPACK_MALFORMED
};

/* `body` must be aligned for its struct, and stay while *request is in use. */
enum unpack_result unpack(const void *body, size_t length, struct unpacked *request);

/* The string after `text`. */
const char *unpack_next(const char *text);

#endif
