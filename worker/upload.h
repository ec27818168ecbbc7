/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files on their way to the master: large results, outputs, captured streams, the worker's own log.
 * One chunk at a time on lane 2; a queue of ended attempts, oldest first, that takes turns with
 * what is read while it grows: the worker's log and the streams of attempts that run, one after
 * another. An attempt's result may be told only when all that was sent of it has arrived. Loop
 * thread only.
 */
#ifndef MAYFLY_WORKER_UPLOAD_H
#define MAYFLY_WORKER_UPLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/message.h"
#include "worker/executor.h"

struct upload;

struct upload *upload_create(const char *worker_log,
                             struct mf_error *error); /* the log's path; copied */
void upload_destroy(struct upload *upload);

/* The streams of a running attempt have grown; its paths are borrowed until upload_add. */
int upload_grew(struct upload *upload,
                const struct executed_growth *growth,
                struct mf_error *error);

/* Queues the files of an ended attempt, those that grew without what was sent of them; `executed`
 * must live until upload_next_done has returned it, which is at once when nothing is to be sent. */
int upload_add(struct upload *upload, struct executed *executed, struct mf_error *error);

/*
 * Encodes the next chunk into `frame` (cleared before): 1, or 0 when nothing is to be sent.
 * `request` is the head of the message. When an attempt's file can't be read, its result is turned
 * into MF_CAUSE_WORKER_ERROR and the rest of its files is dropped.
 */
int upload_next(struct upload *upload,
                const struct mf_request *request,
                struct mf_buffer *frame,
                struct mf_error *error);
/* The same, but only of what grows: for a worker that cannot go on. */
int upload_next_log(struct upload *upload,
                    const struct mf_request *request,
                    struct mf_buffer *frame,
                    struct mf_error *error);
/* The master has what upload_next gave. */
void upload_received(struct upload *upload);
/* The master is another one now, which has nothing of what was sent: everything that is queued,
 * grows or is under way begins again. What upload_next_done gave may be added again before. */
void upload_restart(struct upload *upload);
/* An attempt whose files have all arrived, or NULL; call until NULL after upload_add,
 * upload_received and upload_next. */
struct executed *upload_next_done(struct upload *upload);

/* Whether nothing (files of ended attempts, or growth of the worker's log) is waiting. */
bool upload_is_idle(const struct upload *upload);
/* Makes the growth of the worker's log due now. */
void upload_log_due(struct upload *upload);

#endif
