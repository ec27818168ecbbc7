/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kinds of sources share. A kind begins its own struct with struct feed, and is one struct
 * feed_class; to add one (RabbitMQ, SQS) is a file with its functions, its keys in struct
 * feed_settings and a line in feed.c.
 */
#ifndef MAYFLY_MASTER_SOURCE_FEED_H
#define MAYFLY_MASTER_SOURCE_FEED_H

#include "master/queue/bridge.h"
#include "master/source/source.h"

#define FEED_CONSUMER_MAX (QUEUE_CONSUMER_SIZE + QUEUE_NAME_MAX)

struct feed_class {
    /* Whether the settings name a source of this kind. */
    bool (*fits)(const struct feed_settings *settings);
    int (*check)(const struct feed_settings *settings, struct mf_error *error);
    /* The base is filled by the caller afterwards. */
    struct feed *(*open)(const struct feed_settings *settings, bool watch, struct mf_error *error);
    /* Sets feed->next_us when it succeeds. */
    int (*poll)(struct feed *feed, uint64_t most, struct mf_error *error);
    int (*fd)(const struct feed *feed);
    void (*close)(struct feed *feed); /* all but the base */
};

struct feed {
    const struct feed_class *class;
    char *queue;
    bool is_watching;
    int64_t next_us;   /* monotonic */
    unsigned failures; /* polls in a row that failed */
    /* Of the poll that is under way. */
    struct queues *queues;
    struct queue_info info;
    struct feed_report *report;
    /*
     * Who takes, towards brokers and others at the same folder: this queue of this queues.db, since
     * that is where the keys of what it has taken are known.
     */
    char consumer[FEED_CONSUMER_MAX + 1];
};

extern const struct feed_class feed_spool, feed_redis;

/* What was pushed in one transaction. */
struct feed_count {
    uint64_t pushed, known, aside;
};

/* Opens a transaction for feed_push and feed_set_aside; when one of them fails, queues_rollback. */
int feed_begin(struct feed *feed, struct mf_error *error);
/* Commits, and counts for the report; when it fails nothing was pushed. */
int feed_commit(struct feed *feed, const struct feed_count *count, struct mf_error *error);

/* One message; one that is too large becomes a dead letter. */
int feed_push(struct feed *feed,
              const char *key,
              struct mf_bytes body,
              struct feed_count *count,
              struct mf_error *error);
/* As a dead letter of the queue at once, with the cause. */
int feed_set_aside(struct feed *feed,
                   const char *key,
                   struct mf_bytes body,
                   const char *cause,
                   struct feed_count *count,
                   struct mf_error *error);
/* Notes that something could not be taken. */
void feed_leave(struct feed *feed, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
