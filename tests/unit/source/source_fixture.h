/* SPDX-License-Identifier: Apache-2.0 */
/* A queue "q" with a source, and short words for what tests do with it. */
#ifndef TESTS_UNIT_SOURCE_SOURCE_FIXTURE_H
#define TESTS_UNIT_SOURCE_SOURCE_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crash.h"
#include "common/write.h"
#include "master/source/source.h"
#include "tests/unit/queue/queue_fixture.h"

#define LIMIT_US INT64_C(30000000) /* after so long a condition counts as never met */

static inline struct feed *
open_feed(struct fixture *fixture, const struct feed_settings *settings, bool watch)
{
    struct feed *feed = feed_open(settings, "q", watch, &fixture->error);
    if (feed == NULL)
        fail_msg("feed_open: %s", fixture->error.text);
    return feed;
}

static inline struct feed_report
poll_some(struct fixture *fixture, struct feed *feed, uint64_t most)
{
    struct feed_report report;
    ok(fixture, feed_poll(feed, fixture->queues, most, &report, &fixture->error));
    return report;
}

/* A feed that is there for one poll, as a tick's. */
static inline struct feed_report poll_once(struct fixture *fixture,
                                           const struct feed_settings *settings)
{
    struct feed *feed = open_feed(fixture, settings, false);
    struct feed_report report = poll_some(fixture, feed, 0);
    feed_close(feed);
    return report;
}

/* The sentence of a poll that has to fail. */
static inline const char *
poll_fails(struct fixture *fixture, const struct feed_settings *settings, int code)
{
    struct feed *feed = open_feed(fixture, settings, false);
    struct feed_report report;
    assert_int_equal(feed_poll(feed, fixture->queues, 0, &report, &fixture->error), -1);
    assert_int_equal(fixture->error.code, code);
    feed_close(feed);
    return fixture->error.text;
}

#define assert_says(text, part)                                                                    \
    do {                                                                                           \
        if (strstr(text, part) == NULL)                                                            \
            fail_msg("\"%s\" is not in: %s", part, text);                                          \
    } while (0)

/* Another process does `f` and is killed at the point. */
static inline void killed_at(struct fixture *fixture,
                             const char *point,
                             void (*f)(struct fixture *fixture, const struct feed_settings *arg),
                             const struct feed_settings *arg)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct fixture own = *fixture; /* SQLite's handles are not for two processes */
        if (mf_crash_arm(point, 0, NULL) < 0 ||
            queues_open(own.path, false, &own.queues, NULL) != 1)
            _exit(2);
        f(&own, arg);
        _exit(3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static inline void poll_in_child(struct fixture *fixture, const struct feed_settings *settings)
{
    struct feed *feed = feed_open(settings, "q", false, NULL);
    struct feed_report report;
    if (feed != NULL)
        feed_poll(feed, fixture->queues, 0, &report, NULL);
}

/*
 * Polls over and over, each time with the next allocation failing, until one poll has none left to
 * fail. What fails has to say that, and loses nothing.
 */
static inline void poll_without_memory(struct fixture *fixture,
                                       const struct feed_settings *settings)
{
    for (unsigned long n = 1;; n++) {
        struct feed_report report;
        mf_alloc_fail_at(n);
        struct feed *feed = feed_open(settings, "q", false, &fixture->error);
        int rc = feed == NULL ? -1 : feed_poll(feed, fixture->queues, 0, &report, &fixture->error);
        bool has_failed = mf_alloc_count() >= n;
        mf_alloc_fail_at(0);
        feed_close(feed);
        if (!has_failed) {
            assert_int_equal(rc, 0);
            assert_true(n > 5); /* it does ask for memory */
            return;
        }
        if (rc < 0)
            assert_int_equal(fixture->error.code, MF_ENOMEM);
    }
}

/* Until it is readable, polled as a watcher would. */
static inline void await_readable(const struct feed *feed)
{
    struct pollfd fd = {.fd = feed_fd(feed), .events = POLLIN};
    assert_true(fd.fd >= 0);
    assert_int_equal(poll(&fd, 1, (int)(LIMIT_US / 1000)), 1);
}

#endif
