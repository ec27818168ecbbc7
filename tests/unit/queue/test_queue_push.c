/* SPDX-License-Identifier: Apache-2.0 */
/* Queues and what is pushed to them: names, limits, order, de-duplication, fan-out, removal. */
#include "tests/unit/queue/queue_fixture.h"

static void test_names_are_checked(void **state)
{
    struct fixture *fixture = *state;
    char longest[QUEUE_NAME_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[QUEUE_NAME_MAX] = '\0';
    assert_int_equal(queue_check_name(longest, &fixture->error), 0);
    assert_int_equal(queue_check_name("after.page-count_2", &fixture->error), 0);
    longest[QUEUE_NAME_MAX] = 'x';
    longest[QUEUE_NAME_MAX + 1] = '\0';
    assert_int_equal(queue_check_name(longest, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "too long"));
    static const char *const wrong[] = {"", "-n", ".hidden", "two words", "a/b", "caf\xc3\xa9"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(queue_check_name(wrong[i], &fixture->error), -1);
        assert_int_equal(fixture->error.code, MF_EUSAGE);
    }
}

static void test_a_queue_has_its_settings_or_the_usual_ones(void **state)
{
    struct fixture *fixture = *state;
    struct queue_info info = make_queue(fixture, "usual", (struct queue_settings){0});
    assert_int_equal(info.body_max, QUEUE_BODY_MAX);
    assert_int_equal(info.claims_max, 3);
    assert_int_equal(info.key_us, 7 * 24 * HOUR);
    assert_int_equal(info.created_us, NOW);
    assert_int_equal(info.oldest_us, 0);
    info = make_queue(
        fixture, "own", (struct queue_settings){.body_max = 10, .claims_max = 1, .key_us = 5});
    assert_int_equal(info.body_max, 10);
    assert_int_equal(info.claims_max, 1);
    assert_int_equal(info.key_us, 5);
}

static void test_a_name_is_there_once(void **state)
{
    struct fixture *fixture = *state;
    struct queue_settings settings = {0};
    int64_t id;
    make_queue(fixture, "docs", settings);
    assert_int_equal(queue_create(fixture->queues, "docs", &settings, NOW, &id, &fixture->error),
                     -1);
    assert_int_equal(fixture->error.code, MF_EUSAGE);
    assert_non_null(strstr(fixture->error.text, "\"docs\" already"));
    settings.body_max = QUEUE_BODY_MAX + 1;
    assert_int_equal(queue_create(fixture->queues, "big", &settings, NOW, &id, &fixture->error),
                     -1);
    assert_non_null(strstr(fixture->error.text, "1048576"));
}

static void test_an_unknown_queue_names_those_there_are(void **state)
{
    struct fixture *fixture = *state;
    struct queue_info info;
    assert_int_equal(queue_find(fixture->queues, "x", &info, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "nor any other"));
    make_queue(fixture, "pages", (struct queue_settings){0});
    make_queue(fixture, "after.job", (struct queue_settings){0});
    make_queue(fixture, "docs", (struct queue_settings){0});
    assert_int_equal(queue_find(fixture->queues, "x", &info, &fixture->error), -1);
    assert_int_equal(fixture->error.code, MF_EUSAGE);
    assert_non_null(strstr(fixture->error.text, "\"x\", but docs, pages (mayfly queue create"));
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "q%02d", i);
        make_queue(fixture, name, (struct queue_settings){0});
    }
    assert_int_equal(queue_find(fixture->queues, "x", &info, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "q07 and 12 more"));
    assert_int_equal(queue_by_id(fixture->queues, 4711, &info, &fixture->error), -1);
}

static void test_what_is_pushed_is_counted_and_in_order(void **state)
{
    struct fixture *fixture = *state;
    make_queue(fixture, "docs", (struct queue_settings){0});
    push(fixture, "docs", "one", NULL);
    assert_int_equal(push_keyed(fixture, "docs", "three", NULL, NULL, NOW + HOUR), 1);
    push(fixture, "docs", "", NULL);
    struct queue_info info = info_of(fixture, "docs");
    assert_int_equal(info.ready, 3);
    assert_int_equal(info.ready_bytes, 8);
    assert_int_equal(info.pushed, 3);
    assert_int_equal(info.oldest_us, NOW);
    assert_string_equal(list(fixture, "docs", "ready").text, "one three ");
    check_invariants(fixture);
}

static void test_a_body_can_be_any_bytes(void **state)
{
    struct fixture *fixture = *state;
    struct queue_info info = make_queue(fixture, "docs", (struct queue_settings){0});
    struct queue_message message = {.body = mf_bytes_of("a\0\xff\n", 4), .key = "k\xff"};
    int64_t same = 0;
    ok(fixture, queue_push(fixture->queues, &info, &message, NOW, &fixture->error));
    ok(fixture,
       sql_integer(fixture->queues->db,
                   fixture->path,
                   "SELECT body = x'6100ff0a' AND typeof(body) = 'blob' FROM message",
                   &same,
                   &fixture->error));
    assert_int_equal(same, 1);
    assert_int_equal(info_of(fixture, "docs").ready_bytes, 4);
    assert_int_equal(queue_push(fixture->queues, &info, &message, NOW, &fixture->error), 0);
}

