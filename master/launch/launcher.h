/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How workers are started and ended on a host: the interface that every kind of launcher serves
 * (local, ssh, slurm, command). Which worker goes to which host is not decided here
 * but by the fleet. All calls return at once; what happened is reported through the callbacks, on
 * the loop's thread.
 */
#ifndef MAYFLY_MASTER_LAUNCH_LAUNCHER_H
#define MAYFLY_MASTER_LAUNCH_LAUNCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/loop.h"

/* How a host that is not this machine is reached. */
enum launch_kind { LAUNCH_BY_SSH, LAUNCH_BY_SLURM, LAUNCH_BY_COMMAND };

/* A host as it was asked for; with Slurm and commands, a place for a worker: which node it is, they
 * decide. It lives as long as the launcher. */
struct launch_host {
    const char *name; /* for people: as it was written, without slots */
    bool is_local;
    enum launch_kind kind;
    const char *user;     /* NULL = not said */
    const char *host;     /* NULL when local */
    uint16_t port;        /* 0 = not said */
    uint32_t slots;       /* 0 = not said */
    const char *identity; /* its own private key file; NULL = that of launch_config */
};

/* Options of sbatch; NULL, 0 = not said. */
struct launch_slurm {
    const char *partition, *account;
    uint64_t time_us, memory; /* of a worker; bytes */
    uint32_t cpus;
    const char *const *options; /* as they are */
    size_t option_count;
};

struct launch_words {
    const char *const *items;
    size_t count;
};

/* The templates of launcher command. */
struct launch_commands {
    const char *folder; /* where they run */
    struct launch_words start, list, stop;
    const char *program;         /* NULL = it is brought in the shared folder */
    int64_t timeout_us, join_us; /* join_us: 0 = no limit */
};

/* Who speaks SSH. */
enum launch_client { LAUNCH_CLIENT_AUTO, LAUNCH_CLIENT_LIBSSH2, LAUNCH_CLIENT_OPENSSH };

struct launch_config {
    const char *run_id;
    const char *worker_binary; /* on this machine */
    const char *identity, *known_hosts;
    const char *ssh_config; /* NULL = the user's own, "none" = none */
    bool accept_new;
    enum launch_client client;
    bool keep_worker; /* leave the worker's program on the hosts */
    /* slurm, command: a folder of the run's own that master and workers see; NULL = nothing will be
     * started. */
    const char *shared_folder;
    struct launch_slurm slurm;
    struct launch_commands commands;
    /* Called before somebody is asked for something on the terminal (true) and after; or NULL. */
    void (*hold)(void *arg, bool asks);
    void *hold_arg;
};

/* What a worker needs to join; borrowed for the call. Goes through the launch's standard input,
 * never an argument. */
struct launch_order {
    uint32_t worker;
    const struct launch_host *host;
    const char *input; /* JSON, one line, with credentials and addresses: docs/protocol.md */
};

struct launch_report {
    uint32_t worker;
    bool ok;
    bool again;            /* not ok: another launch on that host may succeed */
    bool given_up;         /* not ok: it was stopped before it was done */
    bool touched;          /* something was begun on the host: it has to be swept */
    const char *place;     /* the host's name */
    const char *elsewhere; /* why OpenSSH's client logs in there, and not libssh2; NULL = it
                              doesn't, or nobody has chosen */
    const char *address;   /* ok: numeric, where the host was reached; NULL = this machine */
    uint16_t port;         /* ok: where the worker listens when nobody answers it; 0 = nowhere */
    const char *node; /* the host that a queue has chosen; NULL = not known, or `place` is it */
    int64_t begun_us; /* wall clock: when it began there, behind a queue; 0 = not known */
    uint32_t pid;     /* ok */
    struct mf_error error; /* not ok: the reason and the remedy */
};

/* A worker that an earlier master has started; borrowed for the call. */
struct launch_known {
    uint32_t worker;
    uint32_t pid; /* 0 = not known */
    const struct launch_host *host;
};

struct sweep_report {
    const struct launch_host *host;
    const char *place;
    bool verified;           /* nothing of the run is left there */
    const char *verified_by; /* "sweep", "scheduler", "command", "none" */
    uint32_t processes_ended, files_removed;
    const char *left; /* what could not be removed, or why it is not known; NULL when verified */
};

