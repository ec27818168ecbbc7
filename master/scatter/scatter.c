/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scatter: see scatter.h. A request passes these stations, each of which may refuse it:
 *
 *     pipe known -> frame decodes -> token -> worker and session -> lane and sequence -> handler of
 * its type
 *
 * A refusal is answered with its reason, logged with the peer's address, and the connection is
 * closed a moment later (closing at once would lose the answer, and closing in ADD_PRE can leave
 * nng's TLS dialer idle for ever).
 */
#include "master/scatter/scatter.h"

#include <mbedtls/constant_time.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/scatter/peers.h"
#include "master/scatter/session.h"

#define CLOSE_GRACE_US 200000
#define COUNT_INTERVAL_US 1000000
/* A reply is cut at about this size, so that one with large items stays under MF_FRAME_MAX. */
#define REPLY_BYTES (1u << 20)

struct scatter {
    struct endpoint *endpoint;
    struct scatter_callbacks callbacks;
    char *run_id;
    uint32_t epoch;
    int64_t hold_us;          /* a poll is held no longer than this: a third of the lease */
    struct mf_buffer welcome; /* the encoded frame: the same for all */
    struct mf_buffer frame;   /* scratch */
    struct mf_decoder *decoder;
    struct mf_subtask *subtasks; /* scratch, MF_BATCH_MAX */
    struct session *sessions;    /* by worker id */
    uint32_t session_count;
    struct peers peers;
    uint32_t closing; /* peers with close_at_us */
    int64_t next_count_us;
    int64_t overdue_us; /* no held poll is due before this */
    struct scatter_counts counts;
};

static int
fill_welcome(struct scatter *scatter, const struct mf_welcome *welcome, struct mf_error *error)
{
    return mf_encode_welcome(welcome, &scatter->welcome, error);
}

struct scatter *scatter_create(struct endpoint *endpoint,
                               const char *run_id,
                               const struct mf_welcome *welcome,
                               const struct scatter_callbacks *callbacks,
                               struct mf_error *error)
{
    struct scatter *scatter = mf_calloc(1, sizeof *scatter);
    if (scatter == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the sessions of workers");
        return NULL;
    }
    scatter->endpoint = endpoint;
    scatter->callbacks = *callbacks;
    scatter->epoch = welcome->epoch;
    scatter->hold_us = (int64_t)(welcome->lease_us / 3);
    scatter->overdue_us = MF_NEVER;
    scatter->run_id = mf_strdup(run_id);
    scatter->decoder = mf_decoder_create();
    scatter->subtasks = mf_calloc(MF_BATCH_MAX, sizeof *scatter->subtasks);
    if (scatter->run_id == NULL || scatter->decoder == NULL || scatter->subtasks == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the sessions of workers");
        goto fail;
    }
    if (fill_welcome(scatter, welcome, error) < 0)
        goto fail;
    return scatter;
fail:
    scatter_destroy(scatter);
    return NULL;
}

void scatter_destroy(struct scatter *scatter)
{
    if (scatter == NULL)
        return;
    for (uint32_t i = 0; i < scatter->session_count; i++)
        session_clear(&scatter->sessions[i], scatter->endpoint);
    mf_free(scatter->sessions);
    peers_fini(&scatter->peers);
    mf_buffer_fini(&scatter->welcome);
    mf_buffer_fini(&scatter->frame);
    mf_decoder_destroy(scatter->decoder);
    mf_free(scatter->subtasks);
    mf_free(scatter->run_id);
    mf_free(scatter);
}

static struct session *find_session(struct scatter *scatter, uint32_t worker)
{
    return worker < scatter->session_count ? &scatter->sessions[worker] : NULL;
}

int scatter_expect(struct scatter *scatter,
                   uint32_t worker,
                   const unsigned char token[MF_TOKEN_SIZE],
                   struct mf_error *error)
{
    if (worker >= scatter->session_count) {
        uint32_t count = scatter->session_count < 16 ? 16 : scatter->session_count;
        while (count <= worker)
            count *= 2;
        struct session *sessions = mf_realloc(scatter->sessions, count * sizeof *sessions);
        if (sessions == NULL)
            return mf_raise(error, MF_ENOMEM, "out of memory: the session of worker %u", worker);
        memset(sessions + scatter->session_count,
               0,
               (count - scatter->session_count) * sizeof *sessions);
        scatter->sessions = sessions;
        scatter->session_count = count;
    }
    struct session *session = &scatter->sessions[worker];
    session->worker = worker;
    session->expected = true;
    memcpy(session->token, token, MF_TOKEN_SIZE);
    return 0;
}

static void close_soon(struct scatter *scatter, struct peer *peer)
{
    if (peer == NULL || peer->close_at_us != 0)
        return;
    peer->close_at_us = mf_monotonic_us() + CLOSE_GRACE_US;
    scatter->closing++;
}

void scatter_forget(struct scatter *scatter, uint32_t worker)
{
    struct session *session = find_session(scatter, worker);
    if (session == NULL)
        return;
    session->expected = false;
    session_clear(session, scatter->endpoint);
    if (session->pipe != 0)
        close_soon(scatter, peers_find(&scatter->peers, session->pipe));
}

int scatter_offer(struct scatter *scatter,
                  uint32_t worker,
                  uint64_t subtask,
                  uint32_t attempt,
                  struct mf_error *error)
{
    return session_offer(&scatter->sessions[worker], subtask, attempt, error);
}

int scatter_take_back(struct scatter *scatter,
                      uint32_t worker,
                      const struct mf_fence *fence,
                      struct mf_error *error)
{
    return fence_list_add(&scatter->sessions[worker].take_back, fence, error);
}

int scatter_cancel(struct scatter *scatter,
                   uint32_t worker,
                   const struct mf_fence *fence,
                   struct mf_error *error)
{
    return fence_list_add(&scatter->sessions[worker].cancel, fence, error);
}

void scatter_dismiss(struct scatter *scatter, uint32_t worker)
{
    struct session *session = find_session(scatter, worker);
    if (session == NULL)
        return;
    session->dismiss = true;
    scatter_flush(scatter, worker);
}

/* Answers a request that is not (any more) held by a lane. */
static void answer(struct scatter *scatter, struct endpoint_mail *request, nng_msg *reply)
{
    if (reply == NULL) {
        mf_log(MF_ERROR,
               "out of memory: a request of a worker is left unanswered, it will come again");
        endpoint_drop(scatter->endpoint, request);
        return;
    }
    scatter->counts.bytes_out += nng_msg_len(reply);
    endpoint_reply(scatter->endpoint, request, reply);
}

/* Gives the lane's request `reply` and keeps a copy for the case that the request comes again.
 * Takes reply. */
static void lane_answer(struct scatter *scatter, struct lane *lane, nng_msg *reply)
{
    struct endpoint_mail *request = lane->held;
    lane->held = NULL;
    lane->must_answer = false;
    nng_msg_free(lane->reply);
    lane->reply = NULL;
    if (reply != NULL && nng_msg_dup(&lane->reply, reply) != 0)
        lane->reply = NULL;
    answer(scatter, request, reply);
}

static uint32_t collect_offers(struct scatter *scatter, struct session *session, size_t *bytes)
{
    uint32_t count = 0;
    while (session->offer_first < session->offer_count && count < MF_BATCH_MAX &&
           *bytes < REPLY_BYTES) {
        const struct offer *offer = &session->offers[session->offer_first++];
        struct mf_subtask *subtask = &scatter->subtasks[count];
        if (scatter->callbacks.payload(scatter->callbacks.arg, offer->subtask, subtask) < 0)
            continue;
        subtask->id = offer->subtask;
        subtask->attempt = offer->attempt;
        subtask->epoch = scatter->epoch;
        *bytes += subtask->item.length + subtask->path.length + subtask->fields.length;
        count++;
    }
    return count;
}

static void send_work(struct scatter *scatter, struct session *session, struct lane *lane)
{
    size_t bytes = 0;
    struct mf_work work = {.subtask_count = collect_offers(scatter, session, &bytes),
                           .subtasks = scatter->subtasks,
                           .take_back_count = session->take_back.count,
                           .take_back = session->take_back.items,
                           .cancel_count = session->cancel.count,
                           .cancel = session->cancel.items,
                           .drain = session->dismiss,
                           .dismiss = session->dismiss};
    if (work.take_back_count > MF_BATCH_MAX)
        work.take_back_count = MF_BATCH_MAX;
    if (work.cancel_count > MF_BATCH_MAX)
        work.cancel_count = MF_BATCH_MAX;
    struct mf_error error;
    mf_buffer_clear(&scatter->frame);
    nng_msg *reply = NULL;
    if (mf_encode_work(&work, &scatter->frame, &error) < 0)
        mf_log(
            MF_ERROR, "an answer to worker %u cannot be encoded: %s", session->worker, error.text);
    else
        reply = endpoint_message(mf_buffer_view(&scatter->frame));
    session->take_back.count -= work.take_back_count;
    memmove(session->take_back.items,
            session->take_back.items + work.take_back_count,
            session->take_back.count * sizeof *session->take_back.items);
    session->cancel.count -= work.cancel_count;
    memmove(session->cancel.items,
            session->cancel.items + work.cancel_count,
            session->cancel.count * sizeof *session->cancel.items);
    session->dismiss_sent = session->dismiss;
    lane_answer(scatter, lane, reply);
}

/* Polls whose results are committed are answered first, then one more when there is something to
 * say. */
static void flush_session(struct scatter *scatter, struct session *session)
{
    for (unsigned i = 0; i < 2; i++) {
        struct lane *lane = &session->lanes[i];
        if (lane->held != NULL && !lane->committing && lane->must_answer)
            send_work(scatter, session, lane);
    }
    for (unsigned i = 0; i < 2 && session_has_news(session); i++) {
        struct lane *lane = &session->lanes[i];
        if (lane->held != NULL && !lane->committing)
            send_work(scatter, session, lane);
    }
}

void scatter_flush(struct scatter *scatter, uint32_t worker)
{
    struct session *session = find_session(scatter, worker);
    if (session != NULL && session->expected && session_has_news(session))
        flush_session(scatter, session);
}

void scatter_committed(struct scatter *scatter, const struct scatter_ticket *ticket)
{
    struct session *session = find_session(scatter, ticket->worker);
    if (session == NULL || !session->expected || session->session != ticket->session)
        return;
    struct lane *lane = &session->lanes[ticket->lane];
    if (lane->sequence != ticket->sequence || !lane->committing)
        return;
    lane->committing = false;
    flush_session(scatter, session);
}

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
    answer(scatter, request, reply);
    close_soon(scatter, peer);
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
    default:
        return NULL;
    }
}

