/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of messages: claimed, done, failed, given back, dead, replayed, purged; and the
 * order within groups through all of that. */
#include "tests/unit/queue/queue_fixture.h"

static void push_all(struct fixture *fixture, const char *bodies)
{
    char copy[128], *save = NULL;
    snprintf(copy, sizeof copy, "%s", bodies);
    for (char *body = strtok_r(copy, " ", &save); body; body = strtok_r(NULL, " ", &save)) {
        /* "A1" is of group A, "1" of none. */
        char group[2] = {body[0], '\0'};
        push(fixture, "docs", body, body[0] >= 'A' ? group : NULL);
    }
}

static int begin(void **state)
{
    if (fixture_begin(state) < 0)
        return -1;
    make_queue(*state, "docs", (struct queue_settings){.claims_max = 2});
    return 0;
}

static void fail_one(struct fixture *fixture, const char *run_id, int64_t id, const char *cause)
{
    assert_int_equal(queue_fail(fixture->queues, run_id, id, cause, &fixture->error), 1);
    check_invariants(fixture);
}

static uint64_t give_back(struct fixture *fixture, const char *run_id, bool blame)
{
    uint64_t count = 99;
    ok(fixture,
       queue_give_back(fixture->queues, run_id, blame, "prepare", &count, &fixture->error));
    check_invariants(fixture);
    return count;
}

static uint64_t done(struct fixture *fixture, const char *run_id)
{
    uint64_t count = 99;
    ok(fixture, queue_done(fixture->queues, run_id, &count, &fixture->error));
    check_invariants(fixture);
    return count;
}

static void test_a_run_claims_in_order_and_is_done(void **state)
{
    struct fixture *fixture = *state;
    push_all(fixture, "1 2 3 4 5");
    assert_int_equal(claim(fixture, "docs", "r1", 2), 2);
    assert_int_equal(claim(fixture, "docs", "r2", 0), 3);
    assert_int_equal(claim(fixture, "docs", "r3", 0), 0);
    check_invariants(fixture);
    assert_string_equal(list_run(fixture, "r1").text, "1 2");
    assert_string_equal(list_run(fixture, "r2").text, "3 4 5");
    assert_string_equal(list(fixture, "docs", "claimed").text, "1 2 3 4 5");
    assert_int_equal(done(fixture, "r1"), 2);
    assert_int_equal(done(fixture, "r1"), 0);
    struct queue_info info = info_of(fixture, "docs");
    assert_int_equal(info.done, 2);
    assert_int_equal(info.claimed, 3);
    assert_int_equal(info.ready, 0);
    assert_int_equal(info.ready_bytes, 0);
    assert_int_equal(info.pushed, 5);
}

static void test_claimed_messages_are_read_in_pieces(void **state)
{
    struct fixture *fixture = *state;
    push_all(fixture, "1 2 3 4 5");
    claim(fixture, "docs", "r1", 0);
    struct listing two = {0}, rest = {0};
    ok(fixture, queue_claimed(fixture->queues, "r1", 0, 2, list_one, &two, &fixture->error));
    assert_string_equal(two.text, "1 2");
    ok(fixture,
       queue_claimed(fixture->queues, "r1", two.first_id + 1, 0, list_one, &rest, &fixture->error));
    assert_string_equal(rest.text, "3 4 5");
}

static void test_what_is_given_back_is_in_its_old_place(void **state)
{
    struct fixture *fixture = *state;
    push_all(fixture, "1 2");
    claim(fixture, "docs", "r1", 0);
    push_all(fixture, "3");
    assert_int_equal(give_back(fixture, "r1", false), 2);
    assert_string_equal(list(fixture, "docs", "ready").text, "1 2 3");
    assert_int_equal(list(fixture, "docs", "ready").failures, 0);
    assert_int_equal(list(fixture, "docs", "ready").claims, 1);
    assert_int_equal(info_of(fixture, "docs").ready_bytes, 3);
    assert_int_equal(give_back(fixture, "r1", false), 0);
}

