/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's end of the wire: a REQ socket behind mutually verified TLS, one context a lane. nng
 * sends a request again by itself when its connection was lost and a new one is there (and at no
 * other time); the link sees to it that there is always a live dialer, trying the master's
 * addresses in turn.
 *
 * Threads: all functions from the loop thread.
 */
#ifndef MAYFLY_WORKER_LINK_H
#define MAYFLY_WORKER_LINK_H

#include <nng/nng.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/mailbox.h"
#include "worker/launch_input.h"

struct link;

/* Borrows input's strings until link_destroy. Starts to dial. */
struct link *link_create(const struct launch_input *input, struct mf_error *error);
void link_destroy(struct link *link);

int link_fd(const struct link *link); /* readable when a reply is there */
/* The next reply that has come: its lane and *message (caller frees), or -1 when there is none. */
int link_take(struct link *link, nng_msg **message);

bool link_is_free(const struct link *link, unsigned lane); /* no request of the lane is under way */
/* Sends a frame as the lane's next request; the lane must be free. */
int link_send(struct link *link, unsigned lane, struct mf_bytes frame, struct mf_error *error);

/* What requests have to say: of the newest credential. */
const unsigned char *link_token(const struct link *link);
/* From now on this credential counts (copied): its token at once, its certificate from the next
 * connection on. A request under way keeps the token that it has, which stays valid for a while.
 * When the certificate can't be used the old one stays, which is logged. */
void link_renew(struct link *link, const struct mf_renewal *renewal);

/* From now on the master says something at least this often; a connection that is silent for longer
 * is closed, and a new one made. A request must always be under way. */
void link_expect(struct link *link, int64_t silence_us);
bool link_is_up(const struct link *link);
/* Supervises the dialer; its next deadline. */
int64_t link_tick(struct link *link, int64_t now_us);

#endif
