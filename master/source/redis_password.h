/* SPDX-License-Identifier: Apache-2.0 */
/* Where the password of a Redis server is read from, each time somebody logs in. Within this
 * station only. */
#ifndef MAYFLY_MASTER_SOURCE_REDIS_PASSWORD_H
#define MAYFLY_MASTER_SOURCE_REDIS_PASSWORD_H

#include "common/buffer.h"
#include "common/error.h"
#include "master/job/job.h"

struct redis_password {
    struct job_secret source; /* a copy; nothing of it is set: there is no password */
    char *folder;             /* where its command runs */
};

/* A copy of where `source` says (NULL = no password). 0, -1; in either case to be ended. */
int redis_password_init(struct redis_password *password,
                        const struct job_secret *source,
                        const char *folder,
                        struct mf_error *error);
void redis_password_fini(struct redis_password *password);

bool redis_password_is_there(const struct redis_password *password);
/* The password into `value` (empty) with a NUL behind it; the caller wipes it (secret_wipe). */
int redis_password_read(const struct redis_password *password,
                        struct mf_buffer *value,
                        struct mf_error *error);

#endif
