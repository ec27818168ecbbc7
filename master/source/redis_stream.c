/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of Redis as a source, read as one consumer of a group. Its entries have ids, and the
 * server remembers which of them it has given to whom until they are acknowledged (XACK), which
 * they are once they are committed to the queue. The key of a message is "redis:SERVER/STREAM/ID".
 *
 * In this order: what this consumer was given and has not acknowledged (it was killed), what dead
 * consumers of the group have left alone for five minutes, what nobody was given yet. The former
 * two are looked for with each connection and once a minute.
 *
 * The body is the value of the field `body` where an entry has only that one; else all fields as a
 * JSON object. An entry whose fields are no text in UTF-8 can't be one: it becomes a dead letter,
 * "NAME=VALUE" a line.
 */
#include "master/source/redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/alloc.h"
#include "common/clock.h"

#define CLAIM_US INT64_C(60000000)
#define LEFT_ALONE_MS "300000"
#define KEY_MAX QUEUE_KEY_MAX

/* With all that is in the stream from its beginning, which is made if it is not there: else there
 * would be nothing to wait for. */
static int stream_begin(struct redis_feed *redis, struct mf_error *error)
{
    if (redis_tell(
            redis->link, error, "XGROUP", "CREATE", redis->name, redis->group, "0", "MKSTREAM") ==
            0 ||
        redis_was_refused(redis->link, "BUSYGROUP"))
        return 0;
    if (!redis_was_refused(redis->link, "WRONGTYPE"))
        return -1;
    return mf_raise(error,
                    MF_ESETUP,
                    "the key %s of the Redis server %s is not a stream: mend `redis` in the job "
                    "file, or say `list` if it is one",
                    redis->name,
                    redis->server);
}

/* --- What an entry says. --- */

static bool is_text(const redisReply *string)
{
    return string->type == REDIS_REPLY_STRING;
}

static int append_lines(const redisReply *fields, struct mf_buffer *body, struct mf_error *error)
{
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        const redisReply *name = fields->element[i], *value = fields->element[i + 1];
        if (mf_buffer_append(body, name->str, name->len, error) < 0 ||
            mf_buffer_append_text(body, "=", error) < 0 ||
            mf_buffer_append(body, value->str, value->len, error) < 0 ||
            mf_buffer_append_text(body, "\n", error) < 0)
            return -1;
    }
    return 0;
}