static void test_a_message_that_fails_too_often_is_dead(void **state)
{
    struct fixture *fixture = *state;
    push_all(fixture, "1 2 3");
    claim(fixture, "docs", "r1", 0);
    int64_t poison = list_run(fixture, "r1").first_id;
    fail_one(fixture, "r1", poison, "exit code 7");
    assert_int_equal(queue_fail(fixture->queues, "r1", poison, "again", &fixture->error), 0);
    assert_int_equal(done(fixture, "r1"), 2);
    assert_string_equal(list(fixture, "docs", "ready").text, "1");
    assert_string_equal(list(fixture, "docs", "ready").cause, "exit code 7");
    claim(fixture, "docs", "r2", 0);
    fail_one(fixture, "r2", poison, "exit code 8");
    struct listing dead = list(fixture, "docs", "dead");
    assert_string_equal(dead.text, "1");
    assert_string_equal(dead.cause, "exit code 8");
    assert_int_equal(dead.failures, 2);
    assert_int_equal(done(fixture, "r2"), 0);
    assert_int_equal(claim(fixture, "docs", "r3", 0), 0);
    struct queue_info info = info_of(fixture, "docs");
    assert_int_equal(info.dead, 1);
    assert_int_equal(info.done, 2);
    assert_string_equal(list_run(fixture, "r2").text, "");
}

static void test_a_run_can_blame_all_of_its_messages(void **state)
{
    struct fixture *fixture = *state;
    push_all(fixture, "1 2");
    claim(fixture, "docs", "r1", 1);
    assert_int_equal(give_back(fixture, "r1", true), 1);
    claim(fixture, "docs", "r2", 0);
    assert_int_equal(give_back(fixture, "r2", true), 2);
    assert_string_equal(list(fixture, "docs", "dead").text, "1");
    assert_string_equal(list(fixture, "docs", "dead").cause, "prepare");
    assert_string_equal(list(fixture, "docs", "ready").text, "2");
}

static void test_only_the_first_of_a_group_goes(void **state)
{
    struct fixture *fixture = *state;
    push_all(fixture, "A1 A2 1 B1 A3 B2");
    assert_int_equal(claim(fixture, "docs", "r1", 0), 3);
    assert_string_equal(list_run(fixture, "r1").text, "A1 1 B1");
    assert_string_equal(list(fixture, "docs", "ready").text, "A2 A3 B2");
    assert_int_equal(info_of(fixture, "docs").oldest_us, 0);
    assert_int_equal(claim(fixture, "docs", "r2", 0), 0);
    push_all(fixture, "A4 2");
    assert_int_equal(claim(fixture, "docs", "r2", 0), 1);
    assert_int_equal(done(fixture, "r1"), 3);
    assert_int_equal(claim(fixture, "docs", "r3", 0), 2);
    assert_string_equal(list_run(fixture, "r3").text, "A2 B2");
    assert_int_equal(done(fixture, "r3"), 2);
    assert_int_equal(claim(fixture, "docs", "r4", 0), 1);
    assert_string_equal(list_run(fixture, "r4").text, "A3");
    check_invariants(fixture);
}

static void test_a_group_waits_for_the_first_that_is_given_back(void **state)
{
    struct fixture *fixture = *state;
    push_all(fixture, "A1 A2");
    claim(fixture, "docs", "r1", 0);
    assert_int_equal(give_back(fixture, "r1", false), 1);
    assert_int_equal(claim(fixture, "docs", "r2", 0), 1);
    assert_string_equal(list_run(fixture, "r2").text, "A1");
}

