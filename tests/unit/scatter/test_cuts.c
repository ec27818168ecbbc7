/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that are cut in the middle of anything. Between the two ends stands a relay that
 * counts the bytes it passes on and resets both of its connections after so many. Each cut must be
 * noticed at both ends: the request goes out again on a new connection, and the endpoint says that
 * the old one is down.
 */
#include <arpa/inet.h>
#include <nng/nng.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/socket.h"
#include "wire_stand.h"

#define CUTS 24u
#define NEVER_RESEND_MS 2147483647
#define LARGE (1u << 20)
#define LIMIT_MS 60000 /* what has not come by then never comes */

struct relay {
    pthread_t thread;
    int listener;
    uint16_t port;      /* of the endpoint */
    atomic_uint to_cut; /* so many connections; those after them live */
    atomic_uint cuts;
    unsigned long seed; /* of where they are cut: the same numbers each time */
    size_t range;       /* within so many bytes */
    atomic_bool is_over;
};

static uint32_t next_random(struct relay *relay)
{
    relay->seed = relay->seed * 6364136223846793005ul + 1442695040888963407ul;
    return (uint32_t)(relay->seed >> 33);
}

static void reset(int fd)
{
    struct linger linger = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

/* Passes on what there is; the number of bytes, 0 at the end. */
static size_t pass(int from, int to, size_t most)
{
    char bytes[16384];
    ssize_t count = recv(from, bytes, most < sizeof bytes ? most : sizeof bytes, MSG_DONTWAIT);
    for (ssize_t sent = 0, n; sent < count; sent += n)
        if ((n = send(to, bytes + sent, (size_t)(count - sent), MSG_NOSIGNAL)) <= 0)
            return 0;
    return count < 0 ? 0 : (size_t)count;
}

static void serve(struct relay *relay, int client)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(relay->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int server = socket(AF_INET, SOCK_STREAM, 0);
    bool is_cut = atomic_load(&relay->to_cut) > 0;
    size_t left = is_cut ? 1 + next_random(relay) % relay->range : SIZE_MAX, n = 1;
    if (connect(server, (struct sockaddr *)&address, sizeof address) != 0)
        n = 0;
    while (n > 0 && left > 0 && !atomic_load(&relay->is_over)) {
        struct pollfd fds[] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        if (poll(fds, 2, 20) <= 0)
            continue;
        n = fds[0].revents != 0 ? pass(client, server, left) : pass(server, client, left);
        left -= n;
    }
    if (is_cut) {
        atomic_fetch_sub(&relay->to_cut, 1);
        atomic_fetch_add(&relay->cuts, 1);
    }
    reset(client);
    reset(server);
}

static void *run_relay(void *arg)
{
    struct relay *relay = arg;
    while (!atomic_load(&relay->is_over)) {
        struct pollfd fd = {.fd = relay->listener, .events = POLLIN};
        if (poll(&fd, 1, 20) > 0)
            serve(relay, accept(relay->listener, NULL, NULL));
    }
    return NULL;
}

/* Stands in for the endpoint from now on. */
static void relay_begin(struct relay *relay, struct wire_stand *stand, unsigned cuts, size_t range)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *relay = (struct relay){.port = endpoint_port(stand->endpoint), .seed = 1, .range = range};
    atomic_store(&relay->to_cut, cuts);
    relay->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(relay->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(relay->listener, 64), 0);
    assert_int_equal(getsockname(relay->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(stand->url, sizeof stand->url, "tls+tcp://127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&relay->thread, NULL, run_relay, relay), 0);
}

static void relay_end(struct relay *relay)
{
    atomic_store(&relay->is_over, true);
    pthread_join(relay->thread, NULL);
    close(relay->listener);
}

static void reply_large(struct wire_stand *stand, struct endpoint_mail *request)
{
    char *bytes = calloc(1, LARGE);
    assert_non_null(bytes);
    nng_msg *reply = endpoint_message(mf_bytes_of(bytes, LARGE));
    free(bytes);
    assert_non_null(reply);
    endpoint_reply(stand->endpoint, request, reply);
}

/* A request that says when its answer is there. */
struct watched {
    nng_ctx context;
    nng_aio *aio;
    atomic_bool is_sent, is_over;
};

static void on_step(void *arg)
{
    struct watched *watched = arg;
    if (nng_aio_result(watched->aio) == 0 && !atomic_exchange(&watched->is_sent, true))
        nng_ctx_recv(watched->context, watched->aio);
    else
        atomic_store(&watched->is_over, true);
}

static void begin_request(struct watched *watched, nng_socket client, size_t bytes)
{
    nng_msg *message;
    assert_int_equal(nng_ctx_open(&watched->context, client), 0);
    assert_int_equal(nng_aio_alloc(&watched->aio, on_step, watched), 0);
    assert_int_equal(nng_msg_alloc(&message, bytes), 0);
    nng_aio_set_timeout(watched->aio, LIMIT_MS);
    nng_aio_set_msg(watched->aio, message);
    nng_ctx_send(watched->context, watched->aio);
}

static void end_request(struct watched *watched)
{
    assert_int_equal(nng_aio_result(watched->aio), 0);
    nng_msg *reply = nng_aio_get_msg(watched->aio);
    assert_int_equal(nng_msg_len(reply), LARGE);
    nng_msg_free(reply);
    nng_ctx_close(watched->context);
    nng_aio_free(watched->aio);
}

/* One request, answered whenever it comes, until the answer has come through. */
static void exchange_through_cuts(struct wire_stand *stand, size_t request_bytes, size_t range)
{
    struct relay relay;
    struct watched watched = {0};
    stand_listen(stand);
    relay_begin(&relay, stand, CUTS, range);
    nng_socket client = stand_client(stand, NEVER_RESEND_MS);
    begin_request(&watched, client, request_bytes);
    while (!atomic_load(&watched.is_over)) {
        struct endpoint_mail *request = stand_request(stand, 20);
        if (request != NULL)
            reply_large(stand, request);
    }
    end_request(&watched);
    assert_int_equal(atomic_load(&relay.cuts), CUTS);
    assert_true(mf_socket_close(client));
    assert_true(stand_await_downs(stand, stand->ups));
    relay_end(&relay);
}

static void cuts_in_large_requests_and_replies(void **state)
{
    exchange_through_cuts(*state, LARGE, 2 * LARGE);
}

static void cuts_in_large_replies(void **state)
{
    exchange_through_cuts(*state, 5, LARGE);
}

static void cuts_in_handshakes(void **state)
{
    exchange_through_cuts(*state, 5, 4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            cuts_in_large_requests_and_replies, stand_set_up, stand_tear_down),
        cmocka_unit_test_setup_teardown(cuts_in_large_replies, stand_set_up, stand_tear_down),
        cmocka_unit_test_setup_teardown(cuts_in_handshakes, stand_set_up, stand_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
