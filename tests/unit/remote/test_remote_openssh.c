/* SPDX-License-Identifier: Apache-2.0 */
/* Commands over OpenSSH's client: what the other back end does, this one does alike, and says in
 * the same words; what only this one can; and that nothing stays of a process that is not wanted.
 * With MAYFLY_LONG=1 (.ci/long) also what takes many logins.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "tests/unit/remote/remote_stand.h"

#define MANY 8

static struct stand stand;

static void path_of(char path[128], const char *name)
{
    snprintf(path, 128, "%s/%s", stand.folder, name);
}

static void check(struct remote *remote, const char *command, const char *output, int code)
{
    struct answer answer;
    stand_exec(remote, command, (struct mf_bytes){0}, &answer);
    stand_wait(&stand, &remote, &answer, 1);
    if (answer.code == -1)
        fail_msg("%s", answer.error);
    assert_int_equal(answer.code, code);
    assert_string_equal(answer.output, output);
    answer_fini(&answer);
}

static void test_codes_and_streams(void **state)
{
    (void)state;
    struct remote *remote = stand_open(&stand, &stand.config);
    struct answer answers[3];
    struct remote *remotes[] = {remote, remote, remote};
    assert_string_equal(remote_peer_address(remote), "");
    check(remote, "true", "", 0);
    assert_string_equal(remote_peer_address(remote), "127.0.0.1");
    assert_non_null(remote_elsewhere(remote));
    check(remote, "exit 255", "", 255);
    check(remote, "exec sh -c 'kill -KILL $$'", "", 128 + 9);
    stand_exec(remote, "cat; echo bad >&2; exit 3", mf_bytes_text("said"), &answers[0]);
    stand_exec(remote, "echo second", mf_bytes_text("nobody reads this"), &answers[1]);
    stand_exec(remote, "printf 'a\\0b'", (struct mf_bytes){0}, &answers[2]);
    stand_wait(&stand, remotes, answers, 3);
    assert_string_equal(answers[0].output, "said");
    assert_string_equal(answers[0].problem, "bad\n");
    assert_int_equal(answers[0].code, 3);
    assert_string_equal(answers[1].output, "second\n");
    assert_int_equal(answers[2].code, 0);
    for (unsigned i = 0; i < 3; i++)
        answer_fini(&answers[i]);
    remote_close(remote);
}

static void test_large_streams(void **state)
{
    (void)state;
    size_t size = 4u << 20;
    unsigned char *input = malloc(size);
    assert_non_null(input);
    for (size_t i = 0; i < size; i++)
        input[i] = (unsigned char)('a' + i * 31 % 23);
    struct remote *remote = stand_open(&stand, &stand.config);
    struct answer answer;
    stand_exec(remote, "tee /dev/stderr | cksum >&2", mf_bytes_of(input, size), &answer);
    stand_wait(&stand, &remote, &answer, 1);
    assert_int_equal(answer.code, 0);
    assert_int_equal(strlen(answer.problem), REMOTE_OUTPUT_MAX);
    answer_fini(&answer);
    stand_exec(remote, "wc -c", mf_bytes_of(input, size), &answer);
    stand_wait(&stand, &remote, &answer, 1);
    assert_string_equal(answer.output, "4194304\n");
    answer_fini(&answer);
    stand_exec(remote, "exit 4", mf_bytes_of(input, size), &answer);
    stand_wait(&stand, &remote, &answer, 1);
    assert_int_equal(answer.code, 4);
    answer_fini(&answer);
    remote_close(remote);
    free(input);
}

static void test_many_at_once(void **state)
{
    (void)state;
    struct remote *remotes[MANY];
    struct answer answers[MANY];
    char command[64], expected[64];
    for (unsigned i = 0; i < MANY; i++) {
        remotes[i] = stand_open(&stand, &stand.config);
        snprintf(command, sizeof command, "cat; echo %u; exit %u", i, i);
        stand_exec(remotes[i], command, mf_bytes_text("in "), &answers[i]);
    }
    stand_wait(&stand, remotes, answers, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        if (answers[i].code == -1)
            fail_msg("%s", answers[i].error);
        snprintf(expected, sizeof expected, "in %u\n", i);
        assert_string_equal(answers[i].output, expected);
        assert_int_equal(answers[i].code, i);
        answer_fini(&answers[i]);
        remote_close(remotes[i]);
    }
}

/* Logs in with the given files (NULL: the default) of the folder. */
static void
try(struct remote_config config, const char *key, const char *known, struct answer *answer)
{
    char key_path[128], known_path[128];
    if (key != NULL) {
        path_of(key_path, key);
        config.identity = key_path;
    }
    if (known != NULL) {
        path_of(known_path, known);
        config.known_hosts = known_path;
    }
    stand_once(&stand, &config, "echo in", answer);
}

