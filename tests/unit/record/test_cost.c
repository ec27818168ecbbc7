/* SPDX-License-Identifier: Apache-2.0 */
/* The cost account against tables made by hand: seconds are whole, so that every figure is exact.
 */
#include "tests/unit/record/run_fixture.h"

#include "common/alloc.h"
#include "master/record/cost.h"
#include "master/record/run_db.h"
#include "master/record/schema.h"

#define S 1000000LL

static int setup(void **state)
{
    struct run_fixture *run = calloc(1, sizeof *run);
    sqlite3 *db;
    fixture_folder(run);
    assert_int_equal(sqlite3_open(run->db_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA synchronous = OFF", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, record_schema, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    *state = run;
    return 0;
}

static int teardown(void **state)
{
    struct run_fixture *run = *state;
    fixture_remove(run->folder);
    free(run);
    return 0;
}

static void change(struct run_fixture *run, const char *sql)
{
    sqlite3 *db;
    char *problem = NULL;
    assert_int_equal(sqlite3_open(run->db_path, &db), SQLITE_OK);
    sqlite3_exec(db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    if (sqlite3_exec(db, sql, NULL, NULL, &problem) != SQLITE_OK)
        fail_msg("%s", problem);
    sqlite3_close(db);
}

/* Stamps in seconds; a text: a number or NULL. */
static void worker(struct run_fixture *run,
                   int id,
                   const char *place,
                   int slots,
                   const char *launched,
                   const char *joined,
                   const char *ended)
{
    char *sql = mf_format("INSERT INTO worker(id, place, slots, launched_us, joined_us, ended_us)"
                          " VALUES(%d, '%s', nullif(%d, 0), %s * 1000000, %s * 1000000,"
                          " %s * 1000000)",
                          id,
                          place,
                          slots,
                          launched,
                          joined,
                          ended);
    change(run, sql);
    mf_free(sql);
}

static void event(struct run_fixture *run, const char *kind, int worker_id, int at)
{
    char *sql = mf_format("INSERT INTO event(wall_us, kind, worker) VALUES(%d * 1000000, '%s', %d)",
                          at,
                          kind,
                          worker_id);
    change(run, sql);
    mf_free(sql);
}

static void attempt(struct run_fixture *run, int subtask, int number, int worker_id, int seconds)
{
    char *sql = mf_format(
        "INSERT INTO attempt(id, state, superseded, cause, exit_code, signal, epoch, worker,"
        " ended_us, wall_us, user_us, system_us, peak_kib, result_bytes, output_count,"
        " output_bytes) VALUES(%d * 65536 + %d, 'done', 0, 'none', 0, 0, 1, %d, 0,"
        " %d * 1000000, 0, 0, 0, 0, 0, 0)",
        subtask,
        number,
        worker_id,
        seconds);
    change(run, sql);
    mf_free(sql);
}

static struct cost read_cost(struct run_fixture *run, int64_t open_s)
{
    struct mf_error error;
    struct cost cost;
    sqlite3 *db = run_db_open(run->db_path, &error);
    if (db == NULL || cost_read(db, open_s * S, &cost, &error) < 0)
        fail_msg("%s", error.text);
    run_db_close(db);
    return cost;
}

static void expect(const struct cost_share *share,
                   const char *host,
                   int workers,
                   int launching,
                   int busy,
                   int idle,
                   int dismissing)
{
    assert_string_equal(share->host, host);
    assert_int_equal(share->workers, workers);
    assert_int_equal(share->launching_us, launching * S);
    assert_int_equal(share->busy_us, busy * S);
    assert_int_equal(share->idle_us, idle * S);
    assert_int_equal(share->dismissing_us, dismissing * S);
    assert_int_equal(share->paid_us, (launching + busy + idle + dismissing) * S);
}

static void nobody_was_paid(void **state)
{
    struct cost cost = read_cost(*state, 100);
    assert_int_equal(cost.count, 0);
    expect(&cost.total, "", 0, 0, 0, 0, 0);
    cost_fini(&cost);
}

static void one_worker_in_its_four_phases(void **state)
{
    worker(*state, 1, "one", 2, "100", "103", "120");
    event(*state, "worker dismissed", 1, 118);
    attempt(*state, 1, 1, 1, 10);
    attempt(*state, 2, 1, 1, 8); /* 18 of 30 slot seconds */
    struct cost cost = read_cost(*state, 121);
    assert_int_equal(cost.count, 1);
    expect(&cost.hosts[0], "one", 1, 3, 9, 6, 2);
    expect(&cost.total, "", 1, 3, 9, 6, 2);
    cost_fini(&cost);
}

/* Superseded and retried attempts were paid for as well. */
static void what_was_in_vain_was_busy(void **state)
{
    worker(*state, 1, "one", 1, "100", "100", "110");
    attempt(*state, 1, 1, 1, 4);
    attempt(*state, 1, 2, 1, 3);
    change(*state, "UPDATE attempt SET state = 'retried' WHERE attempt = 1");
    change(*state, "UPDATE attempt SET superseded = 1");
    struct cost cost = read_cost(*state, 120);
    expect(&cost.total, "", 1, 0, 7, 3, 0);
    cost_fini(&cost);
}

static void two_workers_of_a_host_are_paid_once(void **state)
{
    worker(*state, 1, "one", 1, "100", "102", "112");
    worker(*state, 2, "one", 3, "101", "102", "114");
    event(*state, "worker dismissed", 1, 112);
    event(*state, "worker dismissed", 2, 112);
    attempt(*state, 1, 1, 1, 10);
    attempt(*state, 2, 1, 2, 10); /* 20 of 40 slot seconds */
    struct cost cost = read_cost(*state, 120);
    assert_int_equal(cost.count, 1);
    expect(&cost.hosts[0], "one", 2, 2, 5, 5, 2);
    cost_fini(&cost);
}

/* A lost worker, on whose place another one came after a while in which nobody was there. */
static void a_lost_worker_and_its_successor(void **state)
{
    worker(*state, 1, "b", 1, "100", "101", "115");
    event(*state, "worker lost", 1, 111);
    event(*state, "worker dismissed", 1, 114);
    attempt(*state, 1, 1, 1, 6); /* and four seconds with one that was lost */
    worker(*state, 2, "b", 1, "130", "132", "142");
    event(*state, "worker dismissed", 2, 142);
    attempt(*state, 1, 2, 2, 10);
    worker(*state, 3, "a", 1, "100", "NULL", "107"); /* never joined */
    event(*state, "worker lost", 3, 105);
    struct cost cost = read_cost(*state, 150);
    assert_int_equal(cost.count, 2);
    expect(&cost.hosts[0], "a", 1, 5, 0, 0, 2);
    expect(&cost.hosts[1], "b", 2, 3, 16, 4, 4);
    expect(&cost.total, "", 3, 8, 16, 4, 6);
    cost_fini(&cost);
}

/* The master is dead, or lives: what has no end counts up to now. */
static void what_has_no_end_counts_up_to_now(void **state)
{
    worker(*state, 1, "one", 1, "100", "104", "NULL");
    worker(*state, 2, "two", 0, "100", "NULL", "NULL");
    attempt(*state, 1, 1, 1, 6);
    struct cost cost = read_cost(*state, 114);
    expect(&cost.hosts[0], "one", 1, 4, 6, 4, 0);
    expect(&cost.hosts[1], "two", 1, 14, 0, 0, 0);
    cost_fini(&cost);
    cost = read_cost(*state, 90); /* the clock was set back */
    expect(&cost.total, "", 2, 0, 0, 0, 0);
    cost_fini(&cost);
}

/* Stamps that contradict each other: nothing is negative, nothing counts twice. */
static void clocks_that_jump(void **state)
{
    worker(*state, 1, "one", 1, "100", "90", "110");
    event(*state, "worker dismissed", 1, 130);
    attempt(*state, 1, 1, 1, 50);
    worker(*state, 2, "two", 1, "100", "105", "95");
    attempt(*state, 2, 1, 2, 5);
    attempt(*state, 3, 1, 7, 5); /* of a worker without a row */
    struct cost cost = read_cost(*state, 200);
    expect(&cost.hosts[0], "one", 1, 0, 10, 0, 0);
    expect(&cost.hosts[1], "two", 1, 0, 0, 0, 0);
    cost_fini(&cost);
}

/* No host was found for it: nobody was paid. Files of version 1 know hosts, but no places. */
static void places_that_are_not_known(void **state)
{
    change(*state, "INSERT INTO worker(id, launched_us, ended_us) VALUES(1, 100000000, 100000000)");
    struct cost cost = read_cost(*state, 200);
    assert_int_equal(cost.count, 0);
    cost_fini(&cost);
    change(*state, "ALTER TABLE worker DROP COLUMN place");
    change(*state,
           "INSERT INTO worker(id, host, slots, launched_us, joined_us, ended_us)"
           " VALUES(2, 'h', 1, 100000000, 101000000, 105000000)");
    cost = read_cost(*state, 200);
    assert_int_equal(cost.count, 1);
    expect(&cost.hosts[0], "h", 1, 1, 0, 4, 0);
    cost_fini(&cost);
}

/* Behind Slurm's queue: its nodes count, each from when a job began there; who only waited is not
 * paid, and who joined before the queue said when it began, since then. */
static void nodes_behind_a_queue(void **state)
{
    worker(*state, 1, "slurm", 1, "110", "112", "120");
    worker(*state, 2, "slurm", 1, "111", "112", "120");
    worker(*state, 3, "slurm", 1, "NULL", "NULL", "190");
    worker(*state, 4, "slurm", 1, "NULL", "115", "120");
    change(*state, "UPDATE worker SET host = 'n1' WHERE id IN (1, 4)");
    change(*state, "UPDATE worker SET host = 'n2' WHERE id = 2");
    struct cost cost = read_cost(*state, 200);
    assert_int_equal(cost.count, 2);
    expect(&cost.hosts[0], "n1", 2, 2, 0, 8, 0);
    expect(&cost.hosts[1], "n2", 1, 1, 0, 8, 0);
    expect(&cost.total, "", 3, 3, 0, 16, 0);
    cost_fini(&cost);
}

/* Whoever joins again, with another master, had joined before. */
static void the_first_join_stays(void **state)
{
    struct run_fixture *run = *state;
    struct mf_error error;
    remove(run->db_path);
    fixture_open(run);
    struct record_worker row = {.id = 1, .place = "one", .slots = 1, .launched_us = 100 * S};
    assert_int_equal(record_worker(run->recorder, &row, &error), 0);
    row = (struct record_worker){.id = 1, .joined_us = 101 * S};
    assert_int_equal(record_worker(run->recorder, &row, &error), 0);
    row = (struct record_worker){.id = 1, .joined_us = 160 * S, .ended_us = 170 * S};
    assert_int_equal(record_worker(run->recorder, &row, &error), 0);
    fixture_close(run);
    struct cost cost = read_cost(run, 200);
    expect(&cost.total, "", 1, 1, 0, 69, 0);
    cost_fini(&cost);
}

static void no_memory_no_account(void **state)
{
    struct run_fixture *run = *state;
    worker(run, 1, "one", 1, "100", "104", "110");
    struct mf_error error;
    sqlite3 *db = run_db_open(run->db_path, &error);
    assert_non_null(db);
    int failed = 0;
    for (unsigned long n = 1;; n++) {
        struct cost cost;
        mf_alloc_fail_at(n);
        int rc = cost_read(db, 200 * S, &cost, &error);
        mf_alloc_fail_at(0);
        if (rc == 0) {
            cost_fini(&cost);
            break;
        }
        assert_int_equal(error.code, MF_ENOMEM);
        failed++;
    }
    assert_true(failed >= 3);
    run_db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_was_paid, setup, teardown),
        cmocka_unit_test_setup_teardown(one_worker_in_its_four_phases, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_in_vain_was_busy, setup, teardown),
        cmocka_unit_test_setup_teardown(two_workers_of_a_host_are_paid_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_worker_and_its_successor, setup, teardown),
        cmocka_unit_test_setup_teardown(what_has_no_end_counts_up_to_now, setup, teardown),
        cmocka_unit_test_setup_teardown(clocks_that_jump, setup, teardown),
        cmocka_unit_test_setup_teardown(places_that_are_not_known, setup, teardown),
        cmocka_unit_test_setup_teardown(nodes_behind_a_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(the_first_join_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(no_memory_no_account, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
