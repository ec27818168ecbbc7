/* SPDX-License-Identifier: Apache-2.0 */
/* The codec with good messages: every field arrives, the bytes are those of protocol version 1, the
 * decoder's memory is reused and can be detached, batches are fast enough. */
#include "common/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/frame.h"
#include "message_samples.h"

struct state {
    struct mf_decoder *decoder;
    struct mf_buffer frame;
    struct mf_message message;
    struct mf_error error;
};

static int set_up(void **place)
{
    struct state *state = mf_calloc(1, sizeof(*state));
    state->decoder = mf_decoder_create();
    *place = state;
    return state->decoder == NULL ? -1 : 0;
}

static int tear_down(void **place)
{
    struct state *state = *place;
    mf_decoder_destroy(state->decoder);
    mf_buffer_fini(&state->frame);
    mf_free(state);
    return 0;
}

/* What came of a call, with its sentence when it failed. */
#define assert_ok(state, call)                                                                     \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s", (state)->error.text);                                                   \
    } while (0)

#define assert_bytes(a, b) assert_true(mf_bytes_equal(a, b))

static void decode(struct state *state)
{
    assert_ok(
        state,
        mf_decode(state->decoder, mf_buffer_view(&state->frame), &state->message, &state->error));
}

static void assert_request(const struct mf_request *got, const struct mf_request *want)
{
    assert_int_equal(got->worker, want->worker);
    assert_memory_equal(got->token, want->token, MF_TOKEN_SIZE);
    assert_int_equal(got->lane, want->lane);
    assert_int_equal(got->sequence, want->sequence);
    assert_int_equal(got->epoch, want->epoch);
    assert_int_equal(got->session, want->session);
}

static void assert_fences(const struct mf_fence *got,
                          uint32_t got_count,
                          const struct mf_fence *want,
                          uint32_t want_count)
{
    assert_int_equal(got_count, want_count);
    for (uint32_t i = 0; i < want_count; i++) {
        assert_int_equal(got[i].subtask, want[i].subtask);
        assert_int_equal(got[i].attempt, want[i].attempt);
        assert_int_equal(got[i].epoch, want[i].epoch);
    }
}

static void
assert_texts(const char **got, uint32_t got_count, const char **want, uint32_t want_count)
{
    assert_int_equal(got_count, want_count);
    for (uint32_t i = 0; i < want_count; i++)
        assert_string_equal(got[i], want[i]);
}

static void hello_arrives(void **place)
{
    struct state *state = *place;
    assert_ok(state, mf_encode_hello(&sample_hello, &state->frame, &state->error));
    decode(state);
    const struct mf_hello *got = &state->message.hello;
    assert_int_equal(state->message.type, MF_HELLO);
    assert_request(&got->request, &sample_hello.request);
    assert_int_equal(got->protocol, 1);
    assert_string_equal(got->version, sample_hello.version);
    assert_string_equal(got->run_id, sample_hello.run_id);
    assert_int_equal(got->slots, 2);
    assert_int_equal(got->pid, 4711);
    assert_string_equal(got->host, sample_hello.host);
    assert_string_equal(got->system, sample_hello.system);
    assert_int_equal(got->cpus, 16);
    assert_int_equal(got->memory_bytes, sample_hello.memory_bytes);
    assert_int_equal(got->wall_us, sample_hello.wall_us);
    assert_int_equal(got->held_count, 0);
}

static void what_a_worker_holds_arrives(void **place)
{
    struct state *state = *place;
    assert_ok(state, mf_encode_hello(&sample_rejoining, &state->frame, &state->error));
    decode(state);
    const struct mf_hello *got = &state->message.hello;
    assert_int_equal(got->held_count, sample_rejoining.held_count);
    for (uint32_t i = 0; i < got->held_count; i++) {
        assert_int_equal(got->held[i].subtask, sample_rejoining.held[i].subtask);
        assert_int_equal(got->held[i].attempt, sample_rejoining.held[i].attempt);
        assert_int_equal(got->held[i].epoch, sample_rejoining.held[i].epoch);
        assert_int_equal(got->held[i].state, sample_rejoining.held[i].state);
    }
}

