/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of scatter share (scatter.c, admission.c, reply.c only). */
#ifndef MAYFLY_MASTER_SCATTER_SCATTER_INTERNAL_H
#define MAYFLY_MASTER_SCATTER_SCATTER_INTERNAL_H

#include "master/scatter/peers.h"
#include "master/scatter/scatter.h"
#include "master/scatter/session.h"
#include "master/scatter/validity.h"

/* A connection that was refused stays open so long, so that the refusal can leave. */
#define CLOSE_GRACE_US 200000

struct scatter {
    struct endpoint *endpoint;
    struct authority *authority;
    struct validity validity;
    struct scatter_callbacks callbacks;
    char *run_id;
    uint32_t epoch;
    int64_t hold_us;               /* a poll is held no longer than this */
    const struct mf_welcome *said; /* what is encoded in welcome, and the secrets as they are now */
    struct mf_buffer welcome;      /* the encoded frame: the same for all */
    uint32_t secrets_version;      /* the highest */
    struct mf_buffer frame;        /* scratch */
    struct mf_decoder *decoder;
    struct mf_subtask *subtasks; /* scratch, MF_BATCH_MAX */
    struct session *sessions;    /* by worker id */
    uint32_t session_count;
    uint32_t lonely_looks; /* since a worker is without its connection */
    struct peers peers;
    uint32_t closing;  /* peers with close_at_us */
    int64_t expiry_us; /* no connection expires before this */
    int64_t renew_us;  /* no credential is issued before this */
    uint32_t renew_at; /* the session to look at next */
    int64_t next_count_us;
    int64_t overdue_us; /* no held poll is due before this */
    struct scatter_counts counts;
};

/* scatter.c */
struct session *scatter_session(struct scatter *scatter, uint32_t worker); /* NULL: no such id */
void scatter_close_soon(struct scatter *scatter, struct peer *peer);

/* renew.c: begins generations, issues what sessions are due, closes what has expired. The next
 * deadline. */
int64_t scatter_renew(struct scatter *scatter, int64_t now_us);
/* The connection ends then. */
void scatter_expire_at(struct scatter *scatter, struct peer *peer, int64_t at_us);

/* secrets.c */
void scatter_wipe(struct mf_buffer *buffer);
/* Whether there is anything to say to the worker. */
bool scatter_has_news(const struct scatter *scatter, const struct session *session);
/* Those that the session has not been sent, into `out` (MF_SECRETS_MAX of them); their
 * number. */
uint32_t scatter_new_secrets(const struct scatter *scatter,
                             const struct session *session,
                             struct mf_secret *out);
/* Encodes the welcome with the secrets as they are now. */
int scatter_encode_welcome(struct scatter *scatter, struct mf_error *error);

/* admission.c */
void scatter_handle_request(struct scatter *scatter, struct endpoint_mail *entry);
/* Once more the chunk that the lane holds. */
void scatter_handle_deferred(struct scatter *scatter, struct session *session, struct lane *lane);

/* reply.c: replies are taken; NULL (memory is exhausted) closes the connection, so that the request
 * comes again. */
void scatter_answer(struct scatter *scatter, struct endpoint_mail *request, nng_msg *reply);
/* As scatter_answer, for the request that the lane holds; keeps a copy for the case that it comes
 * again, except of a piece. */
void scatter_lane_answer(struct scatter *scatter, struct lane *lane, nng_msg *reply);
void scatter_send_work(struct scatter *scatter, struct session *session, struct lane *lane);
void scatter_flush_session(struct scatter *scatter, struct session *session);
void scatter_turn_away(struct scatter *scatter, struct endpoint_mail *request);

#endif
