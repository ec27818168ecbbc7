/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fleet: see fleet.h. An entry is a line of the host list; entries that name the same account
 * of the same host share a place, which is swept once. A transient failure counts against its
 * entry; after FAILURES_MAX of them in a row, or one that would only repeat itself, the whole place
 * is left out; so it is after some losses in a row of workers that did nothing.
 */
#include "master/launch/fleet.h"

#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"

#define FAILURES_MAX 3

struct entry {
    const struct launch_host *host;
    uint32_t place;
    uint32_t worker; /* that it carries, 0 = none */
};

struct place {
    const struct launch_host *host;
    unsigned failures; /* launches that failed since the last one that did not */
    unsigned losses;   /* workers that were lost since one there finished a subtask */
    bool unusable;
    bool touched;
    bool sweep_asked, sweep_told;
    uint32_t launched;
    char *reason;
};

/* A worker by its id. */
struct assignment {
    const struct launch_host *host;
    uint32_t entry, place;
};

enum { LOCAL, SSH, SLURM, COMMAND, KINDS };
static const struct launcher_class *const classes[KINDS] = {
    &launcher_local, &launcher_ssh, &launcher_slurm, &launcher_command};

static int kind_of(const struct launch_host *host)
{
    if (host->is_local)
        return LOCAL;
    return host->kind == LAUNCH_BY_SLURM ? SLURM : host->kind == LAUNCH_BY_COMMAND ? COMMAND : SSH;
}

struct fleet {
    struct fleet_callbacks callbacks;
    struct launch_host here; /* the only host when there is no list */
    bool is_shared;          /* that one: takes any number of workers */
    struct entry *entries;
    uint32_t entry_count;
    uint32_t next; /* where the search for a free entry begins */
    struct place *places;
    uint32_t place_count;
    struct assignment *workers;
    uint32_t worker_count;
    struct launcher *launchers[KINDS]; /* NULL = not needed */
    bool sweeping;                     /* what is touched from now on is swept at once */
};

static int out_of_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory: the hosts of the run");
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool is_same_place(const struct launch_host *a, const struct launch_host *b)
{
    if (a->is_local || b->is_local)
        return a->is_local && b->is_local;
    return a->kind == b->kind && is_same(a->user, b->user) && is_same(a->host, b->host) &&
           a->port == b->port;
}

/* Hosts of a list are few, and this is done once: no table is worth it below ten thousand. */
static uint32_t find_place(struct fleet *fleet, const struct launch_host *host)
{
    for (uint32_t i = 0; i < fleet->place_count; i++)
        if (is_same_place(fleet->places[i].host, host))
            return i;
    fleet->places[fleet->place_count] = (struct place){.host = host};
    return fleet->place_count++;
}

static struct assignment *assignment_of(const struct fleet *fleet, uint32_t worker)
{
    if (worker >= fleet->worker_count || fleet->workers[worker].host == NULL)
        return NULL;
    return &fleet->workers[worker];
}

static struct launcher *
launcher_of(const struct fleet *fleet, uint32_t worker, const struct launcher_class **class)
{
    const struct assignment *assignment = assignment_of(fleet, worker);
    if (assignment == NULL)
        return NULL;
    int kind = kind_of(assignment->host);
    *class = classes[kind];
    return fleet->launchers[kind];
}

/* Its entry can carry another one now. */
static void release(struct fleet *fleet, uint32_t worker)
{
    const struct assignment *assignment = assignment_of(fleet, worker);
    if (assignment != NULL && fleet->entries[assignment->entry].worker == worker)
        fleet->entries[assignment->entry].worker = 0;
}

static void leave_out(struct fleet *fleet, struct place *place, const char *reason)
{
    if (place->unusable)
        return;
    place->unusable = true;
    place->reason = mf_strdup(reason);
    fleet->callbacks.unusable(fleet->callbacks.arg, place->host->name, reason);
}

static int sweep_place(struct fleet *fleet, struct place *place, struct mf_error *error)
{
    int kind = kind_of(place->host);
    if (!place->touched || place->sweep_asked)
        return 0;
    place->sweep_asked = true;
    return classes[kind]->sweep(fleet->launchers[kind], place->host, error);
}

static void tell_unswept(struct fleet *fleet, struct place *place, const char *reason)
{
    struct sweep_report report = {
        .host = place->host, .place = place->host->name, .verified_by = "none", .left = reason};
    place->sweep_told = true;
    fleet->callbacks.swept(fleet->callbacks.arg, (uint32_t)(place - fleet->places), &report);
}

/* Of a start that was still under way when all hosts were swept. */
static void sweep_late(struct fleet *fleet, struct place *place)
{
    struct mf_error error;
    if (sweep_place(fleet, place, &error) < 0)
        tell_unswept(fleet, place, error.text);
}

