/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to a Redis server: dialed, logged in, the database selected. Blocking, each step
 * with a time limit. After a failure that is not the server's own word it can only be closed.
 * Within this station only.
 *
 * The password is read when somebody logs in, and wiped; it is in no error and no log.
 */
#ifndef MAYFLY_MASTER_SOURCE_REDIS_LINK_H
#define MAYFLY_MASTER_SOURCE_REDIS_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "master/source/redis_library.h"
#include "master/source/redis_password.h"

#define REDIS_LIMIT_US INT64_C(5000000)

/* Where, and as whom. Strings are borrowed as long as the link lives. */
struct redis_place {
    const char *server; /* as the user has it, for messages */
    char *host;         /* NULL = a socket, `server` */
    int port;
    int database;
    const char *user;
    const struct redis_password *password;
    int64_t limit_us; /* of each answer; 0 = REDIS_LIMIT_US */
};

/* Takes `server` apart; host is on the heap. -1: MF_EUSAGE. */
int redis_place_read(struct redis_place *place, const char *server, struct mf_error *error);

struct redis_link;

struct redis_link *redis_link_open(const struct redis_place *place, struct mf_error *error);
void redis_link_close(struct redis_link *link); /* NULL is fine */
int redis_link_fd(const struct redis_link *link);

/* Sends a command, words up to NULL; its reply comes from redis_receive, in order. */
int redis_send(struct redis_link *link, const char *const *words, struct mf_error *error);
/* The next reply. What the server refuses is NULL too: MF_ESETUP with its words. Freed by
 * redis_free. */
redisReply *redis_receive(struct redis_link *link, struct mf_error *error);
/* Both. `words` is a list of const char *. */
#define redis_ask(link, error, ...)                                                                \
    redis_ask_words(link, (const char *const[]){__VA_ARGS__, NULL}, error)
redisReply *
redis_ask_words(struct redis_link *link, const char *const *words, struct mf_error *error);
/* As redis_ask where only success counts. */
#define redis_tell(link, error, ...)                                                               \
    redis_tell_words(link, (const char *const[]){__VA_ARGS__, NULL}, error)
int redis_tell_words(struct redis_link *link, const char *const *words, struct mf_error *error);
void redis_free(redisReply *reply); /* NULL is fine */

/* Whether a refusal begins with this word of the server ("WRONGTYPE"). */
bool redis_was_refused(const struct redis_link *link, const char *word);

#endif