static void expect_out(const char *key, const char *known, const char *part, const char *more)
{
    struct answer answer;
    try(stand.config, key, known, &answer);
    answer_says(&answer, part);
    answer_says(&answer, more);
    assert_false(answer.again);
    answer_fini(&answer);
}

static void test_refusals(void **state)
{
    (void)state;
    stand_shell("cd %s && ssh-keygen -q -t ed25519 -N '' -f stranger && : > none && p=%u && "
                "s=$(cut -d' ' -f1,2 stranger.pub) && (echo; echo \"[127.0.0.1]:$p $s\") > changed "
                "&& (cat known; sed 's/^/@revoked /' known) > revoked && cp key bare && chmod 644 "
                "bare",
                stand.folder,
                (unsigned)stand.port);
    expect_out("stranger", NULL, "refuses the login of", "it accepts publickey: add the key to");
    expect_out(NULL, "none", "is not known (its ssh-ed25519", "ssh-keyscan -p");
    expect_out(NULL, "changed", "HAS CHANGED: it now shows the ssh-ed25519", "/changed:2;");
    expect_out(NULL, "changed", "ssh-keygen -R '[127.0.0.1]:", "/changed'");
    expect_out(NULL, "revoked", "marked @revoked", "needs a new key");
    expect_out("bare", NULL, "others can read the private key", "chmod 600");
    struct answer answer;
    struct remote_config config = stand.config;
    config.accept_new = true;
    try(config, NULL, "none", &answer);
    assert_int_equal(answer.code, 0);
    answer_fini(&answer);
    try(config, NULL, "changed", &answer);
    answer_says(&answer, "HAS CHANGED");
    answer_fini(&answer);
    try(stand.config, NULL, "none", &answer);
    assert_int_equal(answer.code, 0);
    answer_fini(&answer);
}

static void try_at(const char *host, int port, struct answer *answer)
{
    struct remote *remote = stand_open_at(&stand, &stand.config, host, port);
    stand_exec(remote, "true", (struct mf_bytes){0}, answer);
    stand_wait(&stand, &remote, answer, 1);
    remote_close(remote);
}

static void test_hosts_that_are_none(void **state)
{
    (void)state;
    struct answer answer;
    try_at("127.0.0.1", stand_free_port(), &answer);
    answer_says(&answer, "cannot connect to 127.0.0.1:");
    answer_says(&answer, "(Connection refused): is sshd running there, and on this port?");
    assert_false(answer.again);
    answer_fini(&answer);
    try_at("no-such-host.invalid", 22, &answer);
    if (!answer.again)
        answer_says(&answer, "the host name no-such-host.invalid does not resolve (");
    answer_fini(&answer);
    uint16_t port;
    int listener = stand_listen(&port);
    struct remote_config config = stand.config;
    config.connect_us = 300000;
    struct remote *remote = stand_open_at(&stand, &config, "127.0.0.1", port);
    stand_exec(remote, "true", (struct mf_bytes){0}, &answer);
    stand_wait(&stand, &remote, &answer, 1);
    answer_says(&answer, "hung in the middle of the login, 0.3 s after the start");
    answer_fini(&answer);
    remote_close(remote);
    close(listener);
}

/* Somebody who says something to the first who connects, and hangs up. */
static void *serve(void *arg)
{
    const char *const *says = arg;
    int fd = accept((int)strtol(says[1], NULL, 10), NULL, NULL);
    char byte;
    (void)!write(fd, says[0], strlen(says[0]));
    shutdown(fd, SHUT_WR);
    while (recv(fd, &byte, 1, 0) > 0) {
    }
    close(fd);
    return NULL;
}

