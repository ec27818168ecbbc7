/* SPDX-License-Identifier: Apache-2.0 */
/* Files arrive in a spool folder: which count, when, and that each becomes one message. */
#include "tests/unit/source/spool_fixture.h"

#include <sys/resource.h>

static void test_files_become_messages(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    put("b.pdf", "two");
    put("a.pdf", "one");
    struct feed_report report = poll_once(fixture, &settings);
    assert_int_equal(report.pushed, 2);
    assert_int_equal(report.left, 0);
    assert_false(report.more);
    struct paths paths = paths_of(fixture, "ready");
    assert_int_equal(paths.count, 2);
    assert_says(paths.list[0], "/.claimed/");
    assert_string_equal(strrchr(paths.list[0], '/'), "/a.pdf");
    assert_string_equal(content(paths.list[0]), "one");
    assert_string_equal(content(paths.list[1]), "two");
    assert_false(is_there("a.pdf"));
    assert_int_equal(poll_once(fixture, &settings).pushed, 0);
    assert_int_equal(ready(fixture), 2);
}

static void test_same_name_again_is_another_file(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    put("a", "first");
    poll_once(fixture, &settings);
    put("a", "second");
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    struct paths paths = paths_of(fixture, "ready");
    assert_int_equal(paths.count, 2);
    assert_string_equal(content(paths.list[0]), "first");
    assert_string_equal(content(paths.list[1]), "second");
}

static void test_what_does_not_count(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    put(".hidden", "");
    put("half.part", "");
    put("half.tmp", "");
    assert_int_equal(mkdir(in_spool("folder"), 0777), 0);
    put("folder/inside", "");
    assert_int_equal(symlink("folder/inside", in_spool("link")), 0);
    assert_int_equal(mkfifo(in_spool("fifo"), 0666), 0);
    put("part", "");
    assert_int_equal(poll_once(fixture, &settings).pushed, 1); /* only the last */
    assert_true(is_there(".hidden") && is_there("half.part") && is_there("half.tmp") &&
                is_there("folder/inside") && is_there("link") && is_there("fifo"));
}

static void test_open_for_writing_is_left(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    int fd = open_file("growing");
    write_to(fd, "half");
    put("whole", "");
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    assert_true(is_there("growing"));
    write_to(fd, " and half");
    close(fd);
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    assert_string_equal(content(paths_of(fixture, "ready").list[1]), "half and half");
}

/* A file that is read meanwhile is complete all the same. */
static void test_open_for_reading_counts(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    put("read", "");
    int fd = open(in_spool("read"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    close(fd);
}

static void test_at_most_and_more(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    struct feed *feed = open_feed(fixture, &settings, false);
    int fd = open_file("0-open"); /* is not in the way of others */
    put("1", "");
    put("2", "");
    put("3", "");
    struct feed_report report = poll_some(fixture, feed, 2);
    assert_int_equal(report.pushed, 2);
    assert_true(report.more);
    assert_true(feed_next_us(feed) <= mf_monotonic_us());
    report = poll_some(fixture, feed, 2);
    assert_int_equal(report.pushed, 1);
    assert_false(report.more);
    close(fd);
    feed_close(feed);
}

static void test_name_that_is_not_utf8(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    put("caf\xe9 \n\x01", "latin");
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    struct paths paths = paths_of(fixture, "ready");
    assert_string_equal(strrchr(paths.list[0], '/'), "/caf\xe9 \n\x01");
    assert_string_equal(content(paths.list[0]), "latin");
}

static void test_longest_name(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    char name[256];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    put(name, "long");
    put("short", "");
    assert_int_equal(poll_once(fixture, &settings).pushed, 2);
    assert_int_equal(ready(fixture), 2);
}

static void test_body_over_the_limit_of_the_queue(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    sql_exec(fixture->queues->db, fixture->path, "UPDATE queue SET body_max = 10", NULL);
    put("a", "");
    struct feed_report report = poll_once(fixture, &settings);
    assert_int_equal(report.pushed, 0);
    assert_int_equal(report.aside, 1);
    assert_says(list(fixture, "q", "dead").cause, "is larger than the 10 bytes");
    check_invariants(fixture);
}

/* --- Killed in between. --- */

static void test_killed_before_commit(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    put("a", "one");
    put("b", "two");
    killed_at(fixture, "source.after-take", poll_in_child, &settings);
    assert_false(is_there("a"));
    assert_int_equal(ready(fixture), 0);
    put("a", "three");
    struct feed_report report = poll_once(fixture, &settings);
    assert_int_equal(report.pushed, 3);
    assert_int_equal(report.known, 0);
    assert_int_equal(ready(fixture), 3);
}

static void test_killed_after_commit(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    put("a", "one");
    put("b", "two");
    killed_at(fixture, "source.after-commit", poll_in_child, &settings);
    assert_int_equal(ready(fixture), 2);
    struct feed_report report = poll_once(fixture, &settings);
    assert_int_equal(report.pushed, 0);
    assert_int_equal(report.known, 2);
    assert_int_equal(poll_once(fixture, &settings).known, 0);
    assert_int_equal(ready(fixture), 2);
}

/* Batches of another queue, or of another queues.db, at the same folder are none of ours. */
static void test_other_consumers_at_the_folder(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    put("a", "one");
    killed_at(fixture, "source.after-take", poll_in_child, &settings);
    make_queue(fixture, "q2", (struct queue_settings){0});
    struct feed *feed = feed_open(&settings, "q2", false, &fixture->error);
    assert_non_null(feed);
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 0);
    put("b", "two");
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 1);
    feed_close(feed);
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    assert_int_equal(info_of(fixture, "q").ready, 1);
    assert_int_equal(info_of(fixture, "q2").ready, 1);
}