static void assert_result(const struct mf_result *got, const struct mf_result *want)
{
    assert_int_equal(got->subtask, want->subtask);
    assert_int_equal(got->attempt, want->attempt);
    assert_int_equal(got->epoch, want->epoch);
    assert_int_equal(got->cause, want->cause);
    assert_int_equal(got->exit_code, want->exit_code);
    assert_int_equal(got->signal, want->signal);
    assert_int_equal(got->age_us, want->age_us);
    assert_int_equal(got->wall_us, want->wall_us);
    assert_int_equal(got->user_us, want->user_us);
    assert_int_equal(got->system_us, want->system_us);
    assert_int_equal(got->peak_kib, want->peak_kib);
    assert_int_equal(got->result_bytes, want->result_bytes);
    assert_bytes(got->inline_result, want->inline_result);
    assert_int_equal(got->checksum, want->checksum);
    assert_int_equal(got->output_count, want->output_count);
    assert_int_equal(got->output_bytes, want->output_bytes);
    assert_bytes(got->detail, want->detail);
}

static void poll_arrives(void **place)
{
    struct state *state = *place;
    assert_ok(state, mf_encode_poll(&sample_poll, &state->frame, &state->error));
    decode(state);
    const struct mf_poll *got = &state->message.poll;
    assert_int_equal(state->message.type, MF_POLL);
    assert_request(&got->request, &sample_poll.request);
    assert_int_equal(got->free_places, 1);
    assert_fences(got->running, got->running_count, sample_poll.running, sample_poll.running_count);
    assert_fences(
        got->returned, got->returned_count, sample_poll.returned, sample_poll.returned_count);
    assert_int_equal(got->result_count, sample_poll.result_count);
    for (uint32_t i = 0; i < got->result_count; i++)
        assert_result(&got->results[i], &sample_poll.results[i]);
}

static void chunk_arrives(void **place)
{
    struct state *state = *place;
    assert_ok(state, mf_encode_chunk(&sample_chunk, &state->frame, &state->error));
    decode(state);
    const struct mf_chunk *got = &state->message.chunk;
    assert_int_equal(state->message.type, MF_CHUNK);
    assert_request(&got->request, &sample_chunk.request);
    assert_int_equal(got->kind, MF_CHUNK_OUTPUT);
    assert_int_equal(got->subtask, 9);
    assert_int_equal(got->attempt, 4);
    assert_int_equal(got->epoch, 1);
    assert_bytes(got->path, sample_chunk.path);
    assert_int_equal(got->mode, 0640);
    assert_int_equal(got->offset, 524288);
    assert_bytes(got->data, sample_chunk.data);
    assert_true(got->last);
    assert_int_equal(got->cut_bytes, 5);
    assert_bytes(got->sha256, sample_chunk.sha256);
}

static void worker_log_chunk_has_no_subtask(void **place)
{
    struct state *state = *place;
    struct mf_chunk log = {.request = sample_chunk.request,
                           .kind = MF_CHUNK_WORKER_LOG,
                           .data = mf_bytes_text("a line\n")};
    assert_ok(state, mf_encode_chunk(&log, &state->frame, &state->error));
    decode(state);
    assert_int_equal(state->message.chunk.subtask, 0);
    assert_int_equal(state->message.chunk.attempt, 0);
    assert_int_equal(state->message.chunk.epoch, 0);
    assert_false(state->message.chunk.last);
}

static void chunk_of_a_running_attempt_has_no_end(void **place)
{
    struct state *state = *place;
    struct mf_chunk live = {.request = sample_chunk.request,
                            .kind = MF_CHUNK_LIVE,
                            .subtask = 7,
                            .attempt = 2,
                            .epoch = sample_chunk.request.epoch,
                            .offset = 5,
                            .data = mf_bytes_text("a line\n")};
    assert_ok(state, mf_encode_chunk(&live, &state->frame, &state->error));
    decode(state);
    assert_int_equal(state->message.chunk.kind, MF_CHUNK_LIVE);
    assert_int_equal(state->message.chunk.offset, 5);
    assert_bytes(state->message.chunk.data, live.data);
    assert_false(state->message.chunk.last);
}

static void bye_arrives(void **place)
{
    struct state *state = *place;
    assert_ok(state, mf_encode_bye(&sample_bye, &state->frame, &state->error));
    decode(state);
    assert_int_equal(state->message.type, MF_BYE);
    assert_request(&state->message.bye.request, &sample_bye.request);
    assert_string_equal(state->message.bye.reason, "dismissed");
}

