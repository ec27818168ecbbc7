/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's outbox and lanes: see session.h. */
#include "master/scatter/session.h"

#include <string.h>

#include "common/alloc.h"

int session_offer(struct session *session,
                  uint64_t subtask,
                  uint32_t attempt,
                  struct mf_error *error)
{
    if (session->offer_first == session->offer_count)
        session->offer_first = session->offer_count = 0;
    if (session->offer_count == session->offer_capacity) {
        uint32_t capacity = session->offer_capacity < 64 ? 64 : session->offer_capacity * 2;
        struct offer *offers = mf_realloc(session->offers, capacity * sizeof *offers);
        if (offers == NULL)
            return mf_raise(
                error, MF_ENOMEM, "out of memory: the outbox of worker %u", session->worker);
        session->offers = offers;
        session->offer_capacity = capacity;
    }
    session->offers[session->offer_count++] =
        (struct offer){.subtask = subtask, .attempt = attempt};
    return 0;
}

int fence_list_add(struct fence_list *list, const struct mf_fence *fence, struct mf_error *error)
{
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity < 16 ? 16 : list->capacity * 2;
        struct mf_fence *items = mf_realloc(list->items, capacity * sizeof *items);
        if (items == NULL)
            return mf_raise(error, MF_ENOMEM, "out of memory: orders to a worker");
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *fence;
    return 0;
}

void fence_list_drop(struct fence_list *list, uint32_t count)
{
    list->count -= count;
    if (list->count > 0)
        memmove(list->items, list->items + count, list->count * sizeof *list->items);
}

bool session_has_news(const struct session *session)
{
    return session->offer_first < session->offer_count || session->take_back.count > 0 ||
           session->cancel.count > 0 || session->renewal != NULL ||
           (session->dismiss && !session->dismiss_sent);
}

void session_drop_renewal(struct session *session)
{
    if (session->renewal == NULL)
        return;
    credential_fini(session->renewal);
    mf_free(session->renewal);
    session->renewal = NULL;
}

void session_clear(struct session *session, struct endpoint *endpoint)
{
    for (unsigned i = 0; i < MF_LANES; i++) {
        struct lane *lane = &session->lanes[i];
        if (lane->held != NULL)
            endpoint_drop(endpoint, lane->held);
        nng_msg_free(lane->reply);
        *lane = (struct lane){.sequence = lane->sequence};
    }
    session_drop_renewal(session);
    mf_free(session->offers);
    mf_free(session->take_back.items);
    mf_free(session->cancel.items);
    session->offers = NULL;
    session->offer_first = session->offer_count = session->offer_capacity = 0;
    session->take_back = session->cancel = (struct fence_list){0};
}
