/* SPDX-License-Identifier: Apache-2.0 */
/* The stand for tests of the wire: see wire_stand.h. */
#include "wire_stand.h"

#include <nng/protocol/reqrep0/req.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"

int stand_set_up(void **state)
{
    struct wire_stand *stand = calloc(1, sizeof *stand);
    struct mf_error error;
    const char *base = getenv("TMPDIR");
    assert_non_null(stand);
    snprintf(stand->folder,
             sizeof stand->folder,
             "%.40s/mayfly-wire-XXXXXX",
             base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(stand->folder));
    char keys[80];
    snprintf(keys, sizeof keys, "%s/keys", stand->folder);
    stand->authority = authority_create(keys, STAND_RUN, &error);
    *state = stand;
    return stand->authority == NULL ? -1
                                    : authority_issue(stand->authority, 1, &stand->worker, &error);
}

int stand_tear_down(void **state)
{
    struct wire_stand *stand = *state;
    char keys[80];
    snprintf(keys, sizeof keys, "%s/keys", stand->folder);
    endpoint_destroy(stand->endpoint);
    credential_fini(&stand->worker);
    authority_destroy(stand->authority);
    int rc = authority_remove(keys, NULL);
    rmdir(stand->folder);
    free(stand);
    return rc;
}

void stand_listen(struct wire_stand *stand)
{
    struct mf_error error;
    stand->endpoint = endpoint_create(authority_master(stand->authority), "127.0.0.1", 0, &error);
    assert_non_null(stand->endpoint);
    snprintf(
        stand->url, sizeof stand->url, "tls+tcp://127.0.0.1:%u", endpoint_port(stand->endpoint));
}

static nng_tls_config *make_tls(nng_tls_mode mode, const struct credential *credential)
{
    nng_tls_config *tls;
    assert_int_equal(nng_tls_config_alloc(&tls, mode), 0);
    assert_int_equal(nng_tls_config_ca_chain(tls, credential->authority_pem, NULL), 0);
    assert_int_equal(
        nng_tls_config_own_cert(tls, credential->certificate_pem, credential->key_pem, NULL), 0);
    assert_int_equal(nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_REQUIRED), 0);
    return tls;
}

nng_tls_config *stand_server_tls(struct wire_stand *stand)
{
    return make_tls(NNG_TLS_MODE_SERVER, authority_master(stand->authority));
}

nng_tls_config *stand_client_tls(struct wire_stand *stand)
{
    nng_tls_config *tls = make_tls(NNG_TLS_MODE_CLIENT, &stand->worker);
    assert_int_equal(nng_tls_config_server_name(tls, STAND_RUN), 0);
    return tls;
}

nng_socket stand_client(struct wire_stand *stand, nng_duration resend_ms)
{
    nng_socket socket;
    nng_dialer dialer;
    nng_tls_config *tls = stand_client_tls(stand);
    assert_int_equal(nng_req0_open(&socket), 0);
    assert_int_equal(nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, resend_ms), 0);
    assert_int_equal(nng_dialer_create(&dialer, socket, stand->url), 0);
    assert_int_equal(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, tls), 0);
    assert_int_equal(nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, 20), 0);
    assert_int_equal(nng_dialer_set_ms(dialer, NNG_OPT_RECONNMAXT, 100), 0);
    assert_int_equal(nng_dialer_start(dialer, NNG_FLAG_NONBLOCK), 0);
    nng_tls_config_free(tls);
    return socket;
}

void stand_call(struct stand_call *call, nng_socket socket, const void *data, size_t length)
{
    nng_msg *message;
    assert_int_equal(nng_ctx_open(&call->context, socket), 0);
    assert_int_equal(nng_aio_alloc(&call->aio, NULL, NULL), 0);
    assert_int_equal(nng_msg_alloc(&message, 0), 0);
    assert_int_equal(nng_msg_append(message, data, length), 0);
    nng_aio_set_timeout(call->aio, STAND_LIMIT_MS);
    nng_aio_set_msg(call->aio, message);
    nng_ctx_send(call->context, call->aio);
    nng_aio_wait(call->aio);
    assert_int_equal(nng_aio_result(call->aio), 0);
    nng_ctx_recv(call->context, call->aio);
}

const char *stand_answer(struct stand_call *call)
{
    static char text[64];
    nng_aio_wait(call->aio);
    if (nng_aio_result(call->aio) != 0)
        return NULL;
    nng_msg *reply = nng_aio_get_msg(call->aio);
    snprintf(text, sizeof text, "%.*s", (int)nng_msg_len(reply), (const char *)nng_msg_body(reply));
    nng_msg_free(reply);
    return text;
}

void stand_call_end(struct stand_call *call)
{
    nng_aio_cancel(call->aio);
    nng_aio_wait(call->aio);
    nng_ctx_close(call->context);
    nng_aio_free(call->aio);
}

/* Takes all that waits; returns the first request (further ones are dropped: no test sends two at
 * once without asking for each). */
static struct endpoint_mail *take(struct wire_stand *stand, int limit_ms)
{
    struct pollfd fd = {.fd = endpoint_fd(stand->endpoint), .events = POLLIN};
    if (poll(&fd, 1, limit_ms) <= 0)
        return NULL;
    struct endpoint_mail *entry = endpoint_take(stand->endpoint), *first = NULL;
    while (entry != NULL) {
        struct endpoint_mail *next = (struct endpoint_mail *)entry->mail.next;
        stand->ups += entry->kind == ENDPOINT_PIPE_UP;
        stand->downs += entry->kind == ENDPOINT_PIPE_DOWN;
        if (entry->kind != ENDPOINT_REQUEST)
            endpoint_done(stand->endpoint, entry);
        else if (first == NULL)
            first = entry;
        else
            endpoint_drop(stand->endpoint, entry);
        entry = next;
    }
    return first;
}

struct endpoint_mail *stand_request(struct wire_stand *stand, int limit_ms)
{
    int64_t end_us = mf_monotonic_us() + (int64_t)limit_ms * 1000;
    struct endpoint_mail *request = NULL;
    for (int64_t left_us; request == NULL && (left_us = end_us - mf_monotonic_us()) > 0;)
        request = take(stand, (int)(left_us / 1000) + 1);
    return request;
}

bool stand_await_downs(struct wire_stand *stand, unsigned downs)
{
    int64_t end_us = mf_monotonic_us() + STAND_LIMIT_MS * 1000;
    while (stand->downs < downs && mf_monotonic_us() < end_us) {
        struct endpoint_mail *request = take(stand, 100);
        if (request != NULL)
            endpoint_drop(stand->endpoint, request);
    }
    return stand->downs >= downs;
}

void stand_reply(struct wire_stand *stand, struct endpoint_mail *request, const char *text)
{
    nng_msg *reply = endpoint_message(mf_bytes_text(text));
    assert_non_null(reply);
    endpoint_reply(stand->endpoint, request, reply);
}
