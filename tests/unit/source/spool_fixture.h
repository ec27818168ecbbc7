/* SPDX-License-Identifier: Apache-2.0 */
/* A spool folder beside queues.db. */
#ifndef TESTS_UNIT_SOURCE_SPOOL_FIXTURE_H
#define TESTS_UNIT_SOURCE_SPOOL_FIXTURE_H

#include "tests/unit/source/source_fixture.h"

static char spool[96]; /* its path */

static inline struct feed_settings spool_settings(void)
{
    return (struct feed_settings){.spool = spool};
}

static inline int spool_begin(void **state)
{
    if (fixture_begin(state) < 0)
        return -1;
    struct fixture *fixture = *state;
    snprintf(spool, sizeof spool, "%s/spool", fixture->folder);
    if (mkdir(spool, 0777) < 0)
        return -1;
    make_queue(fixture, "q", (struct queue_settings){.claims_max = 1});
    return 0;
}

static inline const char *in_spool(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", spool, name);
    return path;
}

static inline int open_file(const char *name)
{
    int fd = open(in_spool(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    return fd;
}

static inline void write_to(int fd, const char *text)
{
    assert_int_equal(mf_write_all(fd, mf_bytes_text(text)), 0);
}

static inline void put(const char *name, const char *text)
{
    int fd = open_file(name);
    write_to(fd, text);
    close(fd);
}

static inline bool is_there(const char *name)
{
    struct stat status;
    return lstat(in_spool(name), &status) == 0;
}

/* What a file says; "" when it can't be read. */
static inline const char *content(const char *path)
{
    static char text[128];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

/* The bodies in a state, as paths. */
struct paths {
    char list[8][512];
    int64_t ids[8];
    size_t count;
};

static inline int take_path(void *arg, const struct queue_message *message)
{
    struct paths *paths = arg;
    if (paths->count == 8)
        return 1;
    paths->ids[paths->count] = message->id;
    snprintf(paths->list[paths->count++],
             sizeof paths->list[0],
             "%.*s",
             (int)message->body.length,
             (const char *)message->body.data);
    return 0;
}

static inline struct paths paths_of(struct fixture *fixture, const char *state)
{
    struct paths paths = {0};
    struct queue_info info = info_of(fixture, "q");
    ok(fixture, queue_peek(fixture->queues, info.id, state, 0, take_path, &paths, &fixture->error));
    return paths;
}

/* Ready messages, all of whose files are there. */
static inline uint64_t ready(struct fixture *fixture)
{
    struct paths paths = paths_of(fixture, "ready");
    for (size_t i = 0; i < paths.count; i++)
        assert_int_equal(access(paths.list[i], R_OK), 0);
    return info_of(fixture, "q").ready;
}

#endif
