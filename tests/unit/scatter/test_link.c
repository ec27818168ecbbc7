/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's end of the wire against the master's: the link finds its way whatever happens to its
 * dialer. */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/socket.h"
#include "wire_stand.h"
#include "worker/link.h"

static struct launch_input input_of(struct wire_stand *stand, char *first, char *second)
{
    return (struct launch_input){.run_id = (char *)(uintptr_t)STAND_RUN,
                                 .worker = 1,
                                 .slots = 1,
                                 .authority_pem = stand->worker.authority_pem,
                                 .certificate_pem = stand->worker.certificate_pem,
                                 .key_pem = stand->worker.key_pem,
                                 .addresses = {first, second},
                                 .address_count = second == NULL ? 1 : 2,
                                 .orphan_us = 1000000};
}

/* As the worker's loop does, until the link is up or down. */
static bool comes(struct link *link, bool up)
{
    int64_t end_us = mf_monotonic_us() + STAND_LIMIT_MS * 1000;
    while (link_is_up(link) != up && mf_monotonic_us() < end_us) {
        link_tick(link, mf_monotonic_us());
        poll(NULL, 0, 20);
    }
    link_tick(link, mf_monotonic_us());
    return link_is_up(link) == up;
}

static void exchange(struct wire_stand *stand, struct link *link)
{
    struct mf_error error;
    nng_msg *reply = NULL;
    assert_int_equal(link_send(link, 0, mf_bytes_text("poll"), &error), 0);
    assert_false(link_is_free(link, 0));
    struct endpoint_mail *request = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(request);
    stand_reply(stand, request, "work");
    struct pollfd fd = {.fd = link_fd(link), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, STAND_LIMIT_MS), 1);
    assert_int_equal(link_take(link, &reply), 0);
    assert_non_null(reply);
    assert_int_equal(nng_msg_len(reply), 4);
    nng_msg_free(reply);
    assert_true(link_is_free(link, 0));
}

static void a_link_tries_its_addresses_in_turn(void **state)
{
    struct wire_stand *stand = *state;
    struct mf_error error;
    stand_listen(stand);
    uint16_t dead_port = endpoint_port(stand->endpoint);
    endpoint_destroy(stand->endpoint);
    stand_listen(stand);
    char dead[64];
    snprintf(dead, sizeof dead, "tls+tcp://127.0.0.1:%u", dead_port);
    if (strcmp(dead, stand->url) == 0)
        snprintf(dead, sizeof dead, "tls+tcp://127.0.0.1:1");
    struct launch_input input = input_of(stand, dead, stand->url);
    struct link *link = link_create(&input, &error);
    assert_non_null(link);
    assert_true(comes(link, true));
    exchange(stand, link);
    link_destroy(link);
}

static void a_link_waits_for_a_master_that_is_late(void **state)
{
    struct wire_stand *stand = *state;
    struct mf_error error;
    stand_listen(stand);
    uint16_t port = endpoint_port(stand->endpoint);
    endpoint_destroy(stand->endpoint);
    stand->endpoint = NULL;
    struct launch_input input = input_of(stand, stand->url, NULL);
    struct link *link = link_create(&input, &error);
    assert_non_null(link);
    link_tick(link, mf_monotonic_us());
    assert_false(link_is_up(link));
    stand->endpoint =
        endpoint_create(authority_master(stand->authority), "127.0.0.1", port, &error);
    assert_non_null(stand->endpoint);
    assert_true(comes(link, true));
    exchange(stand, link);
    link_destroy(link);
}

static void a_request_goes_out_again_when_the_link_was_cut(void **state)
{
    struct wire_stand *stand = *state;
    struct mf_error error;
    nng_msg *reply = NULL;
    stand_listen(stand);
    struct launch_input input = input_of(stand, stand->url, NULL);
    struct link *link = link_create(&input, &error);
    assert_non_null(link);
    assert_int_equal(link_send(link, 1, mf_bytes_text("poll"), &error), 0);
    struct endpoint_mail *request = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(request);
    endpoint_close_pipe(stand->endpoint, request->pipe);
    endpoint_drop(stand->endpoint, request);
    struct endpoint_mail *again = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(again);
    stand_reply(stand, again, "work");
    struct pollfd fd = {.fd = link_fd(link), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, STAND_LIMIT_MS), 1);
    assert_int_equal(link_take(link, &reply), 1);
    assert_non_null(reply);
    nng_msg_free(reply);
    link_destroy(link);
}

static atomic_int to_close;

static void close_some(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)event;
    (void)arg;
    if (atomic_fetch_sub(&to_close, 1) > 0)
        nng_pipe_close(pipe);
}

