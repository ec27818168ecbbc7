/* SPDX-License-Identifier: Apache-2.0 */
/* Fetches on the wire: their lanes, that one which was answered is carried out again when it comes
 * again, and that answers to what is over reach nobody. */
#include <nng/nng.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/message.h"
#include "master/scatter/scatter.h"
#include "wire_stand.h"

#define NEVER_RESEND_MS 2147483647

struct state {
    struct wire_stand *stand;
    struct scatter *scatter;
    nng_socket client;
    struct mf_buffer frame;
    struct scatter_ticket ticket; /* of the last fetch */
    struct mf_fetch fetch;
    unsigned fetches;
    bool has_joined;
};

static void on_joined(void *arg, const struct mf_hello *hello, const char *address)
{
    (void)hello;
    (void)address;
    ((struct state *)arg)->has_joined = true;
}

static void on_fetch(void *arg, const struct mf_fetch *fetch, const struct scatter_ticket *ticket)
{
    struct state *state = arg;
    state->fetch = *fetch;
    state->ticket = *ticket;
    state->fetches++;
}

static void on_disconnected(void *arg, uint32_t worker)
{
    (void)arg;
    (void)worker;
}

static void begin(struct state *state, bool stages)
{
    struct mf_error error;
    struct mf_welcome welcome = {.epoch = 1,
                                 .lease_us = 30000000,
                                 .orphan_us = 60000000,
                                 .task = {.executor = MF_EXECUTOR_COMMAND, .job_folder = "/"}};
    stand_listen(state->stand);
    const struct scatter_config config = {.endpoint = state->stand->endpoint,
                                          .authority = state->stand->authority,
                                          .ttl_us = 3600000000,
                                          .run_id = STAND_RUN,
                                          .welcome = &welcome,
                                          .callbacks = {.joined = on_joined,
                                                        .disconnected = on_disconnected,
                                                        .fetch = stages ? on_fetch : NULL,
                                                        .arg = state}};
    state->scatter = scatter_create(&config, &error);
    assert_non_null(state->scatter);
    assert_int_equal(scatter_expect(state->scatter, 1, &error), 0);
    state->client = stand_client(state->stand, NEVER_RESEND_MS);
}

static int set_up(void **place)
{
    struct state *state = calloc(1, sizeof *state);
    void *stand = NULL;
    assert_non_null(state);
    int rc = stand_set_up(&stand);
    state->stand = stand;
    *place = state;
    return rc;
}

static int tear_down(void **place)
{
    struct state *state = *place;
    void *stand = state->stand;
    nng_close(state->client);
    scatter_destroy(state->scatter);
    mf_buffer_fini(&state->frame);
    free(state);
    return stand_tear_down(&stand);
}

static struct mf_request request_of(const struct state *state, uint32_t lane, uint64_t sequence)
{
    struct mf_request request = {
        .worker = 1, .lane = lane, .sequence = sequence, .epoch = 1, .session = 77};
    memcpy(request.token, state->stand->worker.token, MF_TOKEN_SIZE);
    return request;
}

static void turn(struct state *state)
{
    struct pollfd polled = {.fd = endpoint_fd(state->stand->endpoint), .events = POLLIN};
    if (poll(&polled, 1, 5) > 0)
        scatter_receive(state->scatter);
    scatter_tick(state->scatter, mf_monotonic_us());
}

/* The master must have answered, or be about to. */
static struct mf_bytes answer_of(struct stand_call *call)
{
    nng_aio_wait(call->aio);
    assert_int_equal(nng_aio_result(call->aio), 0);
    nng_msg *reply = nng_aio_get_msg(call->aio);
    return mf_bytes_of(nng_msg_body(reply), nng_msg_len(reply));
}

static enum mf_message_type type_of(struct mf_bytes frame)
{
    assert_true(frame.length > 3);
    return frame.data[3];
}

static void end(struct stand_call *call)
{
    nng_msg_free(nng_aio_get_msg(call->aio));
    nng_aio_set_msg(call->aio, NULL);
    stand_call_end(call);
}

static void say_hello(struct state *state)
{
    struct stand_call call;
    struct mf_error error;
    struct mf_hello hello = {.request = request_of(state, 0, 1),
                             .protocol = MF_PROTOCOL,
                             .version = "0",
                             .run_id = STAND_RUN,
                             .slots = 1,
                             .host = "h",
                             .system = "s"};
    hello.request.epoch = 0;
    assert_int_equal(mf_encode_hello(&hello, &state->frame, &error), 0);
    stand_call(&call, state->client, state->frame.data, state->frame.length);
    for (int i = 0; i < 4000 && !state->has_joined; i++)
        turn(state);
    assert_int_equal(type_of(answer_of(&call)), MF_WELCOME);
    end(&call);
}

static void ask(struct state *state, struct stand_call *call, uint32_t lane, uint64_t sequence)
{
    struct mf_error error;
    struct mf_fetch fetch = {
        .request = request_of(state, lane, sequence), .subtask = 5, .offset = 7, .length = 9};
    mf_buffer_clear(&state->frame);
    assert_int_equal(mf_encode_fetch(&fetch, &state->frame, &error), 0);
    stand_call(call, state->client, state->frame.data, state->frame.length);
}

