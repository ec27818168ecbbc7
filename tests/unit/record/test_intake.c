/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces that come home from attempts that run: shown, replaced at the end, kept when all is lost.
 */
#include "run_fixture.h"

#include "common/alloc.h"
#include "master/record/intake.h"
#include "master/record/live.h"

struct house {
    struct run_fixture run;
    char logs_path[300];
    struct log_writer *logs;
    struct intake *intake;
    struct mf_error error;
};

static void open_house(struct house *house)
{
    snprintf(house->logs_path, sizeof house->logs_path, "%s/logs", house->run.folder);
    house->logs = log_writer_open(house->logs_path, &house->error);
    assert_non_null(house->logs);
    house->intake = intake_create(house->run.folder, house->logs, false, 1000, &house->error);
    if (house->intake == NULL)
        fail_msg("%s", house->error.text);
}

static void close_house(struct house *house)
{
    intake_destroy(house->intake);
    log_writer_close(house->logs);
    house->intake = NULL;
    house->logs = NULL;
}

static int setup(void **state)
{
    struct house *house = calloc(1, sizeof *house);
    assert_non_null(house);
    fixture_folder(&house->run);
    open_house(house);
    *state = house;
    return 0;
}

static int teardown(void **state)
{
    struct house *house = *state;
    if (house->intake != NULL)
        close_house(house);
    fixture_remove(house->run.folder);
    free(house);
    return 0;
}

static void send(struct house *house,
                 enum mf_chunk_kind kind,
                 uint32_t worker,
                 uint64_t subtask,
                 uint64_t offset,
                 const char *text)
{
    struct mf_chunk chunk = {.kind = kind,
                             .subtask = subtask,
                             .attempt = 2,
                             .epoch = 1,
                             .offset = offset,
                             .data = mf_bytes_text(text)};
    if (intake_chunk(house->intake, worker, &chunk, &house->error) < 0)
        fail_msg("%s", house->error.text);
}

static void live_path(const struct house *house, uint64_t subtask, uint32_t worker, char *path)
{
    snprintf(path,
             400,
             "%s/live/%llu-2-1-%u.out",
             house->run.folder,
             (unsigned long long)subtask,
             worker);
}

