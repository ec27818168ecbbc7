/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fleet: all hosts of a run, and which worker goes to which of them. Each entry of the host
 * list carries one worker at a time; without a list, this machine carries as many as are asked for.
 * A host that cannot be used is left out from then on, and named once with its reason. Knows the
 * launchers, which know nothing of each other.
 *
 * Loop thread only; callbacks come from the loop or from the calls below.
 */
#ifndef MAYFLY_MASTER_LAUNCH_FLEET_H
#define MAYFLY_MASTER_LAUNCH_FLEET_H

#include "master/launch/launcher.h"

/* One host of the fleet, at the end: what became of the workers on it. */
struct fleet_place {
    const char *name;
    const struct launch_host *host;
    bool unusable;      /* it was left out */
    const char *reason; /* why; NULL = it was not */
    uint32_t launched;  /* workers that were begun there */
};

struct fleet_callbacks {
    void (*launched)(void *arg, const struct launch_report *report);
    void (*died)(void *arg, uint32_t worker);
    /* `place`: as in fleet_place_of. */
    void (*swept)(void *arg, uint32_t place, const struct sweep_report *report);
    void (*checked)(void *arg, const struct check_report *report);
    /* A host is left out from now on. */
    void (*unusable)(void *arg, const char *host, const char *reason);
    /* As that of launcher_callbacks. */
    void (*waits)(void *arg, const char *sentence);
    void *arg;
};

struct fleet;

/* Borrows hosts and config's strings until fleet_destroy. No hosts: this machine. */
struct fleet *fleet_create(struct mf_loop *loop,
                           const struct launch_config *config,
                           const struct launch_host *hosts,
                           uint32_t host_count,
                           const struct fleet_callbacks *callbacks,
                           struct mf_error *error);
void fleet_destroy(struct fleet *fleet);

/* Whether any worker comes over a network. */
bool fleet_is_remote(const struct fleet *fleet);

/* Reserves a host for the worker; NULL with an error that says why there is none left. */
const struct launch_host *
fleet_assign(struct fleet *fleet, uint32_t worker, struct mf_error *error);
/* Starts the worker on the host that was assigned. */
int fleet_start(struct fleet *fleet, uint32_t worker, const char *input, struct mf_error *error);
/*
 * Takes over a worker of an earlier master on the host that the job names `place` (NULL or "": this
 * machine), `pid` as it was known (0 = not). 1: it lives, as far as can be known; LAUNCH_WAITS: it
 * is still to begin, and `launched` follows; 0: it does not live; the host is swept in the end in
 * any case. -1: no such host in the job, or MF_ENOMEM.
 */
int fleet_adopt(
    struct fleet *fleet, uint32_t worker, const char *place, uint32_t pid, struct mf_error *error);
/* Something of the run may be left on the host of that name: it is swept in the end. */
void fleet_touch(struct fleet *fleet, const char *place);
/* An adopted worker is told where this master listens: docs/protocol.md, "Epochs". */
void fleet_readdress(struct fleet *fleet, uint32_t worker, const char *addresses);
/* A way for the wire where no address leads: a port of this machine's loopback, *local, that leads
 * to the worker's `port`, until fleet_close_way. -1: there is no such way to its host. */
int fleet_open_way(
    struct fleet *fleet, uint32_t worker, uint16_t port, uint16_t *local, struct mf_error *error);
void fleet_close_way(struct fleet *fleet, uint32_t worker);
void fleet_stop(struct fleet *fleet, uint32_t worker);
void fleet_joined(struct fleet *fleet, uint32_t worker);
void fleet_farewell(struct fleet *fleet, uint32_t worker);
/* The worker is lost. After `most` such ones in a row (0 = any number) without fleet_proved no
 * other one is started there; this machine is never left out as the only host. */
void fleet_lost(struct fleet *fleet, uint32_t worker, uint32_t most);
/* The worker has finished a subtask: nothing is wrong with where it is. */
void fleet_proved(struct fleet *fleet, uint32_t worker);
/* No other worker is started where this one was begun. `host` is told as unusable. */
void fleet_leave_out(struct fleet *fleet, uint32_t worker, const char *reason);
/* Where the worker was begun, NULL = nowhere. */
const struct launch_host *fleet_host_of(const struct fleet *fleet, uint32_t worker);
/* Whether another worker could be started: a host is free and usable. */
bool fleet_has_room(const struct fleet *fleet);

/* Verifies and cleans each host where something was begun; one swept each. */
int fleet_sweep(struct fleet *fleet, struct mf_error *error);
/* Nobody waits any longer: swept, not verified, for each host that has not answered. */
void fleet_end_sweep(struct fleet *fleet);
/* Looks at each host and changes nothing; one checked each. */
int fleet_check(struct fleet *fleet, struct mf_error *error);
bool fleet_is_idle(const struct fleet *fleet);
int64_t fleet_tick(struct fleet *fleet, int64_t now_us);

/* The place where the worker was begun, UINT32_MAX = nowhere. */
uint32_t fleet_place_of(const struct fleet *fleet, uint32_t worker);
uint32_t fleet_place_count(const struct fleet *fleet);
void fleet_place(const struct fleet *fleet, uint32_t place, struct fleet_place *out);

#endif
