/* SPDX-License-Identifier: Apache-2.0 */
/* The history: newest first, many writers, and never in a run's way. */
#include "tests/unit/record/run_fixture.h"

#include <sys/wait.h>

#include "common/alloc.h"
#include "master/record/history.h"

struct place {
    struct run_fixture run;
    char path[300];
    struct mf_error error;
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    fixture_folder(&place->run);
    snprintf(place->path, sizeof place->path, "%s/history.db", place->run.folder);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    fixture_remove(place->run.folder);
    free(place);
    return 0;
}

static void begin(struct place *place, const char *id, int64_t started_us)
{
    struct history_run run = {.run_id = id,
                              .job_name = "job",
                              .job_path = "/j/job.yaml",
                              .folder = "/runs/x",
                              .started_us = started_us};
    if (history_begin(place->path, &run, &place->error) < 0)
        fail_msg("%s", place->error.text);
}

static int add_line(void *arg, const struct history_run *run)
{
    char *text = arg;
    size_t length = strlen(text);
    snprintf(text + length,
             2000 - length,
             "%s %s %s %s %s [%s] %d %d %d:%d%d%d%d\n",
             run->run_id,
             run->job_name,
             run->job_path,
             run->folder,
             run->state,
             run->reason,
             (int)run->started_us,
             (int)run->ended_us,
             run->has_total ? (int)run->total : -1,
             (int)run->done,
             (int)run->failed,
             (int)run->dead,
             (int)run->cancelled);
    return 0;
}

static void expect_list(struct place *place, const char *expected)
{
    char text[2000] = "";
    if (history_list(place->path, add_line, text, &place->error) < 0)
        fail_msg("%s", place->error.text);
    assert_string_equal(text, expected);
}

static void runs_begin_and_end(void **state)
{
    struct place *place = *state;
    char id[64];
    expect_list(place, "");
    assert_int_equal(history_last(place->path, id, sizeof id, &place->error), 0);
    assert_int_equal(history_remove(place->path, "a", &place->error), 0);
    begin(place, "a", 10);
    begin(place, "c", 30);
    begin(place, "b", 20);
    struct history_run end = {.run_id = "a",
                              .state = "partial",
                              .reason = "two failed",
                              .ended_us = 40,
                              .has_total = true,
                              .total = 9,
                              .done = 1,
                              .failed = 2,
                              .dead = 3,
                              .cancelled = 4};
    assert_int_equal(history_end(place->path, &end, &place->error), 0);
    expect_list(place,
                "c job /j/job.yaml /runs/x running [] 30 0 -1:0000\n"
                "b job /j/job.yaml /runs/x running [] 20 0 -1:0000\n"
                "a job /j/job.yaml /runs/x partial [two failed] 10 40 9:1234\n");
    assert_int_equal(history_last(place->path, id, sizeof id, &place->error), 1);
    assert_string_equal(id, "c");
    assert_int_equal(history_remove(place->path, "c", &place->error), 0);
    assert_int_equal(history_remove(place->path, "nobody", &place->error), 0);
    begin(place, "a", 10); /* again, by retry */
    expect_list(place,
                "b job /j/job.yaml /runs/x running [] 20 0 -1:0000\n"
                "a job /j/job.yaml /runs/x running [] 10 0 -1:0000\n");
}

static void an_end_without_its_beginning(void **state)
{
    struct place *place = *state;
    struct history_run end = {.run_id = "a", .state = "failed", .reason = "", .ended_us = 5};
    assert_int_equal(history_end(place->path, &end, &place->error), 0);
    expect_list(place, "a    failed [] 0 5 -1:0000\n");
}

static void many_writers(void **state)
{
    struct place *place = *state;
    enum { WRITERS = 4, RUNS = 20 };
    pid_t children[WRITERS];
    for (int w = 0; w < WRITERS; w++) {
        children[w] = fork();
        if (children[w] != 0)
            continue;
        for (int i = 0; i < RUNS; i++) {
            char id[32];
            snprintf(id, sizeof id, "%d-%d", w, i);
            struct history_run run = {.run_id = id, .state = "succeeded", .started_us = 1};
            if (history_begin(place->path, &run, NULL) < 0 ||
                history_end(place->path, &run, NULL) < 0)
                _exit(1);
        }
        _exit(0);
    }
    for (int w = 0; w < WRITERS; w++) {
        int status;
        assert_int_equal(waitpid(children[w], &status, 0), children[w]);
        assert_int_equal(status, 0);
    }
    int count = 0;
    char id[32];
    while (history_last(place->path, id, sizeof id, &place->error) == 1) {
        assert_int_equal(history_remove(place->path, id, &place->error), 0);
        count++;
    }
    assert_int_equal(count, WRITERS * RUNS);
}

static void a_damaged_file_is_begun_anew(void **state)
{
    struct place *place = *state;
    char aside[320];
    FILE *file = fopen(place->path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("no database at all ", file);
    fclose(file);
    char text[2000] = "";
    assert_int_equal(history_list(place->path, add_line, text, &place->error), -1);
    assert_int_equal(place->error.code, MF_EINPUT);
    begin(place, "a", 1);
    expect_list(place, "a job /j/job.yaml /runs/x running [] 1 0 -1:0000\n");
    snprintf(aside, sizeof aside, "%s.damaged", place->path);
    assert_int_equal(access(aside, F_OK), 0);
}

static void a_place_that_cannot_be_written_is_an_error(void **state)
{
    struct place *place = *state;
    struct history_run run = {.run_id = "a"};
    snprintf(place->path, sizeof place->path, "%s/no/history.db", place->run.folder);
    assert_int_equal(history_begin(place->path, &run, &place->error), -1);
    assert_non_null(strstr(place->error.text, place->path));
}

static void it_is_made_again_from_the_run_folders(void **state)
{
    struct place *place = *state;
    char runs[300], folder[280];
    uint64_t count;
    struct mf_error error;
    assert_int_equal(history_rebuild(place->path, "/nowhere/at/all", &count, &error), 0);
    assert_int_equal(count, 0);
    begin(place, "gone", 1);
    snprintf(runs, sizeof runs, "%.250s/runs", place->run.folder);
    assert_int_equal(mkdir(runs, 0700), 0);
    snprintf(folder, sizeof folder, "%.260s/empty", runs);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(folder, sizeof folder, "%.260s/one", runs);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(place->run.db_path, sizeof place->run.db_path, "%s/run.db", folder);
    fixture_open(&place->run);
    fixture_result(&place->run, 1, "x");
    fixture_result(&place->run, 2, "x");
    fixture_close(&place->run);
    assert_int_equal(history_rebuild(place->path, runs, &count, &error), 0);
    assert_int_equal(count, 1);
    char text[2000] = "", expected[600];
    assert_int_equal(history_list(place->path, add_line, text, &error), 0);
    snprintf(expected, sizeof expected, "20261122-084512-test-7f3a test  %s planning []", folder);
    assert_memory_equal(text, expected, strlen(expected));
    assert_non_null(strstr(text, "-1:2000\n"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(runs_begin_and_end),
        TEST(an_end_without_its_beginning),
        TEST(many_writers),
        TEST(a_damaged_file_is_begun_anew),
        TEST(a_place_that_cannot_be_written_is_an_error),
        TEST(it_is_made_again_from_the_run_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
