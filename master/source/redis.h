/* SPDX-License-Identifier: Apache-2.0 */
/* Lists and streams of a Redis server, as their parts see them. Within this station only. */
#ifndef MAYFLY_MASTER_SOURCE_REDIS_H
#define MAYFLY_MASTER_SOURCE_REDIS_H

#include "master/source/feed.h"
#include "master/source/redis_link.h"

struct redis_feed;

/* What differs between the two. All return -1 with an error; the link is closed then. */
struct redis_type {
    /* Once for each connection. */
    int (*begin)(struct redis_feed *redis, struct mf_error *error);
    /* Moves some messages, at most `most`; how many of them, 0 = there is nothing. */
    int64_t (*take)(struct redis_feed *redis, uint64_t most, struct mf_error *error);
    /* Sends a command that is answered when something comes, or after WAIT_S. */
    int (*wait)(struct redis_feed *redis, struct mf_error *error);
    /* What it was answered. */
    int (*woken)(struct redis_feed *redis, const redisReply *reply, struct mf_error *error);
};

extern const struct redis_type redis_list, redis_stream;

struct redis_feed {
    struct feed feed;
    const struct redis_type *type;
    struct redis_place place;
    char *name;  /* the key of the list or stream */
    char *group; /* of a stream */
    /* The strings that `place` borrows. */
    char *server, *user;
    struct redis_password password;

    struct redis_link *link; /* NULL = not connected */
    bool is_waiting;         /* a command waits for an answer */
    bool cannot_wait;        /* an old server: looked at instead */
    /* How many messages are fetched at once, so that they are some MiB. */
    uint64_t chunk;
    int64_t claim_us; /* stream: monotonic: when to look what dead consumers have left */
};

#define REDIS_WAIT_S "25"
#define REDIS_WAIT_MS "25000"

/* How many messages to ask for. */
uint64_t redis_chunk(const struct redis_feed *redis, uint64_t most);
/* Commits what feed_begin began: of `messages` of the server, `bytes` in all. 0, or -1. */
int redis_commit(struct redis_feed *redis,
                 const struct feed_count *count,
                 uint64_t messages,
                 uint64_t bytes,
                 struct mf_error *error);
/* -1: a reply that is not of the form that its command has. */
int redis_raise_reply(const struct redis_feed *redis, struct mf_error *error);

#endif
