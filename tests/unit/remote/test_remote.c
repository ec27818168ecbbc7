/* SPDX-License-Identifier: Apache-2.0 */
/* Commands over SSH, with a real sshd: codes, signals, streams, large input and output, many at
 * once, one after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/clock.h"
#include "tests/unit/remote/remote_stand.h"

#define MANY 32

static struct stand stand;

static void check(struct remote *remote, const char *command, const char *output, int code)
{
    struct answer answer;
    stand_exec(remote, command, (struct mf_bytes){0}, &answer);
    stand_wait(&stand, &remote, &answer, 1);
    if (answer.code == -1)
        fail_msg("%s", answer.error);
    assert_int_equal(answer.code, code);
    assert_string_equal(answer.output, output);
    answer_fini(&answer);
}

static void test_codes_and_signals(void **state)
{
    (void)state;
    struct remote *remote = stand_open(&stand, &stand.config);
    assert_string_equal(remote_peer_address(remote), "");
    check(remote, "true", "", 0);
    assert_string_equal(remote_peer_address(remote), "127.0.0.1");
    assert_string_equal(remote_own_address(remote), "127.0.0.1");
    check(remote, "false", "", 1);
    check(remote, "exit 255", "", 255);
    check(remote, "echo one; exit 7", "one\n", 7);
    check(remote, "sh -c 'kill -TERM $$'", "", 128 + 15);
    check(remote, "exec sh -c 'kill -KILL $$'", "", 128 + 9);
    check(remote, "/nonexistent 2>/dev/null", "", 127);
    remote_close(remote);
}

static void test_streams(void **state)
{
    (void)state;
    struct remote *remote = stand_open(&stand, &stand.config);
    struct answer answers[3];
    struct remote *remotes[] = {remote, remote, remote};
    stand_exec(remote, "cat; echo bad >&2; exit 3", mf_bytes_text("said"), &answers[0]);
    stand_exec(remote, "echo second", mf_bytes_text("nobody reads this"), &answers[1]);
    stand_exec(remote, "printf 'a\\0b'", (struct mf_bytes){0}, &answers[2]);
    stand_wait(&stand, remotes, answers, 3);
    assert_string_equal(answers[0].output, "said");
    assert_string_equal(answers[0].problem, "bad\n");
    assert_int_equal(answers[0].code, 3);
    assert_string_equal(answers[1].output, "second\n");
    assert_int_equal(answers[2].code, 0);
    for (unsigned i = 0; i < 3; i++)
        answer_fini(&answers[i]);
    remote_close(remote);
}

static void test_large_input(void **state)
{
    (void)state;
    size_t size = 24u << 20;
    unsigned char *input = malloc(size);
    assert_non_null(input);
    for (size_t i = 0; i < size; i++)
        input[i] = (unsigned char)(i * 31 >> 7 ^ i);
    char command[256], copy[128];
    snprintf(copy, sizeof copy, "%s/copy", stand.folder);
    snprintf(command, sizeof command, "cat > %s", copy);
    struct remote *remote = stand_open(&stand, &stand.config);
    struct answer answer;
    stand_exec(remote, command, mf_bytes_of(input, size), &answer);
    stand_wait(&stand, &remote, &answer, 1);
    assert_int_equal(answer.code, 0);
    answer_fini(&answer);
    FILE *file = fopen(copy, "r");
    unsigned char *back = malloc(size + 1);
    assert_non_null(file);
    assert_non_null(back);
    assert_int_equal(fread(back, 1, size + 1, file), size);
    assert_memory_equal(back, input, size);
    fclose(file);
    /* And through both directions at once, more than any window. */
    stand_exec(remote, "tee /dev/stderr", mf_bytes_of(input, size), &answer);
    stand_wait(&stand, &remote, &answer, 1);
    assert_int_equal(answer.code, 0);
    answer_fini(&answer);
    /* A command that reads nothing of it, or a little. */
    stand_exec(remote, "exit 4", mf_bytes_of(input, size), &answer);
    stand_wait(&stand, &remote, &answer, 1);
    assert_int_equal(answer.code, 4);
    answer_fini(&answer);
    stand_exec(remote, "head -c 100000 | wc -c", mf_bytes_of(input, size), &answer);
    stand_wait(&stand, &remote, &answer, 1);
    assert_string_equal(answer.output, "100000\n");
    answer_fini(&answer);
    /* One that has closed its output and goes on reading. */
    stand_exec(remote, "exec >&- 2>&-; wc -c > /dev/null", mf_bytes_of(input, size), &answer);
    stand_wait(&stand, &remote, &answer, 1);
    assert_int_equal(answer.code, 0);
    answer_fini(&answer);
    remote_close(remote);
    free(input);
    free(back);
}