static void welcome_arrives(void **place)
{
    struct state *state = *place;
    const struct mf_task *want = &sample_welcome.task, *got = &state->message.welcome.task;
    assert_ok(state, mf_encode_welcome(&sample_welcome, &state->frame, &state->error));
    decode(state);
    assert_int_equal(state->message.type, MF_WELCOME);
    assert_int_equal(state->message.welcome.epoch, 2);
    assert_int_equal(state->message.welcome.lease_us, 30000000);
    assert_int_equal(state->message.welcome.orphan_us, 600000000);
    assert_int_equal(got->executor, MF_EXECUTOR_COMMAND);
    assert_texts(got->argv, got->argc, want->argv, want->argc);
    assert_texts(got->env, got->env_count, want->env, want->env_count);
    assert_string_equal(got->cwd, "sub");
    assert_int_equal(got->stdin_mode, MF_STDIN_PIECE);
    assert_texts(got->outputs, got->output_count, want->outputs, want->output_count);
    assert_texts(got->files, got->file_count, want->files, want->file_count);
    assert_string_equal(got->job_folder, want->job_folder);
    assert_string_equal(got->prepared_folder, want->prepared_folder);
    assert_int_equal(got->timeout_us, want->timeout_us);
    assert_int_equal(got->kill_after_us, want->kill_after_us);
    assert_int_equal(got->output_max, want->output_max);
    assert_int_equal(got->log_max, want->log_max);
}

static void absent_texts_are_null(void **place)
{
    struct state *state = *place;
    struct mf_welcome welcome = sample_welcome;
    welcome.task.cwd = NULL;
    welcome.task.prepared_folder = NULL;
    assert_ok(state, mf_encode_welcome(&welcome, &state->frame, &state->error));
    decode(state);
    assert_null(state->message.welcome.task.cwd);
    assert_null(state->message.welcome.task.prepared_folder);
}

static void work_arrives(void **place)
{
    struct state *state = *place;
    const struct mf_work *got = &state->message.work;
    assert_ok(state, mf_encode_work(&sample_work, &state->frame, &state->error));
    decode(state);
    assert_int_equal(state->message.type, MF_WORK);
    assert_int_equal(got->subtask_count, sample_work.subtask_count);
    for (uint32_t i = 0; i < got->subtask_count; i++) {
        const struct mf_subtask *one = &got->subtasks[i], *want = &sample_work.subtasks[i];
        assert_int_equal(one->id, want->id);
        assert_int_equal(one->attempt, want->attempt);
        assert_int_equal(one->epoch, want->epoch);
        assert_int_equal(one->has_number, want->has_number);
        assert_int_equal(one->number, want->number);
        assert_bytes(one->item, want->item);
        assert_bytes(one->path, want->path);
        assert_int_equal(one->offset, want->offset);
        assert_int_equal(one->length, want->length);
        assert_int_equal(one->header_length, want->header_length);
        assert_int_equal(one->input_size, want->input_size);
        assert_int_equal(one->input_mtime_ns, want->input_mtime_ns);
        assert_int_equal(one->input_inode, want->input_inode);
        assert_bytes(one->fields, want->fields);
        assert_true(one->message == want->message);
    }
    assert_fences(
        got->take_back, got->take_back_count, sample_work.take_back, sample_work.take_back_count);
    assert_fences(got->cancel, got->cancel_count, sample_work.cancel, sample_work.cancel_count);
    assert_true(got->drain);
    assert_true(got->dismiss);
}

static void assert_secrets(const struct mf_secret *got,
                           uint32_t count,
                           const struct mf_secret *want,
                           uint32_t want_count)
{
    assert_int_equal(count, want_count);
    for (uint32_t i = 0; i < count; i++) {
        assert_string_equal(got[i].name, want[i].name);
        assert_int_equal(got[i].version, want[i].version);
        assert_bytes(got[i].data, want[i].data);
    }
}