static void test_a_dead_message_lets_its_group_go_on(void **state)
{
    struct fixture *fixture = *state;
    uint64_t count;
    push_all(fixture, "A1 A2 A3");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(claim(fixture, "docs", "r", 0), 1);
        fail_one(fixture, "r", list_run(fixture, "r").first_id, "poison");
    }
    assert_string_equal(list(fixture, "docs", "dead").text, "A1");
    assert_int_equal(claim(fixture, "docs", "r2", 0), 1);
    assert_string_equal(list_run(fixture, "r2").text, "A2");
    struct queue_info info = info_of(fixture, "docs");
    ok(fixture, queue_replay(fixture->queues, info.id, 0, NOW + HOUR, &count, &fixture->error));
    check_invariants(fixture);
    assert_int_equal(count, 1);
    assert_string_equal(list(fixture, "docs", "ready").text, "A3 A1");
    assert_int_equal(done(fixture, "r2"), 1);
    assert_int_equal(claim(fixture, "docs", "r3", 0), 1);
    assert_string_equal(list_run(fixture, "r3").text, "A3");
}

/* Makes the messages dead that are ready. */
static void kill_all(struct fixture *fixture)
{
    while (claim(fixture, "docs", "killer", 0) > 0)
        give_back(fixture, "killer", true);
}

static void test_replayed_messages_are_as_new_ones(void **state)
{
    struct fixture *fixture = *state;
    uint64_t count;
    push_all(fixture, "1 A1 A2 2");
    kill_all(fixture);
    assert_string_equal(list(fixture, "docs", "dead").text, "1 A1 A2 2");
    struct queue_info info = info_of(fixture, "docs");
    int64_t first = list(fixture, "docs", "dead").first_id;
    ok(fixture, queue_replay(fixture->queues, info.id, first, NOW + HOUR, &count, &fixture->error));
    assert_int_equal(count, 1);
    check_invariants(fixture);
    struct listing ready = list(fixture, "docs", "ready");
    assert_string_equal(ready.text, "1");
    assert_int_equal(ready.failures, 0);
    assert_true(ready.first_id > first + 3);
    assert_int_equal(info_of(fixture, "docs").oldest_us, NOW + HOUR);
    ok(fixture, queue_replay(fixture->queues, info.id, first, NOW + HOUR, &count, &fixture->error));
    assert_int_equal(count, 0);
    ok(fixture, queue_replay(fixture->queues, info.id, 0, NOW + HOUR, &count, &fixture->error));
    assert_int_equal(count, 3);
    check_invariants(fixture);
    assert_string_equal(list(fixture, "docs", "ready").text, "1 A1 A2 2");
    assert_int_equal(info_of(fixture, "docs").dead, 0);
    assert_int_equal(claim(fixture, "docs", "r", 0), 3);
    assert_string_equal(list_run(fixture, "r").text, "1 A1 2");
    assert_int_equal(give_back(fixture, "r", true), 3);
    assert_string_equal(list(fixture, "docs", "dead").text, "");
}

static void test_purging_takes_what_waits_or_is_dead(void **state)
{
    struct fixture *fixture = *state;
    uint64_t count;
    push_all(fixture, "1 A1");
    kill_all(fixture);
    push_all(fixture, "A2 A3 2");
    struct queue_info info = info_of(fixture, "docs");
    claim(fixture, "docs", "r", 1);
    ok(fixture, queue_purge(fixture->queues, info.id, "ready", &count, &fixture->error));
    assert_int_equal(count, 2);
    check_invariants(fixture);
    assert_string_equal(list(fixture, "docs", "claimed").text, "A2");
    push_all(fixture, "A4");
    assert_int_equal(claim(fixture, "docs", "r2", 0), 0);
    ok(fixture, queue_purge(fixture->queues, info.id, "dead", &count, &fixture->error));
    assert_int_equal(count, 2);
    check_invariants(fixture);
    assert_int_equal(done(fixture, "r"), 1);
    assert_string_equal(list(fixture, "docs", "ready").text, "A4");
    assert_int_equal(claim(fixture, "docs", "r3", 0), 1);
}