/* --- While it is watched. --- */

static void test_watcher_is_woken(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    struct feed *feed = open_feed(fixture, &settings, true);
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 0);
    assert_true(feed_next_us(feed) > mf_monotonic_us() + 1000000);
    int fd = open_file("a");
    struct pollfd quiet = {.fd = feed_fd(feed), .events = POLLIN};
    assert_int_equal(poll(&quiet, 1, 0), 0);
    close(fd);
    await_readable(feed);
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 1);
    put("b.part", "");
    assert_int_equal(rename(in_spool("b.part"), in_spool("b")), 0);
    await_readable(feed);
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 1);
    assert_int_equal(poll(&quiet, 1, 0), 0);
    feed_close(feed);
}

static void test_folder_replaced_under_a_watcher(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    struct feed *feed = open_feed(fixture, &settings, true);
    struct feed_report report;
    poll_some(fixture, feed, 0);
    char old[128];
    snprintf(old, sizeof old, "%s.old", spool);
    assert_int_equal(rename(spool, old), 0);
    await_readable(feed);
    assert_int_equal(feed_poll(feed, fixture->queues, 0, &report, &fixture->error), -1);
    assert_says(fixture->error.text, "cannot be read (No such file or directory)");
    assert_int_equal(mkdir(spool, 0777), 0);
    /* It backs off for a second at first. */
    assert_true(feed_next_us(feed) > mf_monotonic_us());
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 0);
    while (mf_monotonic_us() < feed_next_us(feed))
        usleep(20000);
    poll_some(fixture, feed, 0);
    put("new", "");
    await_readable(feed);
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 1);
    feed_close(feed);
}

/* --- Where the kernel grants no lease: the file is somebody else's. --- */

static void poll_as_nobody(struct fixture *fixture, bool watch, int64_t quiet_us, bool write_now)
{
    struct feed_settings settings = spool_settings();
    settings.quiet_us = quiet_us;
    struct feed *feed = feed_open(&settings, "q", watch, NULL);
    struct feed_report report;
    uint64_t pushed = 0;
    if (feed == NULL || feed_poll(feed, fixture->queues, 0, &report, NULL) < 0)
        _exit(100);
    pushed = report.pushed;
    if (write_now) {
        /* By its owner, who still is who forked us: here somebody writes with an old descriptor. */
        put("mine", "");
        if (feed_poll(feed, fixture->queues, 0, &report, NULL) < 0)
            _exit(101);
        pushed += 10 * report.pushed;
    }
    feed_close(feed);
    _exit((int)pushed);
}

static int as_nobody(struct fixture *fixture, bool watch, int64_t quiet_us, bool write_now)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct fixture own = *fixture;
        if (setgid(65534) < 0 || setuid(65534) < 0 ||
            queues_open(own.path, false, &own.queues, NULL) != 1)
            _exit(99);
        poll_as_nobody(&own, watch, quiet_us, write_now);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void give_to_nobody(const struct fixture *fixture)
{
    char command[256];
    snprintf(command, sizeof command, "chown -R 65534 '%s'", fixture->folder);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
}

static void test_without_lease_it_has_to_be_quiet(void **state)
{
    struct fixture *fixture = *state;
    if (getuid() != 0)
        skip();
    give_to_nobody(fixture);
    put("root's", "");
    assert_int_equal(as_nobody(fixture, false, INT64_C(3600000000), true), 10); /* only its own */
    assert_true(is_there("root's"));
    assert_int_equal(as_nobody(fixture, false, 1, false), 1);
    assert_false(is_there("root's"));
}

/* --- Places where it cannot work. --- */

static void test_no_folder(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    assert_int_equal(rmdir(spool), 0);
    assert_says(poll_fails(fixture, &settings, MF_ESETUP), "make it, or mend `spool`");
}

static void test_claimed_is_in_the_way(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    put(".claimed", "a file");
    put("a", "");
    assert_says(poll_fails(fixture, &settings, MF_ESETUP), "move what is there out of the way");
    assert_int_equal(unlink(in_spool(".claimed")), 0);
    assert_int_equal(symlink("/tmp", in_spool(".claimed")), 0);
    assert_says(poll_fails(fixture, &settings, MF_ESETUP), "move what is there out of the way");
    assert_true(is_there("a"));
}

