/* SPDX-License-Identifier: Apache-2.0 */
/* Who logs in with what, and to whom: keys, the agent, host keys; each refusal says what is wrong
 * and what helps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/remote/remote_stand.h"

#define TOGETHER 8

/* libssh2 1.10 leaks a number of 64 bytes each time it reads an ECDSA key in OpenSSH's format. To
 * see that a leak is that one, whole stacks are needed. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}

const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libssh2_userauth_publickey_frommemory\n";
}

static struct stand stand;

static void path_of(char path[128], const char *name)
{
    snprintf(path, 128, "%s/%s", stand.folder, name);
}

/* Logs in with the given key file (NULL: agent and default files) and known_hosts file. */
static void try(const char *key, const char *known, struct answer *answer)
{
    char key_path[128], known_path[128];
    struct remote_config config = stand.config;
    path_of(key_path, key == NULL ? "" : key);
    path_of(known_path, known);
    config.identity = key == NULL ? NULL : key_path;
    config.known_hosts = known_path;
    stand_once(&stand, &config, "echo in", answer);
}

static void expect_in(const char *key, const char *known)
{
    struct answer answer;
    try(key, known, &answer);
    if (answer.code != 0)
        fail_msg("%s", answer.error);
    assert_string_equal(answer.output, "in\n");
    answer_fini(&answer);
}

static void expect_out(const char *key, const char *known, const char *part, const char *more)
{
    struct answer answer;
    try(key, known, &answer);
    answer_says(&answer, part);
    answer_says(&answer, more);
    assert_false(answer.again);
    answer_fini(&answer);
}

static void test_key_files(void **state)
{
    (void)state;
    stand_shell(
        "cd %s && for b in 256 384 521; do ssh-keygen -q -t ecdsa -b $b -N '' -f ecdsa$b && "
        "cat ecdsa$b.pub >> authorized_keys; done; rm -f key.pub ecdsa*.pub; "
        "ssh-keygen -q -t ecdsa -m PEM -N '' -f pem && cat pem.pub >> authorized_keys",
        stand.folder);
    expect_in("key", "known");
    expect_in("ecdsa256", "known");
    expect_in("ecdsa384", "known");
    expect_in("ecdsa521", "known");
    expect_in("pem", "known");
}

static void test_keys_that_cannot_be_used(void **state)
{
    (void)state;
    stand_shell(
        "cd %s && ssh-keygen -q -t ed25519 -N '' -f stranger && ssh-keygen -q -t rsa -N '' "
        "-f rsa && ssh-keygen -q -t rsa -m PEM -N '' -f rsa_pem && ssh-keygen -q -t ed25519 "
        "-N secret -f locked && ssh-keygen -q -t ecdsa -m PEM -N secret -f locked_pem && "
        "echo hello > text && : > empty && head -c 99 key > torn && mkdir folder && "
        "sed 's/[a-m]/n/g' key > damaged && sed -i '1s/.*/-----BEGIN OPENSSH PRIVATE "
        "KEY-----/; $s/.*/-----END OPENSSH PRIVATE KEY-----/' damaged",
        stand.folder);
    expect_out("missing", "known", "/missing does not exist", "key file");
    expect_out("stranger", "known", "refuses the login of", "it accepts publickey");
    expect_out("stranger", "known", "/stranger", "ssh-copy-id");
    expect_out("rsa", "known", "is an RSA key", "ssh-keygen -t ed25519");
    expect_out("rsa_pem", "known", "is an RSA key", "ssh-keygen -t ed25519");
    expect_out("locked", "known", "/locked needs a passphrase", "no agent is running");
    expect_out("locked", "known", "unlock it once with ssh-add", "/locked");
    expect_out("locked_pem", "known", "/locked_pem needs a passphrase", "ssh-add");
    expect_out("text", "known", "/text is not a private key", "ssh-keygen");
    expect_out("empty", "known", "/empty is not a private key", "ssh-keygen");
    expect_out("torn", "known", "/torn", "cannot be used as a private key");
    expect_out("damaged", "known", "/damaged", "cannot be used as a private key");
    expect_out("folder", "known", "/folder is not a private key", "no file");
    expect_out("rsa.pub", "known", "is a public key", "without .pub");
    if (geteuid() != 0) {
        stand_shell("cd %s && cp key closed && chmod 0 closed", stand.folder);
        expect_out("closed", "known", "cannot read the key file", "Permission denied");
    }
}