static void
assert_live(const struct house *house, uint64_t subtask, uint32_t worker, const char *text)
{
    char path[400], got[2000] = "";
    live_path(house, subtask, worker, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (text == NULL) {
        assert_int_equal(fd, -1);
        return;
    }
    assert_true(fd >= 0);
    assert_true(read(fd, got, sizeof got - 1) >= 0);
    close(fd);
    assert_string_equal(got, text);
}

/* What the log store has of a subtask's stream, after a flush. */
static void assert_stored(struct house *house,
                          uint64_t subtask,
                          enum log_stream stream,
                          uint32_t worker,
                          const char *text)
{
    struct log_piece piece;
    struct mf_buffer got = {0};
    if (house->logs != NULL)
        assert_int_equal(log_writer_flush(house->logs, &house->error), 0);
    struct log_reader *reader = log_reader_open(house->logs_path, &house->error);
    assert_non_null(reader);
    int rc;
    while ((rc = log_reader_next(reader, subtask, 2, worker, 1u << stream, &piece, &house->error)) >
           0)
        mf_buffer_append(&got, piece.data.data, piece.data.length, NULL);
    assert_int_equal(rc, 0);
    assert_true(mf_bytes_equal(mf_buffer_view(&got), mf_bytes_text(text)));
    mf_buffer_fini(&got);
    log_reader_close(reader);
}

static void stdout_is_shown_while_it_runs(void **state)
{
    struct house *house = *state;
    send(house, MF_CHUNK_LIVE, 3, 7, 0, "one\n");
    send(house, MF_CHUNK_LIVE, 3, 7, 4, "two\n");
    send(house, MF_CHUNK_STDERR, 3, 7, 0, "err\n");
    send(house, MF_CHUNK_LIVE, 4, 7, 0, "other worker\n");
    assert_live(house, 7, 3, "one\ntwo\n");
    assert_live(house, 7, 4, "other worker\n");
    assert_stored(house, 7, LOG_STDOUT, 0, "");
    assert_stored(house, 7, LOG_STDERR, 3, "err\n");
    struct mf_fence fence = {7, 2, 1};
    intake_ended(house->intake, 3, &fence);
    assert_live(house, 7, 3, NULL);
    assert_live(house, 7, 4, "other worker\n");
    assert_stored(house, 7, LOG_STDOUT, 0, "");
    intake_ended(house->intake, 3, &fence);
}

static void the_log_of_a_failed_one_replaces_it(void **state)
{
    struct house *house = *state;
    send(house, MF_CHUNK_LIVE, 3, 7, 0, "one\n");
    send(house, MF_CHUNK_STDOUT, 3, 7, 0, "one\ntwo\n");
    assert_live(house, 7, 3, NULL);
    close_house(house);
    assert_stored(house, 7, LOG_STDOUT, 3, "one\ntwo\n");
}

static void what_a_lost_worker_sent_is_kept(void **state)
{
    struct house *house = *state;
    send(house, MF_CHUNK_LIVE, 3, 7, 0, "seven\n");
    send(house, MF_CHUNK_LIVE, 4, 8, 0, "eight\n");
    send(house, MF_CHUNK_LIVE, 3, 9, 0, "nine\n");
    assert_int_equal(intake_lost(house->intake, 3, &house->error), 0);
    assert_live(house, 7, 3, NULL);
    assert_live(house, 8, 4, "eight\n");
    assert_stored(house, 7, LOG_STDOUT, 3, "seven\n");
    assert_stored(house, 8, LOG_STDOUT, 4, "");
    assert_stored(house, 9, LOG_STDOUT, 3, "nine\n");
}

static void the_end_of_the_run_keeps_the_rest(void **state)
{
    struct house *house = *state;
    char folder[300];
    send(house, MF_CHUNK_LIVE, 3, 7, 0, "seven\n");
    close_house(house);
    snprintf(folder, sizeof folder, "%s/live", house->run.folder);
    assert_int_equal(access(folder, F_OK), -1);
    assert_stored(house, 7, LOG_STDOUT, 3, "seven\n");
}

static void what_a_killed_master_left_is_taken_over(void **state)
{
    struct house *house = *state;
    char path[400];
    send(house, MF_CHUNK_LIVE, 3, 7, 0, "seven\n");
    send(house, MF_CHUNK_LIVE, 4, 8, 0, "eight\n");
    snprintf(path, sizeof path, "%s/live/8-2-1-4.outx", house->run.folder); /* none of ours */
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    struct intake *killed = house->intake;
    house->intake = intake_create(house->run.folder, house->logs, false, 1000, &house->error);
    assert_non_null(house->intake);
    send(house, MF_CHUNK_LIVE, 4, 8, 6, "goes on\n");
    assert_live(house, 8, 4, "eight\ngoes on\n");
    assert_int_equal(intake_lost(house->intake, 3, &house->error), 0);
    assert_stored(house, 7, LOG_STDOUT, 3, "seven\n");
    intake_ended(house->intake, 4, &(struct mf_fence){8, 2, 1});
    intake_ended(killed, 3, &(struct mf_fence){7, 2, 1});
    intake_ended(killed, 4, &(struct mf_fence){8, 2, 1});
    intake_destroy(killed);
    assert_int_equal(access(path, F_OK), -1);
}

static void no_more_is_kept_than_of_a_log(void **state)
{
    struct house *house = *state;
    char text[901], wanted[1001];
    memset(text, 'x', 900);
    memset(wanted, 'x', 1000);
    text[900] = wanted[1000] = '\0';
    send(house, MF_CHUNK_LIVE, 3, 7, 0, text);
    send(house, MF_CHUNK_LIVE, 3, 7, 900, text);
    assert_live(house, 7, 3, wanted);
    send(house, MF_CHUNK_LIVE, 3, 7, 1800, text);
    assert_live(house, 7, 3, wanted);
}

static void a_piece_out_of_order_is_left_out(void **state)
{
    struct house *house = *state;
    send(house, MF_CHUNK_LIVE, 3, 7, 5, "middle");
    assert_live(house, 7, 3, NULL);
    send(house, MF_CHUNK_LIVE, 3, 7, 0, "one\n");
    send(house, MF_CHUNK_LIVE, 3, 7, 5, "three\n");
    assert_live(house, 7, 3, "one\n");
}

static void there_are_only_so_many(void **state)
{
    struct house *house = *state;
    for (uint64_t id = 1; id <= LIVE_MAX + 5; id++)
        send(house, MF_CHUNK_LIVE, 3, id, 0, "x");
    assert_live(house, LIVE_MAX, 3, "x");
    assert_live(house, LIVE_MAX + 1, 3, NULL);
    intake_ended(house->intake, 3, &(struct mf_fence){1, 2, 1});
    send(house, MF_CHUNK_LIVE, 3, LIVE_MAX + 1, 1, "y"); /* its beginning is missing */
    assert_live(house, LIVE_MAX + 1, 3, NULL);
    send(house, MF_CHUNK_LIVE, 3, LIVE_MAX + 6, 0, "z");
    assert_live(house, LIVE_MAX + 6, 3, "z");
}

/* Somebody has taken it away. */
static void a_file_that_is_gone_harms_nothing(void **state)
{
    struct house *house = *state;
    char path[400];
    send(house, MF_CHUNK_LIVE, 3, 7, 0, "one\n");
    live_path(house, 7, 3, path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(intake_lost(house->intake, 3, &house->error), 0);
    assert_stored(house, 7, LOG_STDOUT, 3, "");
}

/* A file in the folder's place: as on a full disk, nothing can be written. */
static void what_cannot_be_written_harms_nothing(void **state)
{
    struct house *house = *state;
    char path[300];
    snprintf(path, sizeof path, "%s/live", house->run.folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    send(house, MF_CHUNK_LIVE, 3, 7, 0, "one\n");
    send(house, MF_CHUNK_STDERR, 3, 7, 0, "err\n");
    assert_int_equal(intake_lost(house->intake, 3, &house->error), 0);
    assert_stored(house, 7, LOG_STDERR, 3, "err\n");
}

static void resume(struct house *house)
{
    close_house(house);
    open_house(house);
    assert_int_equal(intake_resume(house->intake, 2, &house->error), 0);
}

/* A stream that the worker sends again to the next master is there once. */
static void what_is_stored_is_not_stored_again(void **state)
{
    struct house *house = *state;
    send(house, MF_CHUNK_STDERR, 3, 7, 0, "one\n");
    send(house, MF_CHUNK_STDERR, 4, 7, 0, "elsewhere\n");
    send(house, MF_CHUNK_WORKER_LOG, 3, 0, 0, "joined\n");
    resume(house);
    send(house, MF_CHUNK_STDERR, 3, 7, 0, "on");
    send(house, MF_CHUNK_STDERR, 3, 7, 2, "e\ntwo\n");
    send(house, MF_CHUNK_STDERR, 3, 7, 8, "three\n");
    send(house, MF_CHUNK_STDERR, 3, 8, 0, "eight\n");
    send(house, MF_CHUNK_WORKER_LOG, 3, 0, 0, "joined\nagain\n");
    assert_stored(house, 7, LOG_STDERR, 3, "one\ntwo\nthree\n");
    assert_stored(house, 7, LOG_STDERR, 4, "elsewhere\n");
    assert_stored(house, 8, LOG_STDERR, 3, "eight\n");
    struct log_piece piece;
    struct log_reader *reader = log_reader_open(house->logs_path, &house->error);
    size_t length = 0;
    while (log_reader_next(reader, 0, 0, 3, 1u << LOG_WORKER, &piece, &house->error) > 0)
        length += piece.data.length;
    log_reader_close(reader);
    assert_int_equal(length, strlen("joined\nagain\n"));
}

/* Standard output that is shown begins anew; what was on its way to a file is dropped. */
static void what_was_on_its_way_begins_anew(void **state)
{
    struct house *house = *state;
    char path[400];
    send(house, MF_CHUNK_LIVE, 3, 7, 0, "one\ntwo\n");
    send(house, MF_CHUNK_LIVE, 3, 7, 0, "one\n");
    assert_live(house, 7, 3, "one\n");
    send(house, MF_CHUNK_RESULT, 3, 9, 0, "half");
    snprintf(path, sizeof path, "%s/incoming", house->run.folder);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(intake_resume(house->intake, 2, &house->error), 0);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(stdout_is_shown_while_it_runs),
        CASE(the_log_of_a_failed_one_replaces_it),
        CASE(what_a_lost_worker_sent_is_kept),
        CASE(the_end_of_the_run_keeps_the_rest),
        CASE(what_a_killed_master_left_is_taken_over),
        CASE(no_more_is_kept_than_of_a_log),
        CASE(a_piece_out_of_order_is_left_out),
        CASE(there_are_only_so_many),
        CASE(a_file_that_is_gone_harms_nothing),
        CASE(what_cannot_be_written_harms_nothing),
        CASE(what_is_stored_is_not_stored_again),
        CASE(what_was_on_its_way_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