static void expect_of_server(const char *greeting, const char *part, bool again)
{
    uint16_t port;
    char number[16];
    const char *says[] = {greeting, number};
    pthread_t thread;
    struct answer answer;
    int listener = stand_listen(&port);
    snprintf(number, sizeof number, "%d", listener);
    assert_int_equal(pthread_create(&thread, NULL, serve, says), 0);
    try_at("127.0.0.1", port, &answer);
    answer_says(&answer, part);
    assert_int_equal(answer.again, again);
    answer_fini(&answer);
    pthread_join(thread, NULL);
    close(listener);
}

static void test_servers_that_are_none(void **state)
{
    (void)state;
    expect_of_server("", "closed the connection before it said anything", true);
    expect_of_server("Exceeded MaxStartups\r\n", "too many at once for MaxStartups", true);
    expect_of_server(
        "220 mail ESMTP\r\n", "is not an SSH server (it says '220 mail ESMTP')", false);
}

static void test_sshd_that_refuses(void **state)
{
    (void)state;
    struct stand strict;
    struct answer answer;
    stand_start(&strict, "MaxSessions 0");
    strict.config.client = REMOTE_OPENSSH;
    strict.config.ssh_config = "none";
    stand_once(&strict, &strict.config, "true", &answer);
    answer_says(&answer, "opens no session: look at MaxSessions");
    assert_false(answer.again);
    answer_fini(&answer);
    stand_stop(&strict);
    stand_start(&strict, "MaxAuthTries 1");
    strict.config.client = REMOTE_OPENSSH;
    strict.config.ssh_config = "none";
    stand_shell(
        "cd %s && ssh-keygen -q -t ed25519 -N '' -f one && ssh-keygen -q -t ed25519 -N '' -f "
        "two && printf 'IdentityFile %%s\\n' $PWD/one $PWD/two $PWD/key > ssh_config",
        strict.folder);
    char config[128];
    snprintf(config, sizeof config, "%s/ssh_config", strict.folder);
    strict.config.ssh_config = config;
    strict.config.identity = NULL;
    stand_once(&strict, &strict.config, "true", &answer);
    answer_says(&answer, "too many keys for its MaxAuthTries: name the right one with -i");
    answer_fini(&answer);
    stand_stop(&strict);
    stand_start(&strict, "KexAlgorithms diffie-hellman-group1-sha1");
    strict.config.client = REMOTE_OPENSSH;
    strict.config.ssh_config = "none";
    stand_once(&strict, &strict.config, "true", &answer);
    answer_says(&answer,
                "has no key exchange method in common with OpenSSH's client here (it offers "
                "diffie-hellman-group1-sha1");
    answer_fini(&answer);
    stand_stop(&strict);
}

static void test_broken_in_a_command(void **state)
{
    (void)state;
    struct answer answer;
    stand_once(&stand, &stand.config, "kill -KILL $PPID; sleep 60", &answer);
    answer_says(&answer, "was begun, and whether it did its work is unknown");
    answer_says(&answer, "broke the connection while running a command");
    assert_false(answer.again);
    answer_fini(&answer);
}

/* AUTO goes on with OpenSSH's client where libssh2 can't, and only there. */
static void expect_auto(const char *key, const char *known, const char *reason)
{
    struct answer answer;
    char key_path[128], known_path[128];
    struct remote_config config = stand.config;
    config.client = REMOTE_AUTO;
    path_of(key_path, key);
    path_of(known_path, known);
    config.identity = key_path;
    config.known_hosts = known_path;
    struct remote *remote = stand_open(&stand, &config);
    stand_exec(remote, "echo in", (struct mf_bytes){0}, &answer);
    stand_wait(&stand, &remote, &answer, 1);
    if (answer.code != 0)
        fail_msg("%s", answer.error);
    const char *elsewhere = remote_elsewhere(remote);
    if (reason == NULL)
        assert_null(elsewhere);
    else if (elsewhere == NULL || strstr(elsewhere, reason) == NULL)
        fail_msg("'%s' is not in: %s", reason, elsewhere == NULL ? "(nothing)" : elsewhere);
    answer_fini(&answer);
    remote_close(remote);
}

