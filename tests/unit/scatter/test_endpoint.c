/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoint, and for each precaution against what nng 1.5.2 does a test that shows the need:
 * what happens without it (nng_*), beside what happens with it. A test that something does not
 * happen waits QUIET_MS for it.
 */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/util/platform.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/message.h"
#include "common/socket.h"
#include "wire_stand.h"

#define QUIET_MS 700
#define NEVER_RESEND_MS 2147483647

/* A REP socket behind TLS without any precaution. */
struct bare_server {
    nng_socket socket;
    atomic_int added, removed;
    atomic_bool request_came;       /* while ADD_POST was at work */
    atomic_bool has_request;        /* set by the test */
    atomic_int to_close_in_add_pre; /* so many connections */
};

static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct bare_server *server = arg;
    if (event == NNG_PIPE_EV_ADD_PRE && atomic_fetch_sub(&server->to_close_in_add_pre, 1) > 0)
        nng_pipe_close(pipe);
    if (event == NNG_PIPE_EV_ADD_POST)
        atomic_fetch_add(&server->added, 1);
    if (event == NNG_PIPE_EV_REM_POST)
        atomic_fetch_add(&server->removed, 1);
}

/* Holds ADD_POST up until a request has come (or never does). */
static void on_slow_add_post(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)pipe;
    (void)event;
    struct bare_server *server = arg;
    for (int ms = 0; ms < STAND_LIMIT_MS && !atomic_load(&server->has_request); ms += 5)
        nng_msleep(5);
    atomic_store(&server->request_came, atomic_load(&server->has_request));
}

static void bare_listen(struct wire_stand *stand, struct bare_server *server)
{
    nng_listener listener;
    int port = 0;
    nng_tls_config *tls = stand_server_tls(stand);
    assert_int_equal(nng_listener_create(&listener, server->socket, "tls+tcp://127.0.0.1:0"), 0);
    assert_int_equal(nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, tls), 0);
    assert_int_equal(nng_listener_start(listener, 0), 0);
    assert_int_equal(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), 0);
    snprintf(stand->url, sizeof stand->url, "tls+tcp://127.0.0.1:%d", port);
    nng_tls_config_free(tls);
}

static void bare_open(struct wire_stand *stand, struct bare_server *server)
{
    assert_int_equal(nng_rep0_open(&server->socket), 0);
    for (int event = NNG_PIPE_EV_ADD_PRE; event <= NNG_PIPE_EV_REM_POST; event++)
        assert_int_equal(nng_pipe_notify(server->socket, event, on_pipe, server), 0);
    bare_listen(stand, server);
}

static bool reaches(atomic_int *value, int wanted, int limit_ms)
{
    for (int ms = 0; ms < limit_ms && atomic_load(value) < wanted; ms += 5)
        nng_msleep(5);
    return atomic_load(value) >= wanted;
}

static void a_request_is_answered(void **state)
{
    struct wire_stand *stand = *state;
    struct stand_call call;
    stand_listen(stand);
    nng_socket client = stand_client(stand, NEVER_RESEND_MS);
    stand_call(&call, client, "hello", 5);
    struct endpoint_mail *request = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(request);
    assert_int_equal(stand->ups, 1);
    assert_int_equal(nng_msg_len(request->message), 5);
    stand_reply(stand, request, "welcome");
    assert_string_equal(stand_answer(&call), "welcome");
    stand_call_end(&call);
    mf_socket_close(client);
    assert_true(stand_await_downs(stand, 1));
}

static void a_request_survives_its_connection(void **state)
{
    struct wire_stand *stand = *state;
    struct stand_call call;
    stand_listen(stand);
    nng_socket client = stand_client(stand, NEVER_RESEND_MS);
    stand_call(&call, client, "poll", 4);
    struct endpoint_mail *request = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(request);
    uint32_t pipe = request->pipe;
    endpoint_close_pipe(stand->endpoint, pipe);
    struct endpoint_mail *again = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(again);
    assert_int_not_equal(again->pipe, pipe);
    endpoint_drop(stand->endpoint, request);
    stand_reply(stand, again, "work");
    assert_string_equal(stand_answer(&call), "work");
    stand_call_end(&call);
    mf_socket_close(client);
}

static void nng_loses_a_request_that_is_never_resent(void **state)
{
    struct wire_stand *stand = *state;
    struct stand_call call;
    stand_listen(stand);
    nng_socket client = stand_client(stand, NNG_DURATION_INFINITE);
    stand_call(&call, client, "poll", 4);
    struct endpoint_mail *request = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(request);
    endpoint_close_pipe(stand->endpoint, request->pipe);
    endpoint_drop(stand->endpoint, request);
    assert_null(stand_request(stand, QUIET_MS));
    assert_int_equal(stand->ups, 2); /* it did connect again */
    stand_call_end(&call);
    mf_socket_close(client);
}

