/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker as scatter sees it: its identity, its lanes, its outbox. Not thread-safe.
 *
 * A lane goes round: open -> (request comes) -> committing, if it carries results -> held ->
 * (reply) -> open. `reply` keeps the last answer until the next request of the lane shows that it
 * has arrived; lanes of fetches keep none.
 */
#ifndef MAYFLY_MASTER_SCATTER_SESSION_H
#define MAYFLY_MASTER_SCATTER_SESSION_H

#include <nng/nng.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/message.h"
#include "master/scatter/authority.h"
#include "master/scatter/endpoint.h"

struct lane {
    uint64_t sequence;          /* of the last request */
    struct endpoint_mail *held; /* the request to answer, NULL = none */
    bool committing;            /* not before its commit */
    bool must_answer;           /* at once, also with nothing to say */
    bool unrecorded;            /* the answer says that the results are not recorded */
    bool is_deferred;           /* a chunk that could not be kept yet */
    bool is_fetching;           /* it is one of those that carry fetches */
    int64_t held_since_us;
    nng_msg *reply; /* to the last request, NULL while it is held */
};

struct offer {
    uint64_t subtask;
    uint32_t attempt;
};

struct fence_list {
    struct mf_fence *items;
    uint32_t count, capacity;
};

struct session {
    uint32_t worker;
    bool expected; /* false: never, or not any more */
    bool joined;
    uint64_t session;
    uint32_t pipe; /* 0 = none */
    struct lane lanes[MF_LANES];
    struct offer *offers; /* a queue: [offer_first, offer_count) */
    uint32_t offer_first, offer_count, offer_capacity;
    struct fence_list take_back, cancel;
    bool dismiss, dismiss_sent;
    uint32_t generation;        /* the newest that it has shown a token of, or was sent one of */
    struct credential *renewal; /* in the outbox; NULL = none */
    uint32_t secrets_sent;      /* secrets up to this version of the run's are with it */
};

int session_offer(struct session *session,
                  uint64_t subtask,
                  uint32_t attempt,
                  struct mf_error *error);
int fence_list_add(struct fence_list *list, const struct mf_fence *fence, struct mf_error *error);
/* Drops the first `count`, which are said. */
void fence_list_drop(struct fence_list *list, uint32_t count);
bool session_has_news(const struct session *session);
void session_drop_renewal(struct session *session);
/* Drops outbox and cached replies; requests that are held are given up. */
void session_clear(struct session *session, struct endpoint *endpoint);

#endif