static void test_default_files(void **state)
{
    (void)state;
    expect_out(NULL, "known", "there is no key to log in to", "no agent is running");
    expect_out(NULL, "known", "it accepts publickey", "ssh-keygen -t ed25519");
    stand_shell("cd %s && cp rsa home/.ssh/id_rsa", stand.folder);
    expect_out(NULL, "known", "there is no key", "id_rsa is an RSA key");
    stand_shell("cd %s && cp ecdsa256 home/.ssh/id_ecdsa", stand.folder);
    expect_in(NULL, "known");
    /* One that is refused does not keep the next from being tried, nor does a locked one. */
    stand_shell("cd %s && cp stranger home/.ssh/id_ed25519", stand.folder);
    expect_in(NULL, "known");
    stand_shell("cd %s && cp locked home/.ssh/id_ed25519", stand.folder);
    expect_in(NULL, "known");
    stand_shell("cd %s && rm home/.ssh/id_ecdsa", stand.folder);
    expect_out(NULL, "known", "id_ed25519 needs a passphrase", "ssh-add");
    stand_shell("cd %s && rm home/.ssh/*", stand.folder);
    /* Without HOME, the user data base says where it is. */
    char home[96];
    snprintf(home, sizeof home, "%s/home", stand.folder);
    unsetenv("HOME");
    expect_in("key", "known");
    setenv("HOME", home, 1);
}

static void start_agent(char pid[32])
{
    char socket_path[128], line[256];
    path_of(socket_path, "agent");
    snprintf(line,
             sizeof line,
             "ssh-agent -a %s | sed -n 's/.*AGENT_PID=\\([0-9]*\\);.*/\\1/p'",
             socket_path);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(pid, 32, pipe));
    pclose(pipe);
    pid[strcspn(pid, "\n")] = '\0';
    setenv("SSH_AUTH_SOCK", socket_path, 1);
}

static void test_agent(void **state)
{
    (void)state;
    char pid[32];
    start_agent(pid);
    expect_out(NULL, "known", "there is no key", "the agent has no keys");
    stand_shell("cd %s && ssh-add -q stranger && ssh-add -q rsa", stand.folder);
    expect_out(NULL, "known", "refuses the login of", "the agent's ssh-ed25519 SHA256:");
    expect_out(NULL, "known", "refuses the login of", "RSA key");
    stand_shell("cd %s && ssh-add -q ecdsa256", stand.folder);
    expect_in(NULL, "known");
    /* A locked key file whose key the agent has got: only that is used. */
    expect_out("locked", "known", "needs a passphrase", "the agent has other keys");
    stand_shell("cd %s && cp locked open && ssh-keygen -q -p -P secret -N '' -f open && ssh-add -q "
                "open && ssh-keygen -y -f open >> authorized_keys",
                stand.folder);
    expect_in("locked", "known");
    stand_shell("kill %s", pid);
    stand_shell("while kill -0 %s 2>/dev/null; do sleep 0.01; done", pid);
    expect_out(NULL, "known", "there is no key", "does not answer");
    setenv("SSH_AUTH_SOCK", "/nonexistent/agent", 1);
    expect_out(NULL, "known", "the agent at /nonexistent/agent", "does not answer");
    unsetenv("SSH_AUTH_SOCK");
}

/* Each refused key counts for sshd, which hangs up after six. */
static void test_too_many_keys_in_the_agent(void **state)
{
    (void)state;
    char pid[32];
    start_agent(pid);
    stand_shell("cd %s && for i in 1 2 3 4 5 6 7 8; do ssh-keygen -q -t ed25519 -N '' -f many$i && "
                "ssh-add -q many$i; done",
                stand.folder);
    expect_out(NULL, "known", "after 6 keys", "MaxAuthTries: name the right one with -i");
    expect_in("key", "known");
    stand_shell("kill %s", pid);
    unsetenv("SSH_AUTH_SOCK");
}