static void nng_doubles_a_held_poll_after_its_resend_time(void **state)
{
    struct wire_stand *stand = *state;
    struct stand_call call;
    stand_listen(stand);
    nng_socket client = stand_client(stand, 100); /* by default a minute */
    stand_call(&call, client, "poll", 4);
    struct endpoint_mail *held = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(held);
    struct endpoint_mail *doubled = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(doubled);
    assert_int_equal(doubled->pipe, held->pipe); /* the connection was never lost */
    endpoint_drop(stand->endpoint, doubled);
    endpoint_drop(stand->endpoint, held);
    stand_call_end(&call);
    mf_socket_close(client);
}

static void a_held_poll_is_not_doubled(void **state)
{
    struct wire_stand *stand = *state;
    struct stand_call call;
    stand_listen(stand);
    nng_socket client = stand_client(stand, NEVER_RESEND_MS);
    stand_call(&call, client, "poll", 4);
    struct endpoint_mail *held = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(held);
    assert_null(stand_request(stand, QUIET_MS));
    stand_reply(stand, held, "work");
    assert_string_equal(stand_answer(&call), "work");
    stand_call_end(&call);
    mf_socket_close(client);
}

static void nng_delivers_requests_before_add_post(void **state)
{
    struct wire_stand *stand = *state;
    struct bare_server server = {0};
    struct stand_call call;
    nng_msg *message = NULL;
    assert_int_equal(nng_rep0_open(&server.socket), 0);
    assert_int_equal(
        nng_pipe_notify(server.socket, NNG_PIPE_EV_ADD_POST, on_slow_add_post, &server), 0);
    bare_listen(stand, &server);
    nng_socket client = stand_client(stand, NEVER_RESEND_MS);
    stand_call(&call, client, "hello", 5);
    assert_int_equal(nng_socket_set_ms(server.socket, NNG_OPT_RECVTIMEO, STAND_LIMIT_MS), 0);
    assert_int_equal(nng_recvmsg(server.socket, &message, 0), 0);
    atomic_store(&server.has_request, true);
    for (int ms = 0; ms < STAND_LIMIT_MS && !atomic_load(&server.request_came); ms += 5)
        nng_msleep(5);
    assert_true(atomic_load(&server.request_came));
    nng_msg_free(message);
    stand_call_end(&call);
    mf_socket_close(client);
    mf_socket_close(server.socket);
}

static void a_connection_is_known_before_its_first_request(void **state)
{
    struct wire_stand *stand = *state;
    stand_listen(stand);
    for (unsigned i = 1; i <= 8; i++) {
        struct stand_call call;
        nng_socket client = stand_client(stand, NEVER_RESEND_MS);
        stand_call(&call, client, "hello", 5);
        struct endpoint_mail *request = stand_request(stand, STAND_LIMIT_MS);
        assert_non_null(request);
        assert_int_equal(stand->ups, i);
        stand_reply(stand, request, "welcome");
        assert_non_null(stand_answer(&call));
        stand_call_end(&call);
        mf_socket_close(client);
    }
    assert_true(stand_await_downs(stand, 8));
}

static void nng_reports_no_dead_connection_without_a_free_context(void **state)
{
    struct wire_stand *stand = *state;
    struct bare_server server = {0};
    struct stand_call call;
    nng_msg *message = NULL;
    bare_open(stand, &server);
    assert_int_equal(nng_socket_set_ms(server.socket, NNG_OPT_RECVTIMEO, STAND_LIMIT_MS), 0);
    nng_socket client = stand_client(stand, NEVER_RESEND_MS);
    stand_call(&call, client, "poll", 4);
    assert_int_equal(nng_recvmsg(server.socket, &message, 0), 0); /* and none receives any more */
    struct stand_call second;
    stand_call(&second, client, "poll 2", 6); /* waits unreceived in the connection */
    nng_msleep(100);
    stand_call_end(&second);
    stand_call_end(&call);
    mf_socket_close(client);
    assert_false(reaches(&server.removed, 1, QUIET_MS));
    nng_msg_free(message);
    mf_socket_close(server.socket);
}

static void a_dead_connection_is_reported_whatever_is_held(void **state)
{
    enum { HELD = 60 };
    struct wire_stand *stand = *state;
    struct stand_call calls[HELD];
    struct endpoint_mail *held[HELD];
    stand_listen(stand);
    nng_socket client = stand_client(stand, NEVER_RESEND_MS);
    for (unsigned i = 0; i < HELD; i++) {
        stand_call(&calls[i], client, "poll", 4);
        held[i] = stand_request(stand, STAND_LIMIT_MS);
        assert_non_null(held[i]);
    }
    for (unsigned i = 0; i < HELD; i++)
        stand_call_end(&calls[i]);
    mf_socket_close(client);
    assert_true(stand_await_downs(stand, 1));
    for (unsigned i = 0; i < HELD; i++)
        endpoint_drop(stand->endpoint, held[i]);
}

static void count_removed(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)pipe;
    (void)event;
    atomic_fetch_add((atomic_int *)arg, 1);
}

