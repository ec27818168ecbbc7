/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out on the way to a host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "tests/unit/remote/remote_stand.h"

/* libssh2 1.10 forgets the host's key when memory runs out in the middle of a key exchange. To see
 * that a leak is that one, whole stacks are needed. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}

const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libssh2_session_handshake\n";
}

static struct stand stand;

/* Each allocation fails once, libssh2's too: the answer is an error, or none is needed. */
static void test_out_of_memory(void **state)
{
    (void)state;
    /* A packet that libssh2 had no room for is lost: then only the limit helps. */
    struct remote_config config = stand.config;
    config.connect_us = 1000000;
    for (unsigned long n = 1;; n++) {
        struct answer answer = {0};
        struct mf_error error;
        struct remote_target target = {.host = "127.0.0.1", .port = stand.port};
        mf_alloc_fail_at(n);
        struct remote *remote = remote_open(stand.loop, &config, &target, &error);
        if (remote == NULL) {
            assert_int_equal(error.code, MF_ENOMEM);
            mf_alloc_fail_at(0);
            continue;
        }
        mf_alloc_fail_at(0);
        stand_exec(remote, "echo x", (struct mf_bytes){0}, &answer);
        mf_alloc_fail_at(n);
        stand_wait(&stand, &remote, &answer, 1);
        bool failed = mf_alloc_count() >= n;
        mf_alloc_fail_at(0);
        int code = answer.code;
        answer_fini(&answer);
        remote_close(remote);
        if (!failed) {
            assert_int_equal(code, 0);
            return;
        }
    }
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_out_of_memory)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
