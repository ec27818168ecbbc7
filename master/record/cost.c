/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cost account: see cost.h. A worker is *launching* from the order to start it to its first
 * join, then *ready* until it is told to go or is lost, then *dismissing* until it is known to have
 * ended. A host with several workers is paid once: it is ready while one of them is, else launching
 * while one is, else dismissing. Its ready time is split into busy and idle by the share of slot
 * time that recorded attempts took.
 *
 * Invariant: a worker's four stamps never fall (a clock that was set back makes a phase empty,
 * never negative), so launching + ready + dismissing = paid, and busy + idle = ready.
 */
#include "master/record/cost.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "master/record/sql.h"

struct used {
    char host[256];
    int64_t launched_us, joined_us, leaving_us, ended_us;
    uint32_t id, slots;
    uint64_t busy_us;
};

struct reading {
    sqlite3 *db;
    const char *path;
    int64_t open_us;
    struct used *workers; /* by rising ids until they are sorted by host */
    size_t count, capacity;
};

/* From here on so many more (or fewer) workers of the host are in that phase. */
struct step {
    int64_t at_us;
    int launching, dismissing, slots, ready;
};

static int64_t latest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static struct used *used_of(const struct reading *reading, int64_t id)
{
    size_t low = 0, high = reading->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (reading->workers[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < reading->count && reading->workers[low].id == id ? &reading->workers[low] : NULL;
}

/* Puts the stamps into their order; 0 = not known. */
static void set_stamps(struct used *worker, int64_t open_us)
{
    int64_t end_us = worker->ended_us != 0 ? worker->ended_us : open_us;
    worker->ended_us = end_us = latest(end_us, worker->launched_us);
    if (worker->leaving_us == 0)
        worker->leaving_us = end_us;
    worker->leaving_us = earliest(latest(worker->leaving_us, worker->launched_us), end_us);
    if (worker->joined_us == 0)
        worker->joined_us = worker->leaving_us;
    worker->joined_us =
        earliest(latest(worker->joined_us, worker->launched_us), worker->leaving_us);
}

static int add_worker(struct reading *reading, sqlite3_stmt *stmt, struct mf_error *error)
{
    if (reading->count == reading->capacity) {
        size_t capacity = reading->capacity == 0 ? 64 : 2 * reading->capacity;
        struct used *grown = mf_realloc(reading->workers, capacity * sizeof *grown);
        if (grown == NULL)
            return mf_raise(error, MF_ENOMEM, "out of memory: the workers of a run");
        reading->workers = grown;
        reading->capacity = capacity;
    }
    struct used *worker = &reading->workers[reading->count++];
    *worker = (struct used){.id = (uint32_t)sqlite3_column_int64(stmt, 0),
                            .slots = (uint32_t)sqlite3_column_int64(stmt, 2),
                            .launched_us = sqlite3_column_int64(stmt, 3),
                            .joined_us = sqlite3_column_int64(stmt, 4),
                            .ended_us = sqlite3_column_int64(stmt, 5)};
    sql_column_copy(stmt, 1, worker->host, sizeof worker->host);
    return 0;
}

/* Runs `query`, and `row` for each of its rows. */
static int each(struct reading *reading,
                const char *query,
                int (*row)(struct reading *, sqlite3_stmt *, struct mf_error *),
                struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = SQLITE_ROW, result = sql_prepare(reading->db, reading->path, query, &stmt, error);
    while (result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        result = row(reading, stmt, error);
    if (result == 0 && rc != SQLITE_DONE)
        result = sql_raise(reading->db, reading->path, error);
    sqlite3_finalize(stmt);
    return result;
}

static int add_leaving(struct reading *reading, sqlite3_stmt *stmt, struct mf_error *error)
{
    (void)error;
    struct used *worker = used_of(reading, sqlite3_column_int64(stmt, 0));
    if (worker != NULL)
        worker->leaving_us = sqlite3_column_int64(stmt, 1);
    return 0;
}

static int add_attempt(struct reading *reading, sqlite3_stmt *stmt, struct mf_error *error)
{
    (void)error;
    struct used *worker = used_of(reading, sqlite3_column_int64(stmt, 0));
    int64_t wall_us = sqlite3_column_int64(stmt, 1);
    if (worker != NULL && wall_us > 0)
        worker->busy_us += (uint64_t)wall_us;
    return 0;
}

/* A worker that no host was found for (no place, no host) was nowhere; so was one that has only
 * waited in Slurm's queue. Of one that has not, the node counts. */
#define WORKERS(PLACE)                                                                             \
    "SELECT id, coalesce(" PLACE "host), slots, coalesce(launched_us, joined_us) AS begun_us,"     \
    " joined_us, ended_us FROM worker"                                                             \
    " WHERE begun_us IS NOT NULL AND coalesce(" PLACE "host) IS NOT NULL ORDER BY id"

static int read_tables(struct reading *reading, struct mf_error *error)
{
    int64_t has_place = 0;
    if (sql_integer(reading->db,
                    reading->path,
                    "SELECT count(*) FROM pragma_table_info('worker') WHERE name = 'place'",
                    &has_place,
                    error) < 0 ||
        each(reading,
             has_place != 0 ? WORKERS("CASE place WHEN 'slurm' THEN host END, place, ")
                            : WORKERS("NULL, "),
             add_worker,
             error) < 0)
        return -1;
    if (each(reading,
             "SELECT worker, min(wall_us) FROM event"
             " WHERE kind IN ('worker dismissed', 'worker lost') GROUP BY worker",
             add_leaving,
             error) < 0 ||
        each(reading, "SELECT worker, wall_us FROM attempt", add_attempt, error) < 0)
        return -1;
    for (size_t i = 0; i < reading->count; i++)
        set_stamps(&reading->workers[i], reading->open_us);
    return 0;
}

static int by_host(const void *a, const void *b)
{
    return strcmp(((const struct used *)a)->host, ((const struct used *)b)->host);
}

static int by_time(const void *a, const void *b)
{
    int64_t at_a = ((const struct step *)a)->at_us, at_b = ((const struct step *)b)->at_us;
    return (at_a > at_b) - (at_a < at_b);
}

static size_t add_steps(const struct used *worker, struct step *steps)
{
    int slots = worker->slots > 0 ? (int)worker->slots : 1;
    steps[0] = (struct step){.at_us = worker->launched_us, .launching = 1};
    steps[1] =
        (struct step){.at_us = worker->joined_us, .launching = -1, .ready = 1, .slots = slots};
    steps[2] =
        (struct step){.at_us = worker->leaving_us, .ready = -1, .slots = -slots, .dismissing = 1};
    steps[3] = (struct step){.at_us = worker->ended_us, .dismissing = -1};
    return 4;
}

/* Of one host: `steps` has room for four a worker. */
static void
account(const struct used *workers, size_t count, struct step *steps, struct cost_share *share)
{
    struct step now = {0};
    size_t step_count = 0;
    double slot_us = 0, busy_us = 0;
    int64_t ready_us = 0;
    for (size_t i = 0; i < count; i++) {
        step_count += add_steps(&workers[i], steps + step_count);
        busy_us += (double)workers[i].busy_us;
    }
    qsort(steps, step_count, sizeof *steps, by_time);
    for (size_t i = 0; i < step_count; i++) {
        int64_t passed_us = i == 0 ? 0 : steps[i].at_us - steps[i - 1].at_us;
        if (now.ready > 0)
            ready_us += passed_us;
        else if (now.launching > 0)
            share->launching_us += passed_us;
        else if (now.dismissing > 0)
            share->dismissing_us += passed_us;
        slot_us += (double)passed_us * now.slots;
        now.ready += steps[i].ready;
        now.slots += steps[i].slots;
        now.launching += steps[i].launching;
        now.dismissing += steps[i].dismissing;
    }
    double used = slot_us > 0 ? busy_us / slot_us : 0;
    share->busy_us = used >= 1 ? ready_us : (int64_t)((double)ready_us * used);
    share->idle_us = ready_us - share->busy_us;
    share->paid_us = ready_us + share->launching_us + share->dismissing_us;
    share->workers = (uint32_t)count;
    memcpy(share->host, workers[0].host, sizeof share->host);
}

static void add_share(struct cost_share *total, const struct cost_share *share)
{
    total->workers += share->workers;
    total->paid_us += share->paid_us;
    total->busy_us += share->busy_us;
    total->idle_us += share->idle_us;
    total->launching_us += share->launching_us;
    total->dismissing_us += share->dismissing_us;
}

static int make_account(struct reading *reading, struct cost *cost, struct mf_error *error)
{
    struct used *workers = reading->workers;
    size_t count = reading->count;
    if (count == 0)
        return 0;
    struct step *steps = mf_calloc(4 * count, sizeof *steps);
    cost->hosts = mf_calloc(count, sizeof *cost->hosts);
    if (steps == NULL || cost->hosts == NULL) {
        mf_free(steps);
        cost_fini(cost);
        return mf_raise(error, MF_ENOMEM, "out of memory: the cost of a run");
    }
    qsort(workers, count, sizeof *workers, by_host);
    for (size_t first = 0, next; first < count; first = next) {
        for (next = first + 1; next < count && by_host(&workers[first], &workers[next]) == 0;)
            next++;
        struct cost_share *share = &cost->hosts[cost->count++];
        account(&workers[first], next - first, steps, share);
        add_share(&cost->total, share);
    }
    mf_free(steps);
    return 0;
}

int cost_read(sqlite3 *db, int64_t open_us, struct cost *cost, struct mf_error *error)
{
    struct reading reading = {
        .db = db, .path = sqlite3_db_filename(db, "main"), .open_us = open_us};
    *cost = (struct cost){0};
    int rc = read_tables(&reading, error);
    if (rc == 0)
        rc = make_account(&reading, cost, error);
    mf_free(reading.workers);
    return rc;
}

void cost_fini(struct cost *cost)
{
    mf_free(cost->hosts);
    *cost = (struct cost){0};
}