/* The second call waits until the client knows of the end, too: sending into a connection that is
 * just going away is what nng 1.5.2 can hang on (common/socket.h). */
static void a_refusal_arrives_before_its_connection_closes(void **state)
{
    struct wire_stand *stand = *state;
    struct stand_call call;
    atomic_int removed = 0;
    stand_listen(stand);
    nng_socket client = stand_client(stand, NEVER_RESEND_MS);
    assert_int_equal(nng_pipe_notify(client, NNG_PIPE_EV_REM_POST, count_removed, &removed), 0);
    stand_call(&call, client, "hello", 5);
    struct endpoint_mail *request = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(request);
    uint32_t pipe = request->pipe;
    stand_reply(stand, request, "refused");
    assert_string_equal(stand_answer(&call), "refused");
    endpoint_close_pipe(stand->endpoint, pipe);
    assert_true(stand_await_downs(stand, 1));
    for (int ms = 0; ms < STAND_LIMIT_MS && atomic_load(&removed) == 0; ms += 5)
        nng_msleep(5);
    stand_call_end(&call);
    stand_call(&call, client, "hello", 5); /* the client can try again on a new connection */
    request = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(request);
    assert_int_not_equal(request->pipe, pipe);
    endpoint_drop(stand->endpoint, request);
    stand_call_end(&call);
    mf_socket_close(client);
}

static void nng_takes_messages_of_any_size(void **state)
{
    struct wire_stand *stand = *state;
    struct bare_server server = {0};
    struct stand_call call;
    nng_msg *message = NULL;
    size_t size = MF_FRAME_MAX + 1;
    char *large = calloc(1, size);
    assert_non_null(large);
    bare_open(stand, &server);
    assert_int_equal(nng_socket_set_ms(server.socket, NNG_OPT_RECVTIMEO, STAND_LIMIT_MS), 0);
    nng_socket client = stand_client(stand, NEVER_RESEND_MS);
    stand_call(&call, client, large, size);
    assert_int_equal(nng_recvmsg(server.socket, &message, 0), 0);
    assert_int_equal(nng_msg_len(message), size);
    nng_msg_free(message);
    stand_call_end(&call);
    mf_socket_close(client);
    mf_socket_close(server.socket);
    free(large);
}

static void the_largest_frame_passes(void **state)
{
    struct wire_stand *stand = *state;
    struct stand_call call;
    size_t size = MF_FRAME_MAX - 64; /* nng's own header counts */
    char *large = calloc(1, size);
    assert_non_null(large);
    stand_listen(stand);
    nng_socket client = stand_client(stand, NEVER_RESEND_MS);
    stand_call(&call, client, large, size);
    struct endpoint_mail *request = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(request);
    assert_int_equal(nng_msg_len(request->message), size);
    stand_reply(stand, request, "ok");
    assert_string_equal(stand_answer(&call), "ok");
    stand_call_end(&call);
    mf_socket_close(client);
    free(large);
}

static void refusals_inside_tls_are_counted(void **state)
{
    struct wire_stand *stand = *state;
    nng_socket socket;
    nng_dialer dialer;
    nng_tls_config *tls;
    stand_listen(stand);
    assert_int_equal(endpoint_refused_count(stand->endpoint), 0);
    assert_int_equal(nng_req0_open(&socket), 0);
    assert_int_equal(nng_tls_config_alloc(&tls, NNG_TLS_MODE_CLIENT), 0);
    assert_int_equal(nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_NONE), 0);
    assert_int_equal(nng_dialer_create(&dialer, socket, stand->url), 0);
    assert_int_equal(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, tls), 0);
    assert_int_equal(nng_dialer_start(dialer, NNG_FLAG_NONBLOCK), 0);
    int ms = 0;
    for (; ms < STAND_LIMIT_MS && endpoint_refused_count(stand->endpoint) == 0; ms += 20)
        nng_msleep(20);
    assert_true(endpoint_refused_count(stand->endpoint) > 0);
    assert_null(stand_request(stand, 50));
    assert_int_equal(stand->ups, 0);
    nng_tls_config_free(tls);
    mf_socket_close(socket);
}

#define ON_STAND(test) cmocka_unit_test_setup_teardown(test, stand_set_up, stand_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_STAND(a_request_is_answered),
        ON_STAND(a_request_survives_its_connection),
        ON_STAND(nng_loses_a_request_that_is_never_resent),
        ON_STAND(nng_doubles_a_held_poll_after_its_resend_time),
        ON_STAND(a_held_poll_is_not_doubled),
        ON_STAND(nng_delivers_requests_before_add_post),
        ON_STAND(a_connection_is_known_before_its_first_request),
        ON_STAND(nng_reports_no_dead_connection_without_a_free_context),
        ON_STAND(a_dead_connection_is_reported_whatever_is_held),
        ON_STAND(a_refusal_arrives_before_its_connection_closes),
        ON_STAND(nng_takes_messages_of_any_size),
        ON_STAND(the_largest_frame_passes),
        ON_STAND(refusals_inside_tls_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