/* nng's own dialer can stay idle for ever after this; the link makes a new one. */
static void a_link_survives_connections_that_are_closed_at_once(void **state)
{
    struct wire_stand *stand = *state;
    struct mf_error error;
    nng_socket server;
    nng_listener listener;
    int port = 0;
    nng_tls_config *tls = stand_server_tls(stand);
    atomic_store(&to_close, 2);
    assert_int_equal(nng_rep0_open(&server), 0);
    assert_int_equal(nng_pipe_notify(server, NNG_PIPE_EV_ADD_PRE, close_some, NULL), 0);
    assert_int_equal(nng_listener_create(&listener, server, "tls+tcp://127.0.0.1:0"), 0);
    assert_int_equal(nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, tls), 0);
    assert_int_equal(nng_listener_start(listener, 0), 0);
    assert_int_equal(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), 0);
    nng_tls_config_free(tls);
    snprintf(stand->url, sizeof stand->url, "tls+tcp://127.0.0.1:%d", port);
    struct launch_input input = input_of(stand, stand->url, NULL);
    struct link *link = link_create(&input, &error);
    assert_non_null(link);
    int64_t end_us = mf_monotonic_us() + STAND_LIMIT_MS * 1000;
    while ((atomic_load(&to_close) >= 0 || !link_is_up(link)) && mf_monotonic_us() < end_us) {
        link_tick(link, mf_monotonic_us());
        poll(NULL, 0, 20);
    }
    assert_true(link_is_up(link));
    link_destroy(link);
    mf_socket_close(server);
}

static struct launch_input listening_input(struct wire_stand *stand, char *address)
{
    struct launch_input input = input_of(stand, address, NULL);
    struct mf_error error;
    input.address_count = address == NULL ? 0 : 1;
    input.listens = true;
    assert_int_equal(launch_input_reserve_port(&input, &error), 0);
    assert_int_not_equal(input.listen_port, 0);
    return input;
}

static void dial_worker(struct wire_stand *stand, const char *name, uint16_t port)
{
    struct mf_error error;
    assert_int_equal(endpoint_dial(stand->endpoint,
                                   authority_master(stand->authority),
                                   1,
                                   name,
                                   "127.0.0.1",
                                   port,
                                   &error),
                     0);
}

static void a_master_can_dial_a_link_that_listens(void **state)
{
    struct wire_stand *stand = *state;
    struct mf_error error;
    stand_listen(stand);
    struct launch_input input = listening_input(stand, NULL);
    struct link *link = link_create(&input, &error);
    assert_non_null(link);
    dial_worker(stand, "worker-1", input.listen_port);
    assert_true(comes(link, true));
    exchange(stand, link);
    endpoint_undial(stand->endpoint, 1);
    assert_true(comes(link, false));
    link_destroy(link);
}

/* With no answer from any address, it waits for its master, too. */
static void a_link_listens_when_nobody_answers(void **state)
{
    struct wire_stand *stand = *state;
    struct mf_error error;
    char dead[] = "tls+tcp://127.0.0.1:1";
    stand_listen(stand);
    struct launch_input input = listening_input(stand, dead);
    struct link *link = link_create(&input, &error);
    assert_non_null(link);
    dial_worker(stand, "worker-1", input.listen_port);
    assert_true(comes(link, true));
    exchange(stand, link);
    link_destroy(link);
}

/* What answers there must be that very worker, by its certificate. */
static void a_master_refuses_another_worker_than_it_dials(void **state)
{
    struct wire_stand *stand = *state;
    struct mf_error error;
    stand_listen(stand);
    struct launch_input input = listening_input(stand, NULL);
    struct link *link = link_create(&input, &error);
    assert_non_null(link);
    dial_worker(stand, "worker-2", input.listen_port);
    assert_int_equal(link_send(link, 0, mf_bytes_text("poll"), &error), 0);
    assert_null(stand_request(stand, 1500));
    link_destroy(link);
}

static struct mf_renewal renewal_of(const struct credential *credential)
{
    return (struct mf_renewal){.certificate_pem = credential->certificate_pem,
                               .key_pem = credential->key_pem,
                               .token = mf_bytes_of(credential->token, MF_TOKEN_SIZE)};
}

static void a_renewed_link_goes_on(void **state)
{
    struct wire_stand *stand = *state;
    struct mf_error error;
    struct credential renewed;
    stand_listen(stand);
    struct launch_input input = input_of(stand, stand->url, NULL);
    memcpy(input.token, stand->worker.token, MF_TOKEN_SIZE);
    struct link *link = link_create(&input, &error);
    assert_non_null(link);
    assert_true(comes(link, true));
    exchange(stand, link);
    assert_int_equal(authority_begin_generation(stand->authority, &error), 0);
    assert_memory_equal(link_token(link), stand->worker.token, MF_TOKEN_SIZE);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(authority_issue(stand->authority, 1, &renewed, &error), 0);
        const struct mf_renewal renewal = renewal_of(&renewed);
        link_renew(link, &renewal);
        assert_memory_equal(link_token(link), renewed.token, MF_TOKEN_SIZE);
        credential_fini(&renewed);
        exchange(stand, link);
        assert_true(link_is_up(link));
    }
    assert_int_equal(stand->ups, 1);
    assert_int_equal(stand->downs, 0);
    link_destroy(link);
}