static void test_large_output(void **state)
{
    (void)state;
    struct remote *remote = stand_open(&stand, &stand.config);
    struct answer answer;
    stand_exec(
        remote,
        "head -c 30000000 /dev/zero | tr '\\0' x; head -c 9000000 /dev/zero | tr '\\0' y >&2; "
        "exit 5",
        (struct mf_bytes){0},
        &answer);
    stand_wait(&stand, &remote, &answer, 1);
    assert_int_equal(answer.code, 5);
    assert_int_equal(strlen(answer.output), REMOTE_OUTPUT_MAX);
    assert_int_equal(strlen(answer.problem), REMOTE_OUTPUT_MAX);
    assert_int_equal(strspn(answer.output, "x"), REMOTE_OUTPUT_MAX);
    assert_int_equal(strspn(answer.problem, "y"), REMOTE_OUTPUT_MAX);
    answer_fini(&answer);
    remote_close(remote);
}

static void test_many_at_once(void **state)
{
    (void)state;
    struct remote *remotes[MANY];
    struct answer answers[MANY];
    char command[64], expected[64];
    for (unsigned i = 0; i < MANY; i++) {
        remotes[i] = stand_open(&stand, &stand.config);
        snprintf(command, sizeof command, "cat; echo %u; exit %u", i, i);
        stand_exec(remotes[i], command, mf_bytes_text("in "), &answers[i]);
    }
    stand_wait(&stand, remotes, answers, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        if (answers[i].code == -1)
            fail_msg("%s", answers[i].error);
        snprintf(expected, sizeof expected, "in %u\n", i);
        assert_string_equal(answers[i].output, expected);
        assert_int_equal(answers[i].code, i);
        answer_fini(&answers[i]);
        remote_close(remotes[i]);
    }
}

/* A callback that goes on: the next command, then the end. */
struct chain {
    struct remote *remote;
    unsigned calls;
    int codes[2];
};

static void on_chain(void *arg, const struct remote_result *result)
{
    struct chain *chain = arg;
    assert_true(chain->calls < 2);
    chain->codes[chain->calls++] = result->code;
    if (chain->calls == 2) {
        remote_close(chain->remote);
        chain->remote = NULL;
        return;
    }
    assert_int_equal(
        remote_exec(chain->remote, "exit 12", (struct mf_bytes){0}, on_chain, chain, NULL), 0);
}

static void test_exec_and_close_in_callback(void **state)
{
    (void)state;
    unsigned before = stand_descriptors();
    struct chain chain = {.remote = stand_open(&stand, &stand.config)};
    assert_int_equal(
        remote_exec(chain.remote, "exit 11", (struct mf_bytes){0}, on_chain, &chain, NULL), 0);
    int64_t limit = mf_monotonic_us() + 60000000;
    while (chain.remote != NULL && mf_monotonic_us() < limit) {
        int64_t next = remote_tick(chain.remote, mf_monotonic_us());
        if (chain.remote != NULL)
            mf_loop_step(stand.loop, next < limit ? next : limit, NULL);
    }
    assert_int_equal(chain.calls, 2);
    assert_int_equal(chain.codes[0], 11);
    assert_int_equal(chain.codes[1], 12);
    assert_int_equal(stand_descriptors(), before);
}

static int set_up(void **state)
{
    (void)state;
    stand_start(&stand, "MaxStartups 100");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stand_stop(&stand);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_codes_and_signals),
                                       cmocka_unit_test(test_streams),
                                       cmocka_unit_test(test_large_input),
                                       cmocka_unit_test(test_large_output),
                                       cmocka_unit_test(test_many_at_once),
                                       cmocka_unit_test(test_exec_and_close_in_callback)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
