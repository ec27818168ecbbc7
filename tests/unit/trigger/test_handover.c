/* SPDX-License-Identifier: Apache-2.0 */
/* From a firing to its master: what is started, where and how, and what becomes of one that does
 * not begin. The program is a script. */
#include "tests/unit/trigger/trigger_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include "master/trigger/handover.h"

/* A program that does what `body` says; its path (heap). */
static char *program(struct fixture *fixture, const char *body)
{
    char *path = mf_format("%s/program", fixture->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "#!/bin/sh\n%s\n", body);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0700), 0);
    return path;
}

/* Fires the trigger "j" of a queue and hands over; how many did not begin. */
static size_t hand_over(struct fixture *fixture, const char *program, int64_t wait_us)
{
    const struct handover handover = {.program = program, .wait_us = wait_us};
    size_t failed = 99;
    if (ask(fixture, "SELECT count(*) FROM queue") == 0) {
        make_queue(fixture, "q");
        assert_int_equal(install(fixture, "j", "trigger: {queue: q, max_running: 9}", ""), 0);
    }
    push(fixture, "q", 1, NOW);
    assert_int_equal(evaluate(fixture, NOW), 1);
    OK(fixture,
       trigger_hand_over(fixture->queues, &fixture->fired, &handover, &failed, &fixture->error));
    return failed;
}

static void it_is_started_in_its_surroundings(void **state)
{
    struct fixture *fixture = *state;
    char wanted[400], text[400] = "";
    char *path = program(fixture, "echo \"$@\" >said; pwd >>said; env | sort >>said; echo id");
    setenv("PASSWORD", "sesame", 1);
    assert_int_equal(hand_over(fixture, path, 0), 0);
    mf_free(path);
    path = mf_format("%s/said", fixture->folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    mf_free(path);
    /* The shell adds PWD. */
    snprintf(wanted,
             sizeof wanted,
             "submit %s/j.yaml --firing %s\n%s\nPATH=/bin\nPWD=%s\n",
             fixture->folder,
             fixture->fired.runs[0].run_id,
             fixture->folder,
             fixture->folder);
    assert_string_equal(text, wanted);
    assert_int_equal(ask(fixture, "SELECT starter = '' AND tries = 1 FROM firing"), 1);
    assert_int_equal(ask(fixture, "SELECT last_error IS NULL FROM trigger"), 1);
}

static void what_it_says_is_noted(void **state)
{
    struct fixture *fixture = *state;
    char *path = program(fixture, "echo first >&2; echo 'mayfly: the disk is full' >&2; exit 3");
    assert_int_equal(hand_over(fixture, path, 0), 1);
    mf_free(path);
    assert_int_equal(ask(fixture,
                         "SELECT last_error = 'run ' || run_id || ' could not be started: the disk "
                         "is full' FROM trigger, firing"),
                     1);
    assert_int_equal(ask(fixture, "SELECT starter = '' AND state = 'open' FROM firing"), 1);
    path = program(fixture, "kill -9 $$");
    assert_int_equal(hand_over(fixture, path, 0), 1);
    mf_free(path);
    assert_int_equal(ask(fixture, "SELECT last_error LIKE '%ended by signal 9' FROM trigger"), 1);
    path = program(fixture, "exit 7");
    assert_int_equal(hand_over(fixture, path, 0), 1);
    mf_free(path);
    assert_int_equal(
        ask(fixture, "SELECT last_error LIKE '%exit code 7, without a word' FROM trigger"), 1);
}

/* One that hangs holds nobody up, and is free for the next sweep. */
static void it_is_not_waited_for_for_ever(void **state)
{
    struct fixture *fixture = *state;
    char *path = program(fixture, "read line <fifo");
    char *fifo = mf_format("%s/fifo", fixture->folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(hand_over(fixture, path, 20000), 1);
    assert_int_equal(ask(fixture, "SELECT last_error LIKE '%not begun in time' FROM trigger"), 1);
    assert_int_equal(ask(fixture, "SELECT starter = '' FROM firing"), 1);
    FILE *end = fopen(fifo, "w"); /* it ends */
    assert_non_null(end);
    fclose(end);
    mf_free(fifo);
    mf_free(path);
}

static void a_program_that_is_not_there(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(hand_over(fixture, "/nowhere/mayfly", 0), 1);
    assert_int_equal(
        ask(fixture,
            "SELECT last_error LIKE '%cannot start /nowhere/mayfly: No such file%' FROM trigger"),
        1);
}

/* The row goes away between the commit and the start. */
static void a_trigger_that_is_gone(void **state)
{
    struct fixture *fixture = *state;
    const struct handover handover = {.program = "/bin/true"};
    size_t failed = 0;
    make_queue(fixture, "q");
    assert_int_equal(install(fixture, "j", "trigger: {queue: q}", ""), 0);
    push(fixture, "q", 1, NOW);
    assert_int_equal(evaluate(fixture, NOW), 1);
    tell(fixture, "DELETE FROM trigger");
    OK(fixture,
       trigger_hand_over(fixture->queues, &fixture->fired, &handover, &failed, &fixture->error));
    assert_int_equal(failed, 1);
    assert_int_equal(ask(fixture, "SELECT starter = '' AND state = 'open' FROM firing"), 1);
}

/* A run that has begun is resumed, also when its trigger is gone. */
static void one_that_has_begun_is_resumed(void **state)
{
    struct fixture *fixture = *state;
    char *path = program(fixture, "test \"$1 $2\" = 'resume --detach'");
    const struct handover handover = {.program = path};
    size_t failed = 99;
    OK(fixture,
       trigger_fired_add(&fixture->fired, "20270115-080000-j-0001", "j", true, &fixture->error));
    OK(fixture,
       trigger_hand_over(fixture->queues, &fixture->fired, &handover, &failed, &fixture->error));
    assert_int_equal(failed, 0);
    mf_free(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_is_started_in_its_surroundings),
        TEST(what_it_says_is_noted),
        TEST(it_is_not_waited_for_for_ever),
        TEST(a_program_that_is_not_there),
        TEST(a_trigger_that_is_gone),
        TEST(one_that_has_begun_is_resumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
