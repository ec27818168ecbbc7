/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command on a host with streams of the caller's own, terminal included: what remote.h, which
 * collects streams, is not for. OpenSSH's client runs it in any case, started as the other back end
 * of remote.h starts it: the same configuration, way, key, known hosts and policy, and what goes
 * wrong is told in the same sentences.
 *
 * One command at a time. Threads: one.
 */
#ifndef MAYFLY_MASTER_REMOTE_DIRECT_H
#define MAYFLY_MASTER_REMOTE_DIRECT_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"
#include "master/remote/remote.h"

struct direct;

/*
 * Asks what the user's configuration says of the host (`ssh -G`); does not connect. Of `config`
 * client and book do not count; it is borrowed until the end, like the texts of `target` until this
 * returns. NULL: MF_ESETUP (no ssh here, a configuration that cannot be used), MF_ENOMEM.
 */
struct direct *direct_open(const struct remote_config *config,
                           const struct remote_target *target,
                           struct mf_error *error);
void direct_close(struct direct *direct); /* NULL is fine; ends what runs */

/* How a command is started. */
struct direct_manner {
    int in, out;       /* -1 = our own; standard error is always our own */
    bool has_terminal; /* it gets one on the host, too: ours is raw meanwhile */
    bool may_ask;      /* ssh may ask for the passphrase of a key on our terminal */
    bool is_apart;     /* in a process group of its own: what our terminal signals spares it */
};

/*
 * Starts `command`, of the kind that remote_exec takes, with the signal mask empty and all signals
 * as by default. -1: it was not started.
 */
int direct_start(struct direct *direct,
                 const char *command,
                 const struct direct_manner *manner,
                 struct mf_error *error);
pid_t direct_pid(const struct direct *direct); /* of ssh; 0 = none runs */

/* Waits for its end. 0 and *code, its exit code; -1 when it did not run, or the connection broke:
 * why. */
int direct_wait(struct direct *direct, int *code, struct mf_error *error);
/* Whether the host had let the last one in: else nothing can have come of it. */
bool direct_has_begun(const struct direct *direct);

#endif
