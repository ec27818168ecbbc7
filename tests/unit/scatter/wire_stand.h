/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand for tests of the wire: an authority in a temporary folder, an endpoint of the master, and
 * clients on loopback with certificates of that authority. One per test; single-threaded but for
 * nng's own threads.
 */
#ifndef MAYFLY_TESTS_WIRE_STAND_H
#define MAYFLY_TESTS_WIRE_STAND_H

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <stdbool.h>
#include <stdint.h>

#include "master/scatter/authority.h"
#include "master/scatter/endpoint.h"

#define STAND_RUN "20260101-000000-test-0000"
#define STAND_LIMIT_MS 20000 /* what has not come by then never comes */

struct wire_stand {
    char folder[64];
    struct authority *authority;
    struct credential worker;
    struct endpoint *endpoint; /* NULL until stand_listen */
    char url[64];
    unsigned ups, downs; /* pipe entries that were taken */
};

int stand_set_up(void **state); /* *state = struct wire_stand * */
int stand_tear_down(void **state);
/* An endpoint on a free port; its address is in url. */
void stand_listen(struct wire_stand *stand);

/* A TLS configuration; the caller frees it. */
nng_tls_config *stand_server_tls(struct wire_stand *stand);
nng_tls_config *stand_client_tls(struct wire_stand *stand);

/* A REQ socket that dials stand->url with this resend time. */
nng_socket stand_client(struct wire_stand *stand, nng_duration resend_ms);

/* A request under way: a context with its aio. */
struct stand_call {
    nng_ctx context;
    nng_aio *aio;
};
void stand_call(struct stand_call *call, nng_socket socket, const void *data, size_t length);
/* The reply's text in a static buffer, NULL if the call failed. Waits for it. */
const char *stand_answer(struct stand_call *call);
void stand_call_end(struct stand_call *call);

/* The next request at the endpoint; counts pipes on the way. NULL if none comes within `limit_ms`.
 */
struct endpoint_mail *stand_request(struct wire_stand *stand, int limit_ms);
/* Takes what comes, dropping requests, until `downs` connections are down; false if they never are.
 */
bool stand_await_downs(struct wire_stand *stand, unsigned downs);
void stand_reply(struct wire_stand *stand, struct endpoint_mail *request, const char *text);

#endif
