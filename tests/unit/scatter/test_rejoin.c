/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that an earlier master has left behind: it is asked to say hello again, keeps its
 * connection, and tells what it holds. */
#include <nng/nng.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/message.h"
#include "master/scatter/scatter.h"
#include "wire_stand.h"

#define NEVER_RESEND_MS 2147483647
#define EPOCH 3

struct state {
    struct wire_stand *stand;
    struct scatter *scatter;
    nng_socket client;
    struct mf_buffer frame;
    struct mf_decoder *decoder;
    struct mf_message answer;
    unsigned joined, polled, disconnected, held;
};

static void on_joined(void *arg, const struct mf_hello *hello, const char *address)
{
    struct state *state = arg;
    (void)address;
    state->joined++;
    state->held = hello->held_count;
}

static enum scatter_polled on_polled(void *arg,
                                     const struct mf_poll *poll,
                                     const struct scatter_ticket *ticket,
                                     nng_msg **message,
                                     struct mf_decoder *decoder)
{
    (void)poll, (void)ticket, (void)message, (void)decoder;
    ((struct state *)arg)->polled++;
    return SCATTER_ANSWER;
}

static void on_disconnected(void *arg, uint32_t worker)
{
    (void)worker;
    ((struct state *)arg)->disconnected++;
}

static int set_up(void **place)
{
    struct state *state = calloc(1, sizeof *state);
    void *stand = NULL;
    struct mf_error error;
    assert_non_null(state);
    int rc = stand_set_up(&stand);
    state->stand = stand;
    *place = state;
    if (rc < 0)
        return rc;
    struct mf_welcome welcome = {.epoch = EPOCH,
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
                                                        .polled = on_polled,
                                                        .disconnected = on_disconnected,
                                                        .arg = state}};
    state->scatter = scatter_create(&config, &error);
    assert_non_null(state->scatter);
    assert_non_null(state->decoder = mf_decoder_create());
    assert_int_equal(scatter_expect(state->scatter, 1, &error), 0);
    state->client = stand_client(state->stand, NEVER_RESEND_MS);
    return 0;
}

static int tear_down(void **place)
{
    struct state *state = *place;
    void *stand = state->stand;
    nng_close(state->client);
    scatter_destroy(state->scatter);
    mf_buffer_fini(&state->frame);
    mf_decoder_destroy(state->decoder);
    free(state);
    return stand_tear_down(&stand);
}

static struct mf_request
request_of(const struct state *state, uint32_t lane, uint64_t sequence, uint32_t epoch)
{
    struct mf_request request = {
        .worker = 1, .lane = lane, .sequence = sequence, .epoch = epoch, .session = 77};
    memcpy(request.token, state->stand->worker.token, MF_TOKEN_SIZE);
    return request;
}

/* Sends the frame and turns the master until it has answered; its message is in state->answer. */
static void ask(struct state *state)
{
    struct stand_call call;
    struct mf_error error;
    stand_call(&call, state->client, state->frame.data, state->frame.length);
    struct scatter_counts before, now;
    scatter_counts(state->scatter, &before);
    for (now = before; now.requests == before.requests; scatter_counts(state->scatter, &now)) {
        struct pollfd polled = {.fd = endpoint_fd(state->stand->endpoint), .events = POLLIN};
        if (poll(&polled, 1, 5) > 0)
            scatter_receive(state->scatter);
        scatter_tick(state->scatter, mf_monotonic_us());
    }
    nng_aio_wait(call.aio);
    assert_int_equal(nng_aio_result(call.aio), 0);
    nng_msg *reply = nng_aio_get_msg(call.aio);
    mf_buffer_clear(&state->frame);
    assert_int_equal(
        mf_buffer_append(&state->frame, nng_msg_body(reply), nng_msg_len(reply), &error), 0);
    assert_int_equal(
        mf_decode(state->decoder, mf_buffer_view(&state->frame), &state->answer, &error), 0);
    nng_msg_free(reply);
    nng_aio_set_msg(call.aio, NULL);
    stand_call_end(&call);
}

static void ask_poll(struct state *state, uint32_t lane, uint64_t sequence, uint32_t epoch)
{
    struct mf_error error;
    struct mf_poll poll = {.request = request_of(state, lane, sequence, epoch)};
    mf_buffer_clear(&state->frame);
    assert_int_equal(mf_encode_poll(&poll, &state->frame, &error), 0);
    ask(state);
}

static void say_hello(struct state *state, const struct mf_held *held, uint32_t count)
{
    struct mf_error error;
    struct mf_hello hello = {.request = request_of(state, 0, 1, 0),
                             .protocol = MF_PROTOCOL,
                             .version = "0",
                             .run_id = STAND_RUN,
                             .slots = 1,
                             .host = "h",
                             .system = "s",
                             .held_count = count,
                             .held = held};
    mf_buffer_clear(&state->frame);
    assert_int_equal(mf_encode_hello(&hello, &state->frame, &error), 0);
    ask(state);
}

static void a_worker_of_an_earlier_epoch_says_hello_again(void **place)
{
    struct state *state = *place;
    static const struct mf_held held[] = {{7, 1, 1, MF_HELD_RUNNING}, {8, 2, 2, MF_HELD_ENDED}};
    ask_poll(state, 1, 4711, 2);
    assert_int_equal(state->answer.type, MF_REFUSED);
    assert_int_equal(state->answer.refused.code, MF_REFUSAL_EPOCH);
    ask_poll(state, 0, 12, 1);
    assert_int_equal(state->answer.refused.code, MF_REFUSAL_EPOCH);
    assert_int_equal(state->polled, 0);
    say_hello(state, held, 2);
    assert_int_equal(state->answer.type, MF_WELCOME);
    assert_int_equal(state->answer.welcome.epoch, EPOCH);
    assert_int_equal(state->joined, 1);
    assert_int_equal(state->held, 2);
    ask_poll(state, 1, 1, EPOCH);
    assert_int_equal(state->answer.type, MF_WORK);
    assert_int_equal(state->polled, 1);
    assert_int_equal(state->disconnected, 0); /* all on one connection */
}

static void one_that_never_said_hello_is_refused(void **place)
{
    struct state *state = *place;
    ask_poll(state, 1, 1, EPOCH);
    assert_int_equal(state->answer.type, MF_REFUSED);
    assert_int_equal(state->answer.refused.code, MF_REFUSAL_SESSION);
    assert_int_equal(state->polled, 0);
}

/* What it said to the earlier master is void once it has joined this one. */
static void an_old_request_is_void(void **place)
{
    struct state *state = *place;
    say_hello(state, NULL, 0);
    assert_int_equal(state->joined, 1);
    assert_int_equal(state->held, 0);
    ask_poll(state, 1, 1, EPOCH - 1);
    assert_int_equal(state->answer.type, MF_REFUSED);
    assert_int_equal(state->answer.refused.code, MF_REFUSAL_SESSION);
    assert_int_equal(state->polled, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {CASE(a_worker_of_an_earlier_epoch_says_hello_again),
                                       CASE(one_that_never_said_hello_is_refused),
                                       CASE(an_old_request_is_void)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
