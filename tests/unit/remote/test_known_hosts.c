/* SPDX-License-Identifier: Apache-2.0 */
/* known_hosts lines of all forms, against hosts and keys. The hashed lines were made by ssh-keygen
 * -H. */
#include "master/remote/known_hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"

/* Two ed25519 keys and an ECDSA one: type and bytes, the bytes are made up. */
#define A "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
#define B "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC"
#define E "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAAABBA=="
#define R "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQE="

static void make_key(unsigned char key[51], unsigned char fill)
{
    static const unsigned char head[19] = "\0\0\0\013ssh-ed25519\0\0\0\040";
    memcpy(key, head, sizeof head);
    memset(key + 19, fill, 32);
}

static enum known_verdict
judge(const char *text, const char *host, uint16_t port, unsigned char fill, unsigned *line)
{
    unsigned char key[51];
    struct known_host known = {0};
    const struct known_key *which = NULL;
    make_key(key, fill);
    assert_int_equal(known_host_scan(&known, mf_bytes_text(text), 0, host, port, NULL), 0);
    enum known_verdict verdict = known_host_judge(&known, mf_bytes_of(key, sizeof key), &which);
    *line = which == NULL ? 0 : which->line;
    known_host_fini(&known);
    return verdict;
}

static const struct {
    const char *text, *host;
    unsigned port;
    enum known_verdict verdict; /* of key A */
    unsigned line;
} cases[] = {{"", "h", 22, KNOWN_NEVER_SEEN, 0},
             {"h " A "\n", "h", 22, KNOWN_GOOD, 1},
             {"h " A, "h", 22, KNOWN_GOOD, 1},
             {"h " A "\r\n", "h", 22, KNOWN_GOOD, 1},
             {"  \t h \t " A " a comment\n", "h", 22, KNOWN_GOOD, 1},
             {"# h " A "\n\n\nh " A "\n", "h", 22, KNOWN_GOOD, 4},
             {"H.Example.ORG " A, "h.example.org", 22, KNOWN_GOOD, 1},
             {"h.example.org " A, "H.Example.org", 22, KNOWN_GOOD, 1},
             {"hh " A, "h", 22, KNOWN_NEVER_SEEN, 0},
             {"h " A, "hh", 22, KNOWN_NEVER_SEEN, 0},
             {"a,h,b " A, "h", 22, KNOWN_GOOD, 1},
             {"a,,h " A, "h", 22, KNOWN_GOOD, 1},
             {", " A, "h", 22, KNOWN_NEVER_SEEN, 0},
             {"192.0.2.7,h " A, "192.0.2.7", 22, KNOWN_GOOD, 1},
             {"2001:db8::1 " A, "2001:DB8::1", 22, KNOWN_GOOD, 1},
             /* Ports. */
             {"[h]:2222 " A, "h", 2222, KNOWN_GOOD, 1},
             {"[h]:2222 " A, "h", 22, KNOWN_NEVER_SEEN, 0},
             {"[h]:2222 " A, "h", 2223, KNOWN_NEVER_SEEN, 0},
             {"[2001:db8::1]:2222 " A, "2001:db8::1", 2222, KNOWN_GOOD, 1},
             {"h " A, "h", 2222, KNOWN_GOOD, 1}, /* without its port it may vouch, as for ssh */
             {"h " B, "h", 2222, KNOWN_NEVER_SEEN, 0},
             {"[h]:2222 " B "\nh " A, "h", 2222, KNOWN_GOOD, 2},
             /* Several keys, changed ones. */
             {"h " B "\nh " A, "h", 22, KNOWN_GOOD, 2},
             {"h " B, "h", 22, KNOWN_CHANGED, 1},
             {"x " A "\nh " E "\nh " B, "h", 22, KNOWN_CHANGED, 3},
             {"h " E, "h", 22, KNOWN_OTHER_TYPE, 1},
             {"h " R, "h", 22, KNOWN_OTHER_TYPE, 1},
             {"h " E "\nh " A, "h", 22, KNOWN_GOOD, 2},
             /* Wildcards and negations. */
             {"* " A, "h", 22, KNOWN_GOOD, 1},
             {"*.example.org " A, "a.example.org", 22, KNOWN_GOOD, 1},
             {"*.example.org " A, "a.example.com", 22, KNOWN_NEVER_SEEN, 0},
             {"h? " A, "h1", 22, KNOWN_GOOD, 1},
             {"h? " A, "h", 22, KNOWN_NEVER_SEEN, 0},
             {"*.org,!bad.org " A, "good.org", 22, KNOWN_GOOD, 1},
             {"*.org,!bad.org " A, "bad.org", 22, KNOWN_NEVER_SEEN, 0},
             {"!bad.org,*.org " A, "bad.org", 22, KNOWN_NEVER_SEEN, 0},
             {"!h " A, "x", 22, KNOWN_NEVER_SEEN, 0},
             {"! " A, "h", 22, KNOWN_NEVER_SEEN, 0},
             {"[*.org]:2222 " A, "a.org", 2222, KNOWN_GOOD, 1},
             {"a*b*c*d " A, "axxbxxcxxd", 22, KNOWN_GOOD, 1},
             {"a*b*c*d " A, "axxbxxdxxc", 22, KNOWN_NEVER_SEEN, 0},
             /* Markers. */
             {"@revoked h " A, "h", 22, KNOWN_IS_REVOKED, 1},
             {"h " A "\n@revoked * " A, "h", 22, KNOWN_IS_REVOKED, 2},
             {"@revoked h " B "\nh " A, "h", 22, KNOWN_GOOD, 2},
             {"@revoked h " B, "h", 22, KNOWN_NEVER_SEEN, 0},
             {"@revoked h " A, "h", 2222, KNOWN_IS_REVOKED, 1},
             {"@cert-authority *.org " B, "a.org", 22, KNOWN_BY_AUTHORITY, 1},
             {"@cert-authority *.org " A, "a.org", 22, KNOWN_BY_AUTHORITY, 1},
             {"@cert-authority *.org " B "\na.org " A, "a.org", 22, KNOWN_GOOD, 2},
             {"@cert-authority *.org " B "\na.org " B, "a.org", 22, KNOWN_CHANGED, 2},
             {"@unheard-of h " A, "h", 22, KNOWN_NEVER_SEEN, 0},
             /* No lines at all. */
             {"h", "h", 22, KNOWN_NEVER_SEEN, 0},
             {"h ssh-ed25519", "h", 22, KNOWN_NEVER_SEEN, 0},
             {"h ssh-ed25519 ", "h", 22, KNOWN_NEVER_SEEN, 0},
             {"h ssh-ed25519 !!!!", "h", 22, KNOWN_NEVER_SEEN, 0},
             {"h ssh-ed25519 AAAA", "h", 22, KNOWN_NEVER_SEEN, 0},
             {"h ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
              "h",
              22,
              KNOWN_NEVER_SEEN,
              0},
             {"@revoked\n@cert-authority h\n@", "h", 22, KNOWN_NEVER_SEEN, 0},
             {"|1|x|y " A "\n|1| " A "\n|1||| " A "\n|2|a|b " A, "h", 22, KNOWN_NEVER_SEEN, 0}};