static void test_auto(void **state)
{
    (void)state;
    stand_shell("cd %s && cp host_rsa rsa && cp host_rsa.pub rsa.pub && cat rsa.pub >> "
                "authorized_keys && "
                "ssh-keygen -q -t ed25519 -N '' -f certified && "
                "ssh-keygen -q -s authority -I me -n $(id -un) certified.pub && "
                "(printf 'cert-authority '; cat authority.pub) >> authorized_keys && "
                "echo \"[127.0.0.1]:%u $(cut -d' ' -f1,2 host_rsa.pub)\" > only_rsa && "
                "echo \"@cert-authority * $(cut -d' ' -f1,2 authority.pub)\" > by_authority",
                stand.folder,
                (unsigned)stand.port);
    expect_auto("key", "known", NULL);
    expect_auto("rsa", "known", "/rsa is a key of type ssh-rsa");
    expect_auto("certified", "known", "there is a certificate, ");
    expect_auto("key", "only_rsa", "of the host only an RSA key is recorded");
    expect_auto("key", "by_authority", "the host is known by a @cert-authority");
    /* What is refused for another reason stays refused. */
    struct answer answer;
    struct remote_config config = stand.config;
    config.client = REMOTE_AUTO;
    try(config, NULL, "changed", &answer);
    answer_says(&answer, "HAS CHANGED");
    answer_fini(&answer);
    /* Where there is no such program, that is said. */
    const char *programs = getenv("PATH");
    char *path = strdup(programs == NULL ? "/usr/bin:/bin" : programs);
    assert_non_null(path);
    setenv("PATH", "/nonexistent", 1);
    try(config, "rsa", NULL, &answer);
    answer_says(&answer, "is an RSA key");
    answer_says(&answer, "install openssh-client");
    answer_fini(&answer);
    try(stand.config, "key", NULL, &answer);
    answer_says(&answer, "ssh, is not installed here: install openssh-client");
    answer_fini(&answer);
    setenv("PATH", path, 1);
    free(path);
}

/* Turns of the loop until the command is done; closes after `turns` of them. Whether it was done.
 */
static bool close_after(unsigned turns)
{
    struct answer answer;
    struct remote *remote = stand_open(&stand, &stand.config);
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

static void test_closed_at_any_time(void **state)
{
    (void)state;
    unsigned before = stand_descriptors();
    for (unsigned turns = 0; turns < 60 && !close_after(turns);)
        turns += 1 + turns / 4;
    assert_int_equal(stand_descriptors(), before);
}

/* Each child was waited for: only sshd is left. */
static void test_no_process_is_left(void **state)
{
    (void)state;
    kill(stand.sshd, SIGTERM);
    assert_int_equal(waitpid(stand.sshd, NULL, 0), stand.sshd);
    stand.sshd = -1;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static int set_up(void **state)
{
    (void)state;
    stand_start(&stand, "MaxStartups 100\nKexAlgorithms curve25519-sha256");
    /* A third host key, for which sshd starts anew. */
    stand_shell(
        "cd %s && ssh-keygen -q -t rsa -b 2048 -N '' -f host_rsa && ssh-keygen -q -t ed25519 "
        "-N '' -f authority && ssh-keygen -q -s authority -I it -h -n 127.0.0.1 "
        "host_ed25519.pub && printf 'HostKey %%s\\nHostCertificate %%s\\n' $PWD/host_rsa "
        "$PWD/host_ed25519-cert.pub >> config && kill -HUP %d && until ssh-keyscan -t rsa -p %u "
        "127.0.0.1 2>&1 | grep -q ssh-rsa; do sleep 0.02; done",
        stand.folder,
        (int)stand.sshd,
        (unsigned)stand.port);
    stand.config.client = REMOTE_OPENSSH;
    stand.config.ssh_config = "none";
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_codes_and_streams),
                                       cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_hosts_that_are_none),
                                       cmocka_unit_test(test_servers_that_are_none),
                                       cmocka_unit_test(test_broken_in_a_command),
                                       cmocka_unit_test(test_auto),
                                       cmocka_unit_test(test_no_process_is_left)};
    const struct CMUnitTest long_tests[] = {cmocka_unit_test(test_large_streams),
                                            cmocka_unit_test(test_many_at_once),
                                            cmocka_unit_test(test_sshd_that_refuses),
                                            cmocka_unit_test(test_closed_at_any_time),
                                            cmocka_unit_test(test_no_process_is_left)};
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    const char *is_long = getenv("MAYFLY_LONG");
    if (is_long != NULL && strcmp(is_long, "1") == 0)
        failed += cmocka_run_group_tests(long_tests, set_up, tear_down);
    return failed;
}