static void test_limits_of_body_key_and_group(void **state)
{
    struct fixture *fixture = *state;
    struct queue_info info = make_queue(fixture, "docs", (struct queue_settings){.body_max = 5});
    struct queue_message message = {.body = mf_bytes_text("sixsix")};
    assert_int_equal(queue_push(fixture->queues, &info, &message, NOW, &fixture->error), -1);
    assert_int_equal(fixture->error.code, MF_EUSAGE);
    assert_non_null(strstr(fixture->error.text, "6 bytes is larger than the 5 bytes"));
    char text[QUEUE_KEY_MAX + 2];
    memset(text, 'k', sizeof text);
    text[QUEUE_KEY_MAX + 1] = '\0';
    message = (struct queue_message){.body = mf_bytes_text("five!"), .key = text};
    assert_int_equal(queue_push(fixture->queues, &info, &message, NOW, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "key"));
    message = (struct queue_message){.body = mf_bytes_text("five!"), .group = text};
    assert_int_equal(queue_push(fixture->queues, &info, &message, NOW, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "group"));
    message.group = "";
    assert_int_equal(queue_push(fixture->queues, &info, &message, NOW, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "the group is empty"));
    message.group = text;
    text[QUEUE_KEY_MAX] = '\0';
    assert_int_equal(queue_push(fixture->queues, &info, &message, NOW, &fixture->error), 1);
    assert_int_equal(info_of(fixture, "docs").pushed, 1);
}

static void test_a_key_counts_once_for_its_time(void **state)
{
    struct fixture *fixture = *state;
    make_queue(fixture, "docs", (struct queue_settings){.key_us = HOUR});
    make_queue(fixture, "other", (struct queue_settings){.key_us = HOUR});
    assert_int_equal(push_keyed(fixture, "docs", "a", NULL, "k", NOW), 1);
    assert_int_equal(push_keyed(fixture, "docs", "b", NULL, "k", NOW + HOUR - 1), 0);
    assert_int_equal(push_keyed(fixture, "other", "c", NULL, "k", NOW), 1);
    assert_int_equal(push_keyed(fixture, "docs", "d", NULL, "k", NOW + HOUR), 1);
    assert_int_equal(push_keyed(fixture, "docs", "e", NULL, "k", NOW + 2 * HOUR - 1), 0);
    assert_string_equal(list(fixture, "docs", "ready").text, "a d");
    check_invariants(fixture);
}

static void test_a_key_outlives_its_message_and_is_forgotten(void **state)
{
    struct fixture *fixture = *state;
    int64_t keys = -1;
    uint64_t count;
    make_queue(fixture, "docs", (struct queue_settings){.key_us = HOUR});
    assert_int_equal(push_keyed(fixture, "docs", "a", NULL, "old", NOW), 1);
    assert_int_equal(push_keyed(fixture, "docs", "b", NULL, "new", NOW + 1), 1);
    claim(fixture, "docs", "run", 0);
    ok(fixture, queue_done(fixture->queues, "run", &count, &fixture->error));
    assert_int_equal(count, 2);
    assert_int_equal(push_keyed(fixture, "docs", "a", NULL, "old", NOW + 2), 0);
    ok(fixture, queue_forget_keys(fixture->queues, NOW + HOUR, &fixture->error));
    ok(fixture,
       sql_integer(fixture->queues->db,
                   fixture->path,
                   "SELECT count(*) FROM seen",
                   &keys,
                   &fixture->error));
    assert_int_equal(keys, 1);
}

static int add_name(void *arg, const struct queue_info *info)
{
    char *names = arg;
    size_t at = strlen(names);
    snprintf(names + at, 64 - at, "%s ", info->name);
    return 0;
}

static void test_fan_out_copies_each_deduplicated_by_itself(void **state)
{
    struct fixture *fixture = *state;
    char names[64] = "";
    struct queue_info source = make_queue(fixture, "events", (struct queue_settings){0});
    struct queue_info mail = make_queue(fixture, "mail", (struct queue_settings){.key_us = HOUR});
    struct queue_info audit = make_queue(fixture, "audit", (struct queue_settings){0});
    ok(fixture, queue_add_fan_out(fixture->queues, &source, &mail, &fixture->error));
    ok(fixture, queue_add_fan_out(fixture->queues, &source, &audit, &fixture->error));
    assert_int_equal(info_of(fixture, "events").fan_out, 2);
    assert_int_equal(push_keyed(fixture, "events", "a", "g", "k", NOW), 1);
    assert_int_equal(push_keyed(fixture, "events", "b", "g", "k", NOW + HOUR), 0);
    assert_string_equal(list(fixture, "events", "ready").text, "a");
    assert_string_equal(list(fixture, "audit", "ready").text, "a");
    assert_string_equal(list(fixture, "mail", "ready").text, "a b");
    ok(fixture, queue_each_target(fixture->queues, source.id, add_name, names, &fixture->error));
    assert_string_equal(names, "audit mail ");
    check_invariants(fixture);
}

