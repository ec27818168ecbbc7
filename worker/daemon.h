/* SPDX-License-Identifier: Apache-2.0 */
/* Becoming a process of its own, as nohup does: docs/architecture.md, "Detached". */
#ifndef MAYFLY_WORKER_DAEMON_H
#define MAYFLY_WORKER_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/*
 * Forks; the parent exits with 0. The child has a session of its own, ignores SIGHUP, stands in
 * `folder`, has written the ready line ("mayfly 1 started <worker> <pid> <port>") to standard
 * output, and only then sends its streams to `log_path` and closes every other descriptor (a kept
 * one would hold an SSH channel open). To be called before the first thread is made.
 *
 * `stays`: all this but the fork, in the session that it has: for a batch system, which takes the
 * end of the process that it started for the end of the job.
 */
int daemon_detach(const char *folder,
                  const char *log_path,
                  uint32_t worker,
                  unsigned port,
                  bool stays,
                  struct mf_error *error);

/* Blocks TERM and INT; a descriptor that is readable when one of them came, or -1. */
int daemon_signals(struct mf_error *error);
/* Whether one came on that descriptor: then `error` says which and from whom. */
bool daemon_was_signalled(int fd, struct mf_error *error);

#endif
