/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials while the run goes on: a new generation every third of the ttl, a new credential of
 * it for each worker that has joined, the end of connections whose time has come.
 *
 * A key costs some milliseconds to make, and the loop has other things to do: so they are made one
 * at a time, spread over a part of the generation. What a worker has not been sent yet it will be,
 * since each look begins where the last one ended; a worker that joins is looked at with the rest.
 */
#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/scatter/scatter_internal.h"

#define ISSUE_SPACE_US 20000

void scatter_expire_at(struct scatter *scatter, struct peer *peer, int64_t at_us)
{
    peer->expires_us = at_us;
    if (at_us < scatter->expiry_us)
        scatter->expiry_us = at_us;
}

static void close_expired(struct scatter *scatter, const struct peer *peer)
{
    if (peer->worker == 0)
        mf_log(
            MF_WARNING, "the connection of %s is closed: it never said who it is", peer->address);
    else
        mf_log(MF_WARNING,
               "the connection of worker %u from %s is closed: the credential that was shown on it "
               "has expired (generation %u)",
               peer->worker,
               peer->address,
               peer->generation);
    endpoint_close_pipe(scatter->endpoint, peer->pipe);
}

/* Walks over all connections, but only when the first of them is due. */
static int64_t expire_due(struct scatter *scatter, int64_t now_us)
{
    if (now_us < scatter->expiry_us)
        return scatter->expiry_us;
    int64_t next = MF_NEVER;
    for (unsigned i = 0; i < PEERS_BUCKETS; i++)
        for (struct peer *peer = scatter->peers.buckets[i]; peer != NULL; peer = peer->next) {
            if (peer->expires_us <= now_us) {
                close_expired(scatter, peer);
                peer->expires_us = MF_NEVER; /* once: it goes when nng has closed it */
            } else if (peer->expires_us < next) {
                next = peer->expires_us;
            }
        }
    scatter->expiry_us = next;
    return next;
}

/* Its number is on disk before anything of it is issued. A full disk can be waited for: what was
 * issued is valid for two thirds of the ttl more. */
static int64_t begin_generation(struct scatter *scatter, int64_t now_us)
{
    struct mf_error error;
    if (now_us < scatter->validity.next_us)
        return scatter->validity.next_us;
    if (authority_begin_generation(scatter->authority, &error) == 0) {
        validity_advance(&scatter->validity, now_us);
        scatter->renew_us = now_us;
        if (scatter->callbacks.generation != NULL)
            scatter->callbacks.generation(scatter->callbacks.arg);
    } else {
        mf_log(MF_WARNING, "credentials cannot be renewed now: %s", error.text);
        validity_postpone(&scatter->validity, now_us);
    }
    return scatter->validity.next_us;
}

static bool is_due(const struct scatter *scatter, const struct session *session)
{
    return session->expected && session->joined && !session->dismiss &&
           session->generation < scatter->validity.newest;
}

/* Into the outbox, in place of an older one that was never sent. */
static int issue(struct scatter *scatter, struct session *session, struct mf_error *error)
{
    struct credential *renewal = mf_calloc(1, sizeof *renewal);
    if (renewal == NULL)
        return mf_raise(
            error, MF_ENOMEM, "out of memory: the credential of worker %u", session->worker);
    if (authority_issue(scatter->authority, session->worker, renewal, error) < 0) {
        mf_free(renewal);
        return -1;
    }
    session_drop_renewal(session);
    session->renewal = renewal;
    session->generation = scatter->validity.newest;
    return 0;
}

static struct session *next_due(struct scatter *scatter)
{
    for (uint32_t i = 0; i < scatter->session_count; i++) {
        uint32_t at = (scatter->renew_at + i) % scatter->session_count;
        if (!is_due(scatter, &scatter->sessions[at]))
            continue;
        scatter->renew_at = at + 1;
        return &scatter->sessions[at];
    }
    return NULL;
}

/* A twelfth of the ttl is enough for all of them, however many there are. */
static int64_t space_of(const struct scatter *scatter)
{
    int64_t space_us = scatter->validity.ttl_us / 12 / (int64_t)scatter->session_count;
    return space_us < ISSUE_SPACE_US ? space_us : ISSUE_SPACE_US;
}

static int64_t issue_due(struct scatter *scatter, int64_t now_us)
{
    struct mf_error error;
    if (now_us < scatter->renew_us)
        return scatter->renew_us;
    struct session *session = next_due(scatter);
    scatter->renew_us = session == NULL ? MF_NEVER : now_us + space_of(scatter);
    if (session == NULL)
        return MF_NEVER;
    if (issue(scatter, session, &error) < 0) {
        mf_log(MF_WARNING, "%s", error.text);
        scatter->renew_us = now_us + scatter->validity.ttl_us / 30;
    } else {
        mf_log(MF_INFO,
               "the credential of worker %u is renewed (generation %u)",
               session->worker,
               session->generation);
        scatter_flush(scatter, session->worker);
    }
    return scatter->renew_us;
}

int64_t scatter_renew(struct scatter *scatter, int64_t now_us)
{
    int64_t next = begin_generation(scatter, now_us);
    int64_t issue_us = issue_due(scatter, now_us);
    int64_t expire_us = expire_due(scatter, now_us);
    if (issue_us < next)
        next = issue_us;
    return expire_us < next ? expire_us : next;
}
