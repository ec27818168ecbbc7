/* SPDX-License-Identifier: Apache-2.0 */
/* plan.seg: what is written is read; a tail cut at any byte is dropped; damage before it is found.
 */
#include "tests/unit/split/split_fixture.h"

#include <signal.h>
#include <sys/resource.h>

#include "common/alloc.h"
#include "master/split/plan_seg.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, split_setup, split_teardown)
#define PIECES 7

static const struct mf_subtask *pieces(void)
{
    static struct mf_subtask all[PIECES];
    all[0] = (struct mf_subtask){.id = 1,
                                 .length = 7,
                                 .header_length = 3,
                                 .offset = 3,
                                 .input_size = 99,
                                 .input_mtime_ns = -5,
                                 .input_inode = UINT64_MAX};
    all[0].path = all[0].item = mf_bytes_text("in put\n");
    all[1] = all[0];
    all[1].id = 2;
    all[1].offset = UINT64_MAX;
    all[2] = all[1];
    all[2].id = 3;
    all[2].path = all[2].item = mf_bytes_text("\xff");
    all[2].item = mf_bytes_text("other");
    all[3] = (struct mf_subtask){.id = 4, .item = mf_bytes_of("/a\0/b\0", 6), .length = 4};
    all[4] = (struct mf_subtask){
        .id = 5, .has_number = true, .number = INT64_MIN, .fields = mf_bytes_text("\x80")};
    all[5] = (struct mf_subtask){
        .id = 6, .item = mf_bytes_text("a body"), .message = 1, .fields = mf_bytes_text("\x80")};
    all[6] = all[0];
    all[6].id = 7;
    all[6].message = INT64_MAX;
    return all;
}

static void expect_same(const struct mf_subtask *a, const struct mf_subtask *b)
{
    assert_int_equal(a->id, b->id);
    assert_true(mf_bytes_equal(a->item, b->item));
    assert_true(mf_bytes_equal(a->path, b->path));
    assert_true(mf_bytes_equal(a->fields, b->fields));
    assert_int_equal(a->has_number, b->has_number);
    assert_true(a->number == b->number && a->offset == b->offset && a->length == b->length);
    assert_true(a->header_length == b->header_length && a->input_size == b->input_size);
    assert_true(a->input_mtime_ns == b->input_mtime_ns && a->input_inode == b->input_inode);
    assert_true(a->message == b->message);
}

static void plan_path(const struct split_test *test, char path[128])
{
    snprintf(path, 128, "%s/plan.seg", test->folder);
}

static void write_plan(struct split_test *test, bool with_end)
{
    char path[128];
    plan_path(test, path);
    struct plan_writer *writer = plan_writer_create(path, &test->error);
    assert_non_null(writer);
    for (size_t i = 0; i < PIECES; i++)
        assert_int_equal(plan_writer_append(writer, &pieces()[i], &test->error), 0);
    assert_int_equal(plan_writer_flush(writer, true, &test->error), 0);
    if (with_end)
        assert_int_equal(plan_writer_end(writer, PIECES, &test->error), 0);
    assert_int_equal(plan_writer_flush(writer, false, &test->error), 0);
    plan_writer_destroy(writer);
}

/* How many pieces are read, all of them right; -1 when reading fails. */
static int read_plan(struct split_test *test, bool *is_complete)
{
    char path[128];
    struct mf_subtask piece;
    int rc, count = 0;
    plan_path(test, path);
    struct plan_reader *reader = plan_reader_open(path, &test->error);
    if (reader == NULL)
        return -1;
    while ((rc = plan_reader_next(reader, &piece, &test->error)) == 1)
        expect_same(&piece, &pieces()[count++]);
    *is_complete = plan_reader_complete(reader);
    plan_reader_destroy(reader);
    return rc < 0 ? -1 : count;
}

