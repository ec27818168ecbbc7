/* SPDX-License-Identifier: Apache-2.0 */
/* Getting at a Redis server: addresses, databases, passwords, and what is said when it fails. */
#include "tests/unit/source/redis_fixture.h"

#include <arpa/inet.h>
#include <sys/socket.h>

static const char secret[] = "s3cret-of-this-test";
static char of_job[] = "job.yaml:7: trigger.redis.password";
static char variable[] = "MAYFLY_TEST_PASSWORD";

static void check_refused(const char *server, const char *part)
{
    struct feed_settings settings = {.server = server, .list = "work"};
    struct mf_error error;
    assert_int_equal(feed_check(&settings, &error), -1);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_says(error.text, part);
}

static void check_address(const char *server, const char *host, int port, int database)
{
    struct redis_place place = {0};
    struct mf_error error;
    if (redis_place_read(&place, server, &error) < 0)
        fail_msg("%s: %s", server, error.text);
    if (host == NULL)
        assert_null(place.host);
    else
        assert_string_equal(place.host, host);
    assert_int_equal(place.port, port);
    assert_int_equal(place.database, database);
    mf_free(place.host);
}

static void test_addresses(void **state)
{
    (void)state;
    check_address("localhost", "localhost", 6379, 0);
    check_address("10.0.0.5:7000", "10.0.0.5", 7000, 0);
    check_address("redis.lan/3", "redis.lan", 6379, 3);
    check_address("redis.lan:7000/12", "redis.lan", 7000, 12);
    check_address("[::1]", "::1", 6379, 0);
    check_address("[fe80::1]:7000/1", "fe80::1", 7000, 1);
    check_address("/run/redis/socket", NULL, 6379, 0);
    check_refused("", "is not the name of a host");
    check_refused("a b", "is not the name of a host");
    check_refused("host:", "is not a port");
    check_refused("host:0", "is not a port");
    check_refused("host:65536", "is not a port");
    check_refused("host:7000x", "is not a port");
    check_refused("host/x", "is not the number of a database");
    check_refused("::1", "is not the name of a host");
    check_refused("[::1", "is not");
    check_refused("redis://host", "is not");
}

/* Who puts a password there finds it in no message. */
static void test_password_in_the_address(void **state)
{
    (void)state;
    struct feed_settings settings = {.server = "user:hidden@host", .list = "work"};
    struct mf_error error;
    assert_int_equal(feed_check(&settings, &error), -1);
    assert_says(error.text, "user and password have keys of their own");
    assert_null(strstr(error.text, "hidden"));
}

static void test_wrong_settings(void **state)
{
    (void)state;
    struct mf_error error;
    struct feed_settings settings = {.server = "host"};
    assert_int_equal(feed_check(&settings, &error), -1);
    assert_says(error.text, "either a list or a stream");
    settings.list = "a";
    settings.stream = "b";
    assert_int_equal(feed_check(&settings, &error), -1);
    settings.stream = NULL;
    settings.group = "g";
    assert_int_equal(feed_check(&settings, &error), -1);
    assert_says(error.text, "a group belongs to a stream");
    settings.group = NULL;
    settings.user = "u";
    assert_int_equal(feed_check(&settings, &error), -1);
    assert_says(error.text, "needs a password");
    settings.password = &(struct job_secret){.file = of_job};
    assert_int_equal(feed_check(&settings, &error), 0);
}

static void test_database(void **state)
{
    struct fixture *fixture = *state;
    /* Sockets have no place for a number in their path: by TCP, and the server has no port. */
    char server[32];
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    snprintf(server, sizeof server, "127.0.0.1:%d/2", ntohs(address.sin_port));
    struct feed_settings settings = {.server = server, .list = "work"};
    assert_says(poll_fails(fixture, &settings, MF_ESETUP), "cannot be reached");
    char port[16];
    snprintf(port, sizeof port, "%d", ntohs(address.sin_port));
    redis("CONFIG", "SET", "port", port);
    redis("EVAL", "redis.call('SELECT', 2) redis.call('RPUSH', 'work', 'in two')", "0");
    redis("RPUSH", "work", "in none");
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    assert_string_equal(list(fixture, "q", "ready").text, "in two");
    redis("CONFIG", "SET", "port", "0");
}

static void test_no_server(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/nobody", fixture->folder);
    struct feed_settings settings = {.server = path, .list = "work"};
    assert_says(poll_fails(fixture, &settings, MF_ESETUP), "cannot be reached");
}

/* --- Passwords. --- */

static void write_password(const struct fixture *fixture, char *path, size_t size, const char *text)
{
    snprintf(path, size, "%s/password", fixture->folder);
    FILE *file = fopen(path, "w");
    fprintf(file, "%s\n", text);
    fclose(file);
}

/* A user "feeder" whose password is `secret`. */
static void make_user(void)
{
    char rule[64];
    snprintf(rule, sizeof rule, ">%s", secret);
    redis("ACL", "SETUSER", "feeder", "reset", "on", rule, "+@all", "~*");
    redis("RPUSH", "work", "one");
}

