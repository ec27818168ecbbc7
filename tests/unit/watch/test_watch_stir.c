/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of queues.db are told once for each time that somebody asked. */
#include "master/watch/stir.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/record/tree.h"

static void append(const char *folder, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs("x", file);
    fclose(file);
}

static bool is_ready(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

static void test_told_once(void **state)
{
    (void)state;
    char folder[] = "/tmp/mayfly-stir-XXXXXX", runs[64];
    struct mf_error error;
    assert_non_null(mkdtemp(folder));
    snprintf(runs, sizeof runs, "%s/runs", folder);
    assert_int_equal(mkdir(runs, 0700), 0);
    int fd = stir_open(&error);
    assert_true(fd >= 0);
    append(folder, "queues.db-wal");
    assert_false(is_ready(fd)); /* nobody has asked */
    assert_int_equal(stir_arm(fd, folder, &error), 0);
    assert_int_equal(stir_arm(fd, folder, &error), 0); /* twice is once */
    append(runs, "run.db");
    assert_false(is_ready(fd));
    append(folder, "queues.db-wal");
    assert_true(is_ready(fd));
    stir_take(fd);
    append(folder, "queues.db-wal");
    assert_false(is_ready(fd));
    assert_int_equal(stir_arm(fd, folder, &error), 0);
    append(folder, "queues.db-wal");
    assert_true(is_ready(fd));
    close(fd);
    tree_remove(folder, NULL);
}

static void test_a_folder_that_is_gone(void **state)
{
    (void)state;
    struct mf_error error;
    int fd = stir_open(&error);
    assert_int_equal(stir_arm(fd, "/no/such/folder", &error), -1);
    assert_non_null(strstr(error.text, "/no/such/folder"));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_told_once),
                                       cmocka_unit_test(test_a_folder_that_is_gone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