static size_t load_plan(struct split_test *test, unsigned char *bytes, size_t size)
{
    char path[128];
    plan_path(test, path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(bytes, 1, size, file);
    fclose(file);
    assert_true(n > 0 && n < size);
    return n;
}

static void what_is_written_is_read(void **state)
{
    struct split_test *test = *state;
    bool is_complete;
    char path[128];
    write_plan(test, true);
    assert_int_equal(read_plan(test, &is_complete), PIECES);
    assert_true(is_complete);
    plan_path(test, path);
    assert_null(plan_writer_create(path, &test->error));
    assert_non_null(strstr(test->error.text, "cannot make the plan"));
}

static void an_unfinished_plan_is_not_complete(void **state)
{
    struct split_test *test = *state;
    bool is_complete;
    write_plan(test, false);
    assert_int_equal(read_plan(test, &is_complete), PIECES);
    assert_false(is_complete);
}

static void a_tail_cut_at_any_byte_is_dropped(void **state)
{
    struct split_test *test = *state;
    unsigned char bytes[1024];
    bool is_complete;
    int last = 0;
    write_plan(test, true);
    size_t size = load_plan(test, bytes, sizeof bytes);
    for (size_t cut = 0; cut < size; cut++) {
        put_bytes(test, "plan.seg", bytes, cut);
        int count = read_plan(test, &is_complete);
        assert_true(count >= last && count <= PIECES);
        assert_false(is_complete);
        last = count;
    }
    assert_int_equal(last, PIECES);
}

static void a_tail_of_zeros_is_dropped(void **state)
{
    struct split_test *test = *state;
    unsigned char bytes[1024] = {0};
    bool is_complete;
    write_plan(test, false);
    size_t size = load_plan(test, bytes, sizeof bytes);
    put_bytes(test, "plan.seg", bytes, sizeof bytes);
    assert_true(size < sizeof bytes);
    assert_int_equal(read_plan(test, &is_complete), PIECES);
}

static void damage_before_the_tail_is_an_error(void **state)
{
    struct split_test *test = *state;
    unsigned char bytes[1024];
    bool is_complete;
    write_plan(test, true);
    size_t size = load_plan(test, bytes, sizeof bytes);
    size_t end_record = size - 12 - 2;
    for (size_t at = 0; at < size; at++) {
        bytes[at] ^= 0x40;
        put_bytes(test, "plan.seg", bytes, size);
        int count = read_plan(test, &is_complete);
        assert_int_equal(count, at < end_record ? -1 : PIECES);
        if (count < 0)
            assert_int_equal(test->error.code, MF_EINPUT);
        assert_false(count >= 0 && is_complete);
        bytes[at] ^= 0x40;
    }
}

static void a_wrong_total_and_what_follows_the_end_are_damage(void **state)
{
    struct split_test *test = *state;
    char path[128];
    bool is_complete;
    plan_path(test, path);
    struct plan_writer *writer = plan_writer_create(path, &test->error);
    assert_int_equal(plan_writer_append(writer, &pieces()[0], &test->error), 0);
    assert_int_equal(plan_writer_end(writer, 1, &test->error), 0);
    assert_int_equal(plan_writer_append(writer, &pieces()[1], &test->error), 0);
    assert_int_equal(plan_writer_flush(writer, false, &test->error), 0);
    plan_writer_destroy(writer);
    assert_int_equal(read_plan(test, &is_complete), -1);
    unlink(path);
    writer = plan_writer_create(path, &test->error);
    assert_int_equal(plan_writer_end(writer, 1, &test->error), 0);
    assert_int_equal(plan_writer_flush(writer, false, &test->error), 0);
    plan_writer_destroy(writer);
    assert_int_equal(read_plan(test, &is_complete), -1);
    assert_non_null(strstr(test->error.text, "plan.seg is damaged at byte 16, behind 0 subtasks"));
}

static void many_pieces_cross_the_buffers(void **state)
{
    struct split_test *test = *state;
    char path[128];
    struct mf_subtask piece = pieces()[0];
    plan_path(test, path);
    struct plan_writer *writer = plan_writer_create(path, &test->error);
    for (uint64_t i = 0; i < 50000; i++) {
        piece.offset = i;
        assert_int_equal(plan_writer_append(writer, &piece, &test->error), 0);
    }
    assert_int_equal(plan_writer_end(writer, 50000, &test->error), 0);
    assert_int_equal(plan_writer_flush(writer, false, &test->error), 0);
    plan_writer_destroy(writer);
    struct plan_reader *reader = plan_reader_open(path, &test->error);
    for (uint64_t i = 0; i < 50000; i++) {
        assert_int_equal(plan_reader_next(reader, &piece, &test->error), 1);
        assert_true(piece.offset == i && piece.id == i + 1 && piece.path.length == 7);
    }
    assert_int_equal(plan_reader_next(reader, &piece, &test->error), 0);
    assert_true(plan_reader_complete(reader));
    plan_reader_destroy(reader);
}

/* The limit on a file's size stands for a full disk: the write fails in the middle of the records.
 */
static void a_full_disk_is_reported_and_nothing_lost(void **state)
{
    struct split_test *test = *state;
    char path[128];
    bool is_complete;
    struct rlimit old, small;
    plan_path(test, path);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 40;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    struct plan_writer *writer = plan_writer_create(path, &test->error);
    assert_non_null(writer);
    for (size_t i = 0; i < PIECES; i++)
        assert_int_equal(plan_writer_append(writer, &pieces()[i], &test->error), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(plan_writer_flush(writer, true, &test->error), -1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_non_null(strstr(test->error.text, "cannot write the plan"));
    assert_int_equal(plan_writer_flush(writer, true, &test->error), 0);
    plan_writer_destroy(writer);
    assert_int_equal(read_plan(test, &is_complete), PIECES);
    assert_null(plan_writer_create("/nowhere/plan.seg", &test->error));
    assert_string_equal(test->error.text,
                        "cannot make the plan /nowhere/plan.seg: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_written_is_read),
        CASE(an_unfinished_plan_is_not_complete),
        CASE(a_tail_cut_at_any_byte_is_dropped),
        CASE(a_tail_of_zeros_is_dropped),
        CASE(damage_before_the_tail_is_an_error),
        CASE(a_wrong_total_and_what_follows_the_end_are_damage),
        CASE(many_pieces_cross_the_buffers),
        CASE(a_full_disk_is_reported_and_nothing_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
