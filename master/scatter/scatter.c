/* SPDX-License-Identifier: Apache-2.0 */
/* Scatter: see scatter.h. Who may join, what waits for whom, and what is due. Requests are in
 * admission.c, answers in reply.c. */
#include "master/scatter/scatter.h"

#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/lease.h"
#include "common/log.h"
#include "master/scatter/scatter_internal.h"

#define COUNT_INTERVAL_US 1000000
#define LONELY_INTERVAL_US 250000
#define LONELY_LOOKS 3u /* in a row */

/*
 * So that workers hear of their master (common/lease.h). Not longer than a sixth of the ttl
 * either: a request that is sent again after an outage carries the token it had, which is then
 * still valid for half of the ttl.
 */
static int64_t hold_of(const struct scatter_config *config)
{
    int64_t hold_us = (int64_t)mf_lease_hold_us(config->welcome->lease_us);
    return hold_us < config->ttl_us / 6 ? hold_us : config->ttl_us / 6;
}

struct scatter *scatter_create(const struct scatter_config *config, struct mf_error *error)
{
    struct scatter *scatter = mf_calloc(1, sizeof *scatter);
    if (scatter == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the sessions of workers");
        return NULL;
    }
    scatter->endpoint = config->endpoint;
    scatter->authority = config->authority;
    validity_start(&scatter->validity,
                   authority_generation(config->authority),
                   config->ttl_us,
                   mf_monotonic_us());
    scatter->callbacks = config->callbacks;
    scatter->epoch = config->welcome->epoch;
    scatter->hold_us = hold_of(config);
    scatter->overdue_us = scatter->expiry_us = scatter->renew_us = MF_NEVER;
    scatter->run_id = mf_strdup(config->run_id);
    scatter->decoder = mf_decoder_create();
    scatter->subtasks = mf_calloc(MF_BATCH_MAX, sizeof *scatter->subtasks);
    if (scatter->run_id == NULL || scatter->decoder == NULL || scatter->subtasks == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the sessions of workers");
        goto fail;
    }
    scatter->said = config->welcome;
    if (scatter_encode_welcome(scatter, error) < 0)
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
    scatter_wipe(&scatter->welcome);
    mf_buffer_fini(&scatter->welcome);
    mf_buffer_fini(&scatter->frame);
    mf_decoder_destroy(scatter->decoder);
    mf_free(scatter->subtasks);
    mf_free(scatter->run_id);
    mf_free(scatter);
}

struct session *scatter_session(struct scatter *scatter, uint32_t worker)
{
    return worker < scatter->session_count ? &scatter->sessions[worker] : NULL;
}

void scatter_close_soon(struct scatter *scatter, struct peer *peer)
{
    if (peer == NULL || peer->close_at_us != 0)
        return;
    peer->close_at_us = mf_monotonic_us() + CLOSE_GRACE_US;
    scatter->closing++;
}

int scatter_expect(struct scatter *scatter, uint32_t worker, struct mf_error *error)
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
    return 0;
}

void scatter_forget(struct scatter *scatter, uint32_t worker)
{
    struct session *session = scatter_session(scatter, worker);
    if (session == NULL)
        return;
    session->expected = false;
    session_clear(session, scatter->endpoint);
    if (session->pipe != 0)
        scatter_close_soon(scatter, peers_find(&scatter->peers, session->pipe));
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
    struct session *session = scatter_session(scatter, worker);
    if (session == NULL)
        return;
    session->dismiss = true;
    scatter_flush(scatter, worker);
}

bool scatter_is_connected(const struct scatter *scatter, uint32_t worker)
{
    return worker < scatter->session_count && scatter->sessions[worker].pipe != 0;
}

void scatter_flush(struct scatter *scatter, uint32_t worker)
{
    struct session *session = scatter_session(scatter, worker);
    if (session != NULL && session->expected && scatter_has_news(scatter, session))
        scatter_flush_session(scatter, session);
}

/* The results of that poll have been waited for; `unrecorded`: in vain. */
static void
end_commit(struct scatter *scatter, const struct scatter_ticket *ticket, bool unrecorded)
{
    struct session *session = scatter_session(scatter, ticket->worker);
    if (session == NULL || !session->expected || session->session != ticket->session)
        return;
    struct lane *lane = &session->lanes[ticket->lane];
    if (lane->sequence != ticket->sequence || !lane->committing)
        return;
    lane->committing = false;
    lane->unrecorded = unrecorded;
    scatter_flush_session(scatter, session);
}

