/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which files, the worker's log and streams that grow go home, and what of them. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/place.h"
#include "worker/upload.h"

struct bench {
    char folder[64];
    char log[80], file[80];
    struct upload *upload;
    struct mf_buffer frame;
    struct mf_decoder *decoder;
    struct mf_message message; /* the last one that upload_next gave */
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    struct mf_error error;
    assert_non_null(bench);
    strcpy(bench->folder, "/tmp/mayfly-test-XXXXXX");
    assert_non_null(mkdtemp(bench->folder));
    snprintf(bench->log, sizeof bench->log, "%s/worker.log", bench->folder);
    snprintf(bench->file, sizeof bench->file, "%s/file", bench->folder);
    assert_non_null(bench->upload = upload_create(bench->log, &error));
    assert_non_null(bench->decoder = mf_decoder_create());
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    upload_destroy(bench->upload);
    mf_decoder_destroy(bench->decoder);
    mf_buffer_fini(&bench->frame);
    int rc = place_remove(bench->folder, NULL, NULL);
    free(bench);
    return rc;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void write_large(const char *path, size_t length)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (off_t)length), 0);
    assert_int_equal(fclose(file), 0);
}

/* The next chunk; NULL when there is none. */
static const struct mf_chunk *next(struct bench *bench)
{
    struct mf_request request = {.worker = 1, .lane = 2, .sequence = 1, .epoch = 1, .session = 1};
    struct mf_error error;
    int rc = upload_next(bench->upload, &request, &bench->frame, &error);
    if (rc < 0)
        fail_msg("%s", error.text);
    if (rc == 0)
        return NULL;
    rc = mf_decode(bench->decoder, mf_buffer_view(&bench->frame), &bench->message, &error);
    if (rc < 0)
        fail_msg("%s", error.text);
    return &bench->message.chunk;
}

static void
expect(struct bench *bench, enum mf_chunk_kind kind, uint64_t subtask, uint64_t offset, size_t size)
{
    const struct mf_chunk *chunk = next(bench);
    assert_non_null(chunk);
    assert_int_equal(chunk->kind, kind);
    assert_int_equal(chunk->subtask, subtask);
    assert_int_equal(chunk->offset, offset);
    assert_int_equal(chunk->data.length, size);
    upload_received(bench->upload);
}

static void grow(struct bench *bench, uint64_t subtask, uint64_t out, uint64_t err)
{
    struct executed_growth growth = {{subtask, 1, 1}, {bench->file, 1, out}, {bench->file, 2, err}};
    struct mf_error error;
    assert_int_equal(upload_grew(bench->upload, &growth, &error), 0);
}

static struct executed ended(uint64_t subtask, struct executed_file *files, uint32_t count)
{
    return (struct executed){.result = {.subtask = subtask, .attempt = 1, .epoch = 1},
                             .files = files,
                             .file_count = count};
}

static void add(struct bench *bench, struct executed *executed)
{
    struct mf_error error;
    assert_int_equal(upload_add(bench->upload, executed, &error), 0);
}

static void growth_is_sent_once_and_as_it_is(void **state)
{
    struct bench *bench = *state;
    write_text(bench->file, "0123456789");
    grow(bench, 7, 3, 2);
    const struct mf_chunk *chunk = next(bench);
    assert_non_null(chunk);
    assert_int_equal(chunk->kind, MF_CHUNK_STDERR);
    assert_memory_equal(chunk->data.data, "23", 2);
    assert_false(chunk->last);
    upload_received(bench->upload);
    chunk = next(bench);
    assert_non_null(chunk);
    assert_int_equal(chunk->kind, MF_CHUNK_LIVE);
    assert_memory_equal(chunk->data.data, "123", 3);
    upload_received(bench->upload);
    assert_null(next(bench));
    grow(bench, 7, 5, 2);
    expect(bench, MF_CHUNK_LIVE, 7, 3, 2);
    assert_null(next(bench));
    assert_true(upload_is_idle(bench->upload));
}

