/* SPDX-License-Identifier: Apache-2.0 */
/* What `ssh -G` prints becomes settings: what is as by default is left out, paths are whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/remote/settings.h"

static const struct settings_scope scope = {
    .home = "/h/me", .user_home = "/home/me", .name = "web1"};

static struct settings parse(const char *text)
{
    struct settings settings = {0};
    struct mf_error error;
    if (settings_parse(&settings, text, &scope, &error) < 0)
        fail_msg("%s", error.text);
    return settings;
}

static void test_what_is_usual(void **state)
{
    (void)state;
    struct settings s =
        parse("host web1\nuser me\nhostname web1\nport 22\naddressfamily any\n"
              "identityfile ~/.ssh/id_rsa\nidentityfile ~/.ssh/id_ecdsa\n"
              "identityfile ~/.ssh/id_ecdsa_sk\nidentityfile ~/.ssh/id_ed25519\n"
              "globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2\n"
              "userknownhostsfile /home/me/.ssh/known_hosts /home/me/.ssh/known_hosts2\n"
              "connecttimeout none\nserveraliveinterval 0\nproxyjump none\nidentityagent "
              "SSH_AUTH_SOCK\n");
    assert_string_equal(s.hostname, "web1");
    assert_string_equal(s.user, "me");
    assert_int_equal(s.port, 22);
    assert_int_equal(s.identity_count, 0);
    assert_int_equal(s.known_count, 0);
    assert_int_equal(s.connect_s, 0);
    assert_int_equal(s.family, AF_UNSPEC);
    assert_false(s.only_identities || s.accept_new || s.has_user_known);
    assert_null(s.agent);
    assert_null(s.jump);
    assert_null(s.proxy);
    assert_string_equal(s.elsewhere, "");
    settings_fini(&s);
}

static void test_what_is_chosen(void **state)
{
    (void)state;
    struct settings s =
        parse("identityfile ~/my keys/%n_%h_%p_%r%%\nuser etl\nhostname 10.0.0.1\nport 2222\n"
              "identityfile /abs/%d/x\nidentityfile ~/.ssh/id_ed25519\nidentitiesonly yes\n"
              "userknownhostsfile /a ~/.ssh/%h\nglobalknownhostsfile none\n"
              "stricthostkeychecking accept-new\nhostkeyalias cluster\nconnecttimeout 7\n"
              "serveraliveinterval 4\nserveralivecountmax 2\nproxyjump a@b:22,c\n"
              "addressfamily inet6\nidentityagent ~/agent.sock\n");
    assert_string_equal(s.hostname, "10.0.0.1");
    assert_int_equal(s.port, 2222);
    assert_int_equal(s.identity_count, 3);
    assert_string_equal(s.identities[0], "/h/me/my keys/web1_10.0.0.1_2222_etl%");
    assert_string_equal(s.identities[1], "/abs//h/me/x");
    assert_string_equal(s.identities[2], "/h/me/.ssh/id_ed25519");
    assert_true(s.only_identities && s.accept_new && s.has_user_known);
    assert_int_equal(s.known_count, 2);
    assert_string_equal(s.known[0], "/a");
    assert_string_equal(s.known[1], "/h/me/.ssh/10.0.0.1");
    assert_string_equal(s.key_alias, "cluster");
    assert_int_equal(s.connect_s, 7);
    assert_int_equal(s.alive_s, 4);
    assert_int_equal(s.alive_count, 2);
    assert_string_equal(s.jump, "a@b:22,c");
    assert_int_equal(s.family, AF_INET6);
    assert_string_equal(s.agent, "/h/me/agent.sock");
    assert_string_equal(s.elsewhere, "");
    settings_fini(&s);
}

static void test_what_only_ssh_can(void **state)
{
    (void)state;
    struct settings s = parse("hostname a\nproxycommand nc %h %p\n");
    assert_string_equal(s.proxy, "nc %h %p");
    settings_fini(&s);
    s = parse("hostname a\ncertificatefile ~/cert.pub\n");
    assert_string_equal(s.elsewhere, "the ssh configuration has certificatefile ~/cert.pub");
    settings_fini(&s);
    s = parse("hostname a\nrevokedhostkeys /etc/ssh/revoked\n");
    assert_string_equal(s.elsewhere, "the ssh configuration has revokedhostkeys /etc/ssh/revoked");
    settings_fini(&s);
    s = parse("hostname a\nknownhostscommand /bin/keys %H\n");
    assert_string_equal(s.elsewhere, "the ssh configuration has knownhostscommand /bin/keys %H");
    settings_fini(&s);
    s = parse("hostname a\nidentityfile ~/%C\n");
    assert_string_equal(s.elsewhere, "the ssh configuration has IdentityFile ~/%C");
    settings_fini(&s);
    s = parse("hostname a\nidentityfile ${KEYS}/a\n");
    assert_string_equal(s.elsewhere, "the ssh configuration has IdentityFile ${KEYS}/a");
    settings_fini(&s);
}

static void test_what_is_none(void **state)
{
    (void)state;
    struct settings s = {0};
    struct mf_error error;
    assert_int_equal(settings_parse(&s, "", &scope, &error), -1);
    assert_string_equal(error.text, "ssh -G web1 prints no settings");
    settings_fini(&s);
    assert_int_equal(settings_parse(&s, "usage: ssh\nport\n\n \n", &scope, &error), -1);
    settings_fini(&s);
    char many[4096] = "hostname a\nport 99999999\nconnecttimeout 999999999\n";
    size_t at = strlen(many);
    for (unsigned i = 0; i < 60; i++)
        at += (size_t)snprintf(many + at, sizeof many - at, "identityfile /some/file\n");
    s = parse(many);
    assert_int_equal(s.identity_count, SETTINGS_FILES);
    assert_int_equal(s.connect_s, 86400);
    settings_fini(&s);
}

/* Every allocation that fails is told, and nothing is lost. */
static void test_no_memory(void **state)
{
    (void)state;
    static const char text[] = "hostname a\nuser b\nidentityfile ~/%h\nuserknownhostsfile /a /b\n"
                               "proxyjump c\nidentityagent /d\nhostkeyalias e\n";
    for (unsigned long n = 1; n < 200; n++) {
        struct settings s = {0};
        struct mf_error error = {0};
        mf_alloc_fail_at(n);
        int rc = settings_parse(&s, text, &scope, &error);
        bool was_enough = mf_alloc_count() < n;
        mf_alloc_fail_at(0);
        settings_fini(&s);
        if (was_enough) {
            assert_int_equal(rc, 0);
            return;
        }
        assert_int_equal(rc, -1);
        assert_int_equal(error.code, MF_ENOMEM);
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_usual),
                                       cmocka_unit_test(test_what_is_chosen),
                                       cmocka_unit_test(test_what_only_ssh_can),
                                       cmocka_unit_test(test_what_is_none),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
