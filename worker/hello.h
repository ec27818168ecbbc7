/* SPDX-License-Identifier: Apache-2.0 */
/* The hello: who this worker is and, when it had another master before, what it still holds. */
#ifndef MAYFLY_WORKER_HELLO_H
#define MAYFLY_WORKER_HELLO_H

#include "common/buffer.h"
#include "common/error.h"
#include "common/message.h"
#include "worker/executor.h"
#include "worker/launch_input.h"
#include "worker/ready.h"

/*
 * Encodes it into `frame` (cleared before). `executor` may be NULL; `ready` has the results that
 * are not acknowledged. What waits in the executor and finds no room in the message goes back by
 * its `returned`. -1: MF_ENOMEM.
 */
int hello_encode(const struct launch_input *input,
                 const struct mf_request *request,
                 struct executor *executor,
                 const struct ready_list *ready,
                 struct mf_buffer *frame,
                 struct mf_error *error);

#endif
