/* SPDX-License-Identifier: Apache-2.0 */
/* What can go wrong on the way to a host: each with its own sentence, and whether another attempt
 * makes sense; and that a connection can be closed at every step without a trace. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "tests/unit/remote/remote_stand.h"

static struct stand stand;

static void
try_at(const char *host, int port, const struct remote_config *config, struct answer *answer)
{
    struct remote *remote = stand_open_at(&stand, config, host, port);
    stand_exec(remote, "true", (struct mf_bytes){0}, answer);
    stand_wait(&stand, &remote, answer, 1);
    assert_string_equal(remote_peer_address(remote), "");
    remote_close(remote);
}

static void test_name_that_does_not_resolve(void **state)
{
    (void)state;
    struct answer answer;
    try_at("no-such-host.invalid", 22, &stand.config, &answer);
    if (!answer.again) { /* else there is no name server here at all */
        answer_says(&answer, "the host name no-such-host.invalid does not resolve");
        answer_says(&answer, "/etc/hosts");
    }
    answer_fini(&answer);
    try_at("", 22, &stand.config, &answer);
    assert_int_equal(answer.code, -1);
    answer_fini(&answer);
}

/* By name: through the thread. localhost may be ::1 first, where nobody listens. */
static void test_name_that_resolves(void **state)
{
    (void)state;
    struct answer answer;
    struct remote_config config = stand.config;
    char known[128];
    snprintf(known, sizeof known, "%s/localhost", stand.folder);
    stand_shell("sed 's/127.0.0.1/localhost/' %s > %s", stand.known, known);
    config.known_hosts = known;
    struct remote *remote = stand_open_at(&stand, &config, "localhost", stand.port);
    stand_exec(remote, "exit 3", (struct mf_bytes){0}, &answer);
    stand_wait(&stand, &remote, &answer, 1);
    if (answer.code != 3)
        fail_msg("%s", answer.error);
    assert_string_equal(remote_peer_address(remote), "127.0.0.1");
    answer_fini(&answer);
    remote_close(remote);
}

static void test_refused(void **state)
{
    (void)state;
    struct answer answer;
    char part[64];
    uint16_t port = stand_free_port();
    try_at("127.0.0.1", port, &stand.config, &answer);
    snprintf(part, sizeof part, "cannot connect to 127.0.0.1:%u", (unsigned)port);
    answer_says(&answer, part);
    answer_says(&answer, "Connection refused");
    answer_says(&answer, "is sshd running there");
    assert_false(answer.again);
    answer_fini(&answer);
}

static void test_unreachable(void **state)
{
    (void)state;
    struct answer answer;
    /* The broadcast address: no connection can lead there. */
    try_at("255.255.255.255", 22, &stand.config, &answer);
    answer_says(&answer, "cannot connect to 255.255.255.255 (");
    assert_false(answer.again);
    answer_fini(&answer);
}

