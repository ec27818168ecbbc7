/* SPDX-License-Identifier: Apache-2.0 */
/* What stands around every kind of source: see source.h and feed.h. */
#include "master/source/feed.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"

#define MOST 1000
#define BACKOFF_US INT64_C(500000) /* after the first failure; doubled up to the following */
#define BACKOFF_MAX_US INT64_C(60000000)

static const struct feed_class *const classes[] = {&feed_spool, &feed_redis};

static const struct feed_class *class_of(const struct feed_settings *settings,
                                         struct mf_error *error)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (classes[i]->fits(settings))
            return classes[i];
    mf_raise(error, MF_EUSAGE, "a source is a spool folder or a Redis server: neither is named");
    return NULL;
}

int feed_check(const struct feed_settings *settings, struct mf_error *error)
{
    const struct feed_class *class = class_of(settings, error);
    return class == NULL ? -1 : class->check(settings, error);
}

struct feed *feed_open(const struct feed_settings *settings,
                       const char *queue,
                       bool watch,
                       struct mf_error *error)
{
    const struct feed_class *class = class_of(settings, error);
    if (class == NULL || class->check(settings, error) < 0)
        return NULL;
    struct feed *feed = class->open(settings, watch, error);
    if (feed == NULL)
        return NULL;
    feed->class = class;
    feed->is_watching = watch;
    feed->queue = mf_strdup(queue);
    if (feed->queue != NULL)
        return feed;
    mf_raise(error, MF_ENOMEM, "out of memory: a source of the queue %s", queue);
    feed_close(feed);
    return NULL;
}

void feed_close(struct feed *feed)
{
    if (feed == NULL)
        return;
    feed->class->close(feed);
    mf_free(feed->queue);
    mf_free(feed);
}

int feed_fd(const struct feed *feed)
{
    return feed->is_watching ? feed->class->fd(feed) : -1;
}

int64_t feed_next_us(const struct feed *feed)
{
    return feed->next_us;
}

/* Once for each feed: names the consumer, and finds out whether there is such a queue. */
static int know_queue(struct feed *feed, struct mf_error *error)
{
    char name[QUEUE_CONSUMER_SIZE];
    if (feed->consumer[0] != '\0')
        return 0;
    if (queues_begin(feed->queues, error) < 0)
        return -1;
    if (queue_find(feed->queues, feed->queue, &feed->info, error) < 0 ||
        queues_consumer(feed->queues, name, error) < 0) {
        queues_rollback(feed->queues);
        return -1;
    }
    if (queues_commit(feed->queues, error) < 0)
        return -1;
    snprintf(feed->consumer, sizeof feed->consumer, "%s-%s", name, feed->queue);
    return 0;
}

static void back_off(struct feed *feed)
{
    int64_t pause_us = BACKOFF_US;
    for (unsigned i = 0; i < feed->failures && pause_us < BACKOFF_MAX_US; i++)
        pause_us *= 2;
    feed->failures++;
    feed->next_us = mf_monotonic_us() + (pause_us < BACKOFF_MAX_US ? pause_us : BACKOFF_MAX_US);
}

int feed_poll(struct feed *feed,
              struct queues *queues,
              uint64_t most,
              struct feed_report *report,
              struct mf_error *error)
{
    *report = (struct feed_report){0};
    if (feed->failures > 0 && mf_monotonic_us() < feed->next_us)
        return 0;
    feed->queues = queues;
    feed->report = report;
    if (know_queue(feed, error) < 0 ||
        feed->class->poll(feed, most == 0 ? MOST : most, error) < 0) {
        back_off(feed);
        return -1;
    }
    feed->failures = 0;
    return 0;
}

int feed_begin(struct feed *feed, struct mf_error *error)
{
    if (queues_begin(feed->queues, error) < 0)
        return -1;
    /* Anew each time: somebody may have given the queue other limits, or removed it. */
    if (queue_find(feed->queues, feed->queue, &feed->info, error) == 1)
        return 0;
    queues_rollback(feed->queues);
    return -1;
}

int feed_commit(struct feed *feed, const struct feed_count *count, struct mf_error *error)
{
    if (queues_commit(feed->queues, error) < 0)
        return -1;
    feed->report->pushed += count->pushed;
    feed->report->known += count->known;
    feed->report->aside += count->aside;
    return 0;
}

int feed_set_aside(struct feed *feed,
                   const char *key,
                   struct mf_bytes body,
                   const char *cause,
                   struct feed_count *count,
                   struct mf_error *error)
{
    const struct queue_message message = {.key = key, .cause = cause, .body = body};
    int rc = queue_push_dead(feed->queues, &feed->info, &message, mf_wall_us(), error);
    if (rc < 0)
        return -1;
    if (rc == 0)
        count->known++;
    else
        count->aside++;
    return 0;
}

int feed_push(struct feed *feed,
              const char *key,
              struct mf_bytes body,
              struct feed_count *count,
              struct mf_error *error)
{
    const struct queue_message message = {.key = key, .body = body};
    struct mf_error why;
    int rc = queue_push(feed->queues, &feed->info, &message, mf_wall_us(), &why);
    if (rc < 0 && why.code == MF_EUSAGE)
        return feed_set_aside(feed, key, body, why.text, count, error);
    if (rc < 0) {
        if (error != NULL)
            *error = why;
        return -1;
    }
    if (rc == 0)
        count->known++;
    else
        count->pushed++;
    return 0;
}

void feed_leave(struct feed *feed, const char *format, ...)
{
    va_list args;
    if (feed->report->left++ > 0)
        return;
    va_start(args, format);
    vsnprintf(feed->report->text, sizeof feed->report->text, format, args);
    va_end(args);
}
