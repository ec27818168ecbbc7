/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one remote primitive: run a command on a host over SSH, with some standard input, and get
 * standard output, standard error and the exit code when it is over. Copying is standard input into
 * `cat`. Everything else that has to do with other hosts is made of this.
 *
 * A connection opens by itself, logs in, and runs what is asked of it in order, one command at a
 * time; it does not block: many side by side share the loop. Host keys are verified before anything
 * secret is said. One attempt a connection: whether and when to try again is the caller's choice
 * (remote_result.again).
 *
 * Threads: the loop thread only (names are resolved in a thread of their own inside).
 */
#ifndef MAYFLY_MASTER_REMOTE_REMOTE_H
#define MAYFLY_MASTER_REMOTE_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/loop.h"

#define REMOTE_OUTPUT_MAX (64u << 10) /* of each stream; what comes after is read and dropped */

/*
 * Who speaks SSH. libssh2 is quick and holds a thousand connections in one thread; OpenSSH's
 * client, a process a command, can all that the user's `ssh` can. AUTO is libssh2 and, where that
 * can't (RSA, hardware keys, certificates, Kerberos, no algorithm in common), OpenSSH's client, if
 * it is installed.
 */
enum remote_client { REMOTE_LIBSSH2, REMOTE_AUTO, REMOTE_OPENSSH };

/*
 * What the user's ssh configuration says of hosts, each asked for once (`ssh -G`), and passphrases
 * of keys, each asked for once on the terminal. Connections that share a book share the answers; it
 * has to outlive them.
 */
struct remote_book;
struct remote_book *remote_book_create(struct mf_error *error);
void remote_book_destroy(struct remote_book *book); /* NULL is fine */
/* `hold` is called before somebody is asked for a passphrase on the terminal (true), and when that
 * is over: nothing else should be written there meanwhile. */
void remote_book_hold(struct remote_book *book, void (*hold)(void *arg, bool asks), void *arg);

/* How to log in; the same for all connections of a run. Borrowed while connections live. */
struct remote_config {
    const char *identity; /* a private key file; NULL = the agent's keys, then ~/.ssh/id_ed25519 and
                             id_ecdsa */
    const char *known_hosts;  /* NULL = ~/.ssh/known_hosts, then /etc/ssh/ssh_known_hosts */
    bool accept_new;          /* add the key of a host that is in neither to known_hosts; a key that
                                 differs is refused all the same */
    struct remote_book *book; /* NULL: nobody's configuration counts where libssh2 logs in */
    const char *ssh_config; /* that configuration; NULL = the user's own and this machine's, "none"
                               = none */
    enum remote_client client;
    uint64_t connect_us; /* for name, connection, handshake and login together; 0 = 15 s */
};

/* Strings are copied by remote_open. */
struct remote_target {
    const char *user; /* NULL = the name of the user who runs this */
    const char *host; /* name or numeric address (an IPv6 one without brackets) */
    uint16_t port;    /* 0 = 22 */
    const char *jump; /* "user@host:port,host": by way of these, the first one first; NULL = as the
                         configuration says */
    const char *elsewhere; /* why libssh2 can't, as an earlier connection found out
                              (remote_elsewhere); NULL = it may. Copied; counts with REMOTE_AUTO */
};

struct remote_result {
    int code;            /* exit code, or 128 + signal; -1: it did not run to its end, see error */
    const char *output;  /* of standard output, NUL-terminated, at most REMOTE_OUTPUT_MAX */
    const char *problem; /* of standard error, likewise */
    bool begun;          /* code -1: the command had been handed to the host, and may have run */
    bool again;          /* code -1: nothing was begun and another attempt, with a new connection,
                            may well succeed (refused by the host's limit of logins, reset during
                            the login or between commands) */
    bool crowded;        /* again: the host says that too many log in at once */
    struct mf_error
        error; /* code -1: what went wrong with which host, and the remedy, one sentence */
};

typedef void remote_f(void *arg, const struct remote_result *result);

struct remote;

/* Starts to connect. NULL: MF_ENOMEM. Everything that goes wrong later is told to the commands. */
struct remote *remote_open(struct mf_loop *loop,
                           const struct remote_config *config,
                           const struct remote_target *target,
                           struct mf_error *error);

/*
 * Queues a command. `command` is handed to the user's login shell, whatever that is: it is copied,
 * and should be `sh -c '...'` with no quote, backslash, exclamation mark or line end inside (those
 * read alike in sh, csh and fish). `input` is its whole standard input, of any size; it is borrowed
 * until `done` has been called. `done` is called once, from the loop or from remote_tick; it may
 * call remote_exec and remote_close. When the connection fails, `done` is called for all that is
 * queued, and for what is queued later.
 *
 * A command has no time limit, that is the caller's (remote_close); a host that vanishes is noticed
 * within half a minute. It is over when its streams are: what it leaves in the background must have
 * other ones. A connection without a command answers nothing: a host that asks whether we are alive
 * (ClientAliveInterval) ends it, and the next command fails with `again`.
 */
int remote_exec(struct remote *remote,
                const char *command,
                struct mf_bytes input,
                remote_f *done,
                void *arg,
                struct mf_error *error);

/* Which client it is, and why it is not libssh2; NULL = it is. Valid while the connection lives. */
const char *remote_elsewhere(const struct remote *remote);

/*
 * Instead of commands, once: what comes on `fd` (a socket that does not block; taken) goes to host
 * and port as they are seen from there, and back, until either side ends. -1: MF_ENOMEM, `fd` is
 * closed.
 */
int remote_forward(
    struct remote *remote, int fd, const char *host, uint16_t port, struct mf_error *error);
/* Whether what was begun by remote_forward is over; *error says why, with an empty text when a side
 * has just ended. */
bool remote_is_over(const struct remote *remote, struct mf_error *error);

/* Whether it waits for somebody to type a passphrase: that takes as long as it takes. */
bool remote_is_asking(const struct remote *remote);

/* Whether the host has been asked to run anything: until then closing leaves nothing undone. */
bool remote_has_begun(const struct remote *remote);

/* Numeric addresses of both ends, once a command has been answered; "" before. Without brackets. */
const char *remote_peer_address(const struct remote *remote);
/* Whether the host accepted the connection, whatever came of it. */
bool remote_is_reached(const struct remote *remote);
const char *remote_own_address(const struct remote *remote);

/*
 * Looks at deadlines and starts what was queued: call before each wait of the loop. May call
 * `done`. Its next deadline: now when it has called one, so that the caller looks again before it
 * waits.
 */
int64_t remote_tick(struct remote *remote, int64_t now_us);

/* Ends the connection and frees it; what is queued is forgotten, without a call. NULL is fine. */
void remote_close(struct remote *remote);

#endif
