/* SPDX-License-Identifier: Apache-2.0 */
/* Where files of a spool folder end, and that it comes to the same when it is interrupted. */
#include "tests/unit/source/spool_fixture.h"

#define RUN "20261122-084512-pages-7f3a"
#define NEXT "20261122-084613-pages-8a4b"

/* Files a and b, and another a that came later, all claimed for the run. */
static void three_for_the_run(struct fixture *fixture)
{
    struct feed_settings settings = spool_settings();
    struct firing firing = {.run_id = RUN,
                            .queue = info_of(fixture, "q").id,
                            .cause = "hand",
                            .made_us = NOW,
                            .starter = "nobody"};
    put("a", "one");
    put("b", "two");
    poll_once(fixture, &settings);
    put("a", "three");
    poll_once(fixture, &settings);
    ok(fixture, firing_insert(fixture->queues, &firing, &fixture->error));
    assert_int_equal(claim(fixture, "q", RUN, 0), 3);
}

/* What a master does at the end: those of `failed` have failed, each for the last time. */
static void settle(struct fixture *fixture, bool succeeded, const int64_t *failed, size_t count)
{
    uint64_t gone;
    ok(fixture, queues_begin(fixture->queues, &fixture->error));
    for (size_t i = 0; i < count; i++)
        ok(fixture, queue_fail(fixture->queues, RUN, failed[i], "exit 1", &fixture->error));
    if (!succeeded)
        ok(fixture, queue_give_back(fixture->queues, RUN, false, NULL, &gone, &fixture->error));
    ok(fixture, spool_settle(fixture->queues, RUN, succeeded, &fixture->error));
    if (succeeded)
        ok(fixture, queue_done(fixture->queues, RUN, &gone, &fixture->error));
    ok(fixture, queues_commit(fixture->queues, &fixture->error));
    check_invariants(fixture);
}

static void assert_content(const char *name, const char *wanted)
{
    assert_string_equal(content(in_spool(name)), wanted);
}

static bool claims_are_left(void)
{
    char command[256];
    snprintf(command,
             sizeof command,
             "test -z \"$(find '%s/.claimed' -mindepth 1 ! -name '*.lock')\"",
             spool);
    return system(command) != 0; /* NOLINT(cert-env33-c) */
}

/* The folder between is that of the batch, which begins with the consumer's name. */
static const char *second_a(const char *where)
{
    static char path[512], name[512];
    char command[512];
    snprintf(command, sizeof command, "find '%s/%s/" RUN "' -mindepth 2 -name a", spool, where);
    FILE *found = popen(command, "r"); /* NOLINT(cert-env33-c) */
    if (fgets(path, sizeof path, found) == NULL)
        path[0] = '\0';
    pclose(found);
    path[strcspn(path, "\n")] = '\0';
    snprintf(name, sizeof name, "%s", path);
    return name;
}

static void test_succeeded(void **state)
{
    struct fixture *fixture = *state;
    three_for_the_run(fixture);
    settle(fixture, true, NULL, 0);
    assert_content("done/" RUN "/a", "one");
    assert_content("done/" RUN "/b", "two");
    assert_string_equal(content(second_a("done")), "three");
    assert_false(claims_are_left());
    assert_false(is_there("failed"));
}

static void test_given_back_stay_claimed(void **state)
{
    struct fixture *fixture = *state;
    three_for_the_run(fixture);
    settle(fixture, false, NULL, 0);
    assert_int_equal(ready(fixture), 3);
    assert_false(is_there("done"));
    assert_false(is_there("failed"));
}

static void test_dead_letters(void **state)
{
    struct fixture *fixture = *state;
    three_for_the_run(fixture);
    struct paths paths = paths_of(fixture, "claimed");
    settle(fixture, true, paths.ids + 1, 1);
    assert_content("done/" RUN "/a", "one");
    assert_content("failed/" RUN "/b", "two");
    assert_string_equal(paths_of(fixture, "dead").list[0], in_spool("failed/" RUN "/b"));
    assert_false(claims_are_left());
}

static void test_dead_letters_of_a_failed_run(void **state)
{
    struct fixture *fixture = *state;
    three_for_the_run(fixture);
    struct paths paths = paths_of(fixture, "claimed");
    settle(fixture, false, (int64_t[]){paths.ids[0], paths.ids[2]}, 2);
    assert_content("failed/" RUN "/a", "one");
    assert_string_equal(content(second_a("failed")), "three");
    struct paths dead = paths_of(fixture, "dead");
    assert_string_equal(dead.list[0], in_spool("failed/" RUN "/a"));
    assert_string_equal(dead.list[1], second_a("failed"));
    assert_int_equal(ready(fixture), 1); /* b, still where it was */
    assert_true(claims_are_left());
}

