/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a value from where the job file says: a file, a command's standard output, a variable of
 * the environment. Any thread. */
#ifndef MAYFLY_MASTER_SECRET_READ_H
#define MAYFLY_MASTER_SECRET_READ_H

#include "common/buffer.h"
#include "common/error.h"
#include "master/job/job.h"

/* Who waits for what is read, and how they end it. */
struct secret_patience {
    int signal_fd;   /* readable: give up; -1 = none */
    const int *stop; /* atomic; not 0: give up */
};

/*
 * The value of `secret` of a job (`folder`: where a command of it runs), at most MF_SECRET_MAX
 * bytes, into `value` (empty); secret_wipe when it is not needed any more. -1: MF_EUSAGE or
 * MF_EINPUT and one sentence "FILE:LINE: KEY: ...", nothing is left in `value`.
 */
int secret_read(const char *folder,
                const struct job_secret *secret,
                const struct secret_patience *patience,
                struct mf_buffer *value,
                struct mf_error *error);
void secret_wipe(struct mf_buffer *value);
/* Drops what editors and `echo` put behind a value of one line: line feeds and carriage returns. */
void secret_trim(struct mf_buffer *value);

#endif