static void test_user_and_password(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    char path[128];
    make_user();
    write_password(fixture, path, sizeof path, secret);
    settings.user = "feeder";
    settings.password = &(struct job_secret){.place = of_job, .file = path};
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    redis("RPUSH", "work", "two");
    settings.password = &(struct job_secret){.place = of_job, .env = variable};
    setenv("MAYFLY_TEST_PASSWORD", secret, 1);
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    unsetenv("MAYFLY_TEST_PASSWORD");
    assert_says(poll_fails(fixture, &settings, MF_EUSAGE),
                "the variable MAYFLY_TEST_PASSWORD is not in the environment");
    redis("RPUSH", "work", "three");
    char *command[] = {strdup("cat"), strdup("password")};
    settings.password =
        &(struct job_secret){.place = of_job, .command = {.count = 2, .items = command}};
    settings.folder = fixture->folder;
    assert_int_equal(poll_once(fixture, &settings).pushed, 1);
    free(command[0]);
    free(command[1]);
}

static void test_wrong_password(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    char path[128];
    make_user();
    write_password(fixture, path, sizeof path, "not-the-one");
    settings.user = "feeder";
    settings.password = &(struct job_secret){.place = of_job, .file = path};
    assert_says(poll_fails(fixture, &settings, MF_ESETUP), "says: WRONGPASS");
    assert_null(strstr(fixture->error.text, "not-the-one"));
    assert_int_equal(redis_number("LLEN", "work"), 1);
    write_password(fixture, path, sizeof path, ""); /* only the end of a line */
    assert_says(poll_fails(fixture, &settings, MF_EUSAGE),
                "job.yaml:7: trigger.redis.password: the value is empty");
    FILE *file = fopen(path, "w");
    fwrite(secret, 1, strlen(secret) + 1, file); /* with its NUL: not the password any more */
    fclose(file);
    assert_says(poll_fails(fixture, &settings, MF_EUSAGE), "or has a NUL in it");
    assert_int_equal(unlink(path), 0);
    assert_says(poll_fails(fixture, &settings, MF_EUSAGE), "cannot be read: No such file");
}

static void test_not_allowed(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    char path[128], rule[64];
    snprintf(rule, sizeof rule, ">%s", secret);
    redis("ACL", "SETUSER", "feeder", "reset", "on", rule, "+@all", "-renamenx", "~*");
    redis("RPUSH", "work", "one");
    write_password(fixture, path, sizeof path, secret);
    settings.user = "feeder";
    settings.password = &(struct job_secret){.place = of_job, .file = path};
    assert_says(poll_fails(fixture, &settings, MF_ESETUP), "NOPERM");
    assert_int_equal(redis_number("LLEN", "work"), 1);
}

/* A watcher that may not wait looks from time to time. */
static void test_not_allowed_to_wait(void **state)
{
    struct fixture *fixture = *state;
    struct feed_settings settings = list_settings();
    char path[128], rule[64];
    snprintf(rule, sizeof rule, ">%s", secret);
    redis("ACL", "SETUSER", "feeder", "reset", "on", rule, "+@all", "-blmove", "~*");
    write_password(fixture, path, sizeof path, secret);
    settings.user = "feeder";
    settings.password = &(struct job_secret){.place = of_job, .file = path};
    struct feed *feed = open_feed(fixture, &settings, true);
    poll_some(fixture, feed, 0);
    await_readable(feed);
    poll_some(fixture, feed, 0);
    assert_int_equal(feed_fd(feed), -1);
    redis("RPUSH", "work", "one");
    await_backoff(feed);
    assert_int_equal(poll_some(fixture, feed, 0).pushed, 1);
    feed_close(feed);
}

/* What talks at that address is no Redis. */
static void test_no_redis_at_all(void **state)
{
    struct fixture *fixture = *state;
    char path[108];
    snprintf(path, sizeof path, "%s/other", fixture->folder);
    struct sockaddr_un {
        sa_family_t family;
        char path[108];
    } address = {.family = AF_UNIX};
    memcpy(address.path, path, sizeof path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = accept(listener, NULL, NULL);
        const char answer[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
        char asked[256];
        if (read(fd, asked, sizeof asked) <= 0 || write(fd, answer, sizeof answer - 1) < 0)
            _exit(1);
        _exit(read(fd, asked, sizeof asked) != 0); /* until the other end is closed */
    }
    struct feed_settings settings = {.server = path, .list = "work"};
    assert_says(poll_fails(fixture, &settings, MF_ESETUP), "Protocol error");
    waitpid(pid, NULL, 0);
    close(listener);
}

#define test(name) cmocka_unit_test_setup_teardown(name, redis_begin, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_password_in_the_address),
        cmocka_unit_test(test_wrong_settings),
        test(test_database),
        test(test_no_server),
        test(test_user_and_password),
        test(test_wrong_password),
        test(test_not_allowed),
        test(test_not_allowed_to_wait),
        test(test_no_redis_at_all),
    };
    return cmocka_run_group_tests(tests, redis_begin_all, redis_end_all);
}
