/* SPDX-License-Identifier: Apache-2.0 */
/* The host's cache of inputs: shared by workers, whole or not at all, gone with the last of them.
 */
#include "worker/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/place.h"

#define SUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct state {
    char run[80];
    char workers[2][96];
    struct cache *caches[2]; /* of two workers */
    struct mf_error error;
};

static int set_up(void **place)
{
    struct state *state = calloc(1, sizeof *state);
    const char *base = getenv("TMPDIR");
    assert_non_null(state);
    snprintf(
        state->run, sizeof state->run, "%.50s/mayfly-cache-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(state->run));
    for (int i = 0; i < 2; i++) {
        snprintf(state->workers[i], sizeof state->workers[i], "%s/%d", state->run, i + 1);
        assert_int_equal(mkdir(state->workers[i], 0700), 0);
        state->caches[i] = cache_open(state->workers[i], &state->error);
        assert_non_null(state->caches[i]);
    }
    *place = state;
    return 0;
}

static int tear_down(void **place)
{
    struct state *state = *place;
    for (int i = 0; i < 2; i++)
        cache_close(state->caches[i]);
    int rc = place_remove(state->run, NULL, NULL);
    free(state);
    return rc;
}

static bool is_there(const struct state *state, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", state->run, name);
    return access(path, F_OK) == 0;
}

static unsigned links_of(const struct state *state, const char *name)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", state->run, name);
    return stat(path, &st) < 0 ? 0 : (unsigned)st.st_nlink;
}

static int take(struct state *state, int worker, const char *key, struct cache_entry *entry)
{
    return cache_take(state->caches[worker], key, entry, &state->error);
}