static void await_fetches(struct state *state, unsigned count)
{
    for (int i = 0; i < 4000 && state->fetches < count; i++)
        turn(state);
    assert_int_equal(state->fetches, count);
}

static bool give(struct state *state, const struct scatter_ticket *ticket, const char *text)
{
    struct mf_error error;
    struct mf_piece piece = {.data = mf_bytes_text(text)};
    mf_buffer_clear(&state->frame);
    assert_int_equal(mf_encode_piece(&piece, false, &state->frame, &error), 0);
    return scatter_piece(state->scatter, ticket, mf_buffer_view(&state->frame));
}

static void a_fetch_is_answered_when_it_is_read(void **place)
{
    struct state *state = *place;
    struct stand_call first, second;
    begin(state, true);
    say_hello(state);
    ask(state, &first, 3, 1);
    await_fetches(state, 1);
    struct scatter_ticket ticket = state->ticket;
    assert_int_equal(state->fetch.subtask, 5);
    assert_int_equal(state->fetch.offset, 7);
    assert_int_equal(state->fetch.length, 9);
    ask(state, &second, 4, 1); /* the lanes do not wait for each other */
    await_fetches(state, 2);
    assert_true(give(state, &state->ticket, "second"));
    assert_int_equal(type_of(answer_of(&second)), MF_PIECE);
    assert_true(give(state, &ticket, "first"));
    assert_int_equal(type_of(answer_of(&first)), MF_PIECE);
    assert_false(give(state, &ticket, "again")); /* nobody waits for it */
    end(&first);
    end(&second);
}

static void one_that_comes_again_is_carried_out_again(void **place)
{
    struct state *state = *place;
    struct stand_call first, again;
    begin(state, true);
    say_hello(state);
    ask(state, &first, 3, 1);
    await_fetches(state, 1);
    assert_true(give(state, &state->ticket, "piece"));
    assert_int_equal(type_of(answer_of(&first)), MF_PIECE);
    ask(state, &again, 3, 1);
    await_fetches(state, 2);
    assert_true(give(state, &state->ticket, "piece"));
    assert_int_equal(type_of(answer_of(&again)), MF_PIECE);
    end(&first);
    end(&again);
}

static void one_that_is_held_is_not_carried_out_twice(void **place)
{
    struct state *state = *place;
    struct stand_call first, again;
    begin(state, true);
    say_hello(state);
    ask(state, &first, 3, 1);
    await_fetches(state, 1);
    ask(state, &again, 3, 1);
    for (int i = 0; i < 40; i++)
        turn(state);
    assert_int_equal(state->fetches, 1);
    assert_true(give(state, &state->ticket, "piece"));
    assert_int_equal(type_of(answer_of(&again)), MF_PIECE);
    end(&again);
    nng_aio_cancel(first.aio);
    nng_aio_wait(first.aio);
    stand_call_end(&first);
}

static void what_cannot_be_encoded_comes_again(void **place)
{
    struct state *state = *place;
    struct stand_call call;
    begin(state, true);
    say_hello(state);
    ask(state, &call, 3, 1);
    await_fetches(state, 1);
    assert_true(scatter_piece(state->scatter, &state->ticket, (struct mf_bytes){0}));
    await_fetches(state, 2); /* on a new connection */
    assert_true(give(state, &state->ticket, "piece"));
    assert_int_equal(type_of(answer_of(&call)), MF_PIECE);
    end(&call);
}

static void assert_refused(struct state *state, uint32_t lane)
{
    struct stand_call call;
    struct scatter_counts counts = {0};
    ask(state, &call, lane, 1);
    for (int i = 0; i < 4000 && counts.refused == 0; i++) {
        turn(state);
        scatter_counts(state->scatter, &counts);
    }
    assert_int_equal(type_of(answer_of(&call)), MF_REFUSED);
    assert_int_equal(state->fetches, 0);
    end(&call);
}

static void other_lanes_are_refused(void **place)
{
    struct state *state = *place;
    begin(state, true);
    say_hello(state);
    assert_refused(state, MF_LANE_CHUNK);
}

static void a_run_that_stages_nothing_refuses(void **place)
{
    struct state *state = *place;
    begin(state, false);
    say_hello(state);
    assert_refused(state, MF_LANE_FETCH);
}

static void a_forgotten_worker_gets_nothing(void **place)
{
    struct state *state = *place;
    struct stand_call call;
    begin(state, true);
    say_hello(state);
    ask(state, &call, 3, 1);
    await_fetches(state, 1);
    scatter_forget(state->scatter, 1);
    assert_false(give(state, &state->ticket, "piece"));
    nng_aio_cancel(call.aio);
    nng_aio_wait(call.aio);
    stand_call_end(&call);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_fetch_is_answered_when_it_is_read),
        CASE(one_that_comes_again_is_carried_out_again),
        CASE(one_that_is_held_is_not_carried_out_twice),
        CASE(what_cannot_be_encoded_comes_again),
        CASE(other_lanes_are_refused),
        CASE(a_run_that_stages_nothing_refuses),
        CASE(a_forgotten_worker_gets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
