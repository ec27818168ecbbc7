/* SPDX-License-Identifier: Apache-2.0 */
/* What scatter makes of credentials that end: workers are sent the next one in time, an old token
 * is refused with a reason, a connection ends with the credential that was shown on it. */
#include <nng/nng.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "master/scatter/scatter.h"
#include "wire_stand.h"

#define NEVER_RESEND_MS 2147483647
#define TTL_US 1200000

struct state {
    struct wire_stand *stand;
    struct scatter *scatter;
    struct mf_welcome welcome;
    struct mf_secret secret;
    struct mf_decoder *decoder;
    struct mf_buffer frame;
    nng_socket client;
    nng_msg *reply;
    atomic_int connections; /* that the client made */
    unsigned joined, generations, disconnected;
    unsigned char token[MF_TOKEN_SIZE]; /* what the client says */
    uint64_t sequence;
};

static void on_joined(void *arg, const struct mf_hello *hello, const char *address)
{
    (void)hello;
    (void)address;
    struct state *state = arg;
    state->joined++;
}

static enum scatter_polled on_polled(void *arg,
                                     const struct mf_poll *poll,
                                     const struct scatter_ticket *ticket,
                                     nng_msg **message,
                                     struct mf_decoder *decoder)
{
    (void)arg;
    (void)poll;
    (void)ticket;
    (void)message;
    (void)decoder;
    return SCATTER_ANSWER;
}

static void on_disconnected(void *arg, uint32_t worker)
{
    (void)worker;
    struct state *state = arg;
    state->disconnected++;
}

static void on_generation(void *arg)
{
    struct state *state = arg;
    state->generations++;
}

static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)pipe;
    (void)event;
    struct state *state = arg;
    atomic_fetch_add(&state->connections, 1);
}

static void begin(struct state *state, int64_t ttl_us)
{
    struct mf_error error;
    state->welcome =
        (struct mf_welcome){.epoch = 1,
                            .lease_us = 30000000,
                            .orphan_us = 60000000,
                            .task = {.executor = MF_EXECUTOR_COMMAND, .job_folder = "/"},
                            .secret_count = 1,
                            .secrets = &state->secret};
    state->secret = (struct mf_secret){.name = "KEY", .version = 1, .data = mf_bytes_text("first")};
    stand_listen(state->stand);
    const struct scatter_config config = {.endpoint = state->stand->endpoint,
                                          .authority = state->stand->authority,
                                          .ttl_us = ttl_us,
                                          .run_id = STAND_RUN,
                                          .welcome = &state->welcome,
                                          .callbacks = {.joined = on_joined,
                                                        .polled = on_polled,
                                                        .disconnected = on_disconnected,
                                                        .generation = on_generation,
                                                        .arg = state}};
    state->scatter = scatter_create(&config, &error);
    assert_non_null(state->scatter);
    assert_int_equal(scatter_expect(state->scatter, 1, &error), 0);
    state->client = stand_client(state->stand, NEVER_RESEND_MS);
    assert_int_equal(nng_pipe_notify(state->client, NNG_PIPE_EV_ADD_POST, on_pipe, state), 0);
    memcpy(state->token, state->stand->worker.token, MF_TOKEN_SIZE);
}

static int set_up(void **place)
{
    struct state *state = calloc(1, sizeof *state);
    void *stand = NULL;
    assert_non_null(state);
    int rc = stand_set_up(&stand);
    state->stand = stand;
    state->decoder = mf_decoder_create();
    *place = state;
    return state->decoder == NULL ? -1 : rc;
}

static int tear_down(void **place)
{
    struct state *state = *place;
    void *stand = state->stand;
    nng_close(state->client);
    nng_msg_free(state->reply);
    scatter_destroy(state->scatter);
    mf_decoder_destroy(state->decoder);
    mf_buffer_fini(&state->frame);
    free(state);
    return stand_tear_down(&stand);
}

static void turn(struct state *state)
{
    struct pollfd polled = {.fd = endpoint_fd(state->stand->endpoint), .events = POLLIN};
    if (poll(&polled, 1, 5) > 0)
        scatter_receive(state->scatter);
    scatter_tick(state->scatter, mf_monotonic_us());
}

static struct mf_request next_request(struct state *state, uint32_t epoch)
{
    struct mf_request request = {
        .worker = 1, .sequence = ++state->sequence, .epoch = epoch, .session = 77};
    memcpy(request.token, state->token, MF_TOKEN_SIZE);
    return request;
}

static void on_done(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
}

static void await(struct state *state, atomic_bool *done, nng_aio *aio)
{
    int64_t end_us = mf_monotonic_us() + STAND_LIMIT_MS * 1000;
    while (!atomic_exchange(done, false) && mf_monotonic_us() < end_us)
        turn(state);
    assert_int_equal(nng_aio_result(aio), 0);
}

/* Sends what stands in the frame, and decodes the answer, which is borrowed until the next one. */
static struct mf_message answer(struct state *state)
{
    atomic_bool done = false;
    nng_ctx context;
    nng_aio *aio;
    nng_msg *message;
    struct mf_message decoded;
    struct mf_error error;
    assert_int_equal(nng_ctx_open(&context, state->client), 0);
    assert_int_equal(nng_aio_alloc(&aio, on_done, &done), 0);
    assert_int_equal(nng_msg_alloc(&message, 0), 0);
    assert_int_equal(nng_msg_append(message, state->frame.data, state->frame.length), 0);
    nng_aio_set_msg(aio, message);
    nng_ctx_send(context, aio);
    await(state, &done, aio);
    nng_ctx_recv(context, aio);
    await(state, &done, aio);
    nng_msg_free(state->reply);
    state->reply = nng_aio_get_msg(aio);
    nng_aio_free(aio);
    nng_ctx_close(context);
    struct mf_bytes frame = mf_bytes_of(nng_msg_body(state->reply), nng_msg_len(state->reply));
    if (mf_decode(state->decoder, frame, &decoded, &error) < 0)
        fail_msg("%s", error.text);
    return decoded;
}