static void secrets_and_a_renewed_credential_arrive(void **place)
{
    struct state *state = *place;
    const struct mf_welcome *welcome = &state->message.welcome;
    const struct mf_work *work = &state->message.work;
    assert_ok(state, mf_encode_welcome(&sample_secret, &state->frame, &state->error));
    decode(state);
    assert_secrets(
        welcome->secrets, welcome->secret_count, sample_secret.secrets, sample_secret.secret_count);
    mf_buffer_clear(&state->frame);
    assert_ok(state, mf_encode_work(&sample_renewal, &state->frame, &state->error));
    decode(state);
    assert_secrets(work->secrets, work->secret_count, sample_renewal.secrets, 1);
    assert_int_equal(work->renewal_count, 1);
    assert_string_equal(work->renewals->certificate_pem, sample_renewal.renewals->certificate_pem);
    assert_string_equal(work->renewals->key_pem, sample_renewal.renewals->key_pem);
    assert_bytes(work->renewals->token, sample_renewal.renewals->token);
    assert_int_equal(work->subtask_count, 0);
}

static void refused_and_received_arrive(void **place)
{
    struct state *state = *place;
    assert_ok(state, mf_encode_refused(&sample_refused, &state->frame, &state->error));
    decode(state);
    assert_int_equal(state->message.type, MF_REFUSED);
    assert_int_equal(state->message.refused.code, MF_REFUSAL_TOKEN);
    assert_string_equal(state->message.refused.text, sample_refused.text);
    mf_buffer_clear(&state->frame);
    assert_ok(state, mf_encode_received(&state->frame, &state->error));
    decode(state);
    assert_int_equal(state->message.type, MF_RECEIVED);
}

static void staged_welcome_arrives(void **place)
{
    struct state *state = *place;
    const struct mf_task *want = &sample_staged.task, *got = &state->message.welcome.task;
    assert_ok(state, mf_encode_welcome(&sample_staged, &state->frame, &state->error));
    decode(state);
    assert_int_equal(got->staging, MF_STAGING_AUTO);
    assert_true(got->is_grouped);
    assert_int_equal(got->own_file_count, want->own_file_count);
    for (uint32_t i = 0; i < want->own_file_count; i++) {
        assert_bytes(got->own_files[i].path, want->own_files[i].path);
        assert_int_equal(got->own_files[i].size, want->own_files[i].size);
        assert_int_equal(got->own_files[i].mtime_ns, want->own_files[i].mtime_ns);
        assert_int_equal(got->own_files[i].inode, want->own_files[i].inode);
        assert_int_equal(got->own_files[i].mode, want->own_files[i].mode);
        assert_int_equal(got->own_files[i].is_folder, want->own_files[i].is_folder);
    }
}

static void fetch_and_piece_arrive(void **place)
{
    struct state *state = *place;
    const struct mf_fetch *fetch = &state->message.fetch;
    const struct mf_piece *piece = &state->message.piece;
    assert_ok(state, mf_encode_fetch(&sample_fetch, &state->frame, &state->error));
    decode(state);
    assert_int_equal(state->message.type, MF_FETCH);
    assert_request(&fetch->request, &sample_fetch.request);
    assert_int_equal(fetch->subtask, 9);
    assert_int_equal(fetch->file, 2);
    assert_int_equal(fetch->member, 3);
    assert_int_equal(fetch->offset, 1048576);
    assert_int_equal(fetch->length, 524288);
    mf_buffer_clear(&state->frame);
    assert_ok(state, mf_encode_piece(&sample_piece, false, &state->frame, &state->error));
    decode(state);
    assert_int_equal(state->message.type, MF_PIECE);
    assert_int_equal(piece->cause, MF_CAUSE_INPUT_CHANGED);
    assert_bytes(piece->detail, sample_piece.detail);
    assert_bytes(piece->data, sample_piece.data);
    assert_int_equal(piece->checksum, sample_piece.checksum);
    assert_int_equal(piece->size, sample_piece.size);
    assert_true(piece->mtime_ns == sample_piece.mtime_ns);
    assert_true(piece->inode == sample_piece.inode);
}

/* Whether it is worth trying is the caller's word. */
static void pieces_are_deflated_when_told(void **place)
{
    struct state *state = *place;
    unsigned char *data = mf_calloc(1, MF_PIECE_MAX);
    struct mf_piece piece = {.data = mf_bytes_of(data, MF_PIECE_MAX)};
    assert_ok(state, mf_encode_piece(&piece, true, &state->frame, &state->error));
    assert_true(state->frame.length < MF_PIECE_MAX / 100);
    decode(state);
    assert_int_equal(state->message.piece.data.length, MF_PIECE_MAX);
    mf_buffer_clear(&state->frame);
    assert_ok(state, mf_encode_piece(&piece, false, &state->frame, &state->error));
    assert_true(state->frame.length > MF_PIECE_MAX);
    decode(state);
    assert_int_equal(state->message.piece.data.length, MF_PIECE_MAX);
    mf_free(data);
}