/* A queue of connections that nobody takes from and that is full: as a firewall that drops. */
static void test_no_answer(void **state)
{
    (void)state;
    uint16_t port;
    int listener = stand_listen(&port), fillers[8];
    assert_int_equal(listen(listener, 0), 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (unsigned i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    struct answer answer;
    struct remote_config config = stand.config;
    config.connect_us = 300000;
    try_at("127.0.0.1", port, &config, &answer);
    answer_says(&answer, "did not answer within 0.3 s");
    answer_says(&answer, "firewall");
    assert_false(answer.again);
    answer_fini(&answer);
    for (unsigned i = 0; i < 8; i++)
        close(fillers[i]);
    close(listener);
}

/* A server that says something to one who connects, and then hangs, closes, or resets. */
enum server_end { SERVER_HANGS, SERVER_CLOSES, SERVER_RESETS };

struct server {
    pthread_t thread;
    int listener;
    uint16_t port;
    const char *says;
    size_t length;
    enum server_end end;
};

static void *serve(void *arg)
{
    struct server *server = arg;
    int fd = accept(server->listener, NULL, NULL);
    if (fd < 0)
        return NULL;
    for (size_t sent = 0; sent < server->length;) {
        ssize_t n = send(fd, server->says + sent, server->length - sent, MSG_NOSIGNAL);
        if (n < 0)
            break;
        sent += (size_t)n;
    }
    char byte;
    struct linger now = {.l_onoff = 1};
    if (server->end == SERVER_RESETS) {
        recv(fd, &byte, 1, 0);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    } else {
        if (server->end == SERVER_CLOSES)
            shutdown(fd, SHUT_WR);
        while (recv(fd, &byte, 1, 0) > 0)
            ;
    }
    close(fd);
    return NULL;
}

static void
expect_of_server(const char *says, size_t length, enum server_end end, const char *part, bool again)
{
    struct server server = {.says = says, .length = length, .end = end};
    struct answer answer;
    struct remote_config config = stand.config;
    config.connect_us = end == SERVER_HANGS ? 400000 : 30000000;
    server.listener = stand_listen(&server.port);
    assert_int_equal(pthread_create(&server.thread, NULL, serve, &server), 0);
    try_at("127.0.0.1", server.port, &config, &answer);
    answer_says(&answer, part);
    if (answer.again != again)
        fail_msg("again is %d: %s", answer.again, answer.error);
    answer_fini(&answer);
    pthread_join(server.thread, NULL);
    close(server.listener);
}

static void test_servers_that_are_none(void **state)
{
    (void)state;
    static const char http[] = "HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n";
    static const char smtp[] = "220 mail.example.org ESMTP\r\n";
    static const char limit[] = "Exceeded MaxStartups\r\n";
    static const char banner[] = "SSH-2.0-OpenSSH_9.2\r\n";
    size_t size = 1 << 20;
    char *noise = malloc(size);
    assert_non_null(noise);
    for (size_t i = 0; i < size; i++)
        noise[i] = (char)('a' + i % 23);
    expect_of_server(
        http, sizeof http - 1, SERVER_RESETS, "is not an SSH server (it says 'HTTP/1.1", false);
    expect_of_server(
        smtp, sizeof smtp - 1, SERVER_HANGS, "(it says '220 mail.example.org ESMTP')", false);
    expect_of_server(noise, size, SERVER_HANGS, "is not an SSH server (it says 'abc", false);
    expect_of_server("\n\n\n", 3, SERVER_RESETS, "is not an SSH server", false);
    expect_of_server("\0\0", 2, SERVER_RESETS, "is not an SSH server", false);
    expect_of_server(limit, sizeof limit - 1, SERVER_RESETS, "MaxStartups", true);
    expect_of_server("", 0, SERVER_RESETS, "before it said anything", true);
    expect_of_server("", 0, SERVER_CLOSES, "before it said anything", true);
    expect_of_server(smtp, sizeof smtp - 1, SERVER_CLOSES, "(it says '220 mail", false);
    expect_of_server(banner, sizeof banner - 1, SERVER_CLOSES, "(closed by the host)", true);
    expect_of_server("", 0, SERVER_HANGS, "hung in the middle of the handshake", false);
    expect_of_server(banner,
                     sizeof banner - 1,
                     SERVER_HANGS,
                     "hung in the middle of the handshake, 0.4 s after the start",
                     false);
    expect_of_server(
        banner, sizeof banner - 1, SERVER_RESETS, "broke the connection while shaking", true);
    /* Garbage where packets should be. */
    memcpy(noise, banner, sizeof banner - 1);
    expect_of_server(noise, size, SERVER_HANGS, "", false);
    free(noise);
}

/* sshd with room for two logins at a time: 16 get in all the same, when those that may try again
 * do. */
static void test_limit_of_logins(void **state)
{
    (void)state;
    enum { COUNT = 16 };
    struct stand small;
    stand_start(&small, "MaxStartups 2:90:4");
    struct remote *remotes[COUNT];
    struct answer answers[COUNT];
    bool in[COUNT] = {false};
    unsigned done = 0, refused = 0;
    while (done < COUNT) {
        unsigned n = 0, which[COUNT] = {0};
        for (unsigned i = 0; i < COUNT; i++)
            if (!in[i]) {
                which[n] = i;
                remotes[n] = stand_open(&small, &small.config);
                stand_exec(remotes[n], "true", (struct mf_bytes){0}, &answers[n]);
                n++;
            }
        stand_wait(&small, remotes, answers, n);
        for (unsigned i = 0; i < n; i++) {
            in[which[i]] = answers[i].code == 0;
            done += answers[i].code == 0;
            refused += answers[i].code != 0;
            if (answers[i].code != 0 && !answers[i].again)
                fail_msg("%s", answers[i].error);
            answer_fini(&answers[i]);
            remote_close(remotes[i]);
        }
    }
    assert_true(refused > 0);
    stand_stop(&small);
}

static void test_nothing_in_common(void **state)
{
    (void)state;
    struct stand strict;
    struct answer answer;
    stand_start(&strict, "MACs hmac-sha2-512-etm@openssh.com");
    stand_once(&strict, &strict.config, "true", &answer);
    answer_says(&answer, "in common with this client");
    answer_says(&answer, "sshd_config");
    assert_false(answer.again);
    answer_fini(&answer);
    stand_stop(&strict);
    stand_start(&strict, "MaxSessions 0");
    stand_once(&strict, &strict.config, "true", &answer);
    answer_says(&answer, "opens no session");
    assert_false(answer.again);
    answer_fini(&answer);
    stand_stop(&strict);
}

/* The server process of this connection is ended: its parent's id is that of the shell. */
static void test_broken_in_a_command(void **state)
{
    (void)state;
    struct remote *remote = stand_open(&stand, &stand.config);
    struct remote *remotes[] = {remote, remote};
    struct answer answers[2];
    stand_exec(remote, "kill -KILL $PPID; sleep 60", (struct mf_bytes){0}, &answers[0]);
    stand_exec(remote, "true", (struct mf_bytes){0}, &answers[1]);
    stand_wait(&stand, remotes, answers, 2);
    answer_says(&answers[0], "was begun, and whether it did its work is unknown");
    /* Which of the two depends on whether the server had read what was on its way to it. */
    if (strstr(answers[0].error, "Connection reset by peer") == NULL)
        answer_says(&answers[0], "closed by the host");
    assert_false(answers[0].again);
    answer_says(&answers[1], "broke the connection");
    assert_true(answers[1].again);
    answer_fini(&answers[0]);
    answer_fini(&answers[1]);
    /* What is queued later gets the same answer. */
    stand_exec(remote, "true", (struct mf_bytes){0}, &answers[0]);
    stand_wait(&stand, &remote, answers, 1);
    answer_says(&answers[0], "broke the connection");
    answer_fini(&answers[0]);
    remote_close(remote);
}

static void test_broken_while_idle(void **state)
{
    (void)state;
    struct remote *remote = stand_open(&stand, &stand.config);
    struct answer answer;
    stand_exec(remote, "echo $PPID", (struct mf_bytes){0}, &answer);
    stand_wait(&stand, &remote, &answer, 1);
    assert_int_equal(answer.code, 0);
    pid_t pid = (pid_t)strtol(answer.output, NULL, 10);
    answer_fini(&answer);
    kill(pid, SIGKILL);
    stand_shell("while kill -0 %d 2>/dev/null; do sleep 0.01; done", (int)pid);
    stand_exec(remote, "true", (struct mf_bytes){0}, &answer);
    stand_wait(&stand, &remote, &answer, 1);
    answer_says(&answer, "broke the connection");
    assert_true(answer.again);
    answer_fini(&answer);
    remote_close(remote);
}

/* Turns of the loop until the command is done; closes after `turns` of them. Whether it was done.
 */
static bool close_after(unsigned turns, const char *host)
{
    struct answer answer;
    struct remote *remote = stand_open_at(&stand, &stand.config, host, stand.port);
    static const unsigned char input[200000];
    stand_exec(remote, "cat", mf_bytes_of(input, sizeof input), &answer);
    for (unsigned i = 0; i < turns && answer.calls == 0; i++) {
        int64_t next = remote_tick(remote, mf_monotonic_us());
        if (answer.calls == 0)
            assert_int_equal(mf_loop_step(stand.loop, next, NULL), 0);
    }
    bool done = answer.calls > 0;
    remote_close(remote);
    answer_fini(&answer);
    return done;
}

static void test_closed_at_every_step(void **state)
{
    (void)state;
    unsigned before = stand_descriptors();
    for (unsigned turns = 0; !close_after(turns, "127.0.0.1"); turns++)
        if (turns > 2000)
            fail_msg("a command does not end within %u turns", turns);
    for (unsigned turns = 0; turns < 3; turns++)
        close_after(turns, "localhost");
    remote_close(NULL);
    int64_t limit =
        mf_monotonic_us() + 10000000; /* threads that look up a name may still be at it */
    while (stand_descriptors() != before && mf_monotonic_us() < limit)
        usleep(1000);
    assert_int_equal(stand_descriptors(), before);
}

static int set_up(void **state)
{
    (void)state;
    stand_start(&stand, "MaxStartups 100");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stand_stop(&stand);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_name_that_does_not_resolve),
                                       cmocka_unit_test(test_name_that_resolves),
                                       cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_unreachable),
                                       cmocka_unit_test(test_no_answer),
                                       cmocka_unit_test(test_servers_that_are_none),
                                       cmocka_unit_test(test_limit_of_logins),
                                       cmocka_unit_test(test_nothing_in_common),
                                       cmocka_unit_test(test_broken_in_a_command),
                                       cmocka_unit_test(test_broken_while_idle),
                                       cmocka_unit_test(test_closed_at_every_step)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
