/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a master takes over from an earlier one of its run: the address, the workers, and the
 * subtasks that these may have.
 *
 * All that happens before the first event of this epoch. A worker whose process is known to be gone
 * is not known to the scheduler at all: another one is launched in its place. One that may live is
 * expected with the token that it has; it is dialed where it was dialed before, and told where this
 * master listens when that is elsewhere. Its host is swept in the end in either case.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/run_addresses.h"
#include "master/run_internal.h"

#define LISTEN_TRIES 10 /* the old master may be about to end */
#define LISTEN_AGAIN_US 50000

static uint16_t port_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    unsigned long port = colon == NULL ? 0 : strtoul(colon + 1, NULL, 10);
    return port > UINT16_MAX ? 0 : (uint16_t)port;
}

static int note_address(struct run *run, const char *host, struct mf_error *error)
{
    char address[80];
    snprintf(address, sizeof address, "%s:%u", host, endpoint_port(run->endpoint));
    return record_run(run->recorder, &(struct record_run){.address = address}, error);
}

int run_listen(struct run *run, const char *host, struct mf_error *error)
{
    const struct credential *master = authority_master(run->authority);
    bool is_resume = run->again != NULL && run->again->is_resume;
    uint16_t port = is_resume ? port_of(run->again->address) : 0;
    for (int i = 0; port != 0 && run->endpoint == NULL && i < LISTEN_TRIES; i++) {
        if (i > 0)
            usleep(LISTEN_AGAIN_US);
        run->endpoint = endpoint_create(master, host, port, error);
    }
    if (port != 0 && run->endpoint == NULL)
        mf_log(MF_WARNING,
               "cannot listen on port %u, where the workers expect this master: %s",
               port,
               error->text);
    if (run->endpoint == NULL && (run->endpoint = endpoint_create(master, host, 0, error)) == NULL)
        return -1;
    run->has_moved = port != 0 && endpoint_port(run->endpoint) != port;
    return note_address(run, host, error);
}

int run_open_authority(struct run *run, struct mf_error *error)
{
    bool is_left = false;
    if (run->again != NULL && run->again->is_resume) {
        run->authority = authority_open(run->keys_folder, run->run_id, error);
        if (run->authority == NULL && access(run->keys_folder, F_OK) == 0)
            mf_log(MF_WARNING,
                   "the run's keys cannot be used, so its workers are given up: %s",
                   error->text);
        is_left = run->authority != NULL;
    }
    if (run->authority == NULL)
        run->authority = authority_create(run->keys_folder, run->run_id, error);
    run->has_old_keys = is_left;
    return run->authority == NULL ? -1 : 0;
}

/* The master that started it did not see its end, but it is over. */
static void note_over(struct run *run, const struct run_db_worker *known)
{
    struct mf_error error;
    mf_log(MF_WARNING,
           "worker %u on %s did not outlive its master",
           known->id,
           known->place[0] == '\0' ? "this machine" : known->place);
    run_note_worker(run,
                    &(struct record_worker){.id = known->id,
                                            .state = "lost",
                                            .ended_us = run_worker_end_us(run, known->id)});
    if (record_event(
            run->recorder, mf_wall_us(), "worker lost", known->id, 0, known->host, &error) < 0 ||
        intake_lost(run->intake, known->id, &error) < 0)
        run_fail(run, &error);
}

static bool was_over(const struct run_db_worker *known)
{
    return strcmp(known->state, "gone") == 0 || strcmp(known->state, "lost") == 0;
}

/* It is still to begin: as if this master had started it. */
static void expect_start(struct run *run, const struct run_db_worker *known)
{
    struct run_worker *worker = run_worker(run, known->id);
    const struct launch_host *host = fleet_host_of(run->fleet, known->id);
    struct mf_error error;
    if (worker == NULL)
        return;
    worker->launching = true;
    worker->begun_us = mf_monotonic_us();
    if (scatter_expect(run->scatter, known->id, &error) < 0)
        run_fail(run, &error);
    run->stats.known++;
    run_queue(run,
              (struct schedule_event){.kind = EVENT_WORKER_ADD,
                                      .worker = known->id,
                                      .slots = host->slots > 0 ? host->slots : 1});
}

static void expect(struct run *run, const struct run_db_worker *known)
{
    struct run_worker *worker = run_worker(run, known->id);
    struct mf_error error;
    if (worker == NULL)
        return;
    worker->known = worker->alive = true;
    worker->slots = known->slots;
    worker->pid = known->pid;
    worker->port = known->port;
    worker->begun_us = worker->launched_us = mf_monotonic_us();
    snprintf(worker->address, sizeof worker->address, "%s", known->address);
    snprintf(worker->host, sizeof worker->host, "%s", known->host);
    if (scatter_expect(run->scatter, known->id, &error) < 0)
        run_fail(run, &error);
    run->awaiting = true;
    run->stats.known++;
    run_queue(run,
              (struct schedule_event){.kind = EVENT_WORKER_KNOWN,
                                      .worker = known->id,
                                      .slots = known->slots > 0 ? known->slots : 1});
}

static void take_over(struct run *run, const struct run_db_worker *known)
{
    struct mf_error error;
    fleet_touch(run->fleet, known->place);
    if (was_over(known))
        return;
    int rc = fleet_adopt(run->fleet, known->id, known->place, known->pid, &error);
    if (rc < 0)
        mf_log(MF_WARNING, "%s", error.text);
    if (rc <= 0) {
        note_over(run, known);
        return;
    }
    if (rc == LAUNCH_WAITS && run->has_old_keys && !run->has_moved) {
        expect_start(run, known);
        mf_log(MF_INFO, "worker %u still waits in a queue", known->id);
        return;
    }
    expect(run, known);
    mf_log(MF_INFO, "worker %u may still be there", known->id);
    /* With other keys it cannot join. */
    if (!run->has_old_keys)
        run_queue(run, (struct schedule_event){.kind = EVENT_WORKER_DIED, .worker = known->id});
}

static void tell_address(struct run *run, uint32_t id)
{
    json_t *root = json_object();
    if (root != NULL && run_add_addresses(run, fleet_host_of(run->fleet, id), root) == 0) {
        char *text = json_dumps(root, JSON_COMPACT);
        if (text != NULL)
            fleet_readdress(run->fleet, id, text);
        free(text);
    }
    json_decref(root);
}

uint32_t run_take_over(struct run *run)
{
    const struct run_again *again = run->again;
    for (size_t i = 0; i < again->worker_count; i++)
        take_over(run, &again->workers[i]);
    for (uint32_t id = 1; run->has_moved && id < run->worker_count; id++)
        if (run->workers[id].known)
            tell_address(run, id);
    return run->stats.known;
}

void run_adopt_held(struct run *run, const struct mf_hello *hello)
{
    for (uint32_t i = 0; i < hello->held_count; i++)
        run_queue(run,
                  (struct schedule_event){.kind = EVENT_ADOPTED,
                                          .worker = hello->request.worker,
                                          .subtask = hello->held[i].subtask,
                                          .attempt = hello->held[i].attempt,
                                          .epoch = hello->held[i].epoch,
                                          .ok = hello->held[i].state != MF_HELD_QUEUED});
    if (hello->held_count > 0)
        mf_log(MF_INFO,
               "worker %u says that it holds %u attempts",
               hello->request.worker,
               hello->held_count);
}