/* NULL: a field is not UTF-8, or has a NUL in its name. */
static json_t *object_of(const redisReply *fields)
{
    json_t *object = json_object();
    for (size_t i = 0; object != NULL && i + 1 < fields->elements; i += 2) {
        const redisReply *name = fields->element[i], *value = fields->element[i + 1];
        if (strlen(name->str) != name->len ||
            json_object_set_new(object, name->str, json_stringn(value->str, value->len)) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* 1; 0: it is not text, the body is what it has, in lines. */
static int read_body(const redisReply *fields, struct mf_buffer *body, struct mf_error *error)
{
    if (fields->elements == 2 && fields->element[0]->len == 4 &&
        memcmp(fields->element[0]->str, "body", 4) == 0)
        return mf_buffer_append(body, fields->element[1]->str, fields->element[1]->len, error) < 0
                   ? -1
                   : 1;
    json_t *object = object_of(fields);
    if (object == NULL)
        return append_lines(fields, body, error);
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    int rc = text == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: an entry of a stream")
                          : mf_buffer_append_text(body, text, error);
    free(text);
    return rc < 0 ? -1 : 1;
}

/* --- Moving entries. --- */

static bool is_entry(const redisReply *entry)
{
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 || !is_text(entry->element[0]))
        return false;
    const redisReply *fields = entry->element[1];
    if (fields->type == REDIS_REPLY_NIL)
        return true; /* somebody has deleted it meanwhile */
    if (fields->type != REDIS_REPLY_ARRAY || fields->elements % 2 != 0)
        return false;
    for (size_t i = 0; i < fields->elements; i++)
        if (!is_text(fields->element[i]))
            return false;
    return true;
}

static int push_entry(struct redis_feed *redis,
                      const redisReply *entry,
                      struct feed_count *count,
                      uint64_t *bytes,
                      struct mf_error *error)
{
    struct mf_buffer body = {0};
    char key[KEY_MAX];
    const redisReply *id = entry->element[0], *fields = entry->element[1];
    if (fields->type == REDIS_REPLY_NIL)
        return 0;
    snprintf(key, sizeof key, "redis:%s/%s/%s", redis->server, redis->name, id->str);
    int rc = read_body(fields, &body, error);
    *bytes += body.length;
    if (rc == 1)
        rc = feed_push(&redis->feed, key, mf_buffer_view(&body), count, error);
    else if (rc == 0)
        rc = feed_set_aside(&redis->feed,
                            key,
                            mf_buffer_view(&body),
                            "a field of this entry of a stream is not text in UTF-8",
                            count,
                            error);
    mf_buffer_fini(&body);
    return rc;
}

static int push_entries(struct redis_feed *redis, const redisReply *entries, struct mf_error *error)
{
    struct feed_count count = {0};
    uint64_t bytes = 0;
    if (feed_begin(&redis->feed, error) < 0)
        return -1;
    for (size_t i = 0; i < entries->elements; i++)
        if (push_entry(redis, entries->element[i], &count, &bytes, error) < 0) {
            queues_rollback(redis->feed.queues);
            return -1;
        }
    return redis_commit(redis, &count, entries->elements, bytes, error);
}

static int acknowledge(struct redis_feed *redis, const redisReply *entries, struct mf_error *error)
{
    const char **words = mf_calloc(entries->elements + 4, sizeof *words);
    if (words == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: what is acknowledged to Redis");
    words[0] = "XACK";
    words[1] = redis->name;
    words[2] = redis->group;
    for (size_t i = 0; i < entries->elements; i++)
        words[3 + i] = entries->element[i]->element[0]->str;
    int rc = redis_tell_words(redis->link, words, error);
    mf_free(words);
    return rc;
}

/* How many there were, with those that were deleted meanwhile. */
static int64_t
move_entries(struct redis_feed *redis, const redisReply *entries, struct mf_error *error)
{
    if (entries->type != REDIS_REPLY_ARRAY)
        return redis_raise_reply(redis, error);
    for (size_t i = 0; i < entries->elements; i++)
        if (!is_entry(entries->element[i]))
            return redis_raise_reply(redis, error);
    if (entries->elements == 0)
        return 0;
    if (push_entries(redis, entries, error) < 0 || acknowledge(redis, entries, error) < 0)
        return -1;
    return (int64_t)entries->elements;
}

/* The reply to XREADGROUP: for each stream, of which there is one, its name and entries. */
static int64_t move_read(struct redis_feed *redis, const redisReply *reply, struct mf_error *error)
{
    if (reply->type == REDIS_REPLY_NIL)
        return 0;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 ||
        reply->element[0]->type != REDIS_REPLY_ARRAY || reply->element[0]->elements != 2)
        return redis_raise_reply(redis, error);
    return move_entries(redis, reply->element[0]->element[1], error);
}

/* From the id on, of those that this consumer was given; ">": that nobody was. */
static int64_t
read_from(struct redis_feed *redis, const char *id, uint64_t most, struct mf_error *error)
{
    char count[24];
    snprintf(count, sizeof count, "%" PRIu64, redis_chunk(redis, most));
    redisReply *reply = redis_ask(redis->link,
                                  error,
                                  "XREADGROUP",
                                  "GROUP",
                                  redis->group,
                                  redis->feed.consumer,
                                  "COUNT",
                                  count,
                                  "STREAMS",
                                  redis->name,
                                  id);
    if (reply == NULL)
        return -1;
    int64_t n = move_read(redis, reply, error);
    redis_free(reply);
    return n;
}

/* The reply to XAUTOCLAIM: where to go on, entries, and in newer servers what was deleted. */
static int64_t move_claimed(struct redis_feed *redis,
                            const redisReply *reply,
                            char *cursor,
                            size_t size,
                            struct mf_error *error)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 || !is_text(reply->element[0]))
        return redis_raise_reply(redis, error);
    snprintf(cursor, size, "%s", reply->element[0]->str);
    return move_entries(redis, reply->element[1], error);
}

static int64_t take_left(struct redis_feed *redis, uint64_t most, struct mf_error *error)
{
    char cursor[64] = "0-0", count[24];
    int64_t n;
    snprintf(count, sizeof count, "%" PRIu64, redis_chunk(redis, most));
    do {
        redisReply *reply = redis_ask(redis->link,
                                      error,
                                      "XAUTOCLAIM",
                                      redis->name,
                                      redis->group,
                                      redis->feed.consumer,
                                      LEFT_ALONE_MS,
                                      cursor,
                                      "COUNT",
                                      count);
        if (reply == NULL) /* before version 6.2: then others have to be brought back by hand */
            return redis_was_refused(redis->link, "ERR unknown command") ? 0 : -1;
        n = move_claimed(redis, reply, cursor, sizeof cursor, error);
        redis_free(reply);
    } while (n == 0 && strcmp(cursor, "0-0") != 0);
    return n;
}

static int64_t stream_take(struct redis_feed *redis, uint64_t most, struct mf_error *error)
{
    if (mf_monotonic_us() >= redis->claim_us) {
        int64_t n = read_from(redis, "0", most, error);
        if (n == 0)
            n = take_left(redis, most, error);
        if (n != 0)
            return n;
        redis->claim_us = mf_monotonic_us() + CLAIM_US;
    }
    return read_from(redis, ">", most, error);
}

static int stream_wait(struct redis_feed *redis, struct mf_error *error)
{
    char count[24];
    snprintf(count, sizeof count, "%" PRIu64, redis->chunk);
    const char *const words[] = {"XREADGROUP",
                                 "GROUP",
                                 redis->group,
                                 redis->feed.consumer,
                                 "COUNT",
                                 count,
                                 "BLOCK",
                                 REDIS_WAIT_MS,
                                 "STREAMS",
                                 redis->name,
                                 ">",
                                 NULL};
    return redis_send(redis->link, words, error);
}

static int stream_woken(struct redis_feed *redis, const redisReply *reply, struct mf_error *error)
{
    return move_read(redis, reply, error) < 0 ? -1 : 0;
}

const struct redis_type redis_stream = {stream_begin, stream_take, stream_wait, stream_woken};