static void bind_pipe(struct scatter *scatter, struct session *session, struct peer *peer)
{
    if (peer == NULL || session->pipe == peer->pipe)
        return;
    struct peer *old = session->pipe == 0 ? NULL : peers_find(&scatter->peers, session->pipe);
    session->pipe = peer->pipe;
    peer->worker = session->worker;
    close_soon(scatter, old);
}

/* The session if the request is what it says; else NULL, and the request is refused. */
static struct session *authenticate(struct scatter *scatter,
                                    struct endpoint_mail *entry,
                                    struct peer *peer,
                                    const struct mf_message *message,
                                    const struct mf_request *request)
{
    struct session *session = find_session(scatter, request->worker);
    if (session == NULL || !session->expected ||
        mbedtls_ct_memcmp(session->token, request->token, MF_TOKEN_SIZE) != 0) {
        refuse(scatter,
               entry,
               peer,
               MF_REFUSAL_TOKEN,
               "worker %u with this token is not (or no longer) part of the run",
               request->worker);
        return NULL;
    }
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
    bind_pipe(scatter, session, peer);
    return session;
}

/* The request came before: it takes the place of the held one, or gets the answer that it got. */
static void repeat(struct scatter *scatter, struct lane *lane, struct endpoint_mail *entry)
{
    scatter->counts.repeated++;
    if (lane->held != NULL) {
        endpoint_drop(scatter->endpoint, lane->held);
        lane->held = entry;
        return;
    }
    nng_msg *reply = NULL;
    if (lane->reply != NULL && nng_msg_dup(&reply, lane->reply) != 0)
        reply = NULL;
    answer(scatter, entry, reply);
}