static void test_no_such_queue(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    struct feed *feed = feed_open(&settings, "other", false, &fixture->error);
    struct feed_report report;
    put("a", "");
    assert_int_equal(feed_poll(feed, fixture->queues, 0, &report, &fixture->error), -1);
    assert_int_equal(fixture->error.code, MF_EUSAGE);
    assert_true(is_there("a"));
    feed_close(feed);
}

/* As a disk that fills up: the files of queues.db may not grow, so the push fails and comes again.
 */
static void test_no_room_for_the_push(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    struct rlimit old, none;
    put("a", "one");
    struct feed *feed = open_feed(fixture, &settings, false);
    struct feed_report report;
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 1);
    put("b", "two");
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    none = old;
    none.rlim_cur = 4096;
    setrlimit(RLIMIT_FSIZE, &none);
    int rc = feed_poll(feed, fixture->queues, 0, &report, &fixture->error);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(rc, -1);
    feed_close(feed);
    assert_false(is_there("b"));
    assert_int_equal(ready(fixture), 1);
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    assert_int_equal(ready(fixture), 2);
}

static void test_wrong_settings(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = {0};
    assert_int_equal(feed_check(&settings, &fixture->error), -1);
    assert_says(fixture->error.text, "neither is named");
    settings.spool = "relative";
    assert_int_equal(feed_check(&settings, &fixture->error), -1);
    assert_says(fixture->error.text, "is not absolute");
    settings.spool = "/spool";
    settings.server = "localhost";
    assert_int_equal(feed_check(&settings, &fixture->error), -1);
    assert_says(fixture->error.text, "not both");
    settings.server = NULL;
    assert_int_equal(feed_check(&settings, &fixture->error), 0);
}

/* Files come and go while several processes claim: each becomes one message. */
static void test_many_claim_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    pid_t pids[3];
    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        if (pids[i] != 0)
            continue;
        struct fixture own = *fixture;
        if (queues_open(own.path, false, &own.queues, NULL) != 1)
            _exit(1);
        while (access(in_spool(".end"), F_OK) != 0)
            poll_in_child(&own, &settings);
        _exit(0);
    }
    char name[32];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "file-%d", i % 50);
        put(".new", name);
        rename(in_spool(".new"), in_spool(name)); /* the one before is gone, or replaced */
    }
    put(".end", "");
    for (int i = 0; i < 3; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    poll_once(fixture, &settings);
    struct queue_info info = info_of(fixture, "q");
    assert_in_range(info.ready, 50, 300);
    char command[512];
    snprintf(
        command,
        sizeof command,
        "test $(find '%s' -name 'file-*' | wc -l) = %d && test -z \"$(find '%s' -name '*.open')\"",
        spool,
        (int)info.ready,
        spool);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
}

static void test_without_memory(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    put("a", "");
    put("b", "");
    poll_without_memory(fixture, &settings);
    assert_int_equal(ready(fixture), 2);
    assert_int_equal(info_of(fixture, "q").ready, 2);
}

/* As many as SPOOL_FILES says (.ci/long: 100,000), in the looks of a tick. */
static void test_many_files(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = spool_settings();
    const char *wanted = getenv("SPOOL_FILES");
    unsigned count = wanted == NULL ? 1200 : (unsigned)strtoul(wanted, NULL, 10);
    char name[32];
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof name, "file-%06u", i);
        put(name, "");
    }
    struct feed *feed = open_feed(fixture, &settings, false);
    struct feed_report report = {.more = true};
    int64_t begun_us = mf_monotonic_us();
    uint64_t pushed = 0;
    for (; report.more; pushed += report.pushed)
        report = poll_some(fixture, feed, 0);
    print_message("%u files in %.2f s\n", count, (double)(mf_monotonic_us() - begun_us) / 1e6);
    feed_close(feed);
    assert_int_equal(pushed, count);
    int64_t wrong = -1;
    ok(fixture,
       sql_integer(fixture->queues->db,
                   fixture->path,
                   "SELECT count(*) FROM (SELECT CAST(body AS TEXT) AS path, row_number() OVER "
                   "(ORDER BY id) - 1 AS n FROM message) WHERE path NOT LIKE "
                   "'%/file-' || printf('%06d', n)",
                   &wrong,
                   &fixture->error));
    assert_int_equal(wrong, 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, spool_begin, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_files_become_messages),
        test(test_same_name_again_is_another_file),
        test(test_what_does_not_count),
        test(test_open_for_writing_is_left),
        test(test_open_for_reading_counts),
        test(test_at_most_and_more),
        test(test_name_that_is_not_utf8),
        test(test_longest_name),
        test(test_body_over_the_limit_of_the_queue),
        test(test_killed_before_commit),
        test(test_killed_after_commit),
        test(test_other_consumers_at_the_folder),
        test(test_watcher_is_woken),
        test(test_folder_replaced_under_a_watcher),
        test(test_without_lease_it_has_to_be_quiet),
        test(test_no_folder),
        test(test_claimed_is_in_the_way),
        test(test_no_such_queue),
        test(test_no_room_for_the_push),
        test(test_wrong_settings),
        test(test_many_claim_at_once),
        test(test_without_memory),
        test(test_many_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
