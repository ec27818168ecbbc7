/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How workers on other hosts and this master find each other. A worker tries by itself to dial this
 * master; one that has not joined in time listens and is dialed from here; when that does not get
 * through either, it is dialed once more, at its port on the loopback of its host, through SSH.
 *
 *     worker dials -- 3.5 s --> master dials -- 4 s --> master dials through SSH -- 20 s --> given
 * up
 */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/run_internal.h"

/* A worker that has not joined so long after its start is dialed from here. */
#define DIAL_AFTER_US 3500000
#define DIAL_CHECK_US 500000
/* So long after that it is dialed through SSH. */
#define WAY_AFTER_US 4000000
/* So long after its start a worker and its master have tried all that there is; with many, each
 * handshake has to wait for others. */
#define UNREACHED_US 20000000
#define UNREACHED_EACH_US 100000

void run_close_way(struct run *run, uint32_t id)
{
    if (run->workers[id].way_us == 0)
        return;
    run->workers[id].way_us = 0;
    fleet_close_way(run->fleet, id);
}

/* Of the first host; the log has them all. */
static void say_way(struct run *run, uint32_t id)
{
    const char *place = fleet_host_of(run->fleet, id)->name;
    mf_log(MF_INFO, "worker %u on %s is reached through a channel of SSH", id, place);
    if (run->said_way || run->job->connect == CONNECT_SSH)
        return;
    run->said_way = true;
    progress_say(run->progress,
                 "%s: no address leads from there to this machine or back: its worker is reached "
                 "through SSH",
                 place);
}

/* Of a connection that came otherwise than by dialing the worker. */
void run_worker_connected(struct run *run, uint32_t id, const char *address)
{
    struct run_worker *worker = &run->workers[id];
    worker->alive = true;
    if (!worker->dialed)
        return;
    if (strcmp(worker->dialed_at, address) != 0) {
        endpoint_undial(run->endpoint, id);
        run_close_way(run, id);
    } else if (worker->way_us != 0) {
        say_way(run, id);
    } else {
        mf_log(MF_INFO, "worker %u could not dial this master and was dialed at %s", id, address);
    }
}

static void dial(struct run *run, uint32_t id, const char *address, uint16_t port)
{
    struct run_worker *worker = &run->workers[id];
    struct mf_error error;
    char name[32];
    bool is_v6 = strchr(address, ':') != NULL;
    snprintf(name, sizeof name, "worker-%u", id); /* as its certificate says */
    snprintf(worker->dialed_at,
             sizeof worker->dialed_at,
             "%s%s%s:%u",
             is_v6 ? "[" : "",
             address,
             is_v6 ? "]" : "",
             port);
    worker->dialed = true;
    if (endpoint_dial(
            run->endpoint, authority_master(run->authority), id, name, address, port, &error) < 0)
        mf_log(MF_WARNING, "%s", error.text);
}

static void dial_directly(struct run *run, uint32_t id)
{
    struct run_worker *worker = &run->workers[id];
    mf_log(MF_INFO,
           "worker %u has not joined: dialing it at %s port %u",
           id,
           worker->address,
           worker->port);
    dial(run, id, worker->address, worker->port);
}

/* Its port on the loopback of its host, through SSH: what led there before leads there again. */
static void dial_through_ssh(struct run *run, uint32_t id)
{
    struct run_worker *worker = &run->workers[id];
    struct mf_error error;
    uint16_t local = 0;
    worker->way_us = mf_monotonic_us();
    if (fleet_open_way(run->fleet, id, worker->port, &local, &error) < 0) {
        mf_log(MF_WARNING, "%s", error.text);
        return;
    }
    mf_log(MF_INFO, "worker %u has not joined: dialing its port %u through SSH", id, worker->port);
    endpoint_undial(run->endpoint, id);
    dial(run, id, "127.0.0.1", local);
}

/* Started, but neither side gets through to the other: no other worker would fare better there. */
static void give_up_unreached(struct run *run, uint32_t id)
{
    struct run_worker *worker = &run->workers[id];
    enum connect_mode connect = run->job->connect;
    bool is_dialed = connect == CONNECT_MASTER || connect == CONNECT_SSH;
    char reason[512], tried[160] = "";
    if (worker->port != 0 && worker->address[0] != '\0' && connect != CONNECT_SSH)
        snprintf(tried,
                 sizeof tried,
                 "%s be dialed at %s port %u%s",
                 is_dialed ? "cannot" : ", nor can it",
                 worker->address,
                 worker->port,
                 worker->way_us != 0 ? ", nor through SSH" : "");
    else if (worker->port != 0)
        snprintf(tried,
                 sizeof tried,
                 "%s be dialed through SSH at its port %u",
                 is_dialed ? "cannot" : ", nor can it",
                 worker->port);
    snprintf(reason,
             sizeof reason,
             "%s: the worker was started, but %s%s: let TCP through in one direction, on ports "
             "above 1023, or name an address of this machine that it can dial with --advertise%s",
             fleet_host_of(run->fleet, id)->name,
             is_dialed ? "" : "it cannot dial this master",
             tried,
             worker->way_us != 0 ? ", or allow AllowTcpForwarding in its sshd_config" : "");
    mf_log(MF_ERROR, "worker %u: %s", id, reason);
    snprintf(run->launch_problem, sizeof run->launch_problem, "%s", reason);
    worker->given_up = true;
    fleet_leave_out(run->fleet, id, reason);
    fleet_stop(run->fleet, id);
}

/* The ways to a worker that has not joined, one after the other; when none is left it is given up.
 */
static void try_ways(struct run *run, uint32_t id, int64_t now_us)
{
    const struct run_worker *worker = &run->workers[id];
    enum connect_mode connect = run->job->connect;
    int64_t since_us = now_us - worker->launched_us;
    int64_t dial_us = connect == CONNECT_MASTER || connect == CONNECT_SSH ? 0 : DIAL_AFTER_US;
    bool has_address = worker->address[0] != '\0' && connect != CONNECT_SSH;
    int64_t begun_us = worker->way_us != 0 ? worker->way_us : worker->launched_us;
    int64_t unreached_us = UNREACHED_US + (int64_t)run->worker_count * UNREACHED_EACH_US;
    if (now_us - begun_us >= unreached_us && !worker->known)
        give_up_unreached(run, id);
    else if (worker->port == 0 || since_us < dial_us)
        return;
    else if (has_address && !worker->dialed)
        dial_directly(run, id);
    else if (worker->way_us == 0 && (!has_address || since_us >= dial_us + WAY_AFTER_US))
        dial_through_ssh(run, id);
}

int64_t run_dial_step(struct run *run, int64_t now_us)
{
    if (!run->awaiting)
        return MF_NEVER;
    if (now_us < run->dial_us)
        return run->dial_us;
    run->dial_us = now_us + DIAL_CHECK_US;
    run->awaiting = false;
    for (uint32_t id = 1; id < run->worker_count; id++) {
        const struct run_worker *worker = &run->workers[id];
        const struct launch_host *host = fleet_host_of(run->fleet, id);
        if (worker->launched_us == 0 || host == NULL || host->is_local || worker->joined ||
            worker->dismissed || worker->lost || worker->given_up)
            continue;
        run->awaiting = true;
        try_ways(run, id, now_us);
    }
    return run->dial_us;
}
