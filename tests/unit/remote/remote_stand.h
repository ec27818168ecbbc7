/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An sshd of a test's own, on loopback, with its own keys, folder and port; and a way to run
 * commands on it through remote.h and wait for their results. Everything is ended and removed by
 * stand_stop. Where sshd is missing, tests are skipped.
 */
#ifndef MAYFLY_TESTS_UNIT_REMOTE_REMOTE_STAND_H
#define MAYFLY_TESTS_UNIT_REMOTE_REMOTE_STAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/loop.h"
#include "master/remote/remote.h"

struct stand {
    char
        folder[64]; /* has home/, host_ed25519, host_ecdsa, key (ed25519), authorized_keys, known */
    uint16_t port;
    pid_t sshd;
    struct mf_loop *loop;
    char key[96], known[96];
    struct remote_config config; /* key and known of the folder */
};

/* What came of a command. */
struct answer {
    unsigned calls;
    int code;
    bool again;
    char *output, *problem;
    char error[1016];
};

/* Makes the folder and starts sshd with further lines of configuration. Ends this program as
 * skipped when there is no sshd. HOME is the folder's, SSH_AUTH_SOCK is unset. */
void stand_start(struct stand *stand, const char *more);
void stand_stop(struct stand *stand);

/* Runs a shell line; fails the test when it fails. */
void stand_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A port that nobody listens on. */
uint16_t stand_free_port(void);
/* A socket that listens on loopback. */
int stand_listen(uint16_t *port);

struct remote *stand_open(struct stand *stand, const struct remote_config *config);
struct remote *
stand_open_at(struct stand *stand, const struct remote_config *config, const char *host, int port);
/* Queues a command, its answer goes to `answer`. */
void stand_exec(struct remote *remote,
                const char *command,
                struct mf_bytes input,
                struct answer *answer);
/* Until each of the answers has come. */
void stand_wait(struct stand *stand, struct remote **remotes, struct answer *answers, unsigned n);
/* Opens with `config`, runs one command, closes. */
void stand_once(struct stand *stand,
                const struct remote_config *config,
                const char *command,
                struct answer *answer);
void answer_fini(struct answer *answer);
/* Fails the test unless the error has this in it. */
void answer_says(const struct answer *answer, const char *part);
/* The number of descriptors that are open. */
unsigned stand_descriptors(void);

#endif