static void on_launched(void *arg, const struct launch_report *report)
{
    struct fleet *fleet = arg;
    const struct assignment *assignment = assignment_of(fleet, report->worker);
    struct place *place = &fleet->places[assignment->place];
    struct launch_report told = *report;
    place->touched = place->touched || report->touched;
    if (report->ok) {
        place->failures = 0;
    } else {
        release(fleet, report->worker);
        if (!fleet->is_shared && !report->given_up &&
            (!report->again || ++place->failures >= FAILURES_MAX))
            leave_out(fleet, place, report->error.text);
        told.again = fleet_has_room(fleet);
    }
    fleet->callbacks.launched(fleet->callbacks.arg, &told);
    if (fleet->sweeping)
        sweep_late(fleet, place);
}

static void on_died(void *arg, uint32_t worker)
{
    struct fleet *fleet = arg;
    release(fleet, worker);
    fleet->callbacks.died(fleet->callbacks.arg, worker);
}

static void on_swept(void *arg, const struct sweep_report *report)
{
    struct fleet *fleet = arg;
    for (uint32_t i = 0; i < fleet->place_count; i++) {
        if (fleet->places[i].host != report->host)
            continue;
        fleet->places[i].sweep_told = true;
        fleet->callbacks.swept(fleet->callbacks.arg, i, report);
    }
}

static void on_checked(void *arg, const struct check_report *report)
{
    struct fleet *fleet = arg;
    fleet->callbacks.checked(fleet->callbacks.arg, report);
}

static void on_waits(void *arg, const char *sentence)
{
    struct fleet *fleet = arg;
    if (fleet->callbacks.waits != NULL)
        fleet->callbacks.waits(fleet->callbacks.arg, sentence);
}

static int create_launchers(struct fleet *fleet,
                            struct mf_loop *loop,
                            const struct launch_config *config,
                            struct mf_error *error)
{
    const struct launcher_callbacks callbacks = {.launched = on_launched,
                                                 .died = on_died,
                                                 .swept = on_swept,
                                                 .checked = on_checked,
                                                 .waits = on_waits,
                                                 .arg = fleet};
    for (uint32_t i = 0; i < fleet->place_count; i++) {
        int kind = kind_of(fleet->places[i].host);
        if (fleet->launchers[kind] == NULL && (fleet->launchers[kind] = classes[kind]->create(
                                                   loop, config, &callbacks, error)) == NULL)
            return -1;
    }
    return 0;
}

struct fleet *fleet_create(struct mf_loop *loop,
                           const struct launch_config *config,
                           const struct launch_host *hosts,
                           uint32_t host_count,
                           const struct fleet_callbacks *callbacks,
                           struct mf_error *error)
{
    struct fleet *fleet = mf_calloc(1, sizeof *fleet);
    if (fleet == NULL) {
        out_of_memory(error);
        return NULL;
    }
    fleet->callbacks = *callbacks;
    fleet->here = (struct launch_host){.name = "this machine", .is_local = true};
    fleet->is_shared = host_count == 0;
    if (fleet->is_shared) {
        hosts = &fleet->here;
        host_count = 1;
    }
    fleet->entries = mf_calloc(host_count, sizeof *fleet->entries);
    fleet->places = mf_calloc(host_count, sizeof *fleet->places);
    if (fleet->entries == NULL || fleet->places == NULL) {
        out_of_memory(error);
        goto fail;
    }
    for (uint32_t i = 0; i < host_count; i++)
        fleet->entries[fleet->entry_count++] =
            (struct entry){.host = &hosts[i], .place = find_place(fleet, &hosts[i])};
    if (create_launchers(fleet, loop, config, error) < 0)
        goto fail;
    return fleet;
fail:
    fleet_destroy(fleet);
    return NULL;
}

void fleet_destroy(struct fleet *fleet)
{
    if (fleet == NULL)
        return;
    for (int kind = 0; kind < KINDS; kind++)
        if (fleet->launchers[kind] != NULL)
            classes[kind]->destroy(fleet->launchers[kind]);
    for (uint32_t i = 0; fleet->places != NULL && i < fleet->place_count; i++)
        mf_free(fleet->places[i].reason);
    mf_free(fleet->places);
    mf_free(fleet->entries);
    mf_free(fleet->workers);
    mf_free(fleet);
}

bool fleet_is_remote(const struct fleet *fleet)
{
    return fleet->launchers[SSH] != NULL || fleet->launchers[SLURM] != NULL ||
           fleet->launchers[COMMAND] != NULL;
}

static bool is_free(const struct fleet *fleet, const struct entry *entry)
{
    return (fleet->is_shared || entry->worker == 0) && !fleet->places[entry->place].unusable;
}

bool fleet_has_room(const struct fleet *fleet)
{
    for (uint32_t i = 0; i < fleet->entry_count; i++)
        if (is_free(fleet, &fleet->entries[i]))
            return true;
    return false;
}