void scatter_committed(struct scatter *scatter, const struct scatter_ticket *ticket)
{
    end_commit(scatter, ticket, false);
}

void scatter_uncommitted(struct scatter *scatter, const struct scatter_ticket *ticket)
{
    end_commit(scatter, ticket, true);
}

void scatter_retry_chunks(struct scatter *scatter)
{
    for (uint32_t i = 0; i < scatter->session_count; i++) {
        struct session *session = &scatter->sessions[i];
        struct lane *lane = &session->lanes[MF_LANE_CHUNK];
        if (session->expected && lane->is_deferred && lane->held != NULL)
            scatter_handle_deferred(scatter, session, lane);
    }
}

bool scatter_piece(struct scatter *scatter,
                   const struct scatter_ticket *ticket,
                   struct mf_bytes frame)
{
    struct session *session = scatter_session(scatter, ticket->worker);
    if (session == NULL || !session->expected || session->session != ticket->session)
        return false;
    struct lane *lane = &session->lanes[ticket->lane];
    if (lane->sequence != ticket->sequence || lane->held == NULL)
        return false;
    scatter_lane_answer(scatter, lane, frame.length == 0 ? NULL : endpoint_message(frame));
    return true;
}

/* Until it says who it is, it may be of any generation. */
static void handle_pipe_up(struct scatter *scatter, const struct endpoint_mail *entry)
{
    struct peer *peer = peers_add(&scatter->peers, entry->pipe, entry->address);
    if (peer == NULL)
        endpoint_close_pipe(scatter->endpoint, entry->pipe);
    else
        scatter_expire_at(scatter, peer, mf_monotonic_us() + scatter->validity.ttl_us);
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
    struct session *session = worker == 0 ? NULL : scatter_session(scatter, worker);
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
            scatter_handle_request(scatter, entry);
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

/* Walks over all sessions, but at most once in the time that a poll is held. */
static int64_t answer_overdue(struct scatter *scatter, int64_t now_us)
{
    if (now_us < scatter->overdue_us)
        return scatter->overdue_us;
    int64_t next = MF_NEVER;
    for (uint32_t i = 0; i < scatter->session_count; i++) {
        struct session *session = &scatter->sessions[i];
        for (unsigned k = 0; k < 2 && session->expected; k++) {
            struct lane *lane = &session->lanes[k];
            if (lane->held == NULL)
                continue;
            int64_t due = lane->held_since_us + scatter->hold_us;
            /* The disk is slow: without a word the worker would take its master for dead. */
            if (due <= now_us && lane->committing)
                lane->unrecorded = true;
            if (due <= now_us)
                scatter_send_work(scatter, session, lane);
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

/* Workers that are not connected may be knocking in vain; also those that have never joined, since
 * the one that an earlier master has launched can be what makes the listener deaf. */
static bool is_lonely(const struct scatter *scatter)
{
    for (uint32_t i = 0; i < scatter->session_count; i++) {
        const struct session *session = &scatter->sessions[i];
        if (session->expected && session->pipe == 0)
            return true;
    }
    return false;
}

static void listen_again(struct scatter *scatter)
{
    struct mf_error error;
    scatter->lonely_looks = 0;
    mf_log(MF_WARNING, "workers do not come, and the listener may be deaf: listening anew");
    if (endpoint_listen_again(scatter->endpoint, &error) < 0)
        mf_log(MF_WARNING, "%s", error.text);
}

int64_t scatter_tick(struct scatter *scatter, int64_t now_us)
{
    int64_t next = answer_overdue(scatter, now_us);
    int64_t renew_us = scatter_renew(scatter, now_us);
    if (renew_us < next)
        next = renew_us;
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
        scatter->lonely_looks = is_lonely(scatter) ? scatter->lonely_looks + 1 : 0;
        if (scatter->lonely_looks >= LONELY_LOOKS && endpoint_may_be_deaf(scatter->endpoint))
            listen_again(scatter);
        scatter->next_count_us =
            now_us + (scatter->lonely_looks > 0 ? LONELY_INTERVAL_US : COUNT_INTERVAL_US);
    }
    return scatter->next_count_us < next ? scatter->next_count_us : next;
}

void scatter_counts(const struct scatter *scatter, struct scatter_counts *counts)
{
    *counts = scatter->counts;
}