static void work_can_leave_results_unrecorded(void **place)
{
    struct state *state = *place;
    struct mf_work work = {.unrecorded = true};
    assert_ok(state, mf_encode_work(&work, &state->frame, &state->error));
    decode(state);
    assert_true(state->message.work.unrecorded);
    mf_buffer_clear(&state->frame);
    assert_ok(state, mf_encode_work(&sample_work, &state->frame, &state->error));
    decode(state);
    assert_false(state->message.work.unrecorded);
}

static void numbers_keep_their_extremes(void **place)
{
    static const int64_t numbers[] = {0, INT64_MAX, INT64_MIN, -1, INT64_MAX};
    struct state *state = *place;
    struct mf_subtask subtasks[5] = {0};
    for (int i = 0; i < 5; i++)
        subtasks[i] = (struct mf_subtask){.id = MF_SUBTASK_MAX - (uint64_t)i,
                                          .attempt = MF_ATTEMPT_MAX,
                                          .epoch = UINT32_MAX,
                                          .has_number = true,
                                          .number = numbers[i],
                                          .input_inode = UINT64_MAX,
                                          .input_mtime_ns = INT64_MIN};
    struct mf_work work = {.subtask_count = 5, .subtasks = subtasks};
    assert_ok(state, mf_encode_work(&work, &state->frame, &state->error));
    decode(state);
    for (int i = 0; i < 5; i++) {
        const struct mf_subtask *got = &state->message.work.subtasks[i];
        assert_int_equal(got->id, subtasks[i].id);
        assert_int_equal(got->attempt, MF_ATTEMPT_MAX);
        assert_int_equal(got->epoch, UINT32_MAX);
        assert_true(got->number == numbers[i]);
        assert_true(got->input_inode == UINT64_MAX);
        assert_true(got->input_mtime_ns == INT64_MIN);
    }
}

static void bytes_are_those_of_version_1(void **place)
{
    struct state *state = *place;
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        struct mf_buffer golden = {0};
        assert_ok(state, sample_unhex(samples[i].golden, &golden, &state->error));
        mf_buffer_clear(&state->frame);
        assert_ok(state, samples[i].encode(&state->frame, &state->error));
        assert_int_equal(state->frame.length, golden.length);
        assert_memory_equal(state->frame.data, golden.data, golden.length);
        decode(state);
        assert_int_equal(state->message.type, samples[i].type);
        struct mf_buffer again = {0};
        assert_ok(state, sample_encode_again(&state->message, &again, &state->error));
        assert_bytes(mf_buffer_view(&again), mf_buffer_view(&golden));
        mf_buffer_fini(&again);
        mf_buffer_fini(&golden);
    }
}

static void encoding_appends(void **place)
{
    struct state *state = *place;
    assert_ok(state, mf_buffer_append(&state->frame, "before", 6, &state->error));
    assert_ok(state, mf_encode_bye(&sample_bye, &state->frame, &state->error));
    assert_memory_equal(state->frame.data, "before", 6);
    struct mf_bytes frame = mf_bytes_of(state->frame.data + 6, state->frame.length - 6);
    assert_ok(state, mf_decode(state->decoder, frame, &state->message, &state->error));
    assert_string_equal(state->message.bye.reason, "dismissed");
}

/* A chunk of MF_CHUNK_MAX bytes that deflate well. */
static struct mf_chunk large_chunk(unsigned char *data)
{
    for (size_t i = 0; i < MF_CHUNK_MAX; i++)
        data[i] = (unsigned char)(i % 251);
    return (struct mf_chunk){.request = sample_chunk.request,
                             .kind = MF_CHUNK_STDOUT,
                             .subtask = 1,
                             .attempt = 1,
                             .epoch = 2,
                             .data = mf_bytes_of(data, MF_CHUNK_MAX)};
}