static void at_the_end_only_the_rest_of_stderr_is_sent(void **state)
{
    struct bench *bench = *state;
    write_text(bench->file, "0123456789");
    struct executed_file files[] = {
        {.kind = MF_CHUNK_STDOUT, .path = bench->file, .offset = 1, .length = 5},
        {.kind = MF_CHUNK_STDERR, .path = bench->file, .offset = 2, .length = 8, .cut_bytes = 4}};
    struct executed executed = ended(7, files, 2);
    grow(bench, 7, 3, 2);
    expect(bench, MF_CHUNK_STDERR, 7, 0, 2);
    expect(bench, MF_CHUNK_LIVE, 7, 0, 3);
    grow(bench, 7, 4, 6); /* more than was sent */
    add(bench, &executed);
    expect(bench, MF_CHUNK_STDOUT, 7, 0, 5);
    assert_null(upload_next_done(bench->upload));
    const struct mf_chunk *chunk = next(bench);
    assert_non_null(chunk);
    assert_int_equal(chunk->kind, MF_CHUNK_STDERR);
    assert_int_equal(chunk->offset, 2);
    assert_memory_equal(chunk->data.data, "456789", 6);
    assert_true(chunk->last);
    assert_int_equal(chunk->cut_bytes, 4);
    upload_received(bench->upload);
    assert_ptr_equal(upload_next_done(bench->upload), &executed);
    assert_null(next(bench));
}

static void a_stream_that_is_all_there_only_ends(void **state)
{
    struct bench *bench = *state;
    write_text(bench->file, "0123456789");
    struct executed_file files[] = {
        {.kind = MF_CHUNK_STDERR, .path = bench->file, .offset = 2, .length = 2}};
    struct executed executed = ended(7, files, 1);
    grow(bench, 7, 0, 2);
    assert_non_null(next(bench));
    add(bench, &executed); /* while that chunk is under way */
    upload_received(bench->upload);
    assert_null(upload_next_done(bench->upload));
    expect(bench, MF_CHUNK_STDERR, 7, 2, 0);
    assert_true(bench->message.chunk.last);
    assert_ptr_equal(upload_next_done(bench->upload), &executed);
}

/* Else the master would get a piece of an attempt whose end it knows. */
static void an_end_waits_for_the_piece_that_is_under_way(void **state)
{
    struct bench *bench = *state;
    write_text(bench->file, "0123456789");
    struct executed mine = ended(7, NULL, 0), other = ended(8, NULL, 0);
    grow(bench, 7, 5, 0);
    grow(bench, 8, 5, 0);
    assert_int_equal(next(bench)->subtask, 7);
    add(bench, &mine);
    add(bench, &other);
    assert_ptr_equal(upload_next_done(bench->upload), &other);
    assert_null(upload_next_done(bench->upload));
    assert_false(upload_is_idle(bench->upload));
    upload_received(bench->upload);
    assert_ptr_equal(upload_next_done(bench->upload), &mine);
    assert_null(next(bench));
    assert_true(upload_is_idle(bench->upload));
}

static void files_and_logs_take_turns(void **state)
{
    struct bench *bench = *state;
    const size_t piece = MF_CHUNK_MAX;
    write_large(bench->file, 6 * piece);
    write_text(bench->log, "a line\n");
    struct executed_file files[] = {
        {.kind = MF_CHUNK_RESULT, .path = bench->file, .length = 5 * piece}};
    struct executed executed = ended(1, files, 1);
    add(bench, &executed);
    grow(bench, 2, piece + 1, 0);
    grow(bench, 3, 0, piece + 1);
    upload_log_due(bench->upload);
    expect(bench, MF_CHUNK_RESULT, 1, 0, piece);
    expect(bench, MF_CHUNK_WORKER_LOG, 0, 0, 7);
    expect(bench, MF_CHUNK_RESULT, 1, piece, piece);
    expect(bench, MF_CHUNK_LIVE, 2, 0, piece);
    expect(bench, MF_CHUNK_RESULT, 1, 2 * piece, piece);
    expect(bench, MF_CHUNK_STDERR, 3, 0, piece);
    expect(bench, MF_CHUNK_RESULT, 1, 3 * piece, piece);
    expect(bench, MF_CHUNK_LIVE, 2, piece, 1);
    expect(bench, MF_CHUNK_RESULT, 1, 4 * piece, piece);
    assert_ptr_equal(upload_next_done(bench->upload), &executed);
    expect(bench, MF_CHUNK_STDERR, 3, piece, 1);
    assert_null(next(bench));
}

static void what_cannot_be_read_is_left_to_the_end(void **state)
{
    struct bench *bench = *state;
    struct executed_file files[] = {
        {.kind = MF_CHUNK_STDERR, .path = bench->file, .offset = 2, .length = 2}};
    struct executed executed = ended(7, files, 1);
    grow(bench, 7, 2, 2);
    assert_null(next(bench));
    add(bench, &executed);
    assert_null(next(bench));
    assert_ptr_equal(upload_next_done(bench->upload), &executed);
    assert_int_equal(executed.result.cause, MF_CAUSE_WORKER_ERROR);
    free(executed.failure);
}

