/* SPDX-License-Identifier: Apache-2.0 */
/* A queues.db in a folder of its own, and short words for what tests do with it. */
#ifndef TESTS_UNIT_QUEUE_QUEUE_FIXTURE_H
#define TESTS_UNIT_QUEUE_QUEUE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/queue/firing.h"
#include "master/queue/queue.h"
#include "master/record/sql.h"
#include "master/record/tree.h"

#define NOW 1700000000000000LL
#define HOUR 3600000000LL

struct fixture {
    char folder[64], path[128];
    struct queues *queues;
    struct mf_error error;
};

static inline int fixture_begin(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    strcpy(fixture->folder, "/tmp/mayfly-queue-XXXXXX");
    *state = fixture;
    if (mkdtemp(fixture->folder) == NULL)
        return -1;
    snprintf(fixture->path, sizeof fixture->path, "%s/state/queues.db", fixture->folder);
    if (queues_open(fixture->path, true, &fixture->queues, &fixture->error) != 1)
        return -1;
    /* What is tested here is the same without the disk. */
    return sql_exec(
        fixture->queues->db, fixture->path, "PRAGMA synchronous = OFF", &fixture->error);
}

static inline int fixture_end(void **state)
{
    struct fixture *fixture = *state;
    queues_close(fixture->queues);
    tree_remove(fixture->folder, NULL);
    free(fixture);
    return 0;
}

/* What failed is said. */
#define ok(fixture, call)                                                                          \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, (fixture)->error.text);                                      \
    } while (0)

static inline struct queue_info
make_queue(struct fixture *fixture, const char *name, struct queue_settings settings)
{
    struct queue_info info;
    int64_t id;
    ok(fixture, queue_create(fixture->queues, name, &settings, NOW, &id, &fixture->error));
    ok(fixture, queue_find(fixture->queues, name, &info, &fixture->error));
    assert_int_equal(info.id, id);
    return info;
}

static inline struct queue_info info_of(struct fixture *fixture, const char *name)
{
    struct queue_info info;
    ok(fixture, queue_find(fixture->queues, name, &info, &fixture->error));
    return info;
}

static inline int push_keyed(struct fixture *fixture,
                             const char *name,
                             const char *body,
                             const char *group,
                             const char *key,
                             int64_t now_us)
{
    struct queue_info info = info_of(fixture, name);
    struct queue_message message = {.body = mf_bytes_text(body), .group = group, .key = key};
    int rc = queue_push(fixture->queues, &info, &message, now_us, &fixture->error);
    ok(fixture, rc);
    return rc;
}

static inline void
push(struct fixture *fixture, const char *name, const char *body, const char *group)
{
    assert_int_equal(push_keyed(fixture, name, body, group, NULL, NOW), 1);
}

static inline uint64_t
claim(struct fixture *fixture, const char *name, const char *run_id, uint64_t most)
{
    struct queue_info info = info_of(fixture, name);
    uint64_t count = 99;
    ok(fixture, queue_claim(fixture->queues, info.id, run_id, most, &count, &fixture->error));
    return count;
}

/* The bodies, one behind the other with a space between. */
struct listing {
    char text[256];
    int64_t first_id;
    uint64_t failures, claims;
    char cause[64];
};

static inline int list_one(void *arg, const struct queue_message *message)
{
    struct listing *listing = arg;
    size_t at = strlen(listing->text);
    if (at == 0) {
        listing->first_id = message->id;
        listing->failures = message->failures;
        listing->claims = message->claims;
        snprintf(listing->cause,
                 sizeof listing->cause,
                 "%s",
                 message->cause == NULL ? "" : message->cause);
    }
    snprintf(listing->text + at,
             sizeof listing->text - at,
             "%s%.*s",
             at == 0 ? "" : " ",
             (int)message->body.length,
             (const char *)message->body.data);
    return 0;
}

static inline struct listing list(struct fixture *fixture, const char *name, const char *state)
{
    struct listing listing = {0};
    struct queue_info info = info_of(fixture, name);
    ok(fixture,
       queue_peek(fixture->queues, info.id, state, 0, list_one, &listing, &fixture->error));
    return listing;
}

static inline struct listing list_run(struct fixture *fixture, const char *run_id)
{
    struct listing listing = {0};
    ok(fixture, queue_claimed(fixture->queues, run_id, 0, 0, list_one, &listing, &fixture->error));
    return listing;
}

/* The counters that are kept are those that the rows yield, and of each group just the first is not
 * held. */
static inline void check_invariants(struct fixture *fixture)
{
    static const char counters[] =
        "SELECT count(*) FROM queue AS q WHERE"
        " ready <> (SELECT count(*) FROM message WHERE queue = q.id AND state = 'ready') OR"
        " claimed <> (SELECT count(*) FROM message WHERE queue = q.id AND state = 'claimed') OR"
        " dead <> (SELECT count(*) FROM message WHERE queue = q.id AND state = 'dead') OR"
        " ready_bytes <> (SELECT ifnull(sum(length(body)), 0) FROM message WHERE queue = q.id"
        "   AND state = 'ready')";
    static const char held[] =
        "SELECT count(*) FROM message AS m WHERE state <> 'dead' AND"
        " held <> (grp IS NOT NULL AND id > (SELECT min(id) FROM message AS n"
        "   WHERE n.queue = m.queue AND n.grp = m.grp AND n.state <> 'dead'))";
    static const char both[] = "SELECT count(*) FROM message WHERE held AND state <> 'ready'";
    const char *const checks[] = {counters, held, both};
    for (size_t i = 0; i < 3; i++) {
        int64_t wrong = -1;
        ok(fixture,
           sql_integer(fixture->queues->db, fixture->path, checks[i], &wrong, &fixture->error));
        assert_int_equal(wrong, 0);
    }
}

#endif