static void large_bodies_are_deflated(void **place)
{
    struct state *state = *place;
    unsigned char *data = mf_malloc(MF_CHUNK_MAX);
    struct mf_chunk chunk = large_chunk(data);
    assert_ok(state, mf_encode_chunk(&chunk, &state->frame, &state->error));
    assert_true(state->frame.length < MF_CHUNK_MAX / 4);
    decode(state);
    assert_bytes(state->message.chunk.data, chunk.data);

    uint32_t random = 1; /* what does not deflate travels as it is */
    for (size_t i = 0; i < MF_CHUNK_MAX; i++) {
        random = random * 1664525 + 1013904223;
        data[i] = (unsigned char)(random >> 24);
    }
    mf_buffer_clear(&state->frame);
    assert_ok(state, mf_encode_chunk(&chunk, &state->frame, &state->error));
    assert_int_equal(state->frame.data[4], 0);
    decode(state);
    assert_bytes(state->message.chunk.data, chunk.data);
    mf_free(data);
}

static void detached_memory_outlives_the_next_message(void **place)
{
    struct state *state = *place;
    unsigned char *data = mf_malloc(MF_CHUNK_MAX);
    struct mf_chunk chunk = large_chunk(data);
    assert_ok(state, mf_encode_chunk(&chunk, &state->frame, &state->error));
    decode(state);
    struct mf_message first = state->message;
    struct mf_decoder *detached = mf_decoder_detach(state->decoder);
    assert_non_null(detached);
    mf_buffer_clear(&state->frame);
    assert_ok(state, mf_encode_hello(&sample_hello, &state->frame, &state->error));
    decode(state);
    struct mf_message second = state->message;
    struct mf_decoder *later = mf_decoder_detach(state->decoder);
    assert_non_null(later);
    memset(state->frame.data, 0xaa, state->frame.length);
    assert_bytes(first.chunk.data, chunk.data);
    assert_string_equal(second.hello.run_id, sample_hello.run_id);
    mf_decoder_destroy(detached);
    mf_decoder_destroy(later);
    mf_free(data);
}

static void detaching_without_memory_changes_nothing(void **place)
{
    struct state *state = *place;
    assert_ok(state, mf_encode_hello(&sample_hello, &state->frame, &state->error));
    decode(state);
    mf_alloc_fail_at(1);
    struct mf_decoder *detached = mf_decoder_detach(state->decoder);
    mf_alloc_fail_at(0);
    assert_null(detached);
    assert_string_equal(state->message.hello.run_id, sample_hello.run_id);
}

static void weights_bound_what_items_take(void **place)
{
    struct state *state = *place;
    unsigned char blob[300];
    memset(blob, 0x5a, sizeof(blob));
    struct mf_bytes bytes = mf_bytes_of(blob, sizeof(blob));
    struct mf_result result = {.subtask = MF_SUBTASK_MAX,
                               .attempt = MF_ATTEMPT_MAX,
                               .epoch = UINT32_MAX,
                               .cause = 12,
                               .exit_code = INT32_MIN,
                               .signal = INT32_MIN,
                               .age_us = INT64_MAX,
                               .wall_us = INT64_MAX,
                               .user_us = INT64_MAX,
                               .system_us = INT64_MAX,
                               .peak_kib = INT64_MAX,
                               .result_bytes = INT64_MAX,
                               .inline_result = bytes,
                               .checksum = UINT32_MAX,
                               .output_count = UINT32_MAX,
                               .output_bytes = INT64_MAX,
                               .detail = bytes};
    struct mf_poll poll = {.request = sample_poll.request, .result_count = 1, .results = &result};
    assert_ok(state, mf_encode_poll(&poll, &state->frame, &state->error));
    size_t with = state->frame.length;
    poll.result_count = 0;
    mf_buffer_clear(&state->frame);
    assert_ok(state, mf_encode_poll(&poll, &state->frame, &state->error));
    assert_true(with - state->frame.length <= mf_result_weight(&result));

    struct mf_subtask subtask = {.id = MF_SUBTASK_MAX,
                                 .attempt = MF_ATTEMPT_MAX,
                                 .epoch = UINT32_MAX,
                                 .has_number = true,
                                 .number = INT64_MIN,
                                 .item = bytes,
                                 .path = bytes,
                                 .offset = INT64_MAX,
                                 .length = INT64_MAX,
                                 .header_length = INT64_MAX,
                                 .input_size = INT64_MAX,
                                 .input_mtime_ns = INT64_MIN,
                                 .input_inode = UINT64_MAX,
                                 .fields = bytes,
                                 .message = INT64_MIN};
    struct mf_work work = {.subtask_count = 1, .subtasks = &subtask};
    mf_buffer_clear(&state->frame);
    assert_ok(state, mf_encode_work(&work, &state->frame, &state->error));
    assert_true(state->frame.length - MF_FRAME_HEADER <= mf_subtask_weight(&subtask));
}