static int
keep_assignment(struct fleet *fleet, uint32_t worker, uint32_t index, struct mf_error *error)
{
    if (worker >= fleet->worker_count) {
        uint32_t count = worker + 64;
        struct assignment *workers = mf_realloc(fleet->workers, count * sizeof *workers);
        if (workers == NULL)
            return out_of_memory(error);
        memset(workers + fleet->worker_count, 0, (count - fleet->worker_count) * sizeof *workers);
        fleet->workers = workers;
        fleet->worker_count = count;
    }
    struct entry *entry = &fleet->entries[index];
    fleet->workers[worker] =
        (struct assignment){.host = entry->host, .entry = index, .place = entry->place};
    entry->worker = worker;
    return 0;
}

static void raise_no_host(const struct fleet *fleet, struct mf_error *error)
{
    uint32_t unusable = 0;
    const char *reason = NULL;
    for (uint32_t i = 0; i < fleet->place_count; i++) {
        if (!fleet->places[i].unusable)
            continue;
        unusable++;
        reason = reason == NULL ? fleet->places[i].reason : reason;
    }
    if (unusable < fleet->place_count)
        mf_raise(error, MF_ESETUP, "each host that can be used has its worker already");
    else if (fleet->place_count == 1)
        mf_raise(error, MF_ESETUP, "%s", reason == NULL ? "out of memory" : reason);
    else
        mf_raise(error,
                 MF_ESETUP,
                 "none of the %u hosts can be used: %.700s (the others are named above)",
                 fleet->place_count,
                 reason == NULL ? "out of memory" : reason);
}

const struct launch_host *fleet_assign(struct fleet *fleet, uint32_t worker, struct mf_error *error)
{
    for (uint32_t n = 0; n < fleet->entry_count; n++) {
        uint32_t index = (fleet->next + n) % fleet->entry_count;
        if (!is_free(fleet, &fleet->entries[index]))
            continue;
        if (keep_assignment(fleet, worker, index, error) < 0)
            return NULL;
        fleet->next = (index + 1) % fleet->entry_count;
        return fleet->entries[index].host;
    }
    raise_no_host(fleet, error);
    return NULL;
}

int fleet_start(struct fleet *fleet, uint32_t worker, const char *input, struct mf_error *error)
{
    const struct launcher_class *class;
    struct launcher *launcher = launcher_of(fleet, worker, &class);
    const struct assignment *assignment = assignment_of(fleet, worker);
    struct launch_order order = {.worker = worker, .host = assignment->host, .input = input};
    if (class->start(launcher, &order, error) < 0) {
        release(fleet, worker);
        return -1;
    }
    fleet->places[assignment->place].launched++;
    return 0;
}

static bool is_named(const struct fleet *fleet, uint32_t index, const char *place)
{
    return fleet->is_shared || strcmp(fleet->entries[index].host->name, place) == 0;
}

void fleet_touch(struct fleet *fleet, const char *place)
{
    for (uint32_t i = 0; i < fleet->entry_count; i++)
        if (is_named(fleet, i, place))
            fleet->places[fleet->entries[i].place].touched = true;
}

int fleet_adopt(
    struct fleet *fleet, uint32_t worker, const char *place, uint32_t pid, struct mf_error *error)
{
    for (uint32_t i = 0; i < fleet->entry_count; i++) {
        if (!is_free(fleet, &fleet->entries[i]) || !is_named(fleet, i, place))
            continue;
        if (keep_assignment(fleet, worker, i, error) < 0)
            return -1;
        fleet->places[fleet->entries[i].place].touched = true;
        fleet->places[fleet->entries[i].place].launched++;
        struct launch_known known = {.worker = worker, .pid = pid, .host = fleet->entries[i].host};
        int kind = kind_of(known.host);
        int rc = classes[kind]->adopt(fleet->launchers[kind], &known, error);
        if (rc <= 0)
            release(fleet, worker);
        return rc;
    }
    return mf_raise(
        error, MF_EINPUT, "worker %u is on %s, which has no place for it", worker, place);
}

void fleet_readdress(struct fleet *fleet, uint32_t worker, const char *addresses)
{
    const struct launcher_class *class;
    struct launcher *launcher = launcher_of(fleet, worker, &class);
    if (launcher != NULL)
        class->readdress(launcher, assignment_of(fleet, worker)->host, worker, addresses);
}

int fleet_open_way(
    struct fleet *fleet, uint32_t worker, uint16_t port, uint16_t *local, struct mf_error *error)
{
    const struct launcher_class *class;
    struct launcher *launcher = launcher_of(fleet, worker, &class);
    if (launcher == NULL || class->open_way == NULL)
        return mf_raise(error, MF_ESETUP, "worker %u can only be reached directly", worker);
    const struct launch_host *host = assignment_of(fleet, worker)->host;
    return class->open_way(launcher, host, worker, port, local, error);
}