/* Half of the old and half of the new is neither. */
static void an_output_that_changes_is_none(void **state)
{
    struct bench *bench = *state;
    const size_t piece = MF_CHUNK_MAX;
    static const long changes[] = {-1, 0, 1}; /* in length */
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
        struct executed_file files[] = {{.kind = MF_CHUNK_OUTPUT,
                                         .path = bench->file,
                                         .name = (char *)(uintptr_t) "out",
                                         .length = 2 * piece}};
        struct executed executed = ended(i + 1, files, 1);
        write_large(bench->file, 2 * piece);
        assert_int_equal(utimensat(AT_FDCWD, bench->file, long_ago, 0), 0);
        add(bench, &executed);
        expect(bench, MF_CHUNK_OUTPUT, i + 1, 0, piece);
        write_large(bench->file, 2 * piece + (size_t)changes[i]);
        assert_null(next(bench));
        assert_ptr_equal(upload_next_done(bench->upload), &executed);
        assert_int_equal(executed.result.cause, MF_CAUSE_WORKER_ERROR);
        assert_non_null(strstr(executed.failure, "writes to it after its attempt has ended"));
        free(executed.failure);
    }
}

/* Another master has nothing of what was sent, not even of what had arrived. */
static void to_another_master_all_is_sent_again(void **state)
{
    struct bench *bench = *state;
    size_t large = MF_CHUNK_MAX + 10;
    char path[128];
    snprintf(path, sizeof path, "%s/large", bench->folder);
    write_text(bench->file, "0123456789");
    write_text(bench->log, "log");
    write_large(path, large);
    struct executed_file told[] = {
        {.kind = MF_CHUNK_STDERR, .path = bench->file, .offset = 2, .length = 8}};
    struct executed_file files[] = {{.kind = MF_CHUNK_RESULT, .path = path, .length = large}};
    struct executed first = ended(6, told, 1), second = ended(7, files, 1);
    grow(bench, 6, 0, 2);
    grow(bench, 8, 3, 0);
    expect(bench, MF_CHUNK_STDERR, 6, 0, 2);
    expect(bench, MF_CHUNK_LIVE, 8, 0, 3);
    add(bench, &first);
    expect(bench, MF_CHUNK_STDERR, 6, 2, 6);
    assert_ptr_equal(upload_next_done(bench->upload), &first);
    add(bench, &second);
    expect(bench, MF_CHUNK_RESULT, 7, 0, MF_CHUNK_MAX);
    assert_non_null(next(bench)); /* the rest is under way */
    add(bench, &first);
    upload_restart(bench->upload);
    expect(bench, MF_CHUNK_WORKER_LOG, 0, 0, 3);
    expect(bench, MF_CHUNK_RESULT, 7, 0, MF_CHUNK_MAX);
    expect(bench, MF_CHUNK_LIVE, 8, 0, 3);
    expect(bench, MF_CHUNK_RESULT, 7, MF_CHUNK_MAX, 10);
    assert_true(bench->message.chunk.last);
    expect(bench, MF_CHUNK_STDERR, 6, 0, 8);
    assert_null(next(bench));
    assert_ptr_equal(upload_next_done(bench->upload), &second);
    assert_ptr_equal(upload_next_done(bench->upload), &first);
}

/* What waits for the answer to its last piece waits for none any more. */
static void to_another_master_no_end_waits(void **state)
{
    struct bench *bench = *state;
    write_text(bench->file, "0123456789");
    struct executed executed = ended(7, NULL, 0);
    grow(bench, 7, 5, 0);
    assert_non_null(next(bench));
    add(bench, &executed);
    assert_null(upload_next_done(bench->upload));
    upload_restart(bench->upload);
    assert_ptr_equal(upload_next_done(bench->upload), &executed);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(growth_is_sent_once_and_as_it_is),
        CASE(at_the_end_only_the_rest_of_stderr_is_sent),
        CASE(a_stream_that_is_all_there_only_ends),
        CASE(an_end_waits_for_the_piece_that_is_under_way),
        CASE(files_and_logs_take_turns),
        CASE(what_cannot_be_read_is_left_to_the_end),
        CASE(an_output_that_changes_is_none),
        CASE(to_another_master_all_is_sent_again),
        CASE(to_another_master_no_end_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
