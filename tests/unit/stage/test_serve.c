/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of files as the master reads them: the right bytes of the planned file, or a cause. */
#include "master/stage/serve.h"

#include <fcntl.h>
#include <poll.h>
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

#include "common/alloc.h"
#include "common/checksum.h"
#include "common/frame.h"

#define LIMIT_MS 20000

struct state {
    char folder[80];
    char path[128];
    struct serve *serve;
    struct mf_decoder *decoder;
    struct serve_order order;
    struct mf_message message;
};

static int set_up(void **place)
{
    struct state *state = calloc(1, sizeof *state);
    const char *base = getenv("TMPDIR");
    struct mf_error error;
    assert_non_null(state);
    snprintf(state->folder,
             sizeof state->folder,
             "%.50s/mayfly-serve-XXXXXX",
             base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(state->folder));
    snprintf(state->path, sizeof state->path, "%s/in \xe9", state->folder);
    state->serve = serve_create(&error);
    state->decoder = mf_decoder_create();
    assert_non_null(state->serve);
    *place = state;
    return 0;
}

static int tear_down(void **place)
{
    struct state *state = *place;
    serve_destroy(state->serve);
    mf_decoder_destroy(state->decoder);
    mf_buffer_fini(&state->order.frame);
    unlink(state->path);
    int rc = rmdir(state->folder);
    free(state);
    return rc;
}

/* Bytes that do not deflate, always the same. */
static unsigned char next_byte(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (unsigned char)(*seed >> 24);
}

static void write_file(const char *path, const void *data, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, length), (ssize_t)length);
    close(fd);
}

/* An order for a range of the file as it is now. */
static void plan(struct state *state, uint64_t offset, uint32_t length)
{
    struct stat st;
    struct mf_buffer frame = state->order.frame;
    assert_int_equal(stat(state->path, &st), 0);
    state->order = (struct serve_order){.path = state->path,
                                        .is_known = true,
                                        .size = (uint64_t)st.st_size,
                                        .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 +
                                                    st.st_mtim.tv_nsec,
                                        .inode = (uint64_t)st.st_ino,
                                        .offset = offset,
                                        .length = length,
                                        .frame = frame};
}

