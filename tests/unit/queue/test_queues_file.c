/* SPDX-License-Identifier: Apache-2.0 */
/* The file queues.db: made once by however many, refused when it is not ours, whole after a kill,
 * and nothing of it where the disk is full. */
#include "tests/unit/queue/queue_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

static int begin(void **state)
{
    if (fixture_begin(state) < 0)
        return -1;
    struct fixture *fixture = *state;
    make_queue(fixture, "docs", (struct queue_settings){0});
    return 0;
}

static void reopen(struct fixture *fixture)
{
    queues_close(fixture->queues);
    fixture->queues = NULL;
    ok(fixture, queues_open(fixture->path, false, &fixture->queues, &fixture->error));
}

static void test_nothing_is_made_unasked(void **state)
{
    struct fixture *fixture = *state;
    struct queues *queues = (void *)1;
    char path[160];
    snprintf(path, sizeof path, "%s/none/queues.db", fixture->folder);
    assert_int_equal(queues_open(path, false, &queues, &fixture->error), 0);
    assert_null(queues);
    assert_int_equal(access(path, F_OK), -1);
    /* An empty file is what a process leaves that is killed while it makes one. */
    snprintf(path, sizeof path, "%s/empty", fixture->folder);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(queues_open(path, false, &queues, &fixture->error), 0);
    assert_int_equal(queues_open(path, true, &queues, &fixture->error), 1);
    queues_close(queues);
}

static void test_the_folder_is_private(void **state)
{
    struct fixture *fixture = *state;
    struct stat facts;
    char path[160];
    snprintf(path, sizeof path, "%s/state", fixture->folder);
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0700);
}

static void test_other_files_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct queues *queues;
    sqlite3 *db = fixture->queues->db;
    ok(fixture, sql_exec(db, fixture->path, "PRAGMA user_version = 99", &fixture->error));
    assert_int_equal(queues_open(fixture->path, true, &queues, &fixture->error), -1);
    assert_int_equal(fixture->error.code, MF_EINPUT);
    assert_non_null(strstr(fixture->error.text, "schema version 99"));
    ok(fixture, sql_exec(db, fixture->path, "PRAGMA application_id = 7", &fixture->error));
    assert_int_equal(queues_open(fixture->path, true, &queues, &fixture->error), -1);
    assert_int_equal(fixture->error.code, MF_EINPUT);
    assert_non_null(strstr(fixture->error.text, "does not hold the queues"));
}

static void test_a_damaged_file_is_named(void **state)
{
    struct fixture *fixture = *state;
    struct queues *queues;
    char path[160];
    snprintf(path, sizeof path, "%s/damaged", fixture->folder);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 5000; i++)
        fputs("no database", file);
    fclose(file);
    assert_int_equal(queues_open(path, true, &queues, &fixture->error), -1);
    assert_int_equal(fixture->error.code, MF_EINPUT);
    assert_non_null(strstr(fixture->error.text, path));
    snprintf(path, sizeof path, "%s/queues.db/x", fixture->path);
    assert_int_equal(queues_open(path, true, &queues, &fixture->error), -1);
    assert_int_equal(fixture->error.code, MF_ESETUP);
}

static void test_what_was_not_committed_never_was(void **state)
{
    struct fixture *fixture = *state;
    ok(fixture, queues_begin(fixture->queues, &fixture->error));
    push_keyed(fixture, "docs", "a", "g", "k", NOW);
    queues_rollback(fixture->queues);
    queues_rollback(fixture->queues);
    assert_int_equal(info_of(fixture, "docs").pushed, 0);
    ok(fixture, queues_begin(fixture->queues, &fixture->error));
    push_keyed(fixture, "docs", "b", "g", "k", NOW);
    reopen(fixture);
    assert_int_equal(info_of(fixture, "docs").pushed, 0);
    check_invariants(fixture);
}

