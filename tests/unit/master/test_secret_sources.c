/* SPDX-License-Identifier: Apache-2.0 */
/* Reading secrets again: what has changed is taken, what cannot be read stays, and nothing hangs.
 * (What is said of sources that cannot be read at first: system.secrets.) */
#include "master/secret_sources.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/clock.h"

#define LIMIT_MS 20000

struct state {
    char folder[64];
    struct job *job;
    struct secret_sources *sources;
    struct mf_error error;
};

static int set_up(void **place)
{
    struct state *state = mf_calloc(1, sizeof *state);
    const char *base = getenv("TMPDIR");
    snprintf(state->folder,
             sizeof state->folder,
             "%.30s/mayfly-sources-XXXXXX",
             base == NULL ? "/tmp" : base);
    *place = state;
    return mkdtemp(state->folder) == NULL ? -1 : 0;
}

static int tear_down(void **place)
{
    static const char *const names[] = {"one", "two", "pid"};
    struct state *state = *place;
    char path[128];
    secret_sources_close(state->sources);
    job_destroy(state->job);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", state->folder, names[i]);
        unlink(path);
    }
    int rc = rmdir(state->folder);
    mf_free(state);
    return rc;
}

static void put(const struct state *state, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", state->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void read_job(struct state *state, const char *secrets)
{
    char text[512];
    snprintf(text,
             sizeof text,
             "mayfly: 1\nsplit: {range: 1-3}\ntask: {command: [echo]}\nsecrets: %s\n",
             secrets);
    state->job = job_parse("j.yaml", state->folder, mf_bytes_text(text), NULL, 0, &state->error);
    if (state->job == NULL)
        fail_msg("%s", state->error.text);
}

static void open_sources(struct state *state, const char *secrets)
{
    bool interrupted = true;
    read_job(state, secrets);
    state->sources = secret_sources_open(state->job, -1, &interrupted, &state->error);
    if (state->sources == NULL)
        fail_msg("%s", state->error.text);
    assert_false(interrupted);
}

static uint32_t refresh(struct state *state)
{
    struct pollfd fd = {.fd = secret_sources_fd(state->sources), .events = POLLIN};
    secret_sources_refresh(state->sources);
    secret_sources_refresh(state->sources); /* while it is under way nothing more is begun */
    assert_int_equal(poll(&fd, 1, LIMIT_MS), 1);
    return secret_sources_take(state->sources);
}

static void assert_secret(
    const struct state *state, uint32_t i, const char *name, const char *value, uint32_t version)
{
    uint32_t count = 0;
    const struct mf_secret *list = secret_sources_list(state->sources, &count);
    assert_true(i < count);
    assert_string_equal(list[i].name, name);
    assert_int_equal(list[i].data.length, strlen(value));
    assert_memory_equal(list[i].data.data, value, strlen(value));
    assert_int_equal(list[i].version, version);
}

static void what_has_changed_is_taken(void **place)
{
    struct state *state = *place;
    put(state, "one", "1");
    put(state, "two", "2\n");
    setenv("MAYFLY_TEST_SECRET", "3", 1);
    open_sources(state, "{A: {file: one}, B: {command: [cat, two]}, C: {env: MAYFLY_TEST_SECRET}}");
    assert_secret(state, 0, "A", "1", 1);
    assert_secret(state, 1, "B", "2\n", 1);
    assert_secret(state, 2, "C", "3", 1);
    setenv("MAYFLY_TEST_SECRET", "4", 1);
    assert_int_equal(refresh(state), 0);
    put(state, "two", "22");
    assert_int_equal(refresh(state), 1);
    assert_secret(state, 0, "A", "1", 1);
    assert_secret(state, 1, "B", "22", 2);
    assert_secret(state, 2, "C", "3", 1); /* as it was when the run began */
    put(state, "one", "11");
    put(state, "two", "222");
    assert_int_equal(refresh(state), 2);
    assert_secret(state, 0, "A", "11", 3);
    assert_secret(state, 1, "B", "222", 3);
}

static void what_cannot_be_read_again_stays(void **place)
{
    struct state *state = *place;
    char path[128];
    put(state, "one", "1");
    put(state, "two", "2");
    open_sources(state, "{A: {file: one}, B: {command: [cat, two]}}");
    snprintf(path, sizeof path, "%s/one", state->folder);
    assert_int_equal(unlink(path), 0);
    put(state, "two", "");
    assert_int_equal(refresh(state), 0);
    assert_secret(state, 0, "A", "1", 1);
    assert_secret(state, 1, "B", "2", 1);
}

static void all_of_them_have_a_limit(void **place)
{
    struct state *state = *place;
    struct mf_buffer text = {0};
    bool interrupted;
    static char value[65536];
    memset(value, 'x', sizeof value - 1);
    put(state, "one", value);
    for (int i = 0; i < 17; i++)
        assert_int_equal(
            mf_buffer_printf(&text, NULL, "%sK%d: {file: one}", i == 0 ? "{" : ", ", i), 0);
    assert_int_equal(mf_buffer_append_text(&text, "}", NULL), 0);
    read_job(state, mf_buffer_text(&text));
    mf_buffer_fini(&text);
    assert_null(secret_sources_open(state->job, -1, &interrupted, &state->error));
    assert_non_null(strstr(state->error.text, "larger than 1 MiB together"));
    assert_non_null(strstr(state->error.text, "j.yaml:4: secrets.K16"));
}

static void a_command_that_hangs_is_ended_with_the_run(void **place)
{
    struct state *state = *place;
    put(state, "one", "1");
    open_sources(state, "{A: {command: [sh, -c, 'cat one; [ ! -e two ] || exec sleep 1000']}}");
    put(state, "two", "");
    secret_sources_refresh(state->sources);
    int64_t before_us = mf_monotonic_us();
    secret_sources_close(state->sources);
    state->sources = NULL;
    assert_true(mf_monotonic_us() - before_us < 10000000); /* and not the 30 s that it has */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_has_changed_is_taken),
        CASE(what_cannot_be_read_again_stays),
        CASE(all_of_them_have_a_limit),
        CASE(a_command_that_hangs_is_ended_with_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