static void test_lines(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned line;
        enum known_verdict verdict =
            judge(cases[i].text, cases[i].host, (uint16_t)cases[i].port, 1, &line);
        if (verdict != cases[i].verdict || line != cases[i].line)
            fail_msg("case %u (%s): verdict %d, line %u", i, cases[i].text, (int)verdict, line);
    }
}

static void test_hashed(void **state)
{
    (void)state;
    unsigned line;
    static const char plain[] =
        "|1|N/5+QDZRvz092MRX+g+aPskAJx4=|Asj14asXpPo85Yi77Hdn6QgfqgE= " A "\n";
    static const char with_port[] =
        "|1|tomXpnnZ+EuWcjvYOugS5mTxZi0=|c5Rppm1CxFI3Yu9nWQgfzx9juSQ= " A "\n";
    assert_int_equal(judge(plain, "host.example.org", 22, 1, &line), KNOWN_GOOD);
    assert_int_equal(judge(plain, "HOST.example.org", 22, 1, &line), KNOWN_GOOD);
    assert_int_equal(judge(plain, "host.example.org", 22, 2, &line), KNOWN_CHANGED);
    assert_int_equal(judge(plain, "other.example.org", 22, 1, &line), KNOWN_NEVER_SEEN);
    assert_int_equal(judge(with_port, "host.example.org", 2222, 1, &line), KNOWN_GOOD);
    assert_int_equal(judge(with_port, "host.example.org", 22, 1, &line), KNOWN_NEVER_SEEN);
}