static void test_known_hosts(void **state)
{
    (void)state;
    stand_shell("cd %s && : > none; p=%u; e=$(cut -d' ' -f1,2 host_ed25519.pub); "
                "c=$(cut -d' ' -f1,2 host_ecdsa.pub); s=$(cut -d' ' -f1,2 stranger.pub); "
                "r=$(cut -d' ' -f1,2 rsa.pub); "
                "echo \"[127.0.0.1]:$p $c\" > only_ecdsa; "
                "cp known hashed; ssh-keygen -q -H -f hashed 2>/dev/null; rm -f hashed.old; "
                "echo \"127.0.0.1 $e\" > portless; echo \"[127.0.0.?]:* $e\" > wild; "
                "echo \"[127.0.0.*]:*,![127.0.0.1]:* $e\" > negated; "
                "(echo; echo \"[127.0.0.1]:$p $s\") > changed; "
                "(cat known; echo \"@revoked * $e\"; echo \"@revoked * $c\") > revoked; "
                "echo \"@cert-authority * $s\" > authority; echo \"[127.0.0.1]:$p $r\" > only_rsa",
                stand.folder,
                (unsigned)stand.port);
    expect_in("key", "only_ecdsa");
    expect_in("key", "hashed");
    expect_in("key", "portless");
    expect_in("key", "wild");
    expect_out("key", "none", "is not known (its ssh-ed25519 key is SHA256:", "ssh-keyscan -p");
    expect_out("key", "missing", "is not known", "--accept-new");
    expect_out("key", "negated", "is not known", "--accept-new");
    expect_out("key", "changed", "HAS CHANGED", "/changed:2");
    expect_out("key", "changed", "ssh-keygen -R '[127.0.0.1]:", "SHA256:");
    expect_out("key", "revoked", "marked @revoked in", "/revoked:3");
    expect_out(
        "key", "authority", "host certificates are not supported by this client", "/authority:1");
    expect_out("key", "only_rsa", "only an RSA key is recorded", "ssh-keyscan -t ed25519");
    expect_out("key", "folder", "cannot read", "/folder");
}

static void test_accept_new(void **state)
{
    (void)state;
    char known[128], command[256];
    struct remote *remotes[TOGETHER];
    struct answer answers[TOGETHER];
    struct remote_config config = stand.config;
    config.accept_new = true;
    config.known_hosts = known;
    path_of(known, "new");
    for (unsigned i = 0; i < TOGETHER; i++) {
        remotes[i] = stand_open(&stand, &config);
        stand_exec(remotes[i], "true", (struct mf_bytes){0}, &answers[i]);
    }
    stand_wait(&stand, remotes, answers, TOGETHER);
    for (unsigned i = 0; i < TOGETHER; i++) {
        if (answers[i].code != 0)
            fail_msg("%s", answers[i].error);
        answer_fini(&answers[i]);
        remote_close(remotes[i]);
    }
    stand_shell("cd %s && [ $(wc -l < new) = 1 ] && [ $(stat -c %%a new) = 600 ]", stand.folder);
    expect_in("key", "new");
    /* A line without its end is not run into; a key that differs is refused all the same. */
    path_of(known, "unended");
    stand_shell("cd %s && printf '# no end' > unended", stand.folder);
    struct answer answer;
    stand_once(&stand, &config, "true", &answer);
    assert_int_equal(answer.code, 0);
    answer_fini(&answer);
    stand_shell("cd %s && [ $(wc -l < unended) = 2 ]", stand.folder);
    path_of(known, "changed");
    stand_once(&stand, &config, "true", &answer);
    answer_says(&answer, "HAS CHANGED");
    answer_fini(&answer);
    /* The default file, in a folder that is missing. */
    config.known_hosts = NULL;
    stand_shell("rm -rf %s/home/.ssh", stand.folder);
    stand_once(&stand, &config, "true", &answer);
    if (answer.code != 0)
        fail_msg("%s", answer.error);
    answer_fini(&answer);
    stand_shell(
        "cd %s/home && [ $(stat -c %%a .ssh) = 700 ] && [ $(wc -l < .ssh/known_hosts) = 1 ]",
        stand.folder);
    snprintf(command, sizeof command, "%s/nowhere/known", stand.folder);
    config.known_hosts = command;
    stand_once(&stand, &config, "true", &answer);
    answer_says(&answer, "cannot add the key of");
    answer_fini(&answer);
}

static void test_forced_command(void **state)
{
    (void)state;
    struct answer answer;
    stand_shell("cd %s && ssh-keygen -q -t ed25519 -N '' -f forced && (printf 'command=\"echo "
                "forced; cat\" '; cat forced.pub) >> authorized_keys",
                stand.folder);
    try("forced", "known", &answer);
    assert_int_equal(answer.code, 0);
    assert_string_equal(answer.output, "forced\n");
    answer_fini(&answer);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_key_files),
                                       cmocka_unit_test(test_keys_that_cannot_be_used),
                                       cmocka_unit_test(test_default_files),
                                       cmocka_unit_test(test_agent),
                                       cmocka_unit_test(test_too_many_keys_in_the_agent),
                                       cmocka_unit_test(test_known_hosts),
                                       cmocka_unit_test(test_accept_new),
                                       cmocka_unit_test(test_forced_command)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
