/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queues.db on a disk that loses power or fails: what a commit has said is there after a cut at any
 * moment, what it has refused is not, and the counters are those of the messages.
 *
 * environment: MAYFLY_POWER_CUT_SEEDS (1), MAYFLY_POWER_CUT_FIRST (1)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "master/queue/queue.h"
#include "master/record/sql.h"
#include "master/record/tree.h"
#include "tests/unit/disk/disk_shim.h"

#define NOW 1700000000000000LL
#define CUTS_MAX 40u
#define CUT_EACH 15u /* about one of so many changes */
#define ROUNDS 60u   /* of five pushes each, and a run that takes three messages */

struct promised {
    uint64_t made, pushed, done;
};

struct world {
    char base[64], state[80], path[128];
    struct queues *queues;
    struct promised now, cuts[CUTS_MAX];
    unsigned cut_count;
    uint64_t random;
    struct mf_error error;
};

static uint64_t next_random(struct world *world)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return world->random;
}

static int begin(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    snprintf(world->base, sizeof world->base, "/tmp/mayfly-queue-disk-XXXXXX");
    *state = world;
    if (mkdtemp(world->base) == NULL)
        return -1;
    snprintf(world->state, sizeof world->state, "%s/state", world->base);
    snprintf(world->path, sizeof world->path, "%s/queues.db", world->state);
    return mkdir(world->state, 0700);
}

static int end(void **state)
{
    struct world *world = *state;
    disk_before_change(NULL, NULL);
    disk_watch(NULL);
    queues_close(world->queues);
    tree_remove(world->base, NULL);
    free(world);
    return 0;
}

static void must(struct world *world, int rc)
{
    if (rc < 0)
        fail_msg("%s", world->error.text);
}

static void cut_path(const struct world *world, unsigned cut, char *path, size_t size)
{
    snprintf(path, size, "%s/cut%u", world->base, cut);
}

static void maybe_cut(void *arg, unsigned long change)
{
    struct world *world = arg;
    char path[128];
    (void)change;
    if (world->cut_count == CUTS_MAX || next_random(world) % CUT_EACH != 0)
        return;
    cut_path(world, world->cut_count, path, sizeof path);
    world->cuts[world->cut_count++] = world->now;
    disk_cut(path, next_random(world));
}

static void reopen(struct world *world)
{
    queues_close(world->queues);
    world->queues = NULL;
    must(world, queues_open(world->path, true, &world->queues, &world->error));
}

/* One message with its number, in a transaction of its own. */
static int push(struct world *world, uint64_t number)
{
    char body[600];
    struct queue_info info;
    snprintf(body, sizeof body, "%0500llu", (unsigned long long)number);
    struct queue_message message = {.body = mf_bytes_text(body)};
    if (queues_begin(world->queues, &world->error) < 0 ||
        queue_find(world->queues, "docs", &info, &world->error) < 0 ||
        queue_push(world->queues, &info, &message, NOW, &world->error) < 0) {
        queues_rollback(world->queues);
        return -1;
    }
    return queues_commit(world->queues, &world->error);
}

static void create(struct world *world)
{
    struct queue_settings settings = {0};
    int64_t id;
    must(world, queues_begin(world->queues, &world->error));
    must(world, queue_create(world->queues, "docs", &settings, NOW, &id, &world->error));
    must(world, queues_commit(world->queues, &world->error));
}

static void work_on_three(struct world *world)
{
    struct queue_info info;
    uint64_t count;
    must(world, queues_begin(world->queues, &world->error));
    must(world, queue_find(world->queues, "docs", &info, &world->error));
    must(world, queue_claim(world->queues, info.id, "run", 3, &count, &world->error));
    must(world, queues_commit(world->queues, &world->error));
    must(world, queues_begin(world->queues, &world->error));
    must(world, queue_done(world->queues, "run", &count, &world->error));
    must(world, queues_commit(world->queues, &world->error));
    world->now.done += count;
}

struct following {
    uint64_t next;
};

/* They follow each other without a gap. */
static int check_next(void *arg, const struct queue_message *message)
{
    struct following *following = arg;
    char body[600];
    snprintf(body, sizeof body, "%0500llu", (unsigned long long)following->next++);
    assert_int_equal(message->body.length, 500);
    assert_memory_equal(message->body.data, body, 500);
    return 0;
}

