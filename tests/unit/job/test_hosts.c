/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of hosts: every form that is taken, and one clear sentence for each that is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/job/hosts.h"

static const char *or_none(const char *text)
{
    return text == NULL ? "(none)" : text;
}

static void expect(const char *entry, const char *user, const char *host, int port, int slots)
{
    struct job_hosts hosts = {0};
    struct mf_error error = {0};
    if (hosts_add(&hosts, mf_bytes_text(entry), &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(hosts.count, 1);
    assert_string_equal(hosts.items[0].text, entry);
    assert_string_equal(or_none(hosts.items[0].user), or_none(user));
    assert_string_equal(or_none(hosts.items[0].host), or_none(host));
    assert_int_equal(hosts.items[0].port, port);
    assert_int_equal(hosts.items[0].slots, slots);
    assert_int_equal(hosts.items[0].is_local, host == NULL);
    hosts_fini(&hosts);
}

static void expect_refusal(const char *entry, const char *sentence)
{
    struct job_hosts hosts = {0};
    struct mf_error error = {0};
    if (hosts_add(&hosts, mf_bytes_text(entry), &error) == 0)
        fail_msg("'%s' was taken, but expected: %s", entry, sentence);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_string_equal(error.text, sentence);
    assert_int_equal(hosts.count, 0);
    hosts_fini(&hosts);
}

static void every_form_is_taken(void **state)
{
    (void)state;
    expect("node1", NULL, "node1", 0, 0);
    expect("etl@10.0.0.5", "etl", "10.0.0.5", 0, 0);
    expect("etl@node-1.example.org:2222/4", "etl", "node-1.example.org", 2222, 4);
    expect("node_1:65535", NULL, "node_1", 65535, 0);
    expect("a/4096", NULL, "a", 0, 4096);
    expect("4/etl@node1", "etl", "node1", 0, 4);
    expect("4/node1:22", NULL, "node1", 22, 4);
    expect("4/1.2.3.4", NULL, "1.2.3.4", 0, 4);
    expect("fe80::1", NULL, "fe80::1", 0, 0);
    expect("::1/2", NULL, "::1", 0, 2);
    expect("fe80::1%eth0", NULL, "fe80::1%eth0", 0, 0);
    expect("[::1]", NULL, "::1", 0, 0);
    expect("u@[fd00::2]:22/3", "u", "fd00::2", 22, 3);
    expect("8/u@[fd00::2]:22", "u", "fd00::2", 22, 8);
    expect("me@example.org@node1", "me@example.org", "node1", 0, 0);
    expect(":", NULL, NULL, 0, 0);
    expect(":/2", NULL, NULL, 0, 2);
    expect("2/:", NULL, NULL, 0, 2);
}

static void expect_name(const char *entry, const char *name)
{
    struct job_hosts hosts = {0};
    struct mf_error error = {0};
    assert_int_equal(hosts_add(&hosts, mf_bytes_text(entry), &error), 0);
    assert_string_equal(hosts.items[0].name, name);
    hosts_fini(&hosts);
}

/* Two entries of one host have one name, however many slots they have. */
static void the_name_has_no_slots(void **state)
{
    (void)state;
    expect_name("node1", "node1");
    expect_name("etl@node1:2222/4", "etl@node1:2222");
    expect_name("4/etl@node1", "etl@node1");
    expect_name("u@[fd00::2]:22/3", "u@[fd00::2]:22");
    expect_name(":/2", ":");
}

static void what_is_no_host(void **state)
{
    (void)state;
    expect_refusal("",
                   "an entry is empty; expected a host such as user@host:22/4, or ':' for this "
                   "machine");
    expect_refusal("a b", "host 'a b': there is a blank inside; entries are separated by commas");
    expect_refusal("a\tb",
                   "host 'a\\x09b': there is a blank inside; entries are separated by commas");
    expect_refusal("a,b", "host 'a,b': there is a comma inside; expected one host");
    expect_refusal("a\nb", "host 'a\\x0ab': there is a control character inside");
    expect_refusal("a\x7f", "host 'a\\x7f': there is a control character inside");
    expect_refusal("\xc3\xa4.org",
                   "host '\xc3\xa4.org': expected ASCII letters only; an international name starts "
                   "with xn--");
    expect_refusal("-oProxyCommand=x",
                   "host '-oProxyCommand=x': it starts with a dash, as an option does");
    expect_refusal("u@-x", "host 'u@-x': the host's name starts with a dash, as an option does");
    expect_refusal("2/-u@x",
                   "host '2/-u@x': the user's name starts with a dash, as an option does");
    expect_refusal("@a", "host '@a': the user's name before the @ is missing");
    expect_refusal("u:secret@a",
                   "host 'u:secret@a': there is a sign in the user's name that no user's name has");
    expect_refusal("$(x)@a",
                   "host '$(x)@a': there is a sign in the user's name that no user's name has");
    expect_refusal("u@", "host 'u@': the host's name is missing; this machine is ':' alone");
    expect_refusal("/4", "host '/4': the host's name is missing; this machine is ':' alone");
    expect_refusal(":22", "host ':22': ':' is this machine and takes neither user nor port");
    expect_refusal("u@:", "host 'u@:': ':' is this machine and takes neither user nor port");
    expect_refusal("a;b",
                   "host 'a;b': a host's name has letters, digits, dots, dashes and underscores "
                   "only");
    expect_refusal("10", "host '10': the host's name is a bare number");
    expect_refusal("10/4", "host '10/4': the host's name is a bare number");
    static const char *const ports[] = {"a:", "a:0", "a:65536", "a:-1", "a:x", "a:99999999999"};
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        char sentence[120];
        snprintf(sentence,
                 sizeof sentence,
                 "host '%s': behind the colon, a port from 1 to 65535 is expected",
                 ports[i]);
        expect_refusal(ports[i], sentence);
    }
    static const char *const slots[] = {"a/", "a/0", "a/4097", "a/+1", "a/x", "0/a", "4097/a"};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        char sentence[120];
        snprintf(sentence,
                 sizeof sentence,
                 "host '%s': behind the slash, a number of slots from 1 to 4096 is expected",
                 slots[i]);
        expect_refusal(slots[i], sentence);
    }
    expect_refusal("2/a/2",
                   "host '2/a/2': there are several slashes; expected user@host:port/slots");
    static const char *const addresses[] = {"a:1:2", "1::2::3", "::1%", "[::1::]:22"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        char sentence[200];
        snprintf(sentence,
                 sizeof sentence,
                 "host '%s': this is no IPv6 address, and several colons are nothing else; with a "
                 "port write [address]:port",
                 addresses[i]);
        expect_refusal(addresses[i], sentence);
    }
    static const char *const brackets[] = {"[::1", "[::1]22", "[1.2.3.4]:22", "[]"};
    for (size_t i = 0; i < sizeof brackets / sizeof *brackets; i++) {
        char sentence[120];
        snprintf(sentence,
                 sizeof sentence,
                 "host '%s': brackets hold an IPv6 address: [address]:port",
                 brackets[i]);
        expect_refusal(brackets[i], sentence);
    }
}

