/* SPDX-License-Identifier: Apache-2.0 */
/* What is said to workers: the answer to a poll, made from the outbox when it is due. */
#include "common/log.h"
#include "master/scatter/scatter_internal.h"

/* A reply is cut at about this weight; it is far below MF_BATCH_WEIGHT, so one more item always
 * fits. */
#define REPLY_WEIGHT (1u << 20)

/* An unanswered request would keep its lane waiting for ever: nng sends it again only on a new
 * connection. */
void scatter_turn_away(struct scatter *scatter, struct endpoint_mail *request)
{
    uint32_t pipe = request->pipe;
    endpoint_drop(scatter->endpoint, request);
    endpoint_close_pipe(scatter->endpoint, pipe);
}

/* Answers a request that is not (any more) held by a lane. */
void scatter_answer(struct scatter *scatter, struct endpoint_mail *request, nng_msg *reply)
{
    if (reply == NULL) {
        mf_log(MF_ERROR, "out of memory: the answer to a worker, its connection is closed");
        scatter_turn_away(scatter, request);
        return;
    }
    scatter->counts.bytes_out += nng_msg_len(reply);
    endpoint_reply(scatter->endpoint, request, reply);
}

/* Gives the lane's request `reply` and keeps a copy for the case that the request comes again; a
 * piece is large, and read once more instead. Takes reply. */
void scatter_lane_answer(struct scatter *scatter, struct lane *lane, nng_msg *reply)
{
    struct endpoint_mail *request = lane->held;
    lane->held = NULL;
    lane->must_answer = false;
    nng_msg_free(lane->reply);
    lane->reply = NULL;
    bool is_piece = lane->is_fetching;
    if (!is_piece && reply != NULL && nng_msg_dup(&lane->reply, reply) != 0)
        lane->reply = NULL;
    scatter_answer(scatter, request, reply);
}

static uint32_t collect_offers(struct scatter *scatter, struct session *session, size_t *weight)
{
    uint32_t count = 0;
    while (session->offer_first < session->offer_count && count < MF_BATCH_MAX &&
           *weight < REPLY_WEIGHT) {
        const struct offer *offer = &session->offers[session->offer_first++];
        struct mf_subtask *subtask = &scatter->subtasks[count];
        if (scatter->callbacks.payload(scatter->callbacks.arg, offer->subtask, subtask) < 0)
            continue;
        subtask->id = offer->subtask;
        subtask->attempt = offer->attempt;
        subtask->epoch = scatter->epoch;
        *weight += mf_subtask_weight(subtask);
        count++;
    }
    return count;
}

/* A credential on its way to its owner. */
static struct mf_renewal renewal_of(const struct credential *credential)
{
    return (struct mf_renewal){.certificate_pem = credential->certificate_pem,
                               .key_pem = credential->key_pem,
                               .token = mf_bytes_of(credential->token, MF_TOKEN_SIZE)};
}

void scatter_send_work(struct scatter *scatter, struct session *session, struct lane *lane)
{
    size_t weight = 0;
    struct mf_renewal renewal = {0};
    struct mf_secret secrets[MF_SECRETS_MAX];
    if (session->renewal != NULL)
        renewal = renewal_of(session->renewal);
    struct mf_work work = {.subtask_count = collect_offers(scatter, session, &weight),
                           .subtasks = scatter->subtasks,
                           .take_back_count = session->take_back.count,
                           .take_back = session->take_back.items,
                           .cancel_count = session->cancel.count,
                           .cancel = session->cancel.items,
                           .drain = session->dismiss,
                           .dismiss = session->dismiss,
                           .renewal_count = session->renewal != NULL,
                           .renewals = &renewal,
                           .secret_count = scatter_new_secrets(scatter, session, secrets),
                           .secrets = secrets,
                           .unrecorded = lane->unrecorded};
    lane->committing = lane->unrecorded = false;
    if (work.take_back_count > MF_BATCH_MAX)
        work.take_back_count = MF_BATCH_MAX;
    if (work.cancel_count > MF_BATCH_MAX)
        work.cancel_count = MF_BATCH_MAX;
    struct mf_error error;
    mf_buffer_clear(&scatter->frame);
    nng_msg *reply = NULL;
    if (mf_encode_work(&work, &scatter->frame, &error) < 0)
        scatter->callbacks.failed(scatter->callbacks.arg, &error);
    else
        reply = endpoint_message(mf_buffer_view(&scatter->frame));
    fence_list_drop(&session->take_back, work.take_back_count);
    fence_list_drop(&session->cancel, work.cancel_count);
    session->dismiss_sent = session->dismiss;
    if (work.renewal_count + work.secret_count > 0)
        scatter_wipe(&scatter->frame);
    session_drop_renewal(session);
    session->secrets_sent = scatter->secrets_version;
    scatter_lane_answer(scatter, lane, reply);
}

/* Polls whose results are committed are answered first, then one more when there is something to
 * say. */
void scatter_flush_session(struct scatter *scatter, struct session *session)
{
    for (unsigned i = 0; i < 2; i++) {
        struct lane *lane = &session->lanes[i];
        if (lane->held != NULL && !lane->committing && lane->must_answer)
            scatter_send_work(scatter, session, lane);
    }
    for (unsigned i = 0; i < 2 && scatter_has_news(scatter, session); i++) {
        struct lane *lane = &session->lanes[i];
        if (lane->held != NULL && !lane->committing)
            scatter_send_work(scatter, session, lane);
    }
}
