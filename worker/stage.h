/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Staging: what an attempt needs on this host before it can start, and where it then is.
 *
 * Each input is used in its own place when the very same file is there (staging auto), or fetched
 * into the host's cache. Attempts that need the same input wait for one fetch. Inputs are fetched
 * in the order in which attempts came, ahead of the slots, up to a bound. The job's own files come
 * first. Loop thread only.
 *
 *     stage_add -> (fetches) -> ready | failed;  stage_release at any time
 */
#ifndef MAYFLY_WORKER_STAGE_H
#define MAYFLY_WORKER_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/message.h"

struct attempt;
struct stage;

/* Come from stage_tick and stage_take only. An attempt is not the stage's any more after `failed`.
 */
struct stage_callbacks {
    void (*ready)(void *arg, struct attempt *attempt);
    void (*failed)(void *arg, struct attempt *attempt, uint32_t cause, const char *detail);
    void *arg;
};

/* What an attempt uses, as request_make wants it. */
struct staged_input {
    const char *path;     /* of the staged file, absolute; NULL = in its own place */
    struct mf_bytes item; /* of a grouped item: its list with the places where they are now */
};

/* What the attempt holds of it; embedded there, zero at first. */
struct unit;
struct stage_hold {
    struct unit *unit;    /* NULL: it needs no input that was fetched */
    struct attempt *next; /* waiting for the same */
    bool is_waiting;
};

/* `task` says what may be fetched (staging is not never); copies what it needs. worker_folder:
 * absolute. NULL: MF_ENOMEM, MF_ESYSTEM. */
struct stage *stage_create(const struct mf_task *task,
                           const char *worker_folder,
                           uint32_t slots,
                           struct mf_error *error);
void stage_destroy(struct stage *stage);
void stage_watch(struct stage *stage, const struct stage_callbacks *callbacks);

/* Where the job's own files are or will be: absolute, borrowed; NULL = in their own place. */
const char *stage_job_folder(const struct stage *stage);

/* Whether the attempt has to wait: 1, `ready` or `failed` follows; 0: all is there. -1: MF_ENOMEM.
 */
int stage_add(struct stage *stage, struct attempt *attempt, struct mf_error *error);
/* It has begun: room for another one ahead. */
void stage_started(struct stage *stage, struct attempt *attempt);
/* Where its input is, once it is ready. */
void stage_input(const struct stage *stage,
                 const struct attempt *attempt,
                 struct staged_input *input);
/* It has ended or goes back, whatever it waits for. */
void stage_release(struct stage *stage, struct attempt *attempt);

/* What a lane (MF_LANE_FETCH and up) is to ask for next, without the request's head: 1, or 0. */
int stage_next(struct stage *stage, unsigned lane, int64_t now_us, struct mf_fetch *message);
/* The lane's answer. -1: the master said what it must not, or MF_ENOMEM. */
int stage_take(struct stage *stage,
               unsigned lane,
               const struct mf_piece *piece,
               int64_t now_us,
               struct mf_error *error);
/* What was asked for will not be answered: it is asked for again. */
void stage_restart(struct stage *stage);
/* Begins what may begin; the next deadline. */
int64_t stage_tick(struct stage *stage, int64_t now_us);

#endif