static void handle_hello(struct scatter *scatter,
                         struct session *session,
                         struct lane *lane,
                         struct peer *peer,
                         const struct mf_hello *hello)
{
    session->session = hello->request.session;
    session->joined = true;
    lane_answer(scatter, lane, endpoint_message(mf_buffer_view(&scatter->welcome)));
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
    lane->must_answer = poll->result_count > 0 || poll->returned_count > 0;
    lane->committing = true; /* not answered from inside the callback */
    if (!scatter->callbacks.polled(
            scatter->callbacks.arg, poll, &ticket, &lane->held->message, scatter->decoder))
        scatter_committed(scatter, &ticket);
}

static void handle_chunk(struct scatter *scatter,
                         struct session *session,
                         struct lane *lane,
                         const struct mf_chunk *chunk)
{
    struct mf_error error;
    if (scatter->callbacks.chunk(scatter->callbacks.arg, session->worker, chunk, &error) < 0) {
        mf_log(MF_ERROR, "a piece from worker %u cannot be kept: %s", session->worker, error.text);
        endpoint_drop(scatter->endpoint, lane->held);
        lane->held = NULL;
        lane->sequence--; /* it was not taken: the same request may come again */
        return;
    }
    mf_buffer_clear(&scatter->frame);
    nng_msg *reply = NULL;
    if (mf_encode_received(&scatter->frame, &error) == 0)
        reply = endpoint_message(mf_buffer_view(&scatter->frame));
    lane_answer(scatter, lane, reply);
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
    lane_answer(scatter, lane, reply);
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
    else
        handle_bye(scatter, session, lane, &message->bye);
}

