/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis as a source: the connection and its life. What is taken and how, is redis_list.c and
 * redis_stream.c.
 *
 * After any failure the connection is closed and the next poll begins with a new one; since all
 * that must last is on the server and in queues.db, nothing else has to be remembered.
 *
 * A watcher that has found nothing leaves a command with the server that is answered when something
 * comes (redis_type.wait): the descriptor becomes readable. Meanwhile nothing else can be asked on
 * that connection, so the command has a time limit, after which all is looked at once more.
 */
#include "master/source/redis.h"

#include <poll.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/crash.h"

#define NAME_MAX_LENGTH 256u
#define CHUNK_BYTES (4u << 20)
#define CHUNK_MAX 1024u
#define CHUNK_FIRST 16u
#define WAIT_US INT64_C(30000000) /* REDIS_WAIT_S, and some time for the answer */
#define LOOK_US INT64_C(1000000)  /* a watcher whose server cannot wait */

static bool redis_fits(const struct feed_settings *settings)
{
    return settings->server != NULL;
}

static int check_keys(const struct feed_settings *settings, struct mf_error *error)
{
    if ((settings->list == NULL) == (settings->stream == NULL))
        return mf_raise(error,
                        MF_EUSAGE,
                        "of a Redis server either a list or a stream is read: name %s",
                        settings->list == NULL ? "one" : "only one");
    const char *name = settings->list != NULL ? settings->list : settings->stream;
    if (*name == '\0' || strlen(name) > NAME_MAX_LENGTH)
        return mf_raise(
            error, MF_EUSAGE, "the name of a Redis key is 1 to %u bytes long", NAME_MAX_LENGTH);
    if (settings->group != NULL && settings->stream == NULL)
        return mf_raise(error, MF_EUSAGE, "a group belongs to a stream of Redis, not to a list");
    if (settings->group != NULL &&
        (*settings->group == '\0' || strlen(settings->group) > NAME_MAX_LENGTH))
        return mf_raise(
            error, MF_EUSAGE, "the name of a group is 1 to %u bytes long", NAME_MAX_LENGTH);
    return 0;
}

static int redis_check(const struct feed_settings *settings, struct mf_error *error)
{
    struct redis_place place = {0};
    if (check_keys(settings, error) < 0)
        return -1;
    if (settings->user != NULL && settings->password == NULL)
        return mf_raise(error, MF_EUSAGE, "a user of a Redis server needs a password");
    int rc = redis_place_read(&place, settings->server, error);
    mf_free(place.host);
    return rc;
}

static void fini(struct redis_feed *redis)
{
    redis_link_close(redis->link);
    mf_free(redis->place.host);
    mf_free(redis->name);
    mf_free(redis->group);
    mf_free(redis->server);
    mf_free(redis->user);
    redis_password_fini(&redis->password);
}

/* Copies `text` unless it is NULL; false when memory is exhausted. */
static bool copy(char **to, const char *text)
{
    *to = text == NULL ? NULL : mf_strdup(text);
    return text == NULL || *to != NULL;
}

static int copy_settings(struct redis_feed *redis,
                         const struct feed_settings *settings,
                         struct mf_error *error)
{
    if (!copy(&redis->server, settings->server) || !copy(&redis->user, settings->user) ||
        !copy(&redis->group, settings->group == NULL ? "mayfly" : settings->group) ||
        !copy(&redis->name, settings->list != NULL ? settings->list : settings->stream))
        return mf_raise(error, MF_ENOMEM, "out of memory: a Redis source");
    redis->place = (struct redis_place){
        .user = redis->user, .password = &redis->password, .limit_us = settings->limit_us};
    if (redis_password_init(&redis->password, settings->password, settings->folder, error) < 0)
        return -1;
    return redis_place_read(&redis->place, redis->server, error);
}

static struct feed *
redis_open(const struct feed_settings *settings, bool watch, struct mf_error *error)
{
    (void)watch;
    if (redis_library(error) == NULL)
        return NULL;
    struct redis_feed *redis = mf_calloc(1, sizeof *redis);
    if (redis == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a Redis source");
        return NULL;
    }
    redis->type = settings->list != NULL ? &redis_list : &redis_stream;
    redis->chunk = CHUNK_FIRST;
    if (copy_settings(redis, settings, error) == 0)
        return &redis->feed;
    fini(redis);
    mf_free(redis);
    return NULL;
}

static struct redis_feed *redis_of(const struct feed *feed)
{
    return (struct redis_feed *)feed; /* its first member */
}