static void test_replayed_and_done(void **state)
{
    struct fixture *fixture = *state;
    uint64_t count;
    three_for_the_run(fixture);
    struct paths paths = paths_of(fixture, "claimed");
    settle(fixture, true, paths.ids, 3);
    int64_t queue = info_of(fixture, "q").id;
    ok(fixture, queue_replay(fixture->queues, queue, 0, NOW, &count, &fixture->error));
    assert_int_equal(ready(fixture), 3);
    assert_int_equal(claim(fixture, "q", NEXT, 0), 3);
    ok(fixture, spool_settle(fixture->queues, NEXT, true, &fixture->error));
    assert_content("done/" NEXT "/a", "one");
    assert_content("done/" NEXT "/b", "two");
    assert_string_equal(second_a("failed"), "");
}

/* --- Interrupted. --- */

static void settle_in_child(struct fixture *fixture, const struct feed_settings *settings)
{
    (void)settings;
    struct paths paths = paths_of(fixture, "claimed");
    settle(fixture, true, paths.ids + 2, 1);
}

static void killed_after_moves(struct fixture *fixture, const char *point)
{
    three_for_the_run(fixture);
    struct paths paths = paths_of(fixture, "claimed");
    killed_at(fixture, point, settle_in_child, NULL);
    assert_int_equal(paths_of(fixture, "claimed").count, 3);
    settle(fixture, true, paths.ids + 2, 1);
    assert_content("done/" RUN "/a", "one");
    assert_content("done/" RUN "/b", "two");
    assert_content("failed/" RUN "/a", "three");
    assert_string_equal(paths_of(fixture, "dead").list[0], in_spool("failed/" RUN "/a"));
    assert_false(claims_are_left());
}

static void test_killed_after_a_move(void **state)
{
    killed_after_moves(*state, "source.after-move");
}

static void test_killed_after_all_moves(void **state)
{
    killed_after_moves(*state, "source.after-move:3");
}

/* The second of two of the same name and end has moved, the message not. */
static void test_repeated_with_two_of_a_name(void **state)
{
    struct fixture *fixture = *state;
    three_for_the_run(fixture);
    struct paths paths = paths_of(fixture, "claimed");
    for (int i = 0; i < 2; i++) {
        ok(fixture, queues_begin(fixture->queues, &fixture->error));
        for (size_t k = 0; k < 3; k++)
            ok(fixture, queue_fail(fixture->queues, RUN, paths.ids[k], "", &fixture->error));
        ok(fixture, spool_settle(fixture->queues, RUN, true, &fixture->error));
        if (i == 0)
            queues_rollback(fixture->queues);
        else
            ok(fixture, queues_commit(fixture->queues, &fixture->error));
    }
    struct paths dead = paths_of(fixture, "dead");
    assert_string_equal(dead.list[0], in_spool("failed/" RUN "/a"));
    assert_string_equal(content(dead.list[0]), "one");
    assert_string_equal(dead.list[2], second_a("failed"));
    assert_string_equal(content(dead.list[2]), "three");
}

static void test_repeated_after_it_was_committed(void **state)
{
    struct fixture *fixture = *state;
    three_for_the_run(fixture);
    struct paths paths = paths_of(fixture, "claimed");
    settle(fixture, true, paths.ids, 3);
    char before[512];
    snprintf(before, sizeof before, "%s", second_a("failed"));
    ok(fixture, spool_settle(fixture->queues, RUN, true, &fixture->error));
    assert_content("failed/" RUN "/a", "one");
    assert_string_equal(second_a("failed"), before);
    assert_false(is_there("done"));
}

/* --- What is none of its business. --- */