static const struct mf_piece *ask(struct state *state)
{
    struct pollfd polled = {.fd = serve_fd(state->serve), .events = POLLIN};
    struct mf_error error;
    serve_submit(state->serve, &state->order);
    assert_int_equal(poll(&polled, 1, LIMIT_MS), 1);
    assert_ptr_equal(serve_take(state->serve), &state->order);
    if (mf_decode(state->decoder, mf_buffer_view(&state->order.frame), &state->message, &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(state->message.type, MF_PIECE);
    return &state->message.piece;
}

static void assert_cause_is(const struct mf_piece *piece, uint32_t cause, const char *part)
{
    char detail[MF_DETAIL_MAX + 1];
    snprintf(
        detail, sizeof detail, "%.*s", (int)piece->detail.length, (const char *)piece->detail.data);
    assert_int_equal(piece->cause, cause);
    assert_int_equal(piece->data.length, 0);
    if (strstr(detail, part) == NULL)
        fail_msg("\"%s\" does not say: %s", detail, part);
}

static void a_range_is_served(void **place)
{
    struct state *state = *place;
    write_file(state->path, "0123456789", 10);
    plan(state, 3, 4);
    const struct mf_piece *piece = ask(state);
    assert_int_equal(piece->cause, MF_CAUSE_NONE);
    assert_true(mf_bytes_equal(piece->data, mf_bytes_text("3456")));
    assert_int_equal(piece->checksum, mf_crc32(piece->data));
    assert_int_equal(piece->size, 10);
    assert_int_equal(piece->inode, state->order.inode);
    assert_true(piece->mtime_ns == state->order.mtime_ns);
    plan(state, 8, 100); /* never beyond the end */
    assert_true(mf_bytes_equal(ask(state)->data, mf_bytes_text("89")));
    plan(state, INT64_MAX, 100);
    assert_int_equal(ask(state)->data.length, 0);
    plan(state, 0, 0);
    piece = ask(state);
    assert_int_equal(piece->cause, MF_CAUSE_NONE);
    assert_int_equal(piece->size, 10);
}

static void what_is_not_as_planned_is_told(void **place)
{
    struct state *state = *place;
    char other[160];
    write_file(state->path, "0123456789", 10);
    plan(state, 0, 10);
    assert_int_equal(ask(state)->cause, MF_CAUSE_NONE);
    /* The descriptor is kept open: the change shows all the same. */
    write_file(state->path, "01234567890", 11);
    assert_cause_is(ask(state), MF_CAUSE_INPUT_CHANGED, "it had 10 bytes and has 11 now");
    plan(state, 0, 10);
    state->order.mtime_ns++;
    assert_cause_is(ask(state), MF_CAUSE_INPUT_CHANGED, "its time of modification differs");
    plan(state, 0, 10);
    state->order.inode++;
    assert_cause_is(ask(state), MF_CAUSE_INPUT_CHANGED, "another file of the same name");
    plan(state, 0, 10);
    snprintf(other, sizeof other, "%s/missing", state->folder);
    state->order.path = other;
    assert_cause_is(ask(state), MF_CAUSE_INPUT_MISSING, "missing\" is missing: it was there");
    state->order.path = state->folder;
    assert_cause_is(ask(state), MF_CAUSE_INPUT_CHANGED, "is not a regular file");
    snprintf(other, sizeof other, "%s/in \xe9/below", state->folder);
    state->order.path = other;
    assert_cause_is(ask(state), MF_CAUSE_INPUT_MISSING, "is missing");
}

/* What a worker began to read is read to its end, whatever has its name by then. */
static void a_replaced_file_is_still_the_planned_one(void **place)
{
    struct state *state = *place;
    char other[160];
    write_file(state->path, "planned", 7);
    plan(state, 0, 4);
    for (int i = 0; i < 8; i++) /* each thread has it open then, in all likelihood */
        assert_true(mf_bytes_equal(ask(state)->data, mf_bytes_text("plan")));
    snprintf(other, sizeof other, "%s/other", state->folder);
    write_file(other, "another", 7);
    assert_int_equal(rename(other, state->path), 0);
    const struct mf_piece *piece = ask(state);
    if (piece->cause == MF_CAUSE_NONE)
        assert_true(mf_bytes_equal(piece->data, mf_bytes_text("plan")));
    else
        assert_int_equal(piece->cause, MF_CAUSE_INPUT_CHANGED);
}

static void a_file_that_is_not_planned_is_described(void **place)
{
    struct state *state = *place;
    write_file(state->path, "0123456789", 10);
    plan(state, 0, MF_PIECE_MAX);
    state->order.is_known = false;
    state->order.size = 0;
    assert_true(mf_bytes_equal(ask(state)->data, mf_bytes_text("0123456789")));
    write_file(state->path, "new", 3);
    const struct mf_piece *piece = ask(state);
    assert_int_equal(piece->size, 3);
    assert_true(mf_bytes_equal(piece->data, mf_bytes_text("new")));
}

static void only_what_gains_is_deflated(void **place)
{
    struct state *state = *place;
    unsigned char *data = calloc(1, MF_PIECE_MAX);
    assert_non_null(data);
    write_file(state->path, data, MF_PIECE_MAX);
    plan(state, 0, MF_PIECE_MAX);
    state->order.may_deflate = true;
    assert_int_equal(ask(state)->data.length, MF_PIECE_MAX);
    assert_true(mf_frame_is_deflated(mf_buffer_view(&state->order.frame)));
    state->order.may_deflate = false;
    assert_int_equal(ask(state)->data.length, MF_PIECE_MAX);
    assert_false(mf_frame_is_deflated(mf_buffer_view(&state->order.frame)));
    uint32_t seed = 1;
    for (size_t i = 0; i < MF_PIECE_MAX; i++)
        data[i] = next_byte(&seed);
    write_file(state->path, data, MF_PIECE_MAX);
    plan(state, 0, MF_PIECE_MAX);
    state->order.may_deflate = true;
    const struct mf_piece *piece = ask(state);
    assert_memory_equal(piece->data.data, data, MF_PIECE_MAX);
    assert_false(mf_frame_is_deflated(mf_buffer_view(&state->order.frame)));
    free(data);
}

static void many_orders_at_once(void **place)
{
    struct state *state = *place;
    enum { COUNT = 40 };
    static struct serve_order orders[COUNT];
    unsigned done = 0;
    struct mf_error error;
    char text[COUNT * 10 + 1];
    for (int i = 0; i < COUNT; i++)
        snprintf(text + 10 * i, 11, "piece %03d\n", i);
    write_file(state->path, text, COUNT * 10);
    plan(state, 0, 10);
    for (unsigned i = 0; i < COUNT; i++) {
        orders[i] = state->order;
        orders[i].frame = (struct mf_buffer){0};
        orders[i].offset = 10 * i;
        serve_submit(state->serve, &orders[i]);
    }
    while (done < COUNT) {
        struct pollfd polled = {.fd = serve_fd(state->serve), .events = POLLIN};
        assert_int_equal(poll(&polled, 1, LIMIT_MS), 1);
        for (struct mf_mail *mail = &serve_take(state->serve)->mail; mail != NULL;
             mail = mail->next) {
            struct serve_order *order = (struct serve_order *)mail;
            assert_int_equal(
                mf_decode(state->decoder, mf_buffer_view(&order->frame), &state->message, &error),
                0);
            assert_memory_equal(state->message.piece.data.data, text + order->offset, 10);
            mf_buffer_fini(&order->frame);
            done++;
        }
    }
}

static void what_is_not_taken_is_dropped(void **place)
{
    struct state *state = *place;
    write_file(state->path, "x", 1);
    plan(state, 0, 1);
    serve_submit(state->serve, &state->order);
    serve_destroy(state->serve);
    struct mf_error error;
    state->serve = serve_create(&error);
    assert_non_null(state->serve);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_range_is_served),
        CASE(what_is_not_as_planned_is_told),
        CASE(a_replaced_file_is_still_the_planned_one),
        CASE(a_file_that_is_not_planned_is_described),
        CASE(only_what_gains_is_deflated),
        CASE(many_orders_at_once),
        CASE(what_is_not_taken_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
