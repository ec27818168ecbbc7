/* SPDX-License-Identifier: Apache-2.0 */
/* hiredis, loaded when a job names a Redis server: `mayfly` is not linked against it. Within this
 * station only. */
#ifndef MAYFLY_MASTER_SOURCE_REDIS_LIBRARY_H
#define MAYFLY_MASTER_SOURCE_REDIS_LIBRARY_H

#include <hiredis/hiredis.h>

#include "common/error.h"

/* What is used of it; the structs of its header belong to exactly the version that is loaded. */
struct redis_library {
    redisContext *(*connect)(const char *host, int port, const struct timeval limit);
    redisContext *(*connect_unix)(const char *path, const struct timeval limit);
    int (*set_timeout)(redisContext *context, const struct timeval limit);
    int (*format)(char **target, int argc, const char **argv, const size_t *lengths);
    void (*free_command)(char *command);
    int (*get_reply)(redisContext *context, void **reply);
    void (*free_reply)(void *reply);
    void (*free_context)(redisContext *context);
};

/* Loads it once, for good. NULL: MF_ESETUP with the name of Debian's package. Any thread. */
const struct redis_library *redis_library(struct mf_error *error);

#endif