void fleet_close_way(struct fleet *fleet, uint32_t worker)
{
    const struct launcher_class *class;
    struct launcher *launcher = launcher_of(fleet, worker, &class);
    if (launcher != NULL && class->close_way != NULL)
        class->close_way(launcher, worker);
}

void fleet_stop(struct fleet *fleet, uint32_t worker)
{
    const struct launcher_class *class;
    struct launcher *launcher = launcher_of(fleet, worker, &class);
    if (launcher == NULL)
        return;
    release(fleet, worker);
    class->stop(launcher, assignment_of(fleet, worker)->host, worker);
}

void fleet_leave_out(struct fleet *fleet, uint32_t worker, const char *reason)
{
    const struct assignment *assignment = assignment_of(fleet, worker);
    if (assignment != NULL && !fleet->is_shared)
        leave_out(fleet, &fleet->places[assignment->place], reason);
}

void fleet_lost(struct fleet *fleet, uint32_t worker, uint32_t most)
{
    const struct assignment *assignment = assignment_of(fleet, worker);
    char reason[300];
    if (assignment == NULL)
        return;
    struct place *place = &fleet->places[assignment->place];
    if (++place->losses != most)
        return;
    snprintf(reason,
             sizeof reason,
             "%.160s: %u workers in a row were lost there before any of them finished a subtask "
             "(workers.max_losses)",
             place->host->name,
             most);
    fleet_leave_out(fleet, worker, reason);
}

void fleet_proved(struct fleet *fleet, uint32_t worker)
{
    const struct assignment *assignment = assignment_of(fleet, worker);
    if (assignment != NULL)
        fleet->places[assignment->place].losses = 0;
}

const struct launch_host *fleet_host_of(const struct fleet *fleet, uint32_t worker)
{
    const struct assignment *assignment = assignment_of(fleet, worker);
    return assignment == NULL ? NULL : assignment->host;
}

void fleet_joined(struct fleet *fleet, uint32_t worker)
{
    const struct launcher_class *class;
    struct launcher *launcher = launcher_of(fleet, worker, &class);
    if (launcher != NULL && class->joined != NULL)
        class->joined(launcher, worker);
}

void fleet_farewell(struct fleet *fleet, uint32_t worker)
{
    const struct launcher_class *class;
    struct launcher *launcher = launcher_of(fleet, worker, &class);
    if (launcher != NULL)
        class->farewell(launcher, worker);
}

int fleet_sweep(struct fleet *fleet, struct mf_error *error)
{
    fleet->sweeping = true;
    for (uint32_t i = 0; i < fleet->place_count; i++)
        if (sweep_place(fleet, &fleet->places[i], error) < 0)
            return -1;
    return 0;
}

void fleet_end_sweep(struct fleet *fleet)
{
    for (uint32_t i = 0; i < fleet->place_count; i++) {
        struct place *place = &fleet->places[i];
        if (place->touched && !place->sweep_told)
            tell_unswept(fleet, place, "the sweep did not end in time");
    }
}

int fleet_check(struct fleet *fleet, struct mf_error *error)
{
    for (uint32_t i = 0; i < fleet->place_count; i++) {
        const struct launch_host *host = fleet->places[i].host;
        int kind = kind_of(host);
        if (classes[kind]->check(fleet->launchers[kind], host, error) < 0)
            return -1;
    }
    return 0;
}

bool fleet_is_idle(const struct fleet *fleet)
{
    for (int kind = 0; kind < KINDS; kind++)
        if (fleet->launchers[kind] != NULL && !classes[kind]->is_idle(fleet->launchers[kind]))
            return false;
    return true;
}

int64_t fleet_tick(struct fleet *fleet, int64_t now_us)
{
    int64_t next = MF_NEVER;
    for (int kind = 0; kind < KINDS; kind++) {
        if (fleet->launchers[kind] == NULL)
            continue;
        int64_t at = classes[kind]->tick(fleet->launchers[kind], now_us);
        next = at < next ? at : next;
    }
    return next;
}

uint32_t fleet_place_of(const struct fleet *fleet, uint32_t worker)
{
    const struct assignment *assignment = assignment_of(fleet, worker);
    return assignment == NULL ? UINT32_MAX : assignment->place;
}

uint32_t fleet_place_count(const struct fleet *fleet)
{
    return fleet->place_count;
}

void fleet_place(const struct fleet *fleet, uint32_t place, struct fleet_place *out)
{
    const struct place *p = &fleet->places[place];
    *out = (struct fleet_place){.name = p->host->name,
                                .host = p->host,
                                .unusable = p->unusable,
                                .reason = p->reason,
                                .launched = p->launched};
}
