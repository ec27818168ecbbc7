/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files on their way to the master: large results, outputs, captured streams, the worker's own log.
 * One chunk at a time on lane 2; a queue of attempts, oldest first. An attempt's result may be told
 * only when its result and outputs have arrived. Loop thread only.
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

/* Queues the files of an ended attempt; `executed` must live until upload_next_done has returned
 * it. */
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
/* The master has what upload_next gave. */
void upload_received(struct upload *upload);
/* An attempt whose files have all arrived, or NULL; call until NULL after upload_received and
 * upload_next. */
struct executed *upload_next_done(struct upload *upload);

/* Whether anything (files, or growth of the worker's log) is waiting. */
bool upload_is_idle(const struct upload *upload);
/* Makes the growth of the worker's log due now. */
void upload_log_due(struct upload *upload);

#endif