static struct mf_message say_hello(struct state *state)
{
    struct mf_error error;
    struct mf_hello hello = {.request = next_request(state, 0),
                             .protocol = MF_PROTOCOL,
                             .version = "0",
                             .run_id = STAND_RUN,
                             .slots = 1,
                             .host = "h",
                             .system = "s"};
    mf_buffer_clear(&state->frame);
    assert_int_equal(mf_encode_hello(&hello, &state->frame, &error), 0);
    return answer(state);
}

static struct mf_message poll_once(struct state *state)
{
    struct mf_error error;
    struct mf_poll poll = {.request = next_request(state, 1)};
    mf_buffer_clear(&state->frame);
    assert_int_equal(mf_encode_poll(&poll, &state->frame, &error), 0);
    return answer(state);
}

/* Polls until a credential comes, and uses it. */
static void await_renewal(struct state *state)
{
    for (;;) {
        struct mf_message message = poll_once(state);
        assert_int_equal(message.type, MF_WORK);
        if (message.work.renewal_count == 0)
            continue;
        assert_non_null(strstr(message.work.renewals->certificate_pem, "BEGIN CERTIFICATE"));
        assert_non_null(strstr(message.work.renewals->key_pem, "PRIVATE KEY"));
        memcpy(state->token, message.work.renewals->token.data, MF_TOKEN_SIZE);
        return;
    }
}

static void a_worker_is_sent_the_next_credential_in_time(void **place)
{
    struct state *state = *place;
    begin(state, TTL_US);
    assert_int_equal(say_hello(state).type, MF_WELCOME);
    for (uint32_t generation = 2; generation < 4; generation++) {
        await_renewal(state);
        assert_int_equal(token_generation(state->token), generation);
    }
    assert_true(state->generations >= 2);
    assert_int_equal(authority_generation(state->stand->authority), 1 + state->generations);
}

/* And of the beginning of the next. Nothing is under way meanwhile: nng 1.5.2 may lose the memory
 * of a message that is being written to a connection that ends. */
static void await_the_end_of_the_connection(struct state *state)
{
    int64_t end_us = mf_monotonic_us() + STAND_LIMIT_MS * 1000;
    int before = atomic_load(&state->connections);
    while ((state->disconnected == 0 || atomic_load(&state->connections) == before) &&
           mf_monotonic_us() < end_us)
        turn(state);
    assert_int_equal(state->disconnected, 1);
}

static void an_expired_token_is_refused(void **place)
{
    struct state *state = *place;
    begin(state, TTL_US);
    assert_int_equal(say_hello(state).type, MF_WELCOME);
    await_the_end_of_the_connection(state); /* which ends, too */
    struct mf_message message = poll_once(state);
    assert_int_equal(message.type, MF_REFUSED);
    assert_int_equal(message.refused.code, MF_REFUSAL_EXPIRED);
    assert_non_null(strstr(message.refused.text, "it is of generation 1, and this is generation"));
}

static void a_connection_lives_as_long_as_what_is_shown_on_it(void **place)
{
    struct state *state = *place;
    begin(state, TTL_US);
    assert_int_equal(say_hello(state).type, MF_WELCOME);
    int64_t start_us = mf_monotonic_us();
    while (token_generation(state->token) < 5)
        await_renewal(state);
    assert_true(mf_monotonic_us() - start_us > TTL_US);
    assert_int_equal(state->disconnected, 0);
    assert_int_equal(atomic_load(&state->connections), 1);
    await_the_end_of_the_connection(state);
}

static void forged_generations_are_no_tokens(void **place)
{
    struct state *state = *place;
    begin(state, 3600000000);
    state->token[3]++; /* the generation stands there in the clear */
    struct mf_message message = say_hello(state);
    assert_int_equal(message.type, MF_REFUSED);
    assert_int_equal(message.refused.code, MF_REFUSAL_TOKEN);
    authority_token(state->stand->authority, 1, 9, state->token); /* right, but never issued */
    message = say_hello(state);
    assert_int_equal(message.refused.code, MF_REFUSAL_EXPIRED);
    assert_int_equal(state->joined, 0);
}

static void secrets_that_change_are_told(void **place)
{
    struct state *state = *place;
    begin(state, 3600000000);
    struct mf_message message = say_hello(state);
    assert_int_equal(message.type, MF_WELCOME);
    assert_int_equal(message.welcome.secret_count, 1);
    assert_string_equal(message.welcome.secrets->name, "KEY");
    state->secret.data = mf_bytes_text("second");
    state->secret.version = 2;
    scatter_secrets_changed(state->scatter);
    message = poll_once(state);
    assert_int_equal(message.type, MF_WORK);
    assert_int_equal(message.work.secret_count, 1);
    assert_int_equal(message.work.secrets->version, 2);
    assert_true(mf_bytes_equal(message.work.secrets->data, mf_bytes_text("second")));
    scatter_dismiss(state->scatter, 1); /* so that the next poll is answered */
    message = poll_once(state);
    assert_true(message.work.dismiss);
    assert_int_equal(message.work.secret_count, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_worker_is_sent_the_next_credential_in_time),
        CASE(an_expired_token_is_refused),
        CASE(a_connection_lives_as_long_as_what_is_shown_on_it),
        CASE(forged_generations_are_no_tokens),
        CASE(secrets_that_change_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
