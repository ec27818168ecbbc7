/* SPDX-License-Identifier: Apache-2.0 */
/* What attempts that run have written, followed to its end: nothing twice, nothing left out. */
#include "tests/unit/record/run_fixture.h"

#include "master/commands/running.h"
#include "master/record/live.h"

struct view {
    struct run_fixture run;
    struct running *running;
    char path[400]; /* of subtask 7, attempt 1, worker 3 */
    struct mf_error error;
};

static int setup(void **state)
{
    struct view *view = calloc(1, sizeof *view);
    char folder[300];
    assert_non_null(view);
    fixture_folder(&view->run);
    snprintf(folder, sizeof folder, "%s/live", view->run.folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(view->path, sizeof view->path, "%s/7-1-1-3.out", folder);
    assert_non_null(view->running = running_create(view->run.folder, 0, 0, 0, &view->error));
    *state = view;
    return 0;
}

static int teardown(void **state)
{
    struct view *view = *state;
    running_destroy(view->running);
    fixture_remove(view->run.folder);
    free(view);
    return 0;
}

static void write_live(const struct view *view, const char *text)
{
    FILE *file = fopen(view->path, "a");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void look(struct view *view)
{
    if (running_look(view->running, &view->error) < 0)
        fail_msg("%s", view->error.text);
}

/* All that is new, joined. */
static void assert_next(struct view *view, const char *wanted)
{
    char got[4096] = "";
    struct log_piece piece;
    int rc;
    while ((rc = running_next(view->running, &piece, &view->error)) > 0) {
        assert_int_equal(piece.subtask, 7);
        assert_int_equal(piece.attempt, 1);
        assert_int_equal(piece.worker, 3);
        assert_int_equal(piece.stream, LOG_STDOUT);
        strncat(got, (const char *)piece.data.data, piece.data.length);
    }
    if (rc < 0)
        fail_msg("%s", view->error.text);
    assert_string_equal(got, wanted);
}

/* A piece of the log store goes through; what is left of it. */
static void assert_skip(struct view *view, const char *text, uint32_t worker, const char *wanted)
{
    struct log_piece piece = {.subtask = 7,
                              .attempt = 1,
                              .worker = worker,
                              .stream = LOG_STDOUT,
                              .data = mf_bytes_text(text)};
    running_skip(view->running, &piece);
    assert_true(mf_bytes_equal(piece.data, mf_bytes_text(wanted)));
}

static void it_grows(void **state)
{
    struct view *view = *state;
    look(view);
    assert_next(view, "");
    write_live(view, "one\n");
    look(view);
    assert_next(view, "one\n");
    write_live(view, "two\n");
    look(view);
    assert_next(view, "two\n");
    assert_next(view, "");
}

static void the_log_of_a_failed_one_goes_on(void **state)
{
    struct view *view = *state;
    write_live(view, "one\ntwo\n");
    look(view);
    assert_next(view, "one\ntwo\n");
    unlink(view->path);
    look(view);
    assert_skip(view, "one\nt", 3, "");
    assert_next(view, "");
    look(view);
    assert_skip(view, "wo\nthree\n", 3, "three\n");
    assert_next(view, "");
    assert_skip(view, "four\n", 3, "four\n");
}

/* Its master removes it between the look and the reading. */
static void one_that_ends_in_between_is_shown_once(void **state)
{
    struct view *view = *state;
    write_live(view, "one\n");
    look(view);
    unlink(view->path);
    assert_skip(view, "one\ntwo\n", 4, "one\ntwo\n"); /* of another worker */
    assert_skip(view, "one\ntwo\n", 3, "one\ntwo\n");
    assert_next(view, "");
}

static void one_that_goes_unseen_can_still_be_read(void **state)
{
    struct view *view = *state;
    write_live(view, "one\n");
    look(view);
    unlink(view->path);
    assert_next(view, "one\n");
}

static void the_rest_of_a_done_one_is_its_result(void **state)
{
    struct view *view = *state;
    fixture_open(&view->run);
    write_live(view, "one\n");
    look(view);
    assert_next(view, "one\n");
    unlink(view->path);
    look(view);
    assert_next(view, ""); /* not recorded yet */
    struct record_row row = fixture_row(7, 1, RECORD_DONE);
    row.has_result = true;
    row.result = mf_bytes_text("one\ntwo\n");
    row.result_bytes = row.result.length;
    assert_int_equal(fixture_record(&view->run, &row, 1), 0);
    look(view);
    assert_next(view, "two\n");
    look(view);
    assert_next(view, "");
    fixture_close(&view->run);
}

static void a_result_that_is_a_file_is_read_too(void **state)
{
    struct view *view = *state;
    char path[400];
    fixture_open(&view->run);
    struct record_row row = fixture_row(7, 1, RECORD_DONE);
    row.result_bytes = 100000;
    assert_int_equal(fixture_record(&view->run, &row, 1), 0);
    write_live(view, "one\n");
    look(view);
    assert_next(view, "one\n");
    unlink(view->path);
    snprintf(path, sizeof path, "%.250s/outputs", view->run.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%.250s/outputs/0", view->run.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(view->path, sizeof view->path, "%.250s/outputs/0/7.result", view->run.folder);
    write_live(view, "one\ntwo\n");
    look(view);
    assert_next(view, "two\n");
    look(view);
    assert_next(view, "");
    fixture_close(&view->run);
}

static void only_those_asked_for(void **state)
{
    struct view *view = *state;
    write_live(view, "one\n");
    running_destroy(view->running);
    view->running = running_create(view->run.folder, 8, 0, 0, &view->error);
    look(view);
    assert_next(view, "");
    running_destroy(view->running);
    view->running = running_create(view->run.folder, 7, 2, 0, &view->error);
    look(view);
    assert_next(view, "");
    running_destroy(view->running);
    view->running = running_create(view->run.folder, 7, 1, 99, &view->error);
    look(view);
    assert_next(view, "");
    running_destroy(view->running);
    view->running = running_create(view->run.folder, 7, 1, 0, &view->error);
    look(view);
    assert_next(view, "one\n");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(it_grows),
        CASE(the_log_of_a_failed_one_goes_on),
        CASE(one_that_ends_in_between_is_shown_once),
        CASE(one_that_goes_unseen_can_still_be_read),
        CASE(the_rest_of_a_done_one_is_its_result),
        CASE(a_result_that_is_a_file_is_read_too),
        CASE(only_those_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
