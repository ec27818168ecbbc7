/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How workers are started and ended: the interface that every launcher serves (local now; ssh,
 * slurm, command later). All calls return at once; what happened is reported through the callbacks,
 * on the loop's thread.
 */
#ifndef MAYFLY_MASTER_LAUNCH_LAUNCHER_H
#define MAYFLY_MASTER_LAUNCH_LAUNCHER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/loop.h"

/* What a worker needs to join; borrowed for the call. Goes through the launch's standard input,
 * never an argument. */
struct launch_order {
    uint32_t worker;
    uint32_t slots; /* 0 = one a core */
    const char
        *input; /* JSON, one line, with credentials and addresses: docs/protocol.md, "Launch" */
};

struct launch_report {
    uint32_t worker;
    bool ok;
    const char *place;     /* ok: the host's name */
    const char *folder;    /* ok: the worker's folder */
    uint32_t pid;          /* ok */
    struct mf_error error; /* not ok: the reason and the remedy */
};

struct sweep_report {
    const char *place;
    bool verified;           /* nothing of the run is left there */
    const char *verified_by; /* "sweep", "scheduler", "none" */
    uint32_t processes_ended, files_removed;
    const char *left; /* what could not be removed, or why it is not known; NULL when verified */
};

struct launcher_callbacks {
    void (*launched)(void *arg, const struct launch_report *report);
    void (*died)(void *arg, uint32_t worker); /* known for certain: the process is gone */
    void (*swept)(void *arg, const struct sweep_report *report);
    void *arg;
};

struct launcher;
struct launcher_class {
    const char *name;
    struct launcher *(*create)(struct mf_loop *loop,
                               const char *run_id,
                               const char *worker_binary,
                               const struct launcher_callbacks *callbacks,
                               struct mf_error *error);
    int (*start)(struct launcher *launcher,
                 const struct launch_order *order,
                 struct mf_error *error);
    /* Ends a worker that does not end by itself: TERM, then KILL. died follows. */
    void (*stop)(struct launcher *launcher, uint32_t worker);
    /* Verifies each place that was used, once, and cleans; one swept a place. */
    int (*sweep)(struct launcher *launcher, struct mf_error *error);
    bool (*is_idle)(const struct launcher *launcher);           /* nothing is under way */
    int64_t (*tick)(struct launcher *launcher, int64_t now_us); /* its next deadline */
    void (*destroy)(struct launcher *launcher);
};

extern const struct launcher_class launcher_local;

#endif
