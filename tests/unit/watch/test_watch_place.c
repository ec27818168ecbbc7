/* SPDX-License-Identifier: Apache-2.0 */
/* One watcher a folder: who is refused, by whom, and what is left when a watcher dies. */
#include "master/watch/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/record/tree.h"

struct world {
    char base[64], state[128], other_state[128], folder[128];
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    *state = world;
    snprintf(world->base, sizeof world->base, "/tmp/mayfly-place-XXXXXX");
    if (mkdtemp(world->base) == NULL)
        return -1;
    snprintf(world->state, sizeof world->state, "%s/state/mayfly", world->base);
    snprintf(world->other_state, sizeof world->other_state, "%s/other/mayfly", world->base);
    snprintf(world->folder, sizeof world->folder, "%s/jobs", world->base);
    return mkdir(world->folder, 0700);
}

static int tear_down(void **state)
{
    struct world *world = *state;
    tree_remove(world->base, NULL);
    free(world);
    return 0;
}

/* As a watcher does at its start. */
static int
take(const char *state, const char *folder, struct place_lock *lock, struct mf_error *error)
{
    char *place = place_path(state, folder, error);
    assert_non_null(place);
    int rc = place_take(place, folder, lock, error);
    mf_free(place);
    return rc;
}

static void test_the_second_is_refused_and_told_by_whom(void **state)
{
    struct world *world = *state;
    struct place_lock first, second;
    struct mf_error error;
    char wanted[64];
    long pid;
    assert_false(place_is_live(world->state, world->folder, NULL));
    assert_int_equal(take(world->state, world->folder, &first, &error), 0);
    assert_true(place_is_live(world->state, world->folder, &pid));
    assert_int_equal(pid, getpid());
    assert_int_equal(take(world->state, world->folder, &second, &error), -1);
    assert_int_equal(error.code, MF_EUSAGE);
    snprintf(wanted, sizeof wanted, "process %d ", (int)getpid());
    assert_non_null(strstr(error.text, wanted));
    assert_non_null(strstr(error.text, world->folder));
    place_release(&first);
    assert_false(place_is_live(world->state, world->folder, &pid));
    assert_int_equal(take(world->state, world->folder, &second, &error), 0);
    place_release(&second);
}

static void test_also_with_another_state_folder(void **state)
{
    struct world *world = *state;
    struct place_lock first, second;
    struct mf_error error;
    assert_int_equal(take(world->state, world->folder, &first, &error), 0);
    assert_int_equal(take(world->other_state, world->folder, &second, &error), -1);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_non_null(strstr(error.text, "another watcher serves"));
    assert_false(place_is_live(world->other_state, world->folder, NULL));
    place_release(&first);
    assert_int_equal(take(world->other_state, world->folder, &second, &error), 0);
    place_release(&second);
}

static void test_other_folders_are_others(void **state)
{
    struct world *world = *state;
    struct place_lock first, second;
    struct mf_error error;
    char below[160];
    snprintf(below, sizeof below, "%s/below", world->folder);
    assert_int_equal(mkdir(below, 0700), 0);
    assert_int_equal(take(world->state, world->folder, &first, &error), 0);
    assert_false(place_is_live(world->state, below, NULL));
    assert_int_equal(take(world->state, below, &second, &error), 0);
    place_release(&first);
    place_release(&second);
}

static void test_a_dead_one_has_nothing(void **state)
{
    struct world *world = *state;
    struct place_lock lock;
    struct mf_error error;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (take(world->state, world->folder, &lock, &error) == 0 && write(ready[1], "", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_true(place_is_live(world->state, world->folder, NULL));
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(place_is_live(world->state, world->folder, NULL));
    assert_int_equal(take(world->state, world->folder, &lock, &error), 0);
    place_release(&lock);
    close(ready[0]);
    close(ready[1]);
}

static void test_a_place_that_cannot_be_made(void **state)
{
    struct world *world = *state;
    struct place_lock lock;
    struct mf_error error;
    FILE *file = fopen(world->other_state, "w");
    char path[160];
    snprintf(path, sizeof path, "%s/other", world->base);
    assert_null(file);
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(take(world->other_state, world->folder, &lock, &error), -1);
    assert_int_equal(error.code, MF_ESETUP);
    assert_non_null(strstr(error.text, "cannot make the folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_the_second_is_refused_and_told_by_whom, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_also_with_another_state_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_folders_are_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_dead_one_has_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_place_that_cannot_be_made, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