static void entries_have_limits(void **state)
{
    (void)state;
    struct job_hosts hosts = {0};
    struct mf_error error = {0};
    char long_name[HOST_TEXT_MAX + 2];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(hosts_add(&hosts, mf_bytes_text(long_name), &error), -1);
    assert_non_null(strstr(error.text, "...': an entry has at most 400 bytes"));
    assert_int_equal(hosts_add(&hosts, mf_bytes_text(long_name + 100), &error), -1);
    assert_non_null(strstr(error.text, "...': a host's name has at most 255 bytes"));
    assert_int_equal(hosts_add(&hosts, mf_bytes_of("a\0b", 3), &error), -1);
    assert_string_equal(error.text, "host 'a': there is a control character inside");
    for (unsigned i = 0; i < HOSTS_MAX; i++)
        assert_int_equal(hosts_add(&hosts, mf_bytes_text("a"), &error), 0);
    assert_int_equal(hosts_add(&hosts, mf_bytes_text("a"), &error), -1);
    assert_string_equal(error.text, "more than 10000 hosts in one list");
    hosts_fini(&hosts);
}

static void lists_have_commas(void **state)
{
    (void)state;
    struct job_hosts hosts = {0};
    struct mf_error error = {0};
    assert_int_equal(hosts_add_list(&hosts, "a, b:22/2 ,:", &error), 0);
    assert_int_equal(hosts.count, 3);
    assert_string_equal(hosts.items[1].text, "b:22/2");
    assert_true(hosts.items[2].is_local);
    static const char *const bad[] = {"", "a,", ",a", "a,,b", " "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(hosts_add_list(&hosts, bad[i], &error), -1);
        assert_non_null(strstr(error.text, "an entry is empty; expected a host such as"));
    }
    hosts_fini(&hosts);
}

