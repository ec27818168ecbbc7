/* SPDX-License-Identifier: Apache-2.0 */
/* logs/: what goes in comes out, whatever the writer's end; damage is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/record/log_format.h"
#include "master/record/log_store.h"

struct store {
    char base[200], folder[256];
    struct mf_error error;
};

static int setup(void **state)
{
    struct store *store = calloc(1, sizeof *store);
    const char *tmp = getenv("TMPDIR");
    snprintf(store->base, sizeof store->base, "%s/mayfly-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(store->base));
    snprintf(store->folder, sizeof store->folder, "%s/logs", store->base);
    *state = store;
    return 0;
}

static void path_of(const struct store *store, const char *name, char *out)
{
    snprintf(out, 512, "%s/%s", store->folder, name);
}

static int teardown(void **state)
{
    struct store *store = *state;
    static const char *const names[] = {"index", "000001.seg", "000002.seg", "000003.seg"};
    char path[512];
    for (size_t i = 0; i < 4; i++) {
        path_of(store, names[i], path);
        unlink(path);
    }
    rmdir(store->folder);
    assert_int_equal(rmdir(store->base), 0);
    free(store);
    return 0;
}

static struct log_writer *open_writer(struct store *store)
{
    struct log_writer *writer = log_writer_open(store->folder, &store->error);
    if (writer == NULL)
        fail_msg("%s", store->error.text);
    return writer;
}

static void
append(struct store *store, struct log_writer *writer, uint64_t subtask, const char *text)
{
    if (log_writer_append(
            writer, subtask, 1, 2, LOG_STDERR, mf_bytes_text(text), 0, &store->error) < 0)
        fail_msg("%s", store->error.text);
}

static void flush(struct store *store, struct log_writer *writer)
{
    if (log_writer_flush(writer, &store->error) < 0)
        fail_msg("%s", store->error.text);
}

/* All text of one subtask (0 = all), pieces joined; -1 on an error. `out` is cleared first. */
static int read_text(struct store *store, uint64_t subtask, struct mf_buffer *out)
{
    struct log_reader *reader = log_reader_open(store->folder, &store->error);
    struct log_piece piece;
    int more;
    assert_non_null(reader);
    mf_buffer_clear(out);
    while ((more = log_reader_next(reader, subtask, 0, 0, 0, &piece, &store->error)) > 0)
        mf_buffer_append(out, piece.data.data, piece.data.length, NULL);
    log_reader_close(reader);
    return more;
}

static void expect_text(struct store *store, uint64_t subtask, const char *text)
{
    struct mf_buffer out = {0};
    if (read_text(store, subtask, &out) < 0)
        fail_msg("%s", store->error.text);
    assert_string_equal(mf_buffer_text(&out), text);
    mf_buffer_fini(&out);
}

static void expect_damage(struct store *store, const char *what)
{
    struct mf_buffer out = {0};
    assert_int_equal(read_text(store, 0, &out), -1);
    mf_buffer_fini(&out);
    assert_int_equal(store->error.code, MF_EINPUT);
    if (strstr(store->error.text, what) == NULL)
        fail_msg("'%s' is not in '%s'", what, store->error.text);
}

static off_t size_of(const struct store *store, const char *name)
{
    char path[512];
    struct stat facts;
    path_of(store, name, path);
    return stat(path, &facts) == 0 ? facts.st_size : -1;
}

static void cut(const struct store *store, const char *name, off_t size)
{
    char path[512];
    path_of(store, name, path);
    assert_int_equal(truncate(path, size), 0);
}

