/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A redis-server of our own, at a socket in the test's folder, and what tests ask of it. It keeps
 * what it has said (appendfsync always), so that it can be killed. Ended with the process that
 * started it, whatever becomes of that.
 */
#ifndef TESTS_UNIT_SOURCE_REDIS_FIXTURE_H
#define TESTS_UNIT_SOURCE_REDIS_FIXTURE_H

#include <sys/prctl.h>

#include "master/source/redis_link.h"
#include "tests/unit/source/source_fixture.h"

static char redis_folder[64];
static char redis_socket[96];
static pid_t redis_pid;

/* Is this connection as good as any: one without a user. */
static inline struct redis_link *redis_connect(void)
{
    static struct redis_place place;
    place = (struct redis_place){.server = redis_socket};
    return redis_link_open(&place, NULL);
}

static inline void redis_start(void)
{
    char config[128];
    snprintf(config, sizeof config, "%s/config", redis_folder);
    FILE *file = fopen(config, "w");
    fprintf(file,
            "port 0\nunixsocket %s\ndir %s\nappendonly yes\nappendfsync always\nsave \"\"\n"
            "logfile %s/log\ndaemonize no\n",
            redis_socket,
            redis_folder,
            redis_folder);
    fclose(file);
    redis_pid = fork();
    if (redis_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("redis-server", "redis-server", config, (char *)NULL);
        _exit(127);
    }
    int64_t limit_us = mf_monotonic_us() + LIMIT_US;
    for (;;) {
        struct redis_link *link = redis_connect();
        redisReply *reply = link == NULL ? NULL : redis_ask(link, NULL, "PING");
        bool is_up = reply != NULL; /* else it loads what it has */
        redis_free(reply);
        redis_link_close(link);
        if (is_up)
            return;
        if (waitpid(redis_pid, NULL, WNOHANG) != 0)
            fail_msg("redis-server does not start: see %s/log; is the package installed?",
                     redis_folder);
        if (mf_monotonic_us() > limit_us)
            fail_msg("redis-server is not up in time");
        usleep(5000);
    }
}

static inline void redis_stop(int signal)
{
    kill(redis_pid, signal);
    waitpid(redis_pid, NULL, 0);
    redis_pid = 0;
}

static inline int redis_begin_all(void **state)
{
    (void)state;
    strcpy(redis_folder, "/tmp/mayfly-redis-XXXXXX");
    if (mkdtemp(redis_folder) == NULL)
        return -1;
    snprintf(redis_socket, sizeof redis_socket, "%s/socket", redis_folder);
    redis_start();
    return 0;
}

static inline int redis_end_all(void **state)
{
    (void)state;
    if (redis_pid != 0)
        redis_stop(SIGKILL);
    return tree_remove(redis_folder, NULL);
}

/* Commands of other programs. NULL ends the words. */
static inline redisReply *redis_do(const char *const *words)
{
    struct mf_error error;
    struct redis_link *link = redis_connect();
    assert_non_null(link);
    redisReply *reply = redis_ask_words(link, words, &error);
    if (reply == NULL)
        fail_msg("%s: %s", words[0], error.text);
    redis_link_close(link);
    return reply;
}

#define redis(...) redis_free(redis_do((const char *const[]){__VA_ARGS__, NULL}))

/* A command whose reply is a number. */
static inline long long redis_number_of(const char *const *words)
{
    redisReply *reply = redis_do(words);
    assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
    long long number = reply->integer;
    redis_free(reply);
    return number;
}

#define redis_number(...) redis_number_of((const char *const[]){__VA_ARGS__, NULL})

/* How many keys there are: at the end nothing of ours is left. */
static inline long long redis_keys(void)
{
    return redis_number("DBSIZE");
}

static inline int redis_begin(void **state)
{
    if (fixture_begin(state) < 0)
        return -1;
    make_queue(*state, "q", (struct queue_settings){0});
    redis("FLUSHALL");
    return 0;
}

static inline struct feed_settings list_settings(void)
{
    return (struct feed_settings){.server = redis_socket, .list = "work"};
}

static inline struct feed_settings stream_settings(void)
{
    return (struct feed_settings){.server = redis_socket, .stream = "events"};
}

static inline void await_backoff(const struct feed *feed)
{
    while (mf_monotonic_us() < feed_next_us(feed))
        usleep(5000);
}

/* Polls until nothing more comes, through failures. */
static inline void poll_to_end(struct fixture *fixture, struct feed *feed)
{
    int64_t limit_us = mf_monotonic_us() + LIMIT_US;
    for (;;) {
        struct feed_report report;
        int rc = feed_poll(feed, fixture->queues, 0, &report, &fixture->error);
        if (rc < 0)
            await_backoff(feed);
        else if (report.pushed + report.known + report.aside == 0)
            return;
        if (mf_monotonic_us() > limit_us)
            fail_msg("does not come to an end: %s", fixture->error.text);
    }
}

#endif
