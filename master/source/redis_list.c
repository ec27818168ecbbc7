/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of Redis as a source. Its elements have no ids, so they get some before they are read:
 *
 *     LIST                            what others push to (RPUSH; the head is the oldest)
 *     LIST:mayfly:CONSUMER            what we have taken, by a rename of LIST as it was
 *     LIST:mayfly:CONSUMER:batch      a hash: `id` of that, by chance; `first`, the number of
 *                                     the element that is its head now
 *
 * The key of a message is "redis:ID:NUMBER". Taking is one MULTI (new id, rename); so is what ends
 * a chunk of it that is committed to the queue (LTRIM, and `first` moves on). Both are under a
 * WATCH of what they were decided on, so a second process that does the same at the same time makes
 * one of them void. Hence list and hash always belong together, and whoever is killed between
 * commit and LTRIM has the same elements come again under the same keys.
 *
 * The id is drawn by chance, so that a server that has lost its data can never begin to count again
 * under keys that the queue knows.
 */
#include "master/source/redis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define KEY_MAX 640u /* a name of 256, the consumer, and what stands between */
#define ID_SIZE 33u

/* What is on the server. */
struct taken {
    char list[KEY_MAX], batch[KEY_MAX + 8]; /* the keys */
    char id[ID_SIZE];                       /* "" = no such hash */
    uint64_t first, length;
};

static int raise_type(const struct redis_feed *redis, const char *key, struct mf_error *error)
{
    if (!redis_was_refused(redis->link, "WRONGTYPE"))
        return -1;
    return mf_raise(error,
                    MF_ESETUP,
                    "the key %s of the Redis server %s is not a list: mend `redis` in the job "
                    "file, or say `stream` if it is one",
                    key,
                    redis->server);
}

static void name_keys(const struct redis_feed *redis, struct taken *taken)
{
    snprintf(taken->list, sizeof taken->list, "%s:mayfly:%s", redis->name, redis->feed.consumer);
    snprintf(taken->batch, sizeof taken->batch, "%s:batch", taken->list);
}

static int list_begin(struct redis_feed *redis, struct mf_error *error)
{
    (void)redis;
    (void)error;
    return 0;
}

/* The length of a list; -1 also when the key is something else. */
static int64_t length_of(struct redis_feed *redis, const char *key, struct mf_error *error)
{
    redisReply *reply = redis_ask(redis->link, error, "LLEN", key);
    if (reply == NULL)
        return raise_type(redis, key, error);
    int64_t length =
        reply->type == REDIS_REPLY_INTEGER ? reply->integer : redis_raise_reply(redis, error);
    redis_free(reply);
    return length;
}

static int read_batch(struct redis_feed *redis,
                      const redisReply *reply,
                      struct taken *taken,
                      struct mf_error *error)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
        return redis_raise_reply(redis, error);
    const redisReply *id = reply->element[0], *first = reply->element[1];
    taken->id[0] = '\0';
    taken->first = 0;
    if (id->type != REDIS_REPLY_STRING || first->type != REDIS_REPLY_STRING)
        return 0;
    snprintf(taken->id, sizeof taken->id, "%s", id->str);
    taken->first = strtoull(first->str, NULL, 10);
    return 0;
}

/* What we have taken before; from now on EXEC does nothing when somebody changes it. */
static int look(struct redis_feed *redis, struct taken *taken, struct mf_error *error)
{
    if (redis_tell(redis->link, error, "WATCH", taken->list, taken->batch) < 0)
        return -1;
    redisReply *reply = redis_ask(redis->link, error, "HMGET", taken->batch, "id", "first");
    if (reply == NULL)
        return -1;
    int rc = read_batch(redis, reply, taken, error);
    redis_free(reply);
    int64_t length = rc < 0 ? -1 : length_of(redis, taken->list, error);
    taken->length = length < 0 ? 0 : (uint64_t)length;
    return length < 0 ? -1 : 0;
}

/* The reply to EXEC: 1 done, 0 somebody else was faster, -1 a command in it failed. */
static int end_multi(struct redis_feed *redis, struct mf_error *error)
{
    redisReply *reply = redis_ask(redis->link, error, "EXEC");
    if (reply == NULL)
        return -1;
    int rc = reply->type == REDIS_REPLY_NIL ? 0 : 1;
    for (size_t i = 0; i < reply->elements && rc == 1; i++)
        if (reply->element[i]->type == REDIS_REPLY_ERROR)
            rc = mf_raise(error,
                          MF_ESETUP,
                          "the Redis server %s says: %s",
                          redis->server,
                          reply->element[i]->str);
    redis_free(reply);
    return rc;
}