static void flip(const struct store *store, const char *name, off_t offset)
{
    char path[512];
    unsigned char byte;
    path_of(store, name, path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

/* Bytes that do not compress. */
static void fill_noise(unsigned char *out, size_t length, uint32_t seed)
{
    for (size_t i = 0; i < length; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (unsigned char)(seed >> 24);
    }
}

static void all_fields_come_back(void **state)
{
    struct store *store = *state;
    struct log_writer *writer = open_writer(store);
    struct log_piece piece;
    assert_int_equal(log_writer_append(writer,
                                       UINT64_C(1) << 40,
                                       3,
                                       9,
                                       LOG_STDOUT,
                                       mf_bytes_of("a\0\xff\n", 4),
                                       77,
                                       &store->error),
                     0);
    assert_int_equal(
        log_writer_append(writer, 0, 0, 9, LOG_WORKER, mf_bytes_text("w"), 0, &store->error), 0);
    /* Nothing was said and nothing was cut: nothing is kept. */
    assert_int_equal(
        log_writer_append(writer, 5, 1, 9, LOG_STDERR, mf_bytes_text(""), 0, &store->error), 0);
    assert_int_equal(
        log_writer_append(writer, 6, 1, 8, LOG_STDERR, mf_bytes_text(""), 5, &store->error), 0);
    log_writer_close(writer);
    struct log_reader *reader = log_reader_open(store->folder, &store->error);
    assert_int_equal(log_reader_next(reader, 0, 0, 0, 0, &piece, &store->error), 1);
    assert_int_equal(piece.subtask, UINT64_C(1) << 40);
    assert_int_equal(piece.attempt, 3);
    assert_int_equal(piece.worker, 9);
    assert_int_equal(piece.stream, LOG_STDOUT);
    assert_int_equal(piece.cut_bytes, 77);
    assert_int_equal(piece.data.length, 4);
    assert_memory_equal(piece.data.data, "a\0\xff\n", 4);
    assert_int_equal(log_reader_next(reader, 0, 0, 0, 0, &piece, &store->error), 1);
    assert_int_equal(piece.stream, LOG_WORKER);
    assert_int_equal(log_reader_next(reader, 0, 0, 0, 0, &piece, &store->error), 1);
    assert_int_equal(piece.subtask, 6);
    assert_int_equal(piece.cut_bytes, 5);
    assert_int_equal(log_reader_next(reader, 0, 0, 0, 0, &piece, &store->error), 0);
    log_reader_close(reader);
}

static void pieces_are_filtered(void **state)
{
    struct store *store = *state;
    struct log_writer *writer = open_writer(store);
    for (uint32_t i = 0; i < 64; i++)
        assert_int_equal(log_writer_append(writer,
                                           1 + i % 4,
                                           1 + i / 4 % 2,
                                           1 + i / 8 % 2,
                                           i / 16 % 2 ? LOG_STDOUT : LOG_STDERR,
                                           mf_bytes_of("x", 1),
                                           0,
                                           &store->error),
                         0);
    log_writer_close(writer);
    static const struct {
        uint64_t subtask;
        uint32_t attempt, worker;
        unsigned streams;
        int count;
    } cases[] = {{0, 0, 0, 0, 64},
                 {3, 0, 0, 0, 16},
                 {3, 2, 0, 0, 8},
                 {3, 2, 1, 0, 4},
                 {3, 2, 1, 1u << LOG_STDERR, 2},
                 {0, 0, 0, 1u << LOG_STDERR | 1u << LOG_STDOUT, 64},
                 {0, 0, 0, 1u << LOG_WORKER, 0},
                 {5, 0, 0, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct log_reader *reader = log_reader_open(store->folder, &store->error);
        struct log_piece piece;
        int count = 0;
        while (log_reader_next(reader,
                               cases[i].subtask,
                               cases[i].attempt,
                               cases[i].worker,
                               cases[i].streams,
                               &piece,
                               &store->error) > 0)
            count++;
        assert_int_equal(count, cases[i].count);
        log_reader_close(reader);
    }
}

static void a_store_that_is_not_there_is_empty(void **state)
{
    struct store *store = *state;
    expect_text(store, 0, "");
    log_writer_close(open_writer(store));
    expect_text(store, 0, "");
}

static void what_is_flushed_is_read_at_once(void **state)
{
    struct store *store = *state;
    struct log_writer *writer = open_writer(store);
    struct log_reader *reader = log_reader_open(store->folder, &store->error);
    struct log_piece piece;
    for (int i = 0; i < 10; i++) {
        append(store, writer, 7, "x");
        append(store, writer, 8, "y");
        assert_int_equal(log_reader_next(reader, 7, 0, 0, 0, &piece, &store->error), 0);
        flush(store, writer);
        assert_int_equal(log_reader_next(reader, 7, 0, 0, 0, &piece, &store->error), 1);
        assert_int_equal(piece.data.data[0], 'x');
    }
    log_reader_close(reader);
    log_writer_close(writer);
}

static void many_subtasks_and_one_of_them(void **state)
{
    struct store *store = *state;
    struct log_writer *writer = open_writer(store);
    char text[64];
    for (int i = 1; i <= 30000; i++) {
        snprintf(text, sizeof text, "subtask %d says something\n", i);
        append(store, writer, (uint64_t)i, text);
    }
    append(store, writer, 4711, "again\n");
    log_writer_close(writer);
    expect_text(store, 4711, "subtask 4711 says something\nagain\n");
    expect_text(store, 30001, "");
    /* The index has what it takes: without the blocks between, only the two are read. */
    flip(store, "000001.seg", LOG_FILE_HEADER + LOG_BLOCK_HEADER + 20);
    expect_text(store, 20000, "subtask 20000 says something\n");
    expect_damage(store, "000001.seg is damaged at offset 16");
}

static void large_pieces_and_rotation(void **state)
{
    struct store *store = *state;
    struct log_writer *writer = open_writer(store);
    size_t length = 3 << 20;
    unsigned char *noise = malloc(length);
    for (uint32_t i = 0; i < 23; i++) {
        fill_noise(noise, length, i);
        assert_int_equal(
            log_writer_append(
                writer, i + 1, 1, 1, LOG_STDERR, mf_bytes_of(noise, length), i, &store->error),
            0);
    }
    log_writer_close(writer);
    assert_true(size_of(store, "000001.seg") >= 64 << 20);
    assert_true(size_of(store, "000002.seg") > 0);
    struct mf_buffer out = {0};
    for (uint32_t i = 0; i < 23; i += 11) {
        fill_noise(noise, length, i);
        assert_int_equal(read_text(store, i + 1, &out), 0);
        assert_int_equal(out.length, length);
        assert_memory_equal(out.data, noise, length);
    }
    /* The same without the index. */
    cut(store, "index", 3);
    assert_int_equal(read_text(store, 0, &out), 0);
    assert_int_equal(out.length, 23 * length);
    mf_buffer_fini(&out);
    free(noise);
    /* And it is made again. */
    writer = open_writer(store);
    append(store, writer, 99, "more");
    log_writer_close(writer);
    assert_true(size_of(store, "index") > 1000);
    expect_text(store, 99, "more");
}

/* Three blocks: where each ends in the segment and in the index. */
static void write_three(struct store *store, off_t *segment_ends, off_t *index_ends)
{
    struct log_writer *writer = open_writer(store);
    static const char *const texts[] = {"one.", "two.", "three."};
    for (int i = 0; i < 3; i++) {
        append(store, writer, (uint64_t)i + 1, texts[i]);
        flush(store, writer);
        segment_ends[i] = size_of(store, "000001.seg");
        index_ends[i] = size_of(store, "index");
    }
    log_writer_close(writer);
}

static void wipe(struct store *store)
{
    char path[512];
    path_of(store, "index", path);
    unlink(path);
    path_of(store, "000001.seg", path);
    unlink(path);
}

static const char *expected_of(const off_t *ends, off_t size)
{
    if (size >= ends[2])
        return "one.two.three.";
    if (size >= ends[1])
        return "one.two.";
    return size >= ends[0] ? "one." : "";
}

/* All that can be read, past what is damaged; how often damage was named. */
static unsigned read_past_damage(struct store *store, struct mf_buffer *out)
{
    struct log_piece piece;
    unsigned named = 0;
    int rc;
    struct log_reader *reader = log_reader_open(store->folder, &store->error);
    assert_non_null(reader);
    while ((rc = log_reader_next(reader, 0, 0, 0, 0, &piece, &store->error)) != 0) {
        assert_true(rc > 0 || store->error.code == MF_EINPUT);
        if (rc < 0)
            assert_true(++named < 10);
        else
            assert_int_equal(
                mf_buffer_append(out, piece.data.data, piece.data.length, &store->error), 0);
    }
    log_reader_close(reader);
    return named;
}

static void expect_past_damage(struct store *store, unsigned named, const char *text)
{
    struct mf_buffer out = {0};
    assert_int_equal(read_past_damage(store, &out), named);
    assert_int_equal(out.length, strlen(text));
    assert_memory_equal(out.data, text, out.length);
    mf_buffer_fini(&out);
}

static void a_segment_torn_at_every_byte(void **state)
{
    struct store *store = *state;
    off_t segment_ends[3], index_ends[3];
    write_three(store, segment_ends, index_ends);
    for (off_t size = segment_ends[2]; size >= 0; size--) {
        char all[64];
        wipe(store);
        write_three(store, segment_ends, index_ends);
        cut(store, "000001.seg", size);
        /* The index tells of what is torn off. */
        expect_past_damage(store, size < segment_ends[2], expected_of(segment_ends, size));
        struct log_writer *writer = open_writer(store);
        append(store, writer, 9, "more");
        log_writer_close(writer);
        snprintf(all, sizeof all, "%smore", expected_of(segment_ends, size));
        expect_text(store, 0, all);
        expect_text(store, 9, "more");
    }
}

static void an_index_torn_at_every_byte(void **state)
{
    struct store *store = *state;
    off_t segment_ends[3], index_ends[3];
    write_three(store, segment_ends, index_ends);
    for (off_t size = index_ends[2]; size >= 0; size--) {
        wipe(store);
        write_three(store, segment_ends, index_ends);
        cut(store, "index", size);
        expect_text(store, 0, "one.two.three.");
        expect_text(store, 3, "three.");
        struct log_writer *writer = open_writer(store);
        append(store, writer, 9, "more");
        log_writer_close(writer);
        expect_text(store, 0, "one.two.three.more");
        expect_text(store, 2, "two.");
    }
}

static void both_torn(void **state)
{
    struct store *store = *state;
    off_t segment_ends[3], index_ends[3];
    for (off_t less = 0; less < 60; less += 7) {
        wipe(store);
        write_three(store, segment_ends, index_ends);
        cut(store, "index", index_ends[2] - less);
        cut(store, "000001.seg", segment_ends[2] - 1);
        expect_past_damage(store, less == 0, "one.two.");
        struct log_writer *writer = open_writer(store);
        append(store, writer, 3, "again");
        log_writer_close(writer);
        expect_text(store, 0, "one.two.again");
    }
}

static void damage_is_named(void **state)
{
    struct store *store = *state;
    off_t segment_ends[3], index_ends[3];
    char expected[64];
    write_three(store, segment_ends, index_ends);
    snprintf(
        expected, sizeof expected, "000001.seg is damaged at offset %ld", (long)segment_ends[0]);
    for (off_t at = segment_ends[0]; at < segment_ends[1]; at++) {
        flip(store, "000001.seg", at);
        expect_damage(store, expected);
        flip(store, "000001.seg", at);
    }
    flip(store, "000001.seg", 3);
    expect_damage(store, "000001.seg is damaged at offset 0");
    flip(store, "000001.seg", 3);
    flip(store, "index", 9);
    expect_damage(store, "index is damaged at offset 0");
    flip(store, "index", 9);
    expect_text(store, 0, "one.two.three.");
}

static void what_is_whole_behind_damage_is_read(void **state)
{
    struct store *store = *state;
    off_t segment_ends[3], index_ends[3];
    write_three(store, segment_ends, index_ends);
    for (off_t at = segment_ends[0]; at < segment_ends[1]; at++) {
        flip(store, "000001.seg", at);
        expect_past_damage(store, 1, "one.three.");
        flip(store, "000001.seg", at);
    }
    flip(store, "000001.seg", 3);
    expect_past_damage(store, 1, "one.two.three.");
    flip(store, "index", 9);
    expect_past_damage(store, 2, "one.two.three.");
    /* The next writer mends what can be mended, and goes on. */
    struct log_writer *writer = open_writer(store);
    append(store, writer, 9, "four.");
    log_writer_close(writer);
    expect_past_damage(store, 0, "one.two.three.four.");
    flip(store, "000001.seg", segment_ends[0] + 5);
    flip(store, "index", index_ends[0] + 5);
    writer = open_writer(store);
    append(store, writer, 9, "five.");
    log_writer_close(writer);
    expect_past_damage(store, 1, "one.three.four.five.");
}

static void a_damaged_entry_is_passed_by(void **state)
{
    struct store *store = *state;
    off_t segment_ends[3], index_ends[3];
    write_three(store, segment_ends, index_ends);
    /* A small index is at most one entry from its end: the segments say the rest. */
    flip(store, "index", index_ends[0] + 5);
    expect_text(store, 0, "one.two.three.");
    struct log_writer *writer = open_writer(store);
    append(store, writer, 9, "more");
    log_writer_close(writer);
    expect_text(store, 0, "one.two.three.more");
}

static void a_full_disk_is_named_and_passes(void **state)
{
    struct store *store = *state;
    struct log_writer *writer = open_writer(store);
    struct rlimit old, low;
    unsigned char noise[20000];
    fill_noise(noise, sizeof noise, 1);
    append(store, writer, 1, "before.");
    flush(store, writer);
    off_t size = size_of(store, "000001.seg");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    low = (struct rlimit){.rlim_cur = (rlim_t)size + 5000, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    assert_int_equal(
        log_writer_append(
            writer, 2, 1, 1, LOG_STDERR, mf_bytes_of(noise, sizeof noise), 0, &store->error),
        0);
    int result = log_writer_flush(writer, &store->error);
    off_t after = size_of(store, "000001.seg");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(result, -1);
    assert_int_equal(store->error.code, MF_EFULL);
    assert_non_null(strstr(store->error.text, "full"));
    assert_int_equal(after, size);
    expect_text(store, 0, "before.");
    log_writer_close(writer); /* now there is room */
    struct mf_buffer out = {0};
    assert_int_equal(read_text(store, 2, &out), 0);
    assert_int_equal(out.length, sizeof noise);
    mf_buffer_fini(&out);
}

static void killed_while_writing(void **state)
{
    struct store *store = *state;
    char text[64];
    for (int round = 0; round < 5; round++) {
        int ready[2];
        assert_int_equal(pipe(ready), 0);
        pid_t child = fork();
        if (child == 0) {
            struct log_writer *writer = log_writer_open(store->folder, NULL);
            for (uint64_t i = 1; writer != NULL; i++) {
                snprintf(text, sizeof text, "%d-%llu\n", round, (unsigned long long)i);
                if (log_writer_append(writer, i, 1, 1, LOG_STDERR, mf_bytes_text(text), 0, NULL) <
                        0 ||
                    (i % 16 == 0 && log_writer_flush(writer, NULL) < 0) ||
                    (i % 256 == 0 && write(ready[1], "x", 1) != 1))
                    _exit(1);
            }
            _exit(1);
        }
        char byte;
        for (int i = 0; i < 3; i++)
            assert_int_equal(read(ready[0], &byte, 1), 1);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        close(ready[0]);
        close(ready[1]);
        struct mf_buffer out = {0};
        assert_int_equal(read_text(store, 700, &out), 0);
        snprintf(text, sizeof text, "%d-700\n", round);
        assert_non_null(strstr(mf_buffer_text(&out), text));
        mf_buffer_fini(&out);
    }
}

static void exhausted_memory_is_reported(void **state)
{
    struct store *store = *state;
    bool passed = false;
    for (unsigned long n = 1; !passed; n++) {
        mf_alloc_fail_at(n);
        struct log_writer *writer = log_writer_open(store->folder, &store->error);
        passed = writer != NULL &&
                 log_writer_append(
                     writer, n, 1, 1, LOG_STDERR, mf_bytes_text("x"), 0, &store->error) == 0 &&
                 log_writer_flush(writer, &store->error) == 0;
        if (!passed)
            assert_int_equal(store->error.code, MF_ENOMEM);
        mf_alloc_fail_at(0);
        log_writer_close(writer);
        assert_true(n < 200);
    }
    for (unsigned long n = 1, done = 0; !done; n++) {
        struct log_piece piece;
        mf_alloc_fail_at(n);
        struct log_reader *reader = log_reader_open(store->folder, &store->error);
        done = reader != NULL && log_reader_next(reader, 0, 0, 0, 0, &piece, &store->error) == 1;
        if (!done)
            assert_int_equal(store->error.code, MF_ENOMEM);
        mf_alloc_fail_at(0);
        log_reader_close(reader);
        assert_true(n < 200);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_fields_come_back),
        TEST(pieces_are_filtered),
        TEST(a_store_that_is_not_there_is_empty),
        TEST(what_is_flushed_is_read_at_once),
        TEST(many_subtasks_and_one_of_them),
        TEST(large_pieces_and_rotation),
        TEST(a_segment_torn_at_every_byte),
        TEST(an_index_torn_at_every_byte),
        TEST(both_torn),
        TEST(damage_is_named),
        TEST(what_is_whole_behind_damage_is_read),
        TEST(a_damaged_entry_is_passed_by),
        TEST(a_full_disk_is_named_and_passes),
        TEST(killed_while_writing),
        TEST(exhausted_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
