/* SPDX-License-Identifier: Apache-2.0 */
/* Crash points: who dies at which pass, and what is refused. Each try is a process of its own. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/crash.h"

#define LAST_WORDS 9

static int words_fd;

static void say_last_words(const char *point)
{
    if (write(words_fd, point, strlen(point)) < 0)
        _exit(1);
}

/* How often the process passes the point until it ends; `passes` when it lives on. Its last words
 * are in `words`. */
static int passes_of(const char *specification, uint32_t worker, int passes, char words[64])
{
    int fds[2], status, lived = 0;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct mf_error error;
        words_fd = fds[1];
        mf_crash_tell(say_last_words);
        if (mf_crash_arm(specification, worker, &error) < 0)
            _exit(100);
        for (int i = 0; i < passes; i++) {
            MF_CRASH(WORKER_BEFORE_END);
            if (write(fds[1], ".", 1) != 1)
                _exit(101);
        }
        _exit(LAST_WORDS);
    }
    close(fds[1]);
    memset(words, 0, 64);
    size_t length = 0;
    for (ssize_t n; (n = read(fds[0], words + length, 63 - length)) > 0;)
        length += (size_t)n;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), LAST_WORDS);
    else
        assert_int_equal(WTERMSIG(status), SIGKILL);
    while (words[lived] == '.')
        lived++;
    return lived;
}

static void it_dies_at_the_pass_that_was_asked_for(void **state)
{
    (void)state;
    char words[64];
    assert_int_equal(passes_of("worker.before-end", 1, 5, words), 0);
    assert_string_equal(words, "worker.before-end");
    assert_int_equal(passes_of("worker.before-end:4", 1, 5, words), 3);
    assert_string_equal(words, "...worker.before-end");
    assert_int_equal(passes_of("worker.after-end:2,worker.before-end:2@7", 7, 5, words), 1);
}

static void others_live_on(void **state)
{
    (void)state;
    char words[64];
    assert_int_equal(passes_of(NULL, 1, 5, words), 5);
    assert_int_equal(passes_of("", 1, 5, words), 5);
    assert_int_equal(passes_of("worker.after-end", 1, 5, words), 5);
    assert_int_equal(passes_of("worker.before-end", 2, 5, words), 5);
    assert_int_equal(passes_of("worker.before-end@3", 1, 5, words), 5);
    assert_int_equal(passes_of("worker.before-end:6", 1, 5, words), 5);
    assert_int_equal(passes_of("master.before-commit,worker.before-end", 0, 5, words), 5);
}

static void what_is_malformed_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"worker.before-en",
                                        "worker.before-end:",
                                        "worker.before-end:0",
                                        "worker.before-end:1x",
                                        "worker.before-end@",
                                        ",",
                                        "worker.before-end,nothing"};
    struct mf_error error;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(mf_crash_arm(wrong[i], 9, &error), -1);
        assert_int_equal(error.code, MF_EUSAGE);
        assert_non_null(strstr(error.text, "MAYFLY_CRASH"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_dies_at_the_pass_that_was_asked_for),
                                       cmocka_unit_test(others_live_on),
                                       cmocka_unit_test(what_is_malformed_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