static void handle_request(struct scatter *scatter, struct endpoint_mail *entry)
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
    if (request == NULL || request->lane >= MF_LANES ||
        (message.type == MF_CHUNK) != (request->lane == 2)) {
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
    if (request->sequence == lane->sequence) {
        repeat(scatter, lane, entry);
        return;
    }
    if (request->sequence < lane->sequence) {
        scatter->counts.repeated++;
        endpoint_drop(scatter->endpoint, entry);
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

static void handle_pipe_up(struct scatter *scatter, const struct endpoint_mail *entry)
{
    if (peers_add(&scatter->peers, entry->pipe, entry->address) == NULL)
        endpoint_close_pipe(scatter->endpoint, entry->pipe);
}

static void handle_pipe_down(struct scatter *scatter, const struct endpoint_mail *entry)
{
    struct peer *peer = peers_find(&scatter->peers, entry->pipe);
    if (peer == NULL)
        return;
    if (peer->close_at_us != 0)
        scatter->closing--;
    uint32_t worker = peer->worker;
    peers_remove(&scatter->peers, entry->pipe);
    struct session *session = worker == 0 ? NULL : find_session(scatter, worker);
    if (session == NULL || session->pipe != entry->pipe)
        return;
    session->pipe = 0;
    if (session->expected)
        scatter->callbacks.disconnected(scatter->callbacks.arg, worker);
}

void scatter_receive(struct scatter *scatter)
{
    struct endpoint_mail *entry = endpoint_take(scatter->endpoint);
    while (entry != NULL) {
        struct endpoint_mail *next = (struct endpoint_mail *)entry->mail.next;
        if (entry->kind == ENDPOINT_REQUEST) {
            handle_request(scatter, entry);
        } else {
            if (entry->kind == ENDPOINT_PIPE_UP)
                handle_pipe_up(scatter, entry);
            else
                handle_pipe_down(scatter, entry);
            endpoint_done(scatter->endpoint, entry);
        }
        entry = next;
    }
}

/* Walks over all sessions, but at most once in a third of a lease. */
static int64_t answer_overdue(struct scatter *scatter, int64_t now_us)
{
    if (now_us < scatter->overdue_us)
        return scatter->overdue_us;
    int64_t next = MF_NEVER;
    for (uint32_t i = 0; i < scatter->session_count; i++) {
        struct session *session = &scatter->sessions[i];
        for (unsigned k = 0; k < 2 && session->expected; k++) {
            struct lane *lane = &session->lanes[k];
            if (lane->held == NULL || lane->committing)
                continue;
            int64_t due = lane->held_since_us + scatter->hold_us;
            if (due <= now_us)
                send_work(scatter, session, lane);
            else if (due < next)
                next = due;
        }
    }
    scatter->overdue_us = next;
    return next;
}

static int64_t close_due(struct scatter *scatter, int64_t now_us)
{
    int64_t next = MF_NEVER;
    for (unsigned i = 0; scatter->closing > 0 && i < PEERS_BUCKETS; i++)
        for (struct peer *peer = scatter->peers.buckets[i]; peer != NULL; peer = peer->next) {
            if (peer->close_at_us == 0)
                continue;
            if (peer->close_at_us <= now_us)
                endpoint_close_pipe(scatter->endpoint, peer->pipe);
            else if (peer->close_at_us < next)
                next = peer->close_at_us;
        }
    return next;
}

int64_t scatter_tick(struct scatter *scatter, int64_t now_us)
{
    int64_t next = answer_overdue(scatter, now_us);
    int64_t close_us = close_due(scatter, now_us);
    if (close_us < next)
        next = close_us;
    if (scatter->next_count_us <= now_us) {
        uint64_t refused = endpoint_refused_count(scatter->endpoint);
        if (refused != scatter->counts.refused_in_tls)
            mf_log(MF_WARNING,
                   "%llu connections were refused inside TLS so far: peers without this run's "
                   "certificate",
                   (unsigned long long)refused);
        scatter->counts.refused_in_tls = refused;
        scatter->next_count_us = now_us + COUNT_INTERVAL_US;
    }
    return scatter->next_count_us < next ? scatter->next_count_us : next;
}

void scatter_counts(const struct scatter *scatter, struct scatter_counts *counts)
{
    *counts = scatter->counts;
}
