/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sources of the watcher's jobs (a spool folder, a broker): see watcher_internal.h.
 *
 * A source is polled when its descriptor has something, when it says that it is time, and at each
 * sweep. After a poll that failed its descriptor is left out until it wants to be polled again:
 * what nobody takes from it would wake the watcher without end.
 */
#include <string.h>
#include <sys/epoll.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/source/source.h"
#include "master/watcher_internal.h"

/* Polls of one round before others have their turn. */
#define POLLS_MOST 10

struct watcher_source {
    struct watcher *watcher;
    struct feed *feed;
    char *job, *queue;
    char *trouble; /* said once */
    int fd;        /* in the loop; -1 = none */
    bool is_ready, has_failed;
};

static void on_source(void *arg, uint32_t events)
{
    struct watcher_source *source = arg;
    (void)events;
    source->is_ready = true;
    source->watcher->is_due = true;
}

/* The descriptor may be another one after each poll. */
static void follow_fd(struct watcher_source *source)
{
    struct mf_error error;
    int fd = source->has_failed ? -1 : feed_fd(source->feed);
    if (source->fd >= 0)
        mf_loop_remove(source->watcher->loop, source->fd);
    source->fd = -1;
    if (fd < 0)
        return;
    if (mf_loop_add(source->watcher->loop, fd, EPOLLIN, on_source, source, &error) == 0)
        source->fd = fd;
    else
        mf_log(MF_WARNING, "job %s: %s", source->job, error.text);
}

void watcher_source_close(struct watcher_source *source)
{
    if (source == NULL)
        return;
    if (source->fd >= 0)
        mf_loop_remove(source->watcher->loop, source->fd);
    feed_close(source->feed);
    mf_free(source->job);
    mf_free(source->queue);
    mf_free(source->trouble);
    mf_free(source);
}

int watcher_source_open(struct watcher *watcher,
                        const struct job *job,
                        struct watcher_source **out,
                        struct mf_error *error)
{
    struct feed_settings settings;
    *out = NULL;
    if (!feed_settings_of(job, &settings))
        return 0;
    struct watcher_source *source = mf_calloc(1, sizeof *source);
    if (source == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a source");
    *source = (struct watcher_source){.watcher = watcher,
                                      .job = mf_strdup(job->name),
                                      .queue = mf_strdup(job->trigger.queue),
                                      .fd = -1,
                                      .is_ready = true};
    if (source->job == NULL || source->queue == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a source");
    else
        source->feed = feed_open(&settings, source->queue, true, error);
    if (source->feed == NULL) {
        watcher_source_close(source);
        return mf_error_prefix(error, "%s: trigger", job->path);
    }
    watcher->is_due = true;
    *out = source;
    return 0;
}

int64_t watcher_source_next_us(const struct watcher_source *source)
{
    return source == NULL ? MF_NEVER : feed_next_us(source->feed);
}

static void say_report(struct watcher_source *source, const struct feed_report *report)
{
    if (report->pushed + report->aside > 0)
        mf_log(MF_INFO,
               "job %s: %llu new in queue %s%s",
               source->job,
               (unsigned long long)report->pushed,
               source->queue,
               report->aside > 0 ? ", and some that cannot be messages: its dead letters" : "");
    char *text = report->left == 0 ? NULL : mf_format("job %s: %s", source->job, report->text);
    watcher_say_once(&source->trouble, text);
    mf_free(text);
}

static void
poll_once(struct watcher_source *source, struct queues *queues, struct feed_report *report)
{
    struct mf_error error;
    source->has_failed = feed_poll(source->feed, queues, 0, report, &error) < 0;
    if (!source->has_failed) {
        say_report(source, report);
        return;
    }
    char *text = mf_format("job %s: %s", source->job, error.text);
    watcher_say_once(&source->trouble, text == NULL ? error.text : text);
    mf_free(text);
}

void watcher_source_poll(struct watcher_source *source, struct queues *queues, bool sweep)
{
    struct feed_report report;
    if (source == NULL ||
        (!sweep && !source->is_ready && mf_monotonic_us() < feed_next_us(source->feed)))
        return;
    source->is_ready = false;
    for (int i = 0; i < POLLS_MOST; i++) {
        poll_once(source, queues, &report);
        if (!report.more || source->has_failed)
            break;
    }
    if (report.more && !source->has_failed)
        source->is_ready = source->watcher->is_due = true;
    follow_fd(source);
}