/* Renewed by another authority's certificate, which the master does not trust: it shows with the
 * next connection, and not before. */
static void a_renewed_certificate_shows_with_the_next_connection(void **state)
{
    struct wire_stand *stand = *state;
    struct mf_error error;
    struct credential foreign, right;
    char keys[96];
    snprintf(keys, sizeof keys, "%s/other", stand->folder);
    struct authority *other = authority_create(keys, STAND_RUN, &error);
    assert_non_null(other);
    assert_int_equal(authority_issue(other, 1, &foreign, &error), 0);
    assert_int_equal(authority_issue(stand->authority, 1, &right, &error), 0);
    stand_listen(stand);
    struct launch_input input = input_of(stand, stand->url, NULL);
    struct link *link = link_create(&input, &error);
    assert_non_null(link);
    assert_true(comes(link, true));
    struct mf_renewal renewal = renewal_of(&foreign);
    link_renew(link, &renewal);
    assert_int_equal(link_send(link, 0, mf_bytes_text("poll"), &error), 0);
    struct endpoint_mail *request = stand_request(stand, STAND_LIMIT_MS);
    assert_non_null(request);
    endpoint_close_pipe(stand->endpoint, request->pipe);
    endpoint_drop(stand->endpoint, request);
    assert_null(stand_request(stand, 700));
    assert_true(endpoint_refused_count(stand->endpoint) > 0);
    renewal = renewal_of(&right);
    link_renew(link, &renewal);
    request = NULL;
    int64_t end_us = mf_monotonic_us() + STAND_LIMIT_MS * 1000;
    while (request == NULL && mf_monotonic_us() < end_us) {
        link_tick(link, mf_monotonic_us());
        request = stand_request(stand, 50);
    }
    assert_non_null(request); /* what was under way came again */
    stand_reply(stand, request, "work");
    credential_fini(&foreign);
    credential_fini(&right);
    link_destroy(link);
    authority_destroy(other);
    assert_int_equal(authority_remove(keys, &error), 0);
}

static void a_link_that_was_dialed_is_renewed(void **state)
{
    struct wire_stand *stand = *state;
    struct mf_error error;
    struct credential renewed;
    stand_listen(stand);
    struct launch_input input = listening_input(stand, NULL);
    struct link *link = link_create(&input, &error);
    assert_non_null(link);
    dial_worker(stand, "worker-1", input.listen_port);
    assert_true(comes(link, true));
    exchange(stand, link);
    assert_int_equal(authority_issue(stand->authority, 1, &renewed, &error), 0);
    const struct mf_renewal renewal = renewal_of(&renewed);
    link_renew(link, &renewal);
    exchange(stand, link);
    endpoint_undial(stand->endpoint, 1);
    assert_true(comes(link, false));
    dial_worker(stand, "worker-1", input.listen_port);
    assert_true(comes(link, true));
    exchange(stand, link);
    credential_fini(&renewed);
    link_destroy(link);
}

/* The port stays, what was connected is closed, and workers come by themselves. */
static void a_link_finds_a_master_that_listens_anew(void **state)
{
    struct wire_stand *stand = *state;
    struct mf_error error;
    stand_listen(stand);
    uint16_t port = endpoint_port(stand->endpoint);
    struct launch_input input = input_of(stand, stand->url, NULL);
    struct link *link = link_create(&input, &error);
    assert_non_null(link);
    assert_true(comes(link, true));
    exchange(stand, link);
    int64_t end_us = mf_monotonic_us() + STAND_LIMIT_MS * 1000;
    while (endpoint_listen_again(stand->endpoint, &error) < 0) {
        assert_true(endpoint_may_be_deaf(stand->endpoint)); /* until there is one again */
        assert_true(mf_monotonic_us() < end_us);
        poll(NULL, 0, 20);
    }
    assert_int_equal(endpoint_port(stand->endpoint), port);
    /* Whether it may be deaf says nothing here: the link may have come and gone meanwhile. */
    assert_true(stand_await_downs(stand, 1));
    exchange(stand, link);
    link_destroy(link);
}

#define ON_STAND(test) cmocka_unit_test_setup_teardown(test, stand_set_up, stand_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_STAND(a_link_tries_its_addresses_in_turn),
        ON_STAND(a_link_waits_for_a_master_that_is_late),
        ON_STAND(a_request_goes_out_again_when_the_link_was_cut),
        ON_STAND(a_link_survives_connections_that_are_closed_at_once),
        ON_STAND(a_master_can_dial_a_link_that_listens),
        ON_STAND(a_link_listens_when_nobody_answers),
        ON_STAND(a_master_refuses_another_worker_than_it_dials),
        ON_STAND(a_renewed_link_goes_on),
        ON_STAND(a_renewed_certificate_shows_with_the_next_connection),
        ON_STAND(a_link_that_was_dialed_is_renewed),
        ON_STAND(a_link_finds_a_master_that_listens_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
