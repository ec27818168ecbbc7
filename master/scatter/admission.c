/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: what a request must be before anything of it reaches the scheduler. It passes these
 * stations, each of which may refuse it:
 *
 *     frame decodes -> token, not expired -> worker and session -> epoch -> lane and sequence ->
 * handler of its type
 *
 * A refusal is answered with its reason, logged with the peer's address, and the connection is
 * closed a moment later (closing at once would lose the answer, and closing in ADD_PRE can leave
 * nng's TLS dialer idle for ever). Only a worker of an older epoch that has not said hello to this
 * master keeps its connection: it is asked to do so.
 */
#include <mbedtls/constant_time.h>
#include <mbedtls/platform_util.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/scatter/scatter_internal.h"

static void refuse(struct scatter *scatter,
                   struct endpoint_mail *request,
                   struct peer *peer,
                   enum mf_refusal code,
                   const char *format,
                   ...) __attribute__((format(printf, 5, 6)));

static void refuse(struct scatter *scatter,
                   struct endpoint_mail *request,
                   struct peer *peer,
                   enum mf_refusal code,
                   const char *format,
                   ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    mf_log(MF_WARNING,
           "refused a message from %s: %s",
           peer == NULL ? "a closed connection" : peer->address,
           text);
    scatter->counts.refused++;
    struct mf_refused refused = {.code = code, .text = text};
    nng_msg *reply = NULL;
    mf_buffer_clear(&scatter->frame);
    if (mf_encode_refused(&refused, &scatter->frame, NULL) == 0)
        reply = endpoint_message(mf_buffer_view(&scatter->frame));
    scatter_answer(scatter, request, reply);
    scatter_close_soon(scatter, peer);
}

/* A worker that another master has left: it is to say hello, with all that it holds. */
static void ask_for_hello(struct scatter *scatter,
                          struct endpoint_mail *entry,
                          const struct peer *peer,
                          const struct mf_request *request)
{
    static const struct mf_refused refused = {
        .code = MF_REFUSAL_EPOCH, .text = "another master serves the run now: say hello again"};
    nng_msg *reply = NULL;
    mf_buffer_clear(&scatter->frame);
    if (mf_encode_refused(&refused, &scatter->frame, NULL) == 0)
        reply = endpoint_message(mf_buffer_view(&scatter->frame));
    mf_log(MF_INFO,
           "worker %u of epoch %u is here again (%s, lane %u)",
           request->worker,
           request->epoch,
           peer == NULL ? "a closed connection" : peer->address,
           request->lane);
    scatter_answer(scatter, entry, reply);
}

static const struct mf_request *request_of(const struct mf_message *message)
{
    switch (message->type) {
    case MF_HELLO:
        return &message->hello.request;
    case MF_POLL:
        return &message->poll.request;
    case MF_CHUNK:
        return &message->chunk.request;
    case MF_BYE:
        return &message->bye.request;
    case MF_FETCH:
        return &message->fetch.request;
    default:
        return NULL;
    }
}

/* A connection lives as long as the newest credential that was shown on it. */
static void
show_generation(struct scatter *scatter, struct peer *peer, const struct mf_request *request)
{
    uint32_t generation = token_generation(request->token);
    if (generation <= peer->generation)
        return;
    peer->generation = generation;
    scatter_expire_at(scatter, peer, validity_end(&scatter->validity, generation));
}

static void bind_pipe(struct scatter *scatter,
                      struct session *session,
                      struct peer *peer,
                      const struct mf_request *request)
{
    if (peer == NULL)
        return;
    show_generation(scatter, peer, request);
    if (session->pipe == peer->pipe)
        return;
    struct peer *old = session->pipe == 0 ? NULL : peers_find(&scatter->peers, session->pipe);
    session->pipe = peer->pipe;
    peer->worker = session->worker;
    scatter_close_soon(scatter, old);
}

/* Whether the token is that of the worker, and still valid; else the request is refused. */
static bool check_token(struct scatter *scatter,
                        struct endpoint_mail *entry,
                        struct peer *peer,
                        const struct mf_request *request)
{
    unsigned char token[MF_TOKEN_SIZE];
    uint32_t generation = token_generation(request->token);
    const struct session *session = scatter_session(scatter, request->worker);
    authority_token(scatter->authority, request->worker, generation, token);
    bool is_right = mbedtls_ct_memcmp(token, request->token, MF_TOKEN_SIZE) == 0;
    mbedtls_platform_zeroize(token, sizeof token);
    if (!is_right || session == NULL || !session->expected) {
        refuse(scatter,
               entry,
               peer,
               MF_REFUSAL_TOKEN,
               "worker %u with this token is not (or no longer) part of the run",
               request->worker);
        return false;
    }
    if (validity_end(&scatter->validity, generation) > mf_monotonic_us())
        return true;
    refuse(
        scatter,
        entry,
        peer,
        MF_REFUSAL_EXPIRED,
        "the credential of worker %u has expired: it is of generation %u, and this is generation "
        "%u",
        request->worker,
        generation,
        scatter->validity.newest);
    return false;
}

/* The session if the request is what it says; else NULL, and the request is refused. */
static struct session *authenticate(struct scatter *scatter,
                                    struct endpoint_mail *entry,
                                    struct peer *peer,
                                    const struct mf_message *message,
                                    const struct mf_request *request)
{
    if (!check_token(scatter, entry, peer, request))
        return NULL;
    struct session *session = scatter_session(scatter, request->worker);
    if (peer != NULL && peer->worker != 0 && peer->worker != request->worker) {
        refuse(scatter,
               entry,
               peer,
               MF_REFUSAL_TOKEN,
               "this connection belongs to worker %u, not to worker %u",
               peer->worker,
               request->worker);
        return NULL;
    }
    if (!session->joined && message->type != MF_HELLO && request->epoch != 0 &&
        request->epoch < scatter->epoch) {
        ask_for_hello(scatter, entry, peer, request);
        return NULL;
    }
    if (session->joined ? session->session != request->session : message->type != MF_HELLO) {
        refuse(scatter,
               entry,
               peer,
               MF_REFUSAL_SESSION,
               session->joined ? "worker %u has joined already, in another session"
                               : "worker %u has not said hello",
               request->worker);
        return NULL;
    }
    if (message->type != MF_HELLO && request->epoch != scatter->epoch) {
        refuse(scatter,
               entry,
               peer,
               MF_REFUSAL_SESSION,
               "epoch %u is over, this is epoch %u",
               request->epoch,
               scatter->epoch);
        return NULL;
    }
    return session;
}

/* What it has. When that is not the newest, it is sent a new one. */
static void
note_generation(struct scatter *scatter, struct session *session, const struct mf_request *request)
{
    uint32_t generation = token_generation(request->token);
    if (generation > session->generation)
        session->generation = generation;
    if (session->generation < scatter->validity.newest)
        scatter->renew_us = 0;
}

static void handle_hello(struct scatter *scatter,
                         struct session *session,
                         struct lane *lane,
                         struct peer *peer,
                         const struct mf_hello *hello)
{
    session->session = hello->request.session;
    session->joined = true;
    note_generation(scatter, session, &hello->request);
    session->secrets_sent = scatter->secrets_version;
    scatter_lane_answer(scatter, lane, endpoint_message(mf_buffer_view(&scatter->welcome)));
    scatter->callbacks.joined(
        scatter->callbacks.arg, hello, peer == NULL ? "a closed connection" : peer->address);
}

static void handle_poll(struct scatter *scatter,
                        struct session *session,
                        struct lane *lane,
                        const struct mf_poll *poll)
{
    struct scatter_ticket ticket = {.worker = session->worker,
                                    .lane = poll->request.lane,
                                    .session = session->session,
                                    .sequence = poll->request.sequence};
    lane->held_since_us = mf_monotonic_us();
    if (lane->held_since_us + scatter->hold_us < scatter->overdue_us)
        scatter->overdue_us = lane->held_since_us + scatter->hold_us;
    /* Lane 1 is never held: with both lanes at the master a worker could not tell its next result.
     */
    lane->must_answer =
        poll->result_count > 0 || poll->returned_count > 0 || poll->request.lane == 1;
    lane->committing = true; /* not answered from inside the callback */
    lane->unrecorded = false;
    switch (scatter->callbacks.polled(
        scatter->callbacks.arg, poll, &ticket, &lane->held->message, scatter->decoder)) {
    case SCATTER_ANSWER:
        scatter_committed(scatter, &ticket);
        break;
    case SCATTER_COMMITS:
        break;
    case SCATTER_UNRECORDED:
        scatter_uncommitted(scatter, &ticket);
        break;
    }
}

static void handle_chunk(struct scatter *scatter,
                         struct session *session,
                         struct lane *lane,
                         const struct mf_chunk *chunk)
{
    struct mf_error error;
    int rc = scatter->callbacks.chunk(scatter->callbacks.arg, session->worker, chunk, &error);
    lane->is_deferred = rc > 0;
    if (rc > 0)
        return;
    if (rc < 0) {
        mf_log(MF_ERROR, "a piece from worker %u cannot be kept: %s", session->worker, error.text);
        scatter_turn_away(scatter, lane->held);
        lane->held = NULL;
        lane->sequence--; /* it was not taken: the same request comes again on a new connection */
        return;
    }
    mf_buffer_clear(&scatter->frame);
    nng_msg *reply = NULL;
    if (mf_encode_received(&scatter->frame, &error) == 0)
        reply = endpoint_message(mf_buffer_view(&scatter->frame));
    scatter_lane_answer(scatter, lane, reply);
}

/* It was decoded once: it decodes again, unless memory is exhausted. */
void scatter_handle_deferred(struct scatter *scatter, struct session *session, struct lane *lane)
{
    struct mf_message message;
    struct mf_error error;
    struct mf_bytes frame =
        mf_bytes_of(nng_msg_body(lane->held->message), nng_msg_len(lane->held->message));
    if (mf_decode(scatter->decoder, frame, &message, &error) == 0)
        handle_chunk(scatter, session, lane, &message.chunk);
    else
        mf_log(MF_ERROR, "%s", error.text);
}

static void handle_bye(struct scatter *scatter,
                       struct session *session,
                       struct lane *lane,
                       const struct mf_bye *bye)
{
    mf_buffer_clear(&scatter->frame);
    nng_msg *reply = NULL;
    if (mf_encode_received(&scatter->frame, NULL) == 0)
        reply = endpoint_message(mf_buffer_view(&scatter->frame));
    scatter_lane_answer(scatter, lane, reply);
    scatter->callbacks.bye(scatter->callbacks.arg, session->worker, bye->reason);
}

static bool check_hello(struct scatter *scatter,
                        struct endpoint_mail *entry,
                        struct peer *peer,
                        const struct mf_hello *hello)
{
    if (hello->protocol != MF_PROTOCOL) {
        refuse(scatter,
               entry,
               peer,
               MF_REFUSAL_PROTOCOL,
               "worker %u is mayfly-worker %s and speaks protocol %u; this is mayfly %s with "
               "protocol %u: use the "
               "worker of the same version",
               hello->request.worker,
               hello->version,
               hello->protocol,
               MAYFLY_VERSION,
               MF_PROTOCOL);
        return false;
    }
    if (strcmp(hello->run_id, scatter->run_id) != 0) {
        refuse(scatter,
               entry,
               peer,
               MF_REFUSAL_RUN,
               "worker %u belongs to run %s, this is run %s",
               hello->request.worker,
               hello->run_id,
               scatter->run_id);
        return false;
    }
    return true;
}

/* Answered when it has been read. */
static void handle_fetch(struct scatter *scatter,
                         const struct session *session,
                         struct lane *lane,
                         const struct mf_fetch *fetch)
{
    struct scatter_ticket ticket = {.worker = session->worker,
                                    .lane = fetch->request.lane,
                                    .session = session->session,
                                    .sequence = fetch->request.sequence};
    lane->is_fetching = true;
    scatter->callbacks.fetch(scatter->callbacks.arg, fetch, &ticket);
}

/* The request came before: it takes the place of the held one, or gets the answer that it got. */
static void repeat(struct scatter *scatter,
                   const struct session *session,
                   struct lane *lane,
                   struct endpoint_mail *entry,
                   const struct mf_message *message)
{
    scatter->counts.repeated++;
    if (lane->held != NULL) {
        endpoint_drop(scatter->endpoint, lane->held);
        lane->held = entry;
        return;
    }
    if (message->type == MF_FETCH) {
        lane->held = entry;
        handle_fetch(scatter, session, lane, &message->fetch);
        return;
    }
    nng_msg *reply = NULL;
    if (lane->reply != NULL && nng_msg_dup(&reply, lane->reply) != 0)
        reply = NULL;
    scatter_answer(scatter, entry, reply);
}

static void dispatch(struct scatter *scatter,
                     struct session *session,
                     struct lane *lane,
                     struct peer *peer,
                     const struct mf_message *message)
{
    if (message->type == MF_HELLO)
        handle_hello(scatter, session, lane, peer, &message->hello);
    else if (message->type == MF_POLL)
        handle_poll(scatter, session, lane, &message->poll);
    else if (message->type == MF_CHUNK)
        handle_chunk(scatter, session, lane, &message->chunk);
    else if (message->type == MF_FETCH)
        handle_fetch(scatter, session, lane, &message->fetch);
    else
        handle_bye(scatter, session, lane, &message->bye);
}

/* Whether a message of this type may come on this lane. */
static bool belongs_here(const struct scatter *scatter, enum mf_message_type type, uint32_t lane)
{
    if (type == MF_FETCH && scatter->callbacks.fetch == NULL)
        return false;
    return lane < MF_LANES && (type == MF_CHUNK) == (lane == MF_LANE_CHUNK) &&
           (type == MF_FETCH) == (lane >= MF_LANE_FETCH);
}

void scatter_handle_request(struct scatter *scatter, struct endpoint_mail *entry)
{
    struct peer *peer = peers_find(&scatter->peers, entry->pipe);
    struct mf_bytes frame = mf_bytes_of(nng_msg_body(entry->message), nng_msg_len(entry->message));
    struct mf_message message;
    struct mf_error error;
    scatter->counts.requests++;
    scatter->counts.bytes_in += frame.length;
    if (mf_decode(scatter->decoder, frame, &message, &error) < 0) {
        refuse(scatter, entry, peer, MF_REFUSAL_MALFORMED, "%s", error.text);
        return;
    }
    const struct mf_request *request = request_of(&message);
    if (request == NULL || !belongs_here(scatter, message.type, request->lane)) {
        refuse(scatter,
               entry,
               peer,
               MF_REFUSAL_MALFORMED,
               "a message of type %d does not belong here",
               message.type);
        return;
    }
    if (message.type == MF_HELLO && !check_hello(scatter, entry, peer, &message.hello))
        return;
    struct session *session = authenticate(scatter, entry, peer, &message, request);
    if (session == NULL)
        return;
    struct lane *lane = &session->lanes[request->lane];
    if (request->sequence >= lane->sequence)
        /* An older request proves nothing about where its worker is now. */
        bind_pipe(scatter, session, peer, request);
    if (request->sequence == lane->sequence) {
        repeat(scatter, session, lane, entry, &message);
        return;
    }
    if (request->sequence < lane->sequence) {
        scatter->counts.repeated++;
        if (session->pipe == entry->pipe)
            endpoint_drop(scatter->endpoint, entry); /* overtaken on its own connection */
        else
            refuse(scatter,
                   entry,
                   peer,
                   MF_REFUSAL_SESSION,
                   "request %llu of lane %u of worker %u is an old one, it was answered long ago",
                   (unsigned long long)request->sequence,
                   request->lane,
                   session->worker);
        return;
    }
    if (request->sequence != lane->sequence + 1 || lane->held != NULL) {
        refuse(scatter,
               entry,
               peer,
               MF_REFUSAL_MALFORMED,
               "worker %u sent request %llu of lane %u after request %llu",
               session->worker,
               (unsigned long long)request->sequence,
               request->lane,
               (unsigned long long)lane->sequence);
        return;
    }
    lane->sequence = request->sequence;
    lane->held = entry;
    dispatch(scatter, session, lane, peer, &message);
}
