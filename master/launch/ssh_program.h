/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's program as it is sent to hosts: its bytes, its version, what it runs on. */
#ifndef MAYFLY_MASTER_LAUNCH_SSH_PROGRAM_H
#define MAYFLY_MASTER_LAUNCH_SSH_PROGRAM_H

#include "common/buffer.h"
#include "common/checksum.h"
#include "common/error.h"

struct ssh_program {
    struct mf_bytes bytes; /* mapped */
    char sha256[MF_SHA256_TEXT];
    char machine[65]; /* uname -m */
};

int ssh_program_open(struct ssh_program *program, const char *path, struct mf_error *error);
void ssh_program_close(struct ssh_program *program);

#endif
