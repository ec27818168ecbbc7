/* SPDX-License-Identifier: Apache-2.0 */
/* The attempts of a worker: see attempts.h. A chained hash table that doubles when it is full; one
 * allocation an attempt. */
#include "worker/attempts.h"

#include <string.h>

#include "common/alloc.h"

#define BUCKETS_MIN 256

static size_t bucket_of(size_t bucket_count, const struct mf_fence *fence)
{
    uint64_t hash = (fence->subtask + ((uint64_t)fence->attempt << 40)) * 0x9e3779b97f4a7c15u;
    return (size_t)(hash >> 20) & (bucket_count - 1);
}

static bool same_fence(const struct mf_fence *a, const struct mf_fence *b)
{
    return a->subtask == b->subtask && a->attempt == b->attempt && a->epoch == b->epoch;
}

int attempts_init(struct attempts *attempts, struct mf_error *error)
{
    *attempts = (struct attempts){.bucket_count = BUCKETS_MIN};
    attempts->buckets = mf_calloc(BUCKETS_MIN, sizeof(struct attempt *));
    if (attempts->buckets == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the table of attempts");
    return 0;
}

void attempts_fini(struct attempts *attempts)
{
    for (size_t i = 0; attempts->buckets != NULL && i < attempts->bucket_count; i++)
        while (attempts->buckets[i] != NULL) {
            struct attempt *attempt = attempts->buckets[i];
            attempts->buckets[i] = attempt->chain;
            mf_free(attempt);
        }
    mf_free(attempts->buckets);
    *attempts = (struct attempts){0};
}

struct attempt *attempts_find(const struct attempts *attempts, const struct mf_fence *fence)
{
    struct attempt *attempt = attempts->buckets[bucket_of(attempts->bucket_count, fence)];
    while (attempt != NULL && !same_fence(&attempt->fence, fence))
        attempt = attempt->chain;
    return attempt;
}

/* When memory is short the table stays as it is: only slower. */
static void grow(struct attempts *attempts)
{
    size_t count = attempts->bucket_count * 2;
    struct attempt **buckets = mf_calloc(count, sizeof(struct attempt *));
    if (buckets == NULL)
        return;
    for (size_t i = 0; i < attempts->bucket_count; i++)
        while (attempts->buckets[i] != NULL) {
            struct attempt *attempt = attempts->buckets[i];
            attempts->buckets[i] = attempt->chain;
            size_t to = bucket_of(count, &attempt->fence);
            attempt->chain = buckets[to];
            buckets[to] = attempt;
        }
    mf_free(attempts->buckets);
    attempts->buckets = buckets;
    attempts->bucket_count = count;
}

static void copy_bytes(struct mf_bytes *bytes, unsigned char **at)
{
    if (bytes->length > 0)
        memcpy(*at, bytes->data, bytes->length);
    bytes->data = *at;
    *at += bytes->length;
}

struct attempt *
attempts_add(struct attempts *attempts, const struct mf_subtask *subtask, struct mf_error *error)
{
    size_t size = subtask->item.length + subtask->path.length + subtask->fields.length;
    struct attempt *attempt = mf_malloc(sizeof *attempt + size);
    if (attempt == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: subtask %llu", (unsigned long long)subtask->id);
        return NULL;
    }
    if (attempts->count >= attempts->bucket_count)
        grow(attempts);
    memset(attempt, 0, sizeof *attempt);
    attempt->state = ATTEMPT_QUEUED;
    attempt->fence = (struct mf_fence){subtask->id, subtask->attempt, subtask->epoch};
    attempt->subtask = *subtask;
    unsigned char *at = attempt->bytes;
    copy_bytes(&attempt->subtask.item, &at);
    copy_bytes(&attempt->subtask.path, &at);
    copy_bytes(&attempt->subtask.fields, &at);
    size_t bucket = bucket_of(attempts->bucket_count, &attempt->fence);
    attempt->chain = attempts->buckets[bucket];
    attempts->buckets[bucket] = attempt;
    attempts->count++;
    attempts->unended++;
    return attempt;
}

void attempts_remove(struct attempts *attempts, struct attempt *attempt)
{
    struct attempt **at = &attempts->buckets[bucket_of(attempts->bucket_count, &attempt->fence)];
    while (*at != attempt)
        at = &(*at)->chain;
    *at = attempt->chain;
    attempts->count--;
    if (attempt->state != ATTEMPT_ENDED)
        attempts->unended--;
    mf_free(attempt);
}

void attempts_push_back(struct attempts *attempts, struct attempt *attempt)
{
    attempt->state = ATTEMPT_QUEUED;
    attempt->next = NULL;
    attempt->previous = attempts->last;
    if (attempts->last != NULL)
        attempts->last->next = attempt;
    else
        attempts->first = attempt;
    attempts->last = attempt;
    attempts->queued++;
}

void attempts_push_front(struct attempts *attempts, struct attempt *attempt)
{
    attempt->state = ATTEMPT_QUEUED;
    attempt->previous = NULL;
    attempt->next = attempts->first;
    if (attempts->first != NULL)
        attempts->first->previous = attempt;
    else
        attempts->last = attempt;
    attempts->first = attempt;
    attempts->queued++;
}

void attempts_unqueue(struct attempts *attempts, struct attempt *attempt)
{
    if (attempt->previous != NULL)
        attempt->previous->next = attempt->next;
    else
        attempts->first = attempt->next;
    if (attempt->next != NULL)
        attempt->next->previous = attempt->previous;
    else
        attempts->last = attempt->previous;
    attempt->previous = attempt->next = NULL;
    attempts->queued--;
}

void attempts_each(struct attempts *attempts, void (*f)(void *, struct attempt *), void *arg)
{
    for (size_t i = 0; i < attempts->bucket_count; i++)
        for (struct attempt *attempt = attempts->buckets[i], *chain; attempt != NULL;
             attempt = chain) {
            chain = attempt->chain;
            f(arg, attempt);
        }
}
