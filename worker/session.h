/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's side of the conversation: hello, polls, results until they are acknowledged,
 * dismissal. Ends when it was dismissed, refused, or has not heard of its master for the orphan
 * limit. Loop thread only.
 */
#ifndef MAYFLY_WORKER_SESSION_H
#define MAYFLY_WORKER_SESSION_H

#include "common/error.h"
#include "worker/launch_input.h"

/*
 * Runs the whole life of a worker whose folder is `folder`; `log_path` is its own log, `binary`
 * this executable. The addresses of `input` change when another master says that it listens
 * elsewhere. Returns 0 after a dismissal, -1 with the reason otherwise; *orphaned: it was the
 * orphan limit. Everything that it started has ended by then.
 */
int session_run(struct launch_input *input,
                const char *folder,
                const char *log_path,
                const char *binary,
                bool *orphaned,
                struct mf_error *error);

#endif
