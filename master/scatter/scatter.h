/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scatter: who is who on the wire, and what each worker is to be told next.
 *
 * Every request is checked here before anything of it reaches the scheduler: token, worker,
 * session, epoch, lane and sequence. A request that comes again gets the very reply it got before,
 * or takes the place of the one that is held. What a worker is to be told (subtasks, take back,
 * cancel, drain, dismiss) waits in its outbox until a poll of it can be answered; a poll with
 * results is answered only after their commit (scatter_committed).
 *
 * Threads: the loop thread only.
 */
#ifndef MAYFLY_MASTER_SCATTER_SCATTER_H
#define MAYFLY_MASTER_SCATTER_SCATTER_H

#include <nng/nng.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/message.h"
#include "master/scatter/endpoint.h"

/* Names a request that is not answered yet: a poll that waits for a commit, a fetch. */
struct scatter_ticket {
    uint32_t worker;
    uint32_t lane;
    uint64_t session, sequence;
};

/* What becomes of a poll. */
enum scatter_polled {
    SCATTER_ANSWER,    /* it is answered when there is something to say, or now when it must be */
    SCATTER_COMMITS,   /* its results wait for their commit, scatter_committed(ticket) follows */
    SCATTER_UNRECORDED /* its results were not taken: the worker keeps them and sends them again */
};

struct scatter_callbacks {
    /* A worker is here (again). */
    void (*joined)(void *arg, const struct mf_hello *hello, const char *address);
    /* A poll. What it borrows lives as long as `message` and `decoder`; the callback may take both
     * (set the pointers to NULL). */
    enum scatter_polled (*polled)(void *arg,
                                  const struct mf_poll *poll,
                                  const struct scatter_ticket *ticket,
                                  nng_msg **message,
                                  struct mf_decoder *decoder);
    /* A chunk. 1: not now, it is given again by scatter_retry_chunks. -1: it could not be kept; the
     * worker is not answered. */
    int (*chunk)(void *arg, uint32_t worker, const struct mf_chunk *chunk, struct mf_error *error);
    /* A part of a file is asked for; scatter_piece(ticket) answers it, whenever it can. Comes again
     * with the same ticket when the answer was lost. NULL: nothing is fetched in this run. */
    void (*fetch)(void *arg, const struct mf_fetch *fetch, const struct scatter_ticket *ticket);
    void (*bye)(void *arg, uint32_t worker, const char *reason);
    void (*disconnected)(void *arg, uint32_t worker);
    /* Something of ours does not fit into a message: the run can't go on. */
    void (*failed)(void *arg, const struct mf_error *error);
    /* A generation of credentials has begun. NULL: nobody wants to know. */
    void (*generation)(void *arg);
    /* The subtask as it is offered (without attempt and epoch). -1: not known any more (skipped).
     */
    int (*payload)(void *arg, uint64_t subtask, struct mf_subtask *out);
    void *arg;
};

struct scatter;

struct scatter_config {
    struct endpoint *endpoint;   /* borrowed until scatter_destroy */
    struct authority *authority; /* the same; knows which tokens are right */
    int64_t ttl_us;              /* how long credentials are valid */
    const char *run_id;
    const struct mf_welcome *welcome; /* borrowed until scatter_destroy; only its secrets change */
    struct scatter_callbacks callbacks;
};

struct scatter *scatter_create(const struct scatter_config *config, struct mf_error *error);
void scatter_destroy(struct scatter *scatter);

/* From now on worker `id` may join, with any token of its own that is valid: of this epoch, or of
 * the last three generations of an earlier one (validity.h). */
int scatter_expect(struct scatter *scatter, uint32_t worker, struct mf_error *error);
/* Worker `id` is over: its requests are refused from now on, its outbox is dropped. */
void scatter_forget(struct scatter *scatter, uint32_t worker);

/* Into the outbox. -1 with MF_ENOMEM. */
int scatter_offer(struct scatter *scatter,
                  uint32_t worker,
                  uint64_t subtask,
                  uint32_t attempt,
                  struct mf_error *error);
int scatter_take_back(struct scatter *scatter,
                      uint32_t worker,
                      const struct mf_fence *fence,
                      struct mf_error *error);
int scatter_cancel(struct scatter *scatter,
                   uint32_t worker,
                   const struct mf_fence *fence,
                   struct mf_error *error);
void scatter_dismiss(struct scatter *scatter, uint32_t worker);
/* Whether there is a connection on which it was heard of; it may be dead in silence. */
bool scatter_is_connected(const struct scatter *scatter, uint32_t worker);

/* Some of the welcome's secrets have another value and a higher version: whoever has joined is
 * told, whoever comes is welcomed with them. */
void scatter_secrets_changed(struct scatter *scatter);

/* Sends the outbox if a poll of the worker is held. */
void scatter_flush(struct scatter *scatter, uint32_t worker);
/* The results of that poll are durable: answer it, with what is in the outbox. A poll that has
 * waited for its commit as long as one is held was answered before, as unrecorded. */
void scatter_committed(struct scatter *scatter, const struct scatter_ticket *ticket);
/* They will not be for a while: answer it now, as unrecorded. */
void scatter_uncommitted(struct scatter *scatter, const struct scatter_ticket *ticket);
/* Gives the chunks again that could not be kept before. */
void scatter_retry_chunks(struct scatter *scatter);

/* The answer to a fetch: an encoded frame (empty: there is none, the connection is closed and the
 * fetch comes again). False: nobody waits for it any more. */
bool scatter_piece(struct scatter *scatter,
                   const struct scatter_ticket *ticket,
                   struct mf_bytes frame);

/* Handles all that has come in (call when endpoint_fd is readable). */
void scatter_receive(struct scatter *scatter);
/* Answers polls that were held too long, closes refused connections, counts TLS refusals. The next
 * deadline. */
int64_t scatter_tick(struct scatter *scatter, int64_t now_us);

struct scatter_counts {
    uint64_t bytes_in, bytes_out, requests, repeated, refused, refused_in_tls;
};
void scatter_counts(const struct scatter *scatter, struct scatter_counts *counts);

#endif