static void redis_close(struct feed *feed)
{
    fini(redis_of(feed));
}

static int redis_fd(const struct feed *feed)
{
    const struct redis_feed *redis = redis_of(feed);
    return redis->is_waiting ? redis_link_fd(redis->link) : -1;
}

uint64_t redis_chunk(const struct redis_feed *redis, uint64_t most)
{
    return redis->chunk < most ? redis->chunk : most;
}

/* After `count` messages of `bytes` in all. */
static void learn(struct redis_feed *redis, uint64_t count, uint64_t bytes)
{
    uint64_t fits = count == 0 ? CHUNK_MAX : CHUNK_BYTES / (bytes / count + 1);
    uint64_t more = 4 * redis->chunk;
    redis->chunk = fits < more ? fits : more;
    if (redis->chunk > CHUNK_MAX)
        redis->chunk = CHUNK_MAX;
    if (redis->chunk == 0)
        redis->chunk = 1;
}

int redis_commit(struct redis_feed *redis,
                 const struct feed_count *count,
                 uint64_t messages,
                 uint64_t bytes,
                 struct mf_error *error)
{
    MF_CRASH(SOURCE_AFTER_TAKE);
    if (feed_commit(&redis->feed, count, error) < 0)
        return -1;
    MF_CRASH(SOURCE_AFTER_COMMIT);
    learn(redis, messages, bytes);
    return 0;
}

int redis_raise_reply(const struct redis_feed *redis, struct mf_error *error)
{
    return mf_raise(error,
                    MF_ESETUP,
                    "the Redis server %s answers in a way that Redis would not",
                    redis->server);
}

static int connect_server(struct redis_feed *redis, struct mf_error *error)
{
    if (redis->link != NULL)
        return 0;
    redis->claim_us = 0;
    redis->link = redis_link_open(&redis->place, error);
    return redis->link == NULL ? -1 : redis->type->begin(redis, error);
}

/* Whether the server may be asked: 1, 0 it still waits, -1. */
static int end_waiting(struct redis_feed *redis, struct mf_error *error)
{
    if (!redis->is_waiting)
        return 1;
    struct pollfd answer = {.fd = redis_link_fd(redis->link), .events = POLLIN};
    if (poll(&answer, 1, 0) == 0 && mf_monotonic_us() < redis->feed.next_us)
        return 0;
    redis->is_waiting = false;
    redisReply *reply = redis_receive(redis->link, error);
    if (reply == NULL) {
        /* A server before version 6.2 does not know how, or this user may not. */
        redis->cannot_wait = redis_was_refused(redis->link, "ERR unknown command") ||
                             redis_was_refused(redis->link, "NOPERM");
        return redis->cannot_wait ? 1 : -1;
    }
    int rc = redis->type->woken(redis, reply, error);
    redis_free(reply);
    return rc < 0 ? -1 : 1;
}

static int take_all(struct redis_feed *redis, uint64_t most, struct mf_error *error)
{
    uint64_t taken = 0;
    int64_t n = 1;
    while (taken < most && (n = redis->type->take(redis, most - taken, error)) > 0)
        taken += (uint64_t)n;
    redis->feed.report->more = n > 0;
    return n < 0 ? -1 : 0;
}

static int begin_waiting(struct redis_feed *redis, struct mf_error *error)
{
    int64_t now_us = mf_monotonic_us();
    redis->feed.next_us = redis->feed.report->more ? now_us : now_us + LOOK_US;
    if (redis->feed.report->more || !redis->feed.is_watching || redis->cannot_wait)
        return 0;
    if (redis->type->wait(redis, error) < 0)
        return -1;
    redis->is_waiting = true;
    redis->feed.next_us = now_us + WAIT_US;
    return 0;
}

static int poll_server(struct redis_feed *redis, uint64_t most, struct mf_error *error)
{
    if (connect_server(redis, error) < 0)
        return -1;
    int rc = end_waiting(redis, error);
    if (rc == 1)
        rc = take_all(redis, most, error) < 0 ? -1 : begin_waiting(redis, error);
    return rc;
}

static int redis_poll(struct feed *feed, uint64_t most, struct mf_error *error)
{
    struct redis_feed *redis = redis_of(feed);
    if (poll_server(redis, most, error) == 0)
        return 0;
    redis_link_close(redis->link);
    redis->link = NULL;
    redis->is_waiting = false;
    return -1;
}

const struct feed_class feed_redis = {
    redis_fits, redis_check, redis_open, redis_poll, redis_fd, redis_close};