static void test_queues_do_not_touch_each_other(void **state)
{
    struct fixture *fixture = *state;
    uint64_t count;
    make_queue(fixture, "other", (struct queue_settings){.claims_max = 1});
    push_all(fixture, "A1 A2 1");
    push(fixture, "other", "x", "A");
    push(fixture, "other", "y", NULL);
    assert_int_equal(claim(fixture, "docs", "r", 0), 2);
    assert_int_equal(claim(fixture, "other", "r", 0), 2);
    assert_int_equal(give_back(fixture, "r", true), 4);
    assert_string_equal(list(fixture, "docs", "ready").text, "A1 A2 1");
    assert_string_equal(list(fixture, "other", "dead").text, "x y");
    struct queue_info other = info_of(fixture, "other");
    ok(fixture, queue_purge(fixture->queues, other.id, "ready", &count, &fixture->error));
    assert_int_equal(count, 0);
    assert_int_equal(info_of(fixture, "docs").ready, 3);
}

static void test_no_step_looks_at_all_messages(void **state)
{
    struct fixture *fixture = *state;
    struct queue_info info = info_of(fixture, "docs");
    uint64_t count;
    /* All that is prepared: each statement of the station once. */
    push_all(fixture, "1 A1 A2");
    push_keyed(fixture, "docs", "k", NULL, "k", NOW);
    claim(fixture, "docs", "r", 0);
    list_run(fixture, "r");
    fail_one(fixture, "r", list_run(fixture, "r").first_id, "x");
    done(fixture, "r");
    give_back(fixture, "r", true);
    list(fixture, "docs", "ready");
    list(fixture, "docs", "claimed");
    list(fixture, "docs", "dead");
    ok(fixture, queue_replay(fixture->queues, info.id, 0, NOW, &count, &fixture->error));
    ok(fixture, queue_purge(fixture->queues, info.id, "ready", &count, &fixture->error));
    ok(fixture, queue_purge(fixture->queues, info.id, "dead", &count, &fixture->error));
    ok(fixture, queue_forget_keys(fixture->queues, NOW, &fixture->error));
    size_t statements = 0;
    for (sqlite3_stmt *stmt = sqlite3_next_stmt(fixture->queues->db, NULL); stmt != NULL;
         stmt = sqlite3_next_stmt(fixture->queues->db, stmt)) {
        char *sql = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sqlite3_sql(stmt));
        sqlite3_stmt *plan = NULL;
        if (sqlite3_stmt_isexplain(stmt) || strncmp(sqlite3_sql(stmt), "EXPLAIN", 7) == 0) {
            sqlite3_free(sql);
            continue;
        }
        statements++;
        assert_int_equal(sqlite3_prepare_v2(fixture->queues->db, sql, -1, &plan, NULL), SQLITE_OK);
        while (sqlite3_step(plan) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(plan, 3);
            if (strncmp(step, "SCAN message", 12) == 0 &&
                strstr(step, "USING INDEX message_run") == NULL &&
                strstr(step, "USING COVERING INDEX message_run") == NULL)
                fail_msg("%s: %s", sqlite3_sql(stmt), step);
            if (strstr(step, "SCAN seen") != NULL)
                fail_msg("%s: %s", sqlite3_sql(stmt), step);
        }
        sqlite3_finalize(plan);
        sqlite3_free(sql);
    }
    assert_true(statements > 20);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_run_claims_in_order_and_is_done),
        T(test_claimed_messages_are_read_in_pieces),
        T(test_what_is_given_back_is_in_its_old_place),
        T(test_a_message_that_fails_too_often_is_dead),
        T(test_a_run_can_blame_all_of_its_messages),
        T(test_only_the_first_of_a_group_goes),
        T(test_a_group_waits_for_the_first_that_is_given_back),
        T(test_a_dead_message_lets_its_group_go_on),
        T(test_replayed_messages_are_as_new_ones),
        T(test_purging_takes_what_waits_or_is_dead),
        T(test_queues_do_not_touch_each_other),
        T(test_no_step_looks_at_all_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
