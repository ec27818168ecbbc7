/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job's secrets on a host: files (0600) in a folder (0700) of the worker's own, in memory
 * (/dev/shm) where the host has that. `secrets` in the worker's folder is that folder or leads to
 * it; subtasks know it as $MAYFLY_SECRETS. A value that changes is put in place by rename, so that
 * whoever reads it sees the old one or the new one. What is left of a worker that was killed is
 * found by the sweep. Not thread-safe.
 */
#ifndef MAYFLY_WORKER_SECRETS_H
#define MAYFLY_WORKER_SECRETS_H

#include "common/error.h"
#include "common/message.h"
#include "worker/launch_input.h"

/* In the worker's folder. */
#define SECRETS_NAME "secrets"

struct secrets;

/*
 * Puts what a welcome brings in place, before anything is executed that may want it; *secrets stays
 * NULL when there is nothing. A later welcome (of another epoch) counts whatever its versions.
 */
int secrets_welcome(struct secrets **secrets,
                    const struct launch_input *input,
                    const char *folder,
                    const struct mf_welcome *welcome,
                    struct mf_error *error);

/*
 * The part of it for tests. `folder` is the worker's own; `memory` is a folder in
 * memory, below which runs/<run id>/<worker>/ is made, and is not used when it is none or has no
 * room. NULL with a sentence when there is room nowhere.
 */
struct secrets *secrets_create(char *memory,
                               const char *run_id,
                               uint32_t worker,
                               const char *folder,
                               const struct mf_secret *list,
                               uint32_t count,
                               struct mf_error *error);
/* Those that have changed. One that cannot be written stays as it was, which is logged. NULL is
 * fine when there are none. */
void secrets_take(struct secrets *secrets, const struct mf_secret *list, uint32_t count);
/* Removes all of it. */
void secrets_destroy(struct secrets *secrets);

#endif