static int draw_id(char id[ID_SIZE], struct mf_error *error)
{
    uint64_t number[2];
    if (getrandom(number, sizeof number, 0) != (ssize_t)sizeof number)
        return mf_raise_errno(error, "no random numbers");
    snprintf(id, ID_SIZE, "%016" PRIx64 "%016" PRIx64, number[0], number[1]);
    return 0;
}

/* Takes the list as it is, if it is there; `with_list` false: only a new id for what was taken,
 * whose own is lost. */
static int new_batch(struct redis_feed *redis,
                     const struct taken *taken,
                     bool with_list,
                     struct mf_error *error)
{
    char id[ID_SIZE];
    if (draw_id(id, error) < 0 || redis_tell(redis->link, error, "MULTI") < 0 ||
        redis_tell(redis->link, error, "HSET", taken->batch, "id", id, "first", "0") < 0 ||
        (with_list && redis_tell(redis->link, error, "RENAMENX", redis->name, taken->list) < 0))
        return -1;
    return end_multi(redis, error);
}

/* 1: *taken is something that can be read; 0: there is nothing. */
static int find_taken(struct redis_feed *redis, struct taken *taken, struct mf_error *error)
{
    for (;;) {
        if (look(redis, taken, error) < 0)
            return -1;
        if (taken->length > 0 && taken->id[0] != '\0')
            return 1;
        int64_t length = taken->length > 0 ? 1 : length_of(redis, redis->name, error);
        if (length == 0)
            return redis_tell(redis->link, error, "UNWATCH") < 0 ? -1 : 0;
        if (length < 0 || new_batch(redis, taken, taken->length == 0, error) < 0)
            return -1;
    }
}

static int push_elements(struct redis_feed *redis,
                         const struct taken *taken,
                         const redisReply *elements,
                         struct mf_error *error)
{
    struct feed_count count = {0};
    uint64_t bytes = 0;
    char key[ID_SIZE + 32];
    if (feed_begin(&redis->feed, error) < 0)
        return -1;
    for (size_t i = 0; i < elements->elements; i++) {
        const redisReply *element = elements->element[i];
        snprintf(key, sizeof key, "redis:%s:%" PRIu64, taken->id, taken->first + i);
        bytes += element->len;
        if (feed_push(&redis->feed, key, mf_bytes_of(element->str, element->len), &count, error) <
            0) {
            queues_rollback(redis->feed.queues);
            return -1;
        }
    }
    return redis_commit(redis, &count, elements->elements, bytes, error);
}

/* Drops what is committed; nothing when somebody else has. */
static int acknowledge(struct redis_feed *redis,
                       const struct taken *taken,
                       uint64_t count,
                       struct mf_error *error)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, count);
    if (redis_tell(redis->link, error, "MULTI") < 0 ||
        redis_tell(redis->link, error, "LTRIM", taken->list, text, "-1") < 0)
        return -1;
    int rc = count == taken->length
                 ? redis_tell(redis->link, error, "DEL", taken->batch)
                 : redis_tell(redis->link, error, "HINCRBY", taken->batch, "first", text);
    return rc < 0 ? -1 : end_multi(redis, error);
}

static int64_t list_take(struct redis_feed *redis, uint64_t most, struct mf_error *error)
{
    struct taken taken = {.first = 0};
    char last[24];
    name_keys(redis, &taken);
    int rc = find_taken(redis, &taken, error);
    if (rc <= 0)
        return rc;
    snprintf(last, sizeof last, "%" PRIu64, redis_chunk(redis, most) - 1);
    redisReply *elements = redis_ask(redis->link, error, "LRANGE", taken.list, "0", last);
    if (elements == NULL)
        return -1;
    uint64_t count = elements->elements;
    rc = count == 0 ? 0 : push_elements(redis, &taken, elements, error);
    redis_free(elements);
    if (rc < 0 || acknowledge(redis, &taken, count, error) < 0)
        return -1;
    return (int64_t)count;
}

/* Moves the head of the list to its head, as soon as it has one: that changes nothing. */
static int list_wait(struct redis_feed *redis, struct mf_error *error)
{
    const char *const words[] = {
        "BLMOVE", redis->name, redis->name, "LEFT", "LEFT", REDIS_WAIT_S, NULL};
    return redis_send(redis->link, words, error);
}

static int list_woken(struct redis_feed *redis, const redisReply *reply, struct mf_error *error)
{
    (void)redis;
    (void)reply;
    (void)error;
    return 0;
}

const struct redis_type redis_list = {list_begin, list_take, list_wait, list_woken};