/* What a look at a host found; nothing was changed there. */
struct check_report {
    const struct launch_host *host;
    bool ok;               /* a worker could be started there */
    struct mf_error error; /* not ok: the reason and the remedy */
    const char *verdict;   /* the same in a word or two: "ok", "unreachable", ...: docs/ssh.md */
    bool reachable;        /* a connection came about */
    char user[64];         /* the account there */
    char passed[768];      /* the places that would not do before `folder`, each with the reason */
    char system[128];      /* uname -srm; "" = not known, as below */
    char client[16];       /* "libssh2", "openssh"; "" = this machine, or nobody got in */
    char client_reason[256]; /* of openssh */
    char folder[256];        /* where the worker's program would be, or is */
    bool has_program;        /* it is there already */
    uint64_t cores, memory_kib, free_kib;
    int64_t clock_offset_s; /* its clock against ours */
    int64_t took_us;        /* from the first connection to the answer */
};

struct launcher_callbacks {
    void (*launched)(void *arg, const struct launch_report *report);
    void (*died)(void *arg, uint32_t worker); /* its process is gone, as far as can be known */
    void (*swept)(void *arg, const struct sweep_report *report);
    void (*checked)(void *arg, const struct check_report *report);
    /* Workers wait for somebody else: a sentence that says how many and for what. */
    void (*waits)(void *arg, const char *sentence);
    void *arg;
};

#define LAUNCH_WAITS 2

struct launcher;
struct launcher_class {
    const char *name;
    struct launcher *(*create)(struct mf_loop *loop,
                               const struct launch_config *config,
                               const struct launcher_callbacks *callbacks,
                               struct mf_error *error);
    int (*start)(struct launcher *launcher,
                 const struct launch_order *order,
                 struct mf_error *error);
    /* Takes over a worker from an earlier master: stop, farewell and died are as of one that was
     * started here. 1: it lives, as far as can be known; 0: it does not; LAUNCH_WAITS: it is still
     * to begin, and `launched` follows as of one that was started here; -1: MF_ENOMEM and the like.
     */
    int (*adopt)(struct launcher *launcher,
                 const struct launch_known *known,
                 struct mf_error *error);
    /* Tells an adopted worker (that has no connection) where its master listens now: `addresses` as
     * in docs/protocol.md, one line of JSON. What does not succeed is logged. */
    void (*readdress)(struct launcher *launcher,
                      const struct launch_host *host,
                      uint32_t worker,
                      const char *addresses);
    /* Opens a port of this machine's loopback (*local) that leads to `port` of the host's, by the
     * means by which workers are started there, until close_way. NULL = there are none such. */
    int (*open_way)(struct launcher *launcher,
                    const struct launch_host *host,
                    uint32_t worker,
                    uint16_t port,
                    uint16_t *local,
                    struct mf_error *error);
    void (*close_way)(struct launcher *launcher, uint32_t worker);
    /* Ends a worker that does not end by itself; a start that has not begun yet fails. died
     * follows, also when the host is out of reach: then nobody can know. */
    void (*stop)(struct launcher *launcher, const struct launch_host *host, uint32_t worker);
    /* The worker has joined; or NULL: of no interest. */
    void (*joined)(struct launcher *launcher, uint32_t worker);
    /* The worker has said that it ends now. died follows. */
    void (*farewell)(struct launcher *launcher, uint32_t worker);
    /* Verifies that nothing of the run is left on the host, and cleans; one swept follows. */
    int (*sweep)(struct launcher *launcher, const struct launch_host *host, struct mf_error *error);
    /* Looks whether a worker could be started on the host; one checked follows. */
    int (*check)(struct launcher *launcher, const struct launch_host *host, struct mf_error *error);
    bool (*is_idle)(const struct launcher *launcher);           /* nothing is under way */
    int64_t (*tick)(struct launcher *launcher, int64_t now_us); /* its next deadline */
    void (*destroy)(struct launcher *launcher);
};

extern const struct launcher_class launcher_local, launcher_ssh, launcher_slurm, launcher_command;

#endif