static void test_messages_that_are_no_claimed_files(void **state)
{
    struct fixture *fixture = *state;
    three_for_the_run(fixture);
    char outside[128], dots[256];
    snprintf(outside, sizeof outside, "%s/outside", fixture->folder);
    snprintf(dots, sizeof dots, "%s/.claimed/../../outside", spool);
    put("mine", "");
    int fd = open(outside, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    close(fd);
    push(fixture, "q", outside, NULL);
    push(fixture, "q", dots, NULL);
    push(fixture, "q", in_spool("mine"), NULL);
    push(fixture, "q", spool, NULL);
    push(fixture, "q", "", NULL);
    assert_int_equal(claim(fixture, "q", RUN, 0), 5);
    settle(fixture, true, NULL, 0);
    assert_int_equal(access(outside, F_OK), 0);
    assert_true(is_there("mine"));
    assert_content("done/" RUN "/b", "two");
}

/* Another queue has copies of the messages; the files end with the run of the first. */
static void test_copies_in_another_queue(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    struct queue_info copies = make_queue(fixture, "copies", (struct queue_settings){0});
    struct queue_info own = info_of(fixture, "q");
    ok(fixture, queue_add_fan_out(fixture->queues, &own, &copies, &fixture->error));
    put("a", "one");
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    assert_int_equal(claim(fixture, "copies", RUN, 0), 1);
    ok(fixture, spool_settle(fixture->queues, RUN, true, &fixture->error));
    assert_int_equal(ready(fixture), 1); /* and its file is where it was */
    assert_int_equal(claim(fixture, "q", NEXT, 0), 1);
    ok(fixture, spool_settle(fixture->queues, NEXT, true, &fixture->error));
    assert_content("done/" NEXT "/a", "one");
}

static void test_files_and_folder_that_are_gone(void **state)
{
    struct fixture *fixture = *state;
    char command[256];
    three_for_the_run(fixture);
    struct paths paths = paths_of(fixture, "claimed");
    assert_int_equal(unlink(paths.list[1]), 0);
    ok(fixture, queues_begin(fixture->queues, &fixture->error));
    ok(fixture, spool_settle(fixture->queues, RUN, true, &fixture->error));
    queues_rollback(fixture->queues);
    assert_content("done/" RUN "/a", "one");
    assert_false(is_there("done/" RUN "/b"));
    snprintf(command, sizeof command, "rm -r '%s'", spool);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
    settle(fixture, true, NULL, 0);
    assert_int_equal(info_of(fixture, "q").claimed, 0);
}

static void test_no_place_for_the_files(void **state)
{
    struct fixture *fixture = *state;
    three_for_the_run(fixture);
    put("done", "a file, where the folder has to be");
    ok(fixture, queues_begin(fixture->queues, &fixture->error));
    assert_int_equal(spool_settle(fixture->queues, RUN, true, &fixture->error), -1);
    assert_says(fixture->error.text, "cannot move a file of the run " RUN);
    queues_rollback(fixture->queues);
    assert_int_equal(unlink(in_spool("done")), 0);
    settle(fixture, true, NULL, 0);
    assert_content("done/" RUN "/a", "one");
}

static void test_done_on_another_file_system(void **state)
{
    struct fixture *fixture = *state;
    char other[] = "/dev/shm/mayfly-spool-XXXXXX";
    struct stat here, there;
    three_for_the_run(fixture);
    assert_non_null(mkdtemp(other));
    assert_int_equal(stat(spool, &here) | stat(other, &there), 0);
    assert_int_equal(symlink(other, in_spool("done")), 0);
    ok(fixture, queues_begin(fixture->queues, &fixture->error));
    int rc = spool_settle(fixture->queues, RUN, true, &fixture->error);
    queues_rollback(fixture->queues);
    if (here.st_dev != there.st_dev) {
        assert_int_equal(rc, -1);
        assert_says(fixture->error.text, "is on another file system than");
    }
    tree_remove(other, NULL);
    assert_int_equal(unlink(in_spool("done")), 0);
    if (here.st_dev != there.st_dev)
        settle(fixture, true, NULL, 0);
}

static void test_without_memory(void **state)
{
    struct fixture *fixture = *state;
    three_for_the_run(fixture);
    struct paths paths = paths_of(fixture, "claimed");
    int rc = -1;
    for (unsigned long n = 1; rc < 0; n++) {
        ok(fixture, queues_begin(fixture->queues, &fixture->error));
        ok(fixture, queue_fail(fixture->queues, RUN, paths.ids[1], "", &fixture->error));
        mf_alloc_fail_at(n);
        rc = spool_settle(fixture->queues, RUN, true, &fixture->error);
        mf_alloc_fail_at(0);
        queues_rollback(fixture->queues);
        if (rc < 0)
            assert_int_equal(fixture->error.code, MF_ENOMEM);
    }
    settle(fixture, true, paths.ids + 1, 1);
    assert_content("done/" RUN "/a", "one");
    assert_content("failed/" RUN "/b", "two");
    assert_string_equal(content(second_a("done")), "three");
}

#define test(name) cmocka_unit_test_setup_teardown(name, spool_begin, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_succeeded),
        test(test_given_back_stay_claimed),
        test(test_dead_letters),
        test(test_dead_letters_of_a_failed_run),
        test(test_replayed_and_done),
        test(test_killed_after_a_move),
        test(test_killed_after_all_moves),
        test(test_repeated_with_two_of_a_name),
        test(test_repeated_after_it_was_committed),
        test(test_messages_that_are_no_claimed_files),
        test(test_copies_in_another_queue),
        test(test_files_and_folder_that_are_gone),
        test(test_no_place_for_the_files),
        test(test_done_on_another_file_system),
        test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