static void test_types_that_are_recorded(void **state)
{
    (void)state;
    struct known_host known = {0};
    const char *text = "h " E "\n@revoked h " A "\n@cert-authority h " R "\n";
    assert_int_equal(known_host_scan(&known, mf_bytes_text(text), 0, "h", 22, NULL), 0);
    assert_int_equal(known.count, 3);
    assert_true(known_host_has_type(&known, "ecdsa-sha2-nistp256"));
    assert_false(known_host_has_type(&known, "ssh-ed25519"));
    assert_false(known_host_has_type(&known, "ssh-rsa"));
    known_host_fini(&known);
}

static void test_fingerprint(void **state)
{
    (void)state;
    unsigned char key[51];
    char print[KNOWN_PRINT_SIZE];
    make_key(key, 1);
    assert_string_equal(known_key_print(mf_bytes_of(key, sizeof key), print),
                        "SHA256:RXm/ruZ0eTzRXKwi1AQEDynB0VgHQ2ac9KPSFdf/YnA");
}

static void test_names(void **state)
{
    (void)state;
    char name[32];
    assert_int_equal(known_host_name(name, sizeof name, "Host", 22), 0);
    assert_string_equal(name, "host");
    assert_int_equal(known_host_name(name, sizeof name, "::1", 2222), 0);
    assert_string_equal(name, "[::1]:2222");
    assert_int_equal(known_host_name(name, 4, "host", 22), -1);
    char long_host[2000];
    struct known_host known = {0};
    struct mf_error error;
    memset(long_host, 'a', sizeof long_host - 1);
    long_host[sizeof long_host - 1] = '\0';
    assert_int_equal(known_host_scan(&known, mf_bytes_text("h " A), 0, long_host, 22, &error), -1);
    assert_non_null(strstr(error.text, "too long"));
}

static void test_too_many_keys(void **state)
{
    (void)state;
    struct mf_buffer text = {0};
    struct known_host known = {0};
    struct mf_error error;
    for (unsigned i = 0; i < KNOWN_KEYS_MAX; i++)
        mf_buffer_append_text(&text, "h " A "\nother " B "\n", NULL);
    assert_int_equal(known_host_scan(&known, mf_buffer_view(&text), 0, "h", 22, &error), 0);
    assert_int_equal(known_host_scan(&known, mf_bytes_text("\nh " A), 0, "h", 22, &error), -1);
    assert_non_null(strstr(error.text, "(line 2 is the next)"));
    known_host_fini(&known);
    mf_buffer_fini(&text);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    const char *text = "h " A "\nh " B "\n@revoked h " E "\n";
    for (unsigned long n = 1;; n++) {
        struct known_host known = {0};
        struct mf_error error = {0};
        mf_alloc_fail_at(n);
        int rc = known_host_scan(&known, mf_bytes_text(text), 0, "h", 22, &error);
        bool failed = mf_alloc_count() >= n;
        mf_alloc_fail_at(0);
        known_host_fini(&known);
        assert_int_equal(rc, failed ? -1 : 0);
        if (!failed)
            return;
        assert_int_equal(error.code, MF_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines),
                                       cmocka_unit_test(test_hashed),
                                       cmocka_unit_test(test_types_that_are_recorded),
                                       cmocka_unit_test(test_fingerprint),
                                       cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_too_many_keys),
                                       cmocka_unit_test(test_out_of_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