static void test_a_killed_process_leaves_what_it_committed(void **state)
{
    struct fixture *fixture = *state;
    queues_close(fixture->queues);
    fixture->queues = NULL;
    pid_t child = fork();
    if (child == 0) {
        struct queues *queues;
        struct queue_info info;
        struct queue_message message = {.body = mf_bytes_text("body")};
        if (queues_open(fixture->path, false, &queues, NULL) != 1 ||
            queue_find(queues, "docs", &info, NULL) != 1)
            _exit(1);
        for (int i = 0; i < 2; i++) {
            queues_begin(queues, NULL);
            queue_push(queues, &info, &message, NOW, NULL);
            if (i == 0 && queues_commit(queues, NULL) < 0)
                _exit(1);
        }
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    ok(fixture, queues_open(fixture->path, false, &fixture->queues, &fixture->error));
    assert_string_equal(list(fixture, "docs", "ready").text, "body");
    check_invariants(fixture);
}

/* What each of the racing processes does: open, make if it is not there, push, close, again. */
static int push_some(const char *path, int number, int count)
{
    struct queue_settings settings = {0};
    for (int i = 0; i < count; i++) {
        struct queues *queues;
        struct queue_info info;
        int64_t id;
        char text[32];
        snprintf(text, sizeof text, "%d-%d", number, i);
        struct queue_message message = {.body = mf_bytes_text(text), .key = text, .group = "g"};
        if (queues_open(path, true, &queues, NULL) != 1 || queues_begin(queues, NULL) < 0)
            return 1;
        if (queue_find(queues, "race", &info, NULL) < 0 &&
            (queue_create(queues, "race", &settings, NOW, &id, NULL) < 0 ||
             queue_by_id(queues, id, &info, NULL) < 0))
            return 1;
        if (queue_push(queues, &info, &message, NOW, NULL) != 1 || queues_commit(queues, NULL) < 0)
            return 1;
        queues_close(queues);
    }
    return 0;
}

static void test_many_processes_make_it_and_push(void **state)
{
    struct fixture *fixture = *state;
    enum { PROCESSES = 6, PUSHES = 12 };
    pid_t children[PROCESSES];
    char path[160];
    snprintf(path, sizeof path, "%s/race/a/queues.db", fixture->folder);
    for (int i = 0; i < PROCESSES; i++)
        if ((children[i] = fork()) == 0)
            _exit(push_some(path, i, PUSHES));
    for (int i = 0; i < PROCESSES; i++) {
        int status = -1;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    queues_close(fixture->queues);
    ok(fixture, queues_open(path, false, &fixture->queues, &fixture->error));
    assert_int_equal(info_of(fixture, "race").ready, PROCESSES * PUSHES);
    assert_int_equal(claim(fixture, "race", "r", 0), 1);
    check_invariants(fixture);
}

static long size_of_log(struct fixture *fixture)
{
    char path[160];
    struct stat facts;
    snprintf(path, sizeof path, "%s-wal", fixture->path);
    return stat(path, &facts) < 0 ? -1 : (long)facts.st_size;
}

static void test_the_log_does_not_grow_with_processes(void **state)
{
    struct fixture *fixture = *state;
    long largest = 0, least = 1L << 40;
    for (int i = 0; i < 80; i++) {
        push(fixture, "docs", "body", NULL);
        reopen(fixture);
        long size = size_of_log(fixture);
        largest = size > largest ? size : largest;
        least = size < least && i > 0 ? size : least;
    }
    assert_true(largest < 1000000);
    assert_int_equal(least, 0);
    assert_int_equal(info_of(fixture, "docs").ready, 80);
}

/* Pushes until the limit on the size of files is met, as a full disk is. */
static void test_a_full_disk_leaves_whole_transactions(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit before, limit;
    char body[2000];
    uint64_t committed = 0;
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 400000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct queue_info info = info_of(fixture, "docs");
    struct queue_message message = {.body = mf_bytes_text(body)};
    int rc = 0;
    while (rc >= 0 && committed < 100000) {
        rc = queues_begin(fixture->queues, &fixture->error);
        for (int i = 0; rc >= 0 && i < 10; i++)
            rc = queue_push(fixture->queues, &info, &message, NOW, &fixture->error);
        if (rc >= 0)
            rc = queues_commit(fixture->queues, &fixture->error);
        else
            queues_rollback(fixture->queues);
        committed += rc >= 0 ? 10 : 0;
    }
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(rc, -1);
    assert_int_equal(fixture->error.code, MF_EFULL);
    assert_true(committed > 0);
    assert_int_equal(info_of(fixture, "docs").ready, committed);
    push(fixture, "docs", "again", NULL);
    reopen(fixture);
    assert_int_equal(info_of(fixture, "docs").ready, committed + 1);
    check_invariants(fixture);
}

static int look(void *arg, const struct queue_message *message)
{
    (void)arg;
    return message->body.length == 0;
}

static int see(void *arg, const struct firing *firing)
{
    (void)arg;
    return firing->messages == 0;
}

/* Each step of ours that needs memory, in one transaction. */
static int use_all(struct queues *queues, struct mf_error *error)
{
    struct queue_info info;
    struct queue_message message = {.body = mf_bytes_text("body"), .key = "k", .group = "g"};
    struct firing firing = {.run_id = "run",
                            .cause = "count",
                            .made_us = NOW,
                            .starter = "",
                            .messages = 1},
                  found;
    uint64_t count;
    if (queues_begin(queues, error) < 0 || queue_find(queues, "source", &info, error) < 0 ||
        queue_push(queues, &info, &message, NOW, error) < 0 ||
        queue_claim(queues, info.id, "run", 0, &count, error) < 0 ||
        queue_peek(queues, info.id, "claimed", 0, look, NULL, error) < 0 ||
        queue_fail(queues, "run", 1, "cause", error) < 0 ||
        queue_replay(queues, info.id, 0, NOW, &count, error) < 0 ||
        firing_insert(queues, &firing, error) < 0 ||
        firing_find(queues, "run", &found, error) < 0 ||
        firing_each_open(queues, see, NULL, error) < 0)
        return -1;
    return queues_commit(queues, error);
}

static void test_exhausted_memory_is_said(void **state)
{
    struct fixture *fixture = *state;
    struct queue_info docs = info_of(fixture, "docs");
    struct queue_info source = make_queue(fixture, "source", (struct queue_settings){0});
    ok(fixture, queue_add_fan_out(fixture->queues, &source, &docs, &fixture->error));
    int rc = -1;
    unsigned long n;
    for (n = 1; n < 500 && rc < 0; n++) {
        struct queues *queues = NULL;
        fixture->error.code = MF_OK;
        mf_alloc_fail_at(n);
        rc = queues_open(fixture->path, true, &queues, &fixture->error);
        if (rc == 1)
            rc = use_all(queues, &fixture->error);
        mf_alloc_fail_at(0);
        queues_close(queues);
        if (rc < 0)
            assert_int_equal(fixture->error.code, MF_ENOMEM);
        if (rc < 0)
            assert_int_equal(info_of(fixture, "source").pushed, 0);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 8);
    assert_int_equal(info_of(fixture, "docs").ready, 1);
    check_invariants(fixture);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_nothing_is_made_unasked),
        T(test_the_folder_is_private),
        T(test_other_files_are_refused),
        T(test_a_damaged_file_is_named),
        T(test_what_was_not_committed_never_was),
        T(test_a_killed_process_leaves_what_it_committed),
        T(test_many_processes_make_it_and_push),
        T(test_the_log_does_not_grow_with_processes),
        T(test_a_full_disk_leaves_whole_transactions),
        T(test_exhausted_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
