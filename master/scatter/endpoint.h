/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master's end of the wire: a REP socket behind mutually verified TLS.
 *
 * nng's threads only put what they receive into a mailbox; the loop takes it from there
 * (endpoint_take) and answers each request once: by endpoint_reply, or by endpoint_drop when no
 * answer is due. A request may be kept as long as one likes (a held poll). There are always more
 * receiving contexts than requests under way: without a free one nng does not report a dead TLS
 * connection.
 *
 * Threads: all functions from the loop thread only.
 */
#ifndef MAYFLY_MASTER_SCATTER_ENDPOINT_H
#define MAYFLY_MASTER_SCATTER_ENDPOINT_H

#include <nng/nng.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/mailbox.h"
#include "master/scatter/authority.h"

enum endpoint_kind { ENDPOINT_REQUEST, ENDPOINT_PIPE_UP, ENDPOINT_PIPE_DOWN };

struct endpoint_mail {
    struct mf_mail mail; /* first */
    enum endpoint_kind kind;
    uint32_t pipe;
    char address[64]; /* of the peer, for ENDPOINT_PIPE_UP */
    nng_msg *message; /* of a request; the endpoint frees it with the reply */
};

struct endpoint;

/*
 * Listens on `host` (numeric, an IPv6 one in brackets; "127.0.0.1" or mf_socket_any()) and a free
 * port. Closing of pipes, counting of peers that were refused inside TLS, and everything else needs
 * endpoint_take to be called when the mailbox's descriptor is readable.
 */
struct endpoint *endpoint_create(const struct credential *credential,
                                 const char *host,
                                 uint16_t port,
                                 struct mf_error *error);
void endpoint_destroy(struct endpoint *endpoint);

uint16_t endpoint_port(const struct endpoint *endpoint);
int endpoint_fd(const struct endpoint *endpoint); /* readable when something waits */

/*
 * Dials a worker that listens, until endpoint_undial: `address` is numeric, `name` what its
 * certificate must say. Its requests come as those of any other. 0, also when it is dialed already.
 */
int endpoint_dial(struct endpoint *endpoint,
                  const struct credential *credential,
                  uint32_t worker,
                  const char *name,
                  const char *address,
                  uint16_t port,
                  struct mf_error *error);
void endpoint_undial(struct endpoint *endpoint, uint32_t worker);
/* The worker ends, and closes the connection itself: it is not dialed again. */
void endpoint_let_go(struct endpoint *endpoint, uint32_t worker);

/* What came since the last call, oldest first, linked by mail.next. Requests must be answered or
 * dropped; other entries are freed by endpoint_done. */
struct endpoint_mail *endpoint_take(struct endpoint *endpoint);
void endpoint_done(struct endpoint *endpoint, struct endpoint_mail *entry);

/* Answers a request with `reply` (takes it). The entry and its message must not be used any more.
 */
void endpoint_reply(struct endpoint *endpoint, struct endpoint_mail *request, nng_msg *reply);
/* Gives the request up without an answer. */
void endpoint_drop(struct endpoint *endpoint, struct endpoint_mail *request);
/* Closes a connection at once. */
void endpoint_close_pipe(struct endpoint *endpoint, uint32_t pipe);

/* An encoded frame as a message; NULL when memory is exhausted. */
nng_msg *endpoint_message(struct mf_bytes frame);

/* How many connections were refused inside TLS so far (there is no address for them). */
uint64_t endpoint_refused_count(struct endpoint *endpoint);

/*
 * nng 1.5.2 takes a handshake that ends in one particular way for the end of its listener, which
 * then accepts no connection any more. Whether such an end, or one that looks like it, was seen.
 */
bool endpoint_may_be_deaf(const struct endpoint *endpoint);
/* Puts a new listener in the place of the one that may be deaf, on the same port. All connections
 * that were accepted are closed: workers come again. -1: there is none now; call it again. */
int endpoint_listen_again(struct endpoint *endpoint, struct mf_error *error);

#endif