static void put(struct state *state,
                int worker,
                const struct cache_entry *entry,
                const char *name,
                const char *text,
                const char *sum)
{
    struct cache *cache = state->caches[worker];
    int fd = cache_create_file(cache, entry, name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    assert_int_equal(cache_finish_file(cache, entry, name, 0400, sum, &state->error), 0);
}

/* Fetches an entry with one file; it is in use then. */
static void fetch(struct state *state,
                  int worker,
                  const char *key,
                  const char *text,
                  const char *sum,
                  struct cache_entry *entry)
{
    assert_int_equal(take(state, worker, key, entry), 1);
    assert_false(entry->is_whole);
    put(state, worker, entry, "file", text, sum);
    assert_int_equal(cache_publish(state->caches[worker], entry, &state->error), 0);
    assert_true(entry->is_whole);
}

static void one_fetches_and_all_use(void **place)
{
    struct state *state = *place;
    struct cache_entry first, second, third;
    assert_int_equal(take(state, 0, "k", &first), 1);
    assert_int_equal(take(state, 1, "k", &second), 0); /* later */
    put(state, 0, &first, "a/b c", "text", NULL);
    assert_int_equal(cache_create_folder(state->caches[0], &first, "d/e"), 0);
    assert_false(is_there(state, "inputs/k/whole"));
    assert_int_equal(cache_publish(state->caches[0], &first, &state->error), 0);
    assert_int_equal(take(state, 1, "k", &second), 1);
    assert_true(second.is_whole);
    assert_int_equal(take(state, 0, "k", &third), 1);
    assert_true(third.is_whole);
    char *path = cache_path(state->caches[1], "k");
    assert_non_null(path);
    assert_int_equal(strncmp(path, state->run, strlen(state->run)), 0);
    assert_true(is_there(state, "inputs/k/whole/a/b c"));
    assert_true(is_there(state, "inputs/k/whole/d/e"));
    free(path);
    cache_give_back(state->caches[0], &third);
    cache_give_back(state->caches[1], &second);
    cache_give_back(state->caches[0], &first);
    /* It stays for the next one. */
    assert_int_equal(take(state, 1, "k", &second), 1);
    assert_true(second.is_whole);
    cache_give_back(state->caches[1], &second);
}

static void what_is_not_whole_goes(void **place)
{
    struct state *state = *place;
    struct cache_entry entry;
    assert_int_equal(take(state, 0, "k", &entry), 1);
    put(state, 0, &entry, "file", "half", NULL);
    cache_give_back(state->caches[0], &entry);
    assert_false(is_there(state, "inputs/k"));
    fetch(state, 1, "k", "whole", NULL, &entry);
    cache_give_back(state->caches[1], &entry);
}

/* A killed worker leaves a part and no lock. */
static void a_killed_fetch_leaves_what_the_next_replaces(void **place)
{
    struct state *state = *place;
    pid_t pid = fork();
    if (pid == 0) {
        struct cache_entry entry;
        struct cache *cache = cache_open(state->workers[0], NULL);
        if (cache == NULL || cache_take(cache, "k", &entry, NULL) != 1 ||
            cache_create_file(cache, &entry, "file") < 0)
            _exit(1);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(is_there(state, "inputs/k/part/file"));
    struct cache_entry entry;
    fetch(state, 1, "k", "anew", NULL, &entry);
    assert_true(is_there(state, "inputs/k/whole/file"));
    cache_give_back(state->caches[1], &entry);
}

static void the_same_content_is_stored_once(void **place)
{
    struct state *state = *place;
    struct cache_entry one, two;
    fetch(state, 0, "one", "same", SUM, &one);
    fetch(state, 1, "two", "same", SUM, &two);
    assert_int_equal(links_of(state, "inputs/data/" SUM), 3);
    assert_int_equal(links_of(state, "inputs/two/whole/file"), 3);
    cache_give_back(state->caches[0], &one);
    cache_give_back(state->caches[1], &two);
    /* Gone with the last entry that has it. */
    struct cache_entry other;
    for (int i = 0; i < 70; i++) {
        char key[16];
        snprintf(key, sizeof key, "other%d", i);
        for (int worker = 0; worker < 2; worker++) {
            assert_int_equal(take(state, worker, key, &other), 1);
            if (!other.is_whole)
                assert_int_equal(cache_publish(state->caches[worker], &other, &state->error), 0);
            cache_give_back(state->caches[worker], &other);
        }
    }
    assert_false(is_there(state, "inputs/one"));
    assert_false(is_there(state, "inputs/two"));
    assert_false(is_there(state, "inputs/data/" SUM));
}

static unsigned count_entries(const struct state *state)
{
    char path[128];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/inputs", state->run);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *at; (at = readdir(folder)) != NULL;)
        count += at->d_name[0] != '.';
    closedir(folder);
    return count;
}

static void few_unused_ones_are_kept(void **place)
{
    struct state *state = *place;
    struct cache_entry entry, used;
    fetch(state, 1, "used", "x", NULL, &used);
    for (int i = 0; i < 300; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        fetch(state, 0, key, "x", NULL, &entry);
        cache_give_back(state->caches[0], &entry);
    }
    assert_true(count_entries(state) <= 66);
    assert_true(is_there(state, "inputs/k299/whole/file"));
    assert_false(is_there(state, "inputs/k0"));
    assert_true(is_there(state, "inputs/used/whole/file"));
    cache_give_back(state->caches[1], &used);
}

static void few_large_ones_are_kept(void **place)
{
    struct state *state = *place;
    struct cache_entry entry;
    for (int i = 0; i < 4; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        fetch(state, 0, key, "x", NULL, &entry);
        entry.bytes = UINT64_C(600) << 20;
        cache_give_back(state->caches[0], &entry);
    }
    assert_int_equal(count_entries(state), 1);
    assert_true(is_there(state, "inputs/k3/whole/file"));
}

static void room_is_made_of_what_nobody_uses(void **place)
{
    struct state *state = *place;
    struct cache_entry used, unused, job;
    assert_int_equal(cache_make_room(state->caches[0], 1, &state->error), 1);
    fetch(state, 0, CACHE_JOB_KEY, "x", NULL, &job);
    fetch(state, 1, "unused", "x", NULL, &unused);
    cache_give_back(state->caches[1], &unused);
    /* More than the disk has altogether: nothing is removed in vain. */
    assert_int_equal(cache_make_room(state->caches[0], UINT64_MAX, &state->error), -1);
    assert_non_null(strstr(state->error.text, "bytes are needed, and the disk of"));
    assert_true(is_there(state, "inputs/unused"));
    /* More than is free now, in all likelihood: only what is in use stays. */
    uint64_t most = 0;
    for (int bit = 62; bit >= 0; bit--)
        if (cache_make_room(state->caches[0], most + (UINT64_C(1) << bit), NULL) == 1)
            most += UINT64_C(1) << bit;
    assert_true(most > 0);
    fetch(state, 1, "used", "x", NULL, &used);
    cache_give_back(state->caches[1], &used);
    assert_true(is_there(state, "inputs/" CACHE_JOB_KEY "/whole/file"));
    cache_give_back(state->caches[0], &job);
}

static void the_last_worker_takes_it_away(void **place)
{
    struct state *state = *place;
    struct cache_entry entry;
    fetch(state, 0, "k", "x", NULL, &entry);
    cache_give_back(state->caches[0], &entry);
    cache_close(state->caches[0]);
    state->caches[0] = NULL;
    assert_true(is_there(state, "inputs/k/whole/file"));
    assert_int_equal(take(state, 1, "k", &entry), 1);
    cache_give_back(state->caches[1], &entry);
    cache_close(state->caches[1]);
    state->caches[1] = NULL;
    assert_false(is_there(state, "inputs"));
    assert_true(is_there(state, "2/inputs/k/whole/file")); /* and goes with its folder */
    /* A later one begins anew. */
    state->caches[0] = cache_open(state->workers[0], &state->error);
    assert_non_null(state->caches[0]);
    assert_int_equal(take(state, 0, "k", &entry), 1);
    assert_false(entry.is_whole);
    cache_give_back(state->caches[0], &entry);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(one_fetches_and_all_use),
        CASE(what_is_not_whole_goes),
        CASE(a_killed_fetch_leaves_what_the_next_replaces),
        CASE(the_same_content_is_stored_once),
        CASE(few_unused_ones_are_kept),
        CASE(few_large_ones_are_kept),
        CASE(room_is_made_of_what_nobody_uses),
        CASE(the_last_worker_takes_it_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