/* Batches of 1,024 minimal items: printed, and far from the floor even in an instrumented build on
 * a busy machine. */
static void batches_are_fast(void **place)
{
    enum { ITEMS = 1024, ROUNDS = 200 };
    struct state *state = *place;
    struct mf_subtask *subtasks = mf_calloc(ITEMS, sizeof(*subtasks));
    for (int i = 0; i < ITEMS; i++)
        subtasks[i] = (struct mf_subtask){.id = 1000 + (uint64_t)i,
                                          .attempt = 1,
                                          .epoch = 1,
                                          .has_number = true,
                                          .number = 5000 + 7 * i};
    struct mf_work work = {.subtask_count = ITEMS, .subtasks = subtasks};
    int64_t start = mf_monotonic_us();
    for (int i = 0; i < ROUNDS; i++) {
        mf_buffer_clear(&state->frame);
        assert_ok(state, mf_encode_work(&work, &state->frame, &state->error));
    }
    int64_t encoded = mf_monotonic_us();
    for (int i = 0; i < ROUNDS; i++)
        decode(state);
    int64_t decoded = mf_monotonic_us();
    double encode_rate = (double)ITEMS * ROUNDS / (double)(encoded - start + 1);
    double decode_rate = (double)ITEMS * ROUNDS / (double)(decoded - encoded + 1);
    print_message("%d subtasks in %zu bytes: encoded at %.1f, decoded at %.1f million/s\n",
                  ITEMS,
                  state->frame.length,
                  encode_rate,
                  decode_rate);
    assert_true(state->frame.length < 4 * ITEMS);
    assert_true(encode_rate > 0.1 && decode_rate > 0.1);
    mf_free(subtasks);
}

static void a_used_decoder_allocates_nothing(void **place)
{
    struct state *state = *place;
    assert_ok(state, mf_encode_work(&sample_work, &state->frame, &state->error));
    decode(state);
    decode(state);
    mf_alloc_fail_at(1000000);
    decode(state);
    unsigned long asked = mf_alloc_count();
    mf_alloc_fail_at(0);
    assert_int_equal(asked, 0);
}

static void causes_have_names(void **place)
{
    (void)place;
    for (int i = 0; i <= MF_CAUSE_POISON; i++)
        assert_int_equal(mf_cause_from_name(mf_cause_name(i)), i);
    assert_string_equal(mf_cause_name(MF_CAUSE_INPUT_CHANGED), "input changed");
    assert_string_equal(mf_cause_name(-1), "unknown");
    assert_string_equal(mf_cause_name(13), "unknown");
    assert_int_equal(mf_cause_from_name("unknown"), -1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(hello_arrives),
        CASE(what_a_worker_holds_arrives),
        CASE(poll_arrives),
        CASE(chunk_arrives),
        CASE(worker_log_chunk_has_no_subtask),
        CASE(chunk_of_a_running_attempt_has_no_end),
        CASE(bye_arrives),
        CASE(welcome_arrives),
        CASE(absent_texts_are_null),
        CASE(work_arrives),
        CASE(secrets_and_a_renewed_credential_arrive),
        CASE(refused_and_received_arrive),
        CASE(staged_welcome_arrives),
        CASE(fetch_and_piece_arrive),
        CASE(pieces_are_deflated_when_told),
        CASE(work_can_leave_results_unrecorded),
        CASE(numbers_keep_their_extremes),
        CASE(bytes_are_those_of_version_1),
        CASE(encoding_appends),
        CASE(large_bodies_are_deflated),
        CASE(detached_memory_outlives_the_next_message),
        CASE(detaching_without_memory_changes_nothing),
        CASE(weights_bound_what_items_take),
        CASE(batches_are_fast),
        CASE(a_used_decoder_allocates_nothing),
        CASE(causes_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
