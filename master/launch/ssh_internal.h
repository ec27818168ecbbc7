/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the ssh launcher share (ssh*.c only). */
#ifndef MAYFLY_MASTER_LAUNCH_SSH_INTERNAL_H
#define MAYFLY_MASTER_LAUNCH_SSH_INTERNAL_H

#include "master/launch/launcher.h"
#include "master/launch/ssh_program.h"
#include "master/launch/ssh_script.h"
#include "master/remote/remote.h"

/* How many logins a host may have at once; adapts to what it refuses. And who copies the program
 * there: one does for all. */
struct gate {
    struct gate *next;
    const struct launch_host *host; /* the first that named it */
    unsigned open, limit;
    bool is_known;               /* it has let one in */
    const struct errand *copier; /* NULL = nobody copies now */
    int64_t copied_us;           /* when the last copy was there; 0 = none of ours */
    char elsewhere[256];         /* why libssh2 can't log in there; "" = it may */
};

enum errand_kind { ERRAND_START, ERRAND_READDRESS, ERRAND_STOP, ERRAND_SWEEP, ERRAND_CHECK };

/*
 * One thing to be done on one host: connect, run the worker's program there with the fitting
 * arguments, copying it first when it is not there. A login that the host refuses for its number is
 * tried again later.
 */
struct errand {
    struct errand *next;
    struct launcher *launcher;
    enum errand_kind kind;
    const struct launch_host *host;
    struct gate *gate;
    struct remote_config login; /* the launcher's, with the host's own key if it has one */
    uint32_t worker;
    char *input;           /* of a start, of addresses; wiped */
    struct remote *remote; /* NULL while it waits for its turn */
    unsigned tries;
    bool touched;            /* a command has been begun on the host */
    unsigned copies;         /* of the program, made by this errand */
    unsigned cuts;           /* copies that broke off since one was brought further */
    struct script_part part; /* where the next one goes on */
    bool begins_anew;        /* whatever lies there */
    bool awaits_copy;        /* of another errand; it is connected */
    int64_t ran_us;          /* when it last began to look for the program there */
    bool cancelled;
    bool is_over;
    int64_t opened_us;    /* of the last try */
    int64_t due_us;       /* not before */
    int64_t give_up_us;   /* no further try after this; 0 = not begun yet */
    int64_t answer_by_us; /* of the command that is under way; 0 = none */
};

struct launcher {
    struct mf_loop *loop;
    struct launcher_callbacks callbacks;
    struct remote_config login;
    struct ssh_program program;
    char *run_id;
    bool keep_worker;
    struct gate *gates;
    struct errand *errands;
    struct way *ways; /* ssh_way.c */
    unsigned open;    /* errands that are connected or connecting */
    uint64_t random;
};

/* ssh_errand.c */
struct errand *errand_create(struct launcher *launcher,
                             enum errand_kind kind,
                             const struct launch_host *host,
                             uint32_t worker,
                             const char *input,
                             struct mf_error *error);
void errand_destroy(struct errand *errand);
/* A start that is not wanted any more: ends at once if nothing was begun yet, else soon. */
void errand_cancel(struct errand *errand);
/* Begins it when its turn has come; looks at deadlines. Its next deadline. */
int64_t errand_tick(struct errand *errand, int64_t now_us);

/* How to log in to that host. */
struct remote_config ssh_login_of(const struct launcher *launcher, const struct launch_host *host);

/* Of that host, made when it is the first time; NULL = no memory. */
struct gate *ssh_gate_of(struct launcher *launcher, const struct launch_host *host);

/* ssh_way.c: a port of this machine's loopback that leads to the worker's port on the host's. */
int ssh_open_way(struct launcher *launcher,
                 const struct launch_host *host,
                 uint32_t worker,
                 uint16_t port,
                 uint16_t *local,
                 struct mf_error *error);
void ssh_close_way(struct launcher *launcher, uint32_t worker);
void ssh_close_ways(struct launcher *launcher);
int64_t ssh_tick_ways(struct launcher *launcher, int64_t now_us);

/* ssh.c: whether the shell line came to an end of its own, without the worker's program. */
bool ssh_is_refusal(const struct remote_result *result);

/* ssh.c: whether the shell line was run at all: not where the account has no shell. */
bool ssh_has_begun(const struct remote_result *result);

/* ssh.c: whether a sweep's answer says what is left there; of other errands: true. */
bool ssh_is_verdict(const struct errand *errand, const struct remote_result *result);

/* ssh.c: what an errand tells when it is over. `error`: it could not be carried out; else `result`
 * is what the program said. */
void ssh_errand_over(struct errand *errand,
                     const struct remote_result *result,
                     bool again,
                     const struct mf_error *error);

#endif