static void test_a_target_that_refuses_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct queue_info source = make_queue(fixture, "events", (struct queue_settings){0});
    struct queue_info small = make_queue(fixture, "small", (struct queue_settings){.body_max = 2});
    struct queue_message message = {.body = mf_bytes_text("abc"), .key = "k"};
    ok(fixture, queue_add_fan_out(fixture->queues, &source, &small, &fixture->error));
    source = info_of(fixture, "events");
    assert_int_equal(queue_push(fixture->queues, &source, &message, NOW, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "\"small\""));
    assert_int_equal(info_of(fixture, "events").pushed, 0);
    message.body = mf_bytes_text("ab");
    assert_int_equal(queue_push(fixture->queues, &source, &message, NOW, &fixture->error), 1);
}

static void test_copies_are_not_passed_on(void **state)
{
    struct fixture *fixture = *state;
    struct queue_info a = make_queue(fixture, "a", (struct queue_settings){0});
    struct queue_info b = make_queue(fixture, "b", (struct queue_settings){0});
    struct queue_info c = make_queue(fixture, "c", (struct queue_settings){0});
    assert_int_equal(queue_add_fan_out(fixture->queues, &a, &a, &fixture->error), -1);
    ok(fixture, queue_add_fan_out(fixture->queues, &a, &b, &fixture->error));
    ok(fixture, queue_add_fan_out(fixture->queues, &a, &b, &fixture->error));
    assert_int_equal(queue_add_fan_out(fixture->queues, &b, &c, &fixture->error), -1);
    assert_int_equal(queue_add_fan_out(fixture->queues, &c, &a, &fixture->error), -1);
    assert_int_equal(queue_add_fan_out(fixture->queues, &b, &a, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "not passed on again"));
    ok(fixture, queue_add_fan_out(fixture->queues, &c, &b, &fixture->error));
    assert_int_equal(queue_remove_fan_out(fixture->queues, &a, &b, &fixture->error), 1);
    assert_int_equal(queue_remove_fan_out(fixture->queues, &a, &b, &fixture->error), 0);
    assert_int_equal(info_of(fixture, "a").fan_out, 0);
    assert_int_equal(info_of(fixture, "c").fan_out, 1);
}

static void test_a_queue_is_removed_when_nobody_needs_it(void **state)
{
    struct fixture *fixture = *state;
    uint64_t count;
    struct queue_info source = make_queue(fixture, "events", (struct queue_settings){0});
    struct queue_info docs = make_queue(fixture, "docs", (struct queue_settings){0});
    ok(fixture, queue_add_fan_out(fixture->queues, &source, &docs, &fixture->error));
    assert_int_equal(push_keyed(fixture, "events", "a", NULL, "k", NOW), 1);
    assert_int_equal(queue_remove(fixture->queues, &docs, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "\"events\""));
    ok(fixture, queue_remove(fixture->queues, &source, &fixture->error));
    claim(fixture, "docs", "run", 0);
    assert_int_equal(queue_remove(fixture->queues, &docs, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "1 of its messages"));
    ok(fixture, queue_give_back(fixture->queues, "run", false, NULL, &count, &fixture->error));
    ok(fixture,
       sql_exec(fixture->queues->db,
                fixture->path,
                "INSERT INTO trigger(name, job_path, job_sha256, environment, kind, queue,"
                " settings, installed_us)"
                " SELECT 'counter', '/job.yaml', '', '', 'queue', id, '{}', 1 FROM queue",
                &fixture->error));
    assert_int_equal(queue_remove(fixture->queues, &docs, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "\"counter\""));
    ok(fixture,
       sql_exec(fixture->queues->db, fixture->path, "DELETE FROM trigger", &fixture->error));
    ok(fixture, queue_remove(fixture->queues, &docs, &fixture->error));
    int64_t rows = -1;
    ok(fixture,
       sql_integer(fixture->queues->db,
                   fixture->path,
                   "SELECT (SELECT count(*) FROM queue) + (SELECT count(*) FROM message)"
                   " + (SELECT count(*) FROM seen) + (SELECT count(*) FROM fan_out)",
                   &rows,
                   &fixture->error));
    assert_int_equal(rows, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_begin, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_names_are_checked),
        T(test_a_queue_has_its_settings_or_the_usual_ones),
        T(test_a_name_is_there_once),
        T(test_an_unknown_queue_names_those_there_are),
        T(test_what_is_pushed_is_counted_and_in_order),
        T(test_a_body_can_be_any_bytes),
        T(test_limits_of_body_key_and_group),
        T(test_a_key_counts_once_for_its_time),
        T(test_a_key_outlives_its_message_and_is_forgotten),
        T(test_fan_out_copies_each_deduplicated_by_itself),
        T(test_a_target_that_refuses_leaves_nothing),
        T(test_copies_are_not_passed_on),
        T(test_a_queue_is_removed_when_nobody_needs_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
