/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a subtask and the run's task to the START that a slot process is sent: templates expanded,
 * the environment, the links, the input and its planned identity.
 */
#ifndef MAYFLY_WORKER_REQUEST_H
#define MAYFLY_WORKER_REQUEST_H

#include "common/buffer.h"
#include "common/error.h"
#include "common/message.h"
#include "worker/stage.h"

struct request_maker;

/* Copies what it needs of the task. files_folder: where the job's own files are, absolute; NULL =
 * in the job's folder. folder: the worker's own, absolute. */
struct request_maker *request_maker_create(const struct mf_task *task,
                                           const char *files_folder,
                                           const char *run_id,
                                           uint32_t worker,
                                           const char *folder,
                                           struct mf_error *error);
void request_maker_destroy(struct request_maker *maker);

/*
 * Appends a whole START message for `slot` (from 1). staged: where the input is when it was
 * fetched; what the plan says of the original is then not checked again. On failure `out` is as it
 * was: MF_ENOMEM, or MF_EINPUT with the sentence that says why this subtask can't be started.
 */
int request_make(const struct request_maker *maker,
                 const struct mf_subtask *subtask,
                 const struct staged_input *staged,
                 uint32_t slot,
                 struct mf_buffer *out,
                 struct mf_error *error);

#endif