static void files_have_lines(void **state)
{
    (void)state;
    struct job_hosts hosts = {0};
    struct mf_error error = {0};
    static const char text[] = "# all\r\n\r\n  a:22 \t# the first\n\nb#c@d\n: # here\n\t\nlast";
    assert_int_equal(hosts_add_lines(&hosts, "h", mf_bytes_text("a\r\nb\n#c\n : #\n"), &error), 0);
    assert_int_equal(hosts.count, 3);
    assert_string_equal(hosts.items[0].text, "a");
    assert_string_equal(hosts.items[2].text, ":");
    hosts_fini(&hosts);
    assert_int_equal(hosts_add_lines(&hosts, "h", mf_bytes_text(text), &error), -1);
    assert_string_equal(
        error.text,
        "h:5: host 'b#c@d': there is a sign in the user's name that no user's name has");
    assert_string_equal(hosts.items[0].text, "a:22");
    assert_int_equal(hosts_add_lines(&hosts, "h", mf_bytes_text("a, b"), &error), -1);
    assert_string_equal(error.text, "h:1: host 'a, b': there is a comma inside; expected one host");
    assert_int_equal(hosts_add_lines(&hosts, "h", mf_bytes_text("# none\n"), &error), -1);
    assert_string_equal(
        error.text, "h: the host file names no host; expected one a line, such as user@host:22/4");
    hosts_fini(&hosts);
}

static void files_are_read(void **state)
{
    (void)state;
    char path[] = "/tmp/mayfly-hosts-XXXXXX", sentence[120];
    struct job_hosts hosts = {0};
    struct mf_error error = {0};
    int fd = mkstemp(path), pipe_fds[2];
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a\nb", 3), 3);
    assert_int_equal(hosts_read(&hosts, path, &error), 0);
    assert_int_equal(hosts.count, 2);
    assert_int_equal(ftruncate(fd, (4 << 20) + 1), 0);
    assert_int_equal(hosts_read(&hosts, path, &error), -1);
    snprintf(sentence,
             sizeof sentence,
             "%s: a host file of more than 4 MiB; is this the right file?",
             path);
    assert_string_equal(error.text, sentence);
    close(fd);
    unlink(path);
    assert_int_equal(hosts_read(&hosts, path, &error), -1);
    snprintf(sentence,
             sizeof sentence,
             "%s: the host file cannot be read: No such file or directory",
             path);
    assert_string_equal(error.text, sentence);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_int_equal(hosts_read(&hosts, "/tmp", &error), -1);
    assert_string_equal(error.text, "/tmp: the host file cannot be read: Is a directory");
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(write(pipe_fds[1], "c\n", 2), 2);
    close(pipe_fds[1]);
    snprintf(sentence, sizeof sentence, "/dev/fd/%d", pipe_fds[0]);
    assert_int_equal(hosts_read(&hosts, sentence, &error), 0);
    assert_string_equal(hosts.items[2].text, "c");
    close(pipe_fds[0]);
    hosts_fini(&hosts);
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    for (unsigned long n = 1;; n++) {
        struct job_hosts hosts = {0};
        struct mf_error error = {0};
        mf_alloc_fail_at(n);
        int rc = hosts_add_list(&hosts, "u@a:22/4,:,b", &error);
        bool has_failed = mf_alloc_count() >= n;
        mf_alloc_fail_at(0);
        hosts_fini(&hosts);
        if (!has_failed)
            break;
        assert_int_equal(rc, -1);
        assert_int_equal(error.code, MF_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_taken),
        cmocka_unit_test(the_name_has_no_slots),
        cmocka_unit_test(what_is_no_host),
        cmocka_unit_test(entries_have_limits),
        cmocka_unit_test(lists_have_commas),
        cmocka_unit_test(files_have_lines),
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
