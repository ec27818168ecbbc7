/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways to log in that the user's own ssh would find: keys on a token (one in software), a
 * certificate beside a key that the configuration names, tickets of Kerberos, a locked key; and
 * hosts that fall silent, behind another one, too, by either client.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/remote/remote_stand.h"

static struct stand stand;

/* A configuration of these lines; for both clients alike. `book` is to be destroyed. */
static struct remote_config configure(char path[128], const char *client, const char *lines)
{
    struct remote_config config = stand.config;
    struct mf_error error;
    snprintf(path, 128, "%s/ssh_config", stand.folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%s\nHost *\n Port %u\n", lines, (unsigned)stand.port);
    fprintf(file, " UserKnownHostsFile %s\n", stand.known);
    fclose(file);
    config.ssh_config = path;
    config.known_hosts = config.identity = NULL;
    config.client = strcmp(client, "openssh") == 0   ? REMOTE_OPENSSH
                    : strcmp(client, "libssh2") == 0 ? REMOTE_LIBSSH2
                                                     : REMOTE_AUTO;
    config.book = remote_book_create(&error);
    assert_non_null(config.book);
    return config;
}

static struct answer run(const struct remote_config *config, const char *host, const char *command)
{
    struct answer answer;
    struct remote *remote = stand_open_at(&stand, config, host, 0);
    stand_exec(remote, command, (struct mf_bytes){0}, &answer);
    stand_wait(&stand, &remote, &answer, 1);
    remote_close(remote);
    return answer;
}

/* By OpenSSH's client, for that reason. */
static void expect_elsewhere(const struct remote_config *config, const char *reason)
{
    struct answer answer;
    struct remote *remote = stand_open_at(&stand, config, "127.0.0.1", 0);
    stand_exec(remote, "echo in", (struct mf_bytes){0}, &answer);
    stand_wait(&stand, &remote, &answer, 1);
    if (answer.code != 0)
        fail_msg("%s", answer.error);
    assert_string_equal(answer.output, "in\n");
    const char *elsewhere = remote_elsewhere(remote);
    if (elsewhere == NULL || strstr(elsewhere, reason) == NULL)
        fail_msg("'%s' is not in: %s", reason, elsewhere == NULL ? "(nothing)" : elsewhere);
    answer_fini(&answer);
    remote_close(remote);
}

static void test_token(void **state)
{
    (void)state;
    char path[128], lines[256];
    const char *token = getenv("MAYFLY_SOFT_TOKEN");
    assert_non_null(token);
    stand_shell("cd %s && ssh-keygen -q -t ecdsa-sk -w %s -N '' -f token && cat token.pub >> "
                "authorized_keys",
                stand.folder,
                token);
    snprintf(lines,
             sizeof lines,
             "IdentityFile %s/token\nIdentitiesOnly yes\nSecurityKeyProvider %s",
             stand.folder,
             token);
    struct remote_config config = configure(path, "auto", lines);
    expect_elsewhere(&config, "/token is a key of type sk-ecdsa-sha2-nistp256@openssh.com");
    remote_book_destroy(config.book);
    config = configure(path, "libssh2", lines);
    struct answer answer = run(&config, "127.0.0.1", "true");
    answer_says(&answer, "/token is a key on a hardware token, which this client cannot use");
    answer_fini(&answer);
    remote_book_destroy(config.book);
}

/* ssh takes it by itself, so nobody names it. */
static void test_certificate(void **state)
{
    (void)state;
    char path[128], lines[128];
    stand_shell("cd %s && ssh-keygen -q -t ed25519 -N '' -f authority && ssh-keygen -q -t ed25519 "
                "-N '' -f work && ssh-keygen -q -s authority -I me -n $(id -un) work.pub && "
                "(printf 'cert-authority '; cat authority.pub) >> authorized_keys",
                stand.folder);
    snprintf(lines, sizeof lines, "IdentityFile %s/work", stand.folder);
    struct remote_config config = configure(path, "auto", lines);
    expect_elsewhere(&config, "there is a certificate, ");
    remote_book_destroy(config.book);
}

/* Tickets let nobody in here: a program in front of ssh stands for them, and asks whether it was
 * told to use them. */
static void test_kerberos(void **state)
{
    (void)state;
    char path[128], lines[128], programs[1024];
    const char *before = getenv("PATH");
    char *saved = strdup(before == NULL ? "/usr/bin:/bin" : before);
    assert_non_null(saved);
    stand_shell("cd %s && ssh-keygen -q -t ed25519 -N '' -f stranger && mkdir bin && printf "
                "'#!/bin/sh\\ncase \"$*\" in *GSSAPIAuthentication=yes*) set -- -i %%s \"$@\";; "
                "esac\\nexec %%s \"$@\"\\n' $PWD/key \"$(command -v ssh)\" > bin/ssh && chmod 755 "
                "bin/ssh",
                stand.folder);
    snprintf(lines, sizeof lines, "IdentityFile %s/stranger", stand.folder);
    snprintf(programs, sizeof programs, "%s/bin:%s", stand.folder, saved);
    setenv("PATH", programs, 1);
    struct remote_config config = configure(path, "auto", lines);
    struct answer answer = run(&config, "127.0.0.1", "true");
    answer_says(&answer, "refuses the login of");
    answer_says(&answer, "gssapi-with-mic: add the key");
    answer_fini(&answer);
    setenv("KRB5CCNAME", "FILE:/nonexistent", 1);
    expect_elsewhere(&config, "the host takes Kerberos (GSSAPI), and there are tickets");
    unsetenv("KRB5CCNAME");
    remote_book_destroy(config.book);
    setenv("PATH", saved, 1);
    free(saved);
}

static void test_locked_rsa(void **state)
{
    (void)state;
    char path[128], lines[128];
    stand_shell("cd %s && ssh-keygen -q -t rsa -b 2048 -N secret -f rsa && ssh-keygen -q -t rsa -b "
                "2048 -m PEM -N secret -f pem && cat rsa.pub pem.pub >> authorized_keys",
                stand.folder);
    static const char *const names[] = {"rsa", "pem"};
    for (unsigned i = 0; i < 2; i++) {
        char sentence[128];
        snprintf(
            lines, sizeof lines, "IdentityFile %s/%s\nIdentitiesOnly yes", stand.folder, names[i]);
        struct remote_config config = configure(path, "auto", lines);
        struct answer answer = run(&config, "127.0.0.1", "true");
        snprintf(sentence, sizeof sentence, "/%s needs a passphrase, and this client", names[i]);
        answer_says(&answer, sentence);
        answer_says(&answer, "only from an agent: ssh-add ");
        answer_fini(&answer);
        remote_book_destroy(config.book);
    }
}

/* Their sessions stop, as a link does that dies in silence: TCP is fine. Side by side with one
 * that says nothing for as long, and answers. */
static void test_silence(void **state)
{
    (void)state;
    static const struct {
        const char *client, *host, *said;
    } cases[] = {{"libssh2", "127.0.0.1", "has not answered for 4 s: is it up"},
                 {"libssh2", "behind", "behind (127.0.0.1:"},
                 {"openssh", "behind", "has not answered for a while"},
                 {"libssh2", "127.0.0.1", NULL}};
    enum { COUNT = sizeof cases / sizeof *cases };
    struct remote_config configs[COUNT];
    struct remote *remotes[COUNT];
    struct answer answers[COUNT];
    char path[128], lines[512], command[COUNT][256];
    snprintf(lines,
             sizeof lines,
             "Host behind\n HostName 127.0.0.1\n ProxyJump 127.0.0.1\nHost *\n IdentityFile %s\n "
             "ServerAliveInterval 2\n ServerAliveCountMax 1",
             stand.key);
    for (unsigned i = 0; i < COUNT; i++) {
        configs[i] = configure(path, cases[i].client, lines);
        snprintf(command[i],
                 sizeof command[i],
                 cases[i].said == NULL
                     ? "sleep 5; echo rested"
                     : "echo $PPID >> %s/stopped; kill -STOP $PPID; exec sleep 60",
                 stand.folder);
        remotes[i] = stand_open_at(&stand, &configs[i], cases[i].host, 0);
        stand_exec(remotes[i], command[i], (struct mf_bytes){0}, &answers[i]);
    }
    stand_wait(&stand, remotes, answers, COUNT);
    stand_shell("kill -KILL $(cat %s/stopped)", stand.folder);
    for (unsigned i = 0; i < COUNT; i++) {
        if (cases[i].said == NULL) {
            assert_string_equal(answers[i].error, "");
            assert_string_equal(answers[i].output, "rested\n");
        } else {
            answer_says(&answers[i], "was begun, and whether it did its work is unknown");
            answer_says(&answers[i], cases[i].said);
            answer_says(&answers[i], "has not answered for");
        }
        answer_fini(&answers[i]);
        remote_close(remotes[i]);
        remote_book_destroy(configs[i].book);
    }
}

static int set_up(void **state)
{
    (void)state;
    stand_start(&stand, "GSSAPIAuthentication yes");
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_token),
                                       cmocka_unit_test(test_certificate),
                                       cmocka_unit_test(test_kerberos),
                                       cmocka_unit_test(test_locked_rsa),
                                       cmocka_unit_test(test_silence)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