static uint64_t check_queue(struct world *world, struct queues *queues, struct promised least)
{
    struct queue_info info;
    must(world, queue_find(queues, "docs", &info, &world->error));
    assert_true(info.pushed >= least.pushed && info.pushed <= least.pushed + 1);
    assert_true(info.done >= least.done && info.done <= least.done + 3);
    assert_int_equal(info.ready + info.claimed + info.done, info.pushed);
    /* Runs take the first ones. */
    struct following claimed = {.next = info.done + 1};
    must(world, queue_peek(queues, info.id, "claimed", 0, check_next, &claimed, &world->error));
    assert_int_equal(claimed.next, info.done + info.claimed + 1);
    must(world, queue_peek(queues, info.id, "ready", 0, check_next, &claimed, &world->error));
    assert_int_equal(claimed.next, info.pushed + 1);
    return info.pushed;
}

static void check_cut(struct world *world, unsigned cut)
{
    char path[160], folder[128];
    struct queues *queues = NULL;
    const struct promised *promised = &world->cuts[cut];
    struct queue_info info;
    cut_path(world, cut, folder, sizeof folder);
    snprintf(path, sizeof path, "%s/queues.db", folder);
    int rc = queues_open(path, false, &queues, &world->error);
    must(world, rc);
    if (promised->made == 0 && (rc == 0 || queue_find(queues, "docs", &info, NULL) < 0)) {
        queues_close(queues); /* it was just being made: it can be made */
        must(world, queues_open(path, true, &queues, &world->error));
    } else {
        check_queue(world, queues, *promised);
    }
    queues_close(queues);
}

static void cut_and_look(struct world *world, uint64_t seed)
{
    tree_remove(world->state, NULL);
    assert_int_equal(mkdir(world->state, 0700), 0);
    world->now = (struct promised){0};
    world->cut_count = 0;
    world->random = seed * 0x9e3779b97f4a7c15u;
    disk_watch(world->state);
    disk_before_change(maybe_cut, world);
    must(world, queues_open(world->path, true, &world->queues, &world->error));
    create(world);
    world->now.made = 1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < 5; i++) {
            must(world, push(world, world->now.pushed + 1));
            world->now.pushed++;
        }
        work_on_three(world);
        if (round % 4 == 0) /* most pushes are processes of their own */
            reopen(world);
    }
    disk_before_change(NULL, NULL);
    disk_watch(NULL);
    assert_true(world->cut_count > 20);
    for (unsigned cut = 0; cut < world->cut_count; cut++)
        check_cut(world, cut);
    check_queue(world, world->queues, world->now);
    queues_close(world->queues);
    world->queues = NULL;
}

static unsigned long number_of(const char *name)
{
    const char *text = getenv(name);
    return text == NULL ? 1 : strtoul(text, NULL, 10);
}

static void test_a_power_cut_takes_nothing_that_was_committed(void **state)
{
    struct world *world = *state;
    unsigned long first = number_of("MAYFLY_POWER_CUT_FIRST");
    unsigned long seeds = number_of("MAYFLY_POWER_CUT_SEEDS");
    for (unsigned long seed = first; seed < first + seeds; seed++) {
        print_message("seed %lu\n", seed);
        cut_and_look(world, seed);
        for (unsigned cut = 0; cut < world->cut_count; cut++) {
            char path[128];
            cut_path(world, cut, path, sizeof path);
            tree_remove(path, NULL);
        }
    }
}

static void test_a_disk_that_fails_anywhere(void **state)
{
    struct world *world = *state;
    static const struct {
        enum disk_call call;
        int number;
    } kinds[] = {{DISK_WRITE, ENOSPC},
                 {DISK_WRITE, EIO},
                 {DISK_WRITE, DISK_SHORT},
                 {DISK_WRITE, EINTR},
                 {DISK_SYNC, EIO}};
    must(world, queues_open(world->path, true, &world->queues, &world->error));
    create(world);
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
        for (unsigned long n = 1;; n++) {
            disk_fail(kinds[kind].call, n, kinds[kind].number, false);
            int rc = push(world, world->now.pushed + 1);
            bool was_met = disk_count(kinds[kind].call) >= n;
            bool is_in_doubt = world->queues->is_in_doubt;
            disk_fail(kinds[kind].call, 0, 0, false);
            if (rc < 0)
                assert_true(world->error.code ==
                            (kinds[kind].number == ENOSPC ? MF_EFULL : MF_ESETUP));
            else
                world->now.pushed++;
            assert_int_equal(is_in_doubt, rc < 0 && kinds[kind].call == DISK_SYNC);
            reopen(world);
            uint64_t found = check_queue(world, world->queues, world->now);
            if (!is_in_doubt)
                assert_int_equal(found, world->now.pushed);
            world->now.pushed = found;
            if (!was_met)
                break;
        }
    assert_true(world->now.pushed >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_a_power_cut_takes_nothing_that_was_committed, begin, end),
        cmocka_unit_test_setup_teardown(test_a_disk_that_fails_anywhere, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
