/* SPDX-License-Identifier: Apache-2.0 */
/* Who does the work: hosts, how to log in, what goes with what, and what the command line outranks.
 */
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
#include "master/job/job.h"

#define JOB "mayfly: 1\nname: n\nsplit: {range: 1-3}\ntask: {command: [echo, \"{}\"]}\n"

static struct job *parse_set(const char *text, const char *set)
{
    struct mf_error error = {0};
    struct job *job =
        job_parse("j.yaml", "/jobs", mf_bytes_text(text), &set, set == NULL ? 0 : 1, &error);
    if (job == NULL)
        fail_msg("%s", error.text);
    return job;
}

static void expect_set(const char *text, const char *set, const char *sentence)
{
    struct mf_error error = {0};
    struct job *job =
        job_parse("j.yaml", "/jobs", mf_bytes_text(text), &set, set == NULL ? 0 : 1, &error);
    if (job != NULL)
        fail_msg("taken, but expected: %s", sentence);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_string_equal(error.text, sentence);
}

static void expect(const char *text, const char *sentence)
{
    expect_set(text, NULL, sentence);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void hosts_mean_workers_over_ssh(void **state)
{
    (void)state;
    struct job *job = parse_set(JOB "workers:\n  hosts: [etl@10.0.0.5, \"etl@10.0.0.6:2222/4\"]\n"
                                    "  advertise: fd00::1\n  keep_worker: true\n"
                                    "  staging: never\n  ssh:\n    identity: ~/.ssh/batch\n"
                                    "    known_hosts: keys/known\n    accept_new: yes\n"
                                    "    client: libssh2\n",
                                NULL);
    assert_int_equal(job->launcher, LAUNCHER_SSH);
    assert_int_equal(job->worker_count, 2);
    assert_int_equal(job->hosts.count, 2);
    assert_string_equal(job->hosts.items[1].host, "10.0.0.6");
    assert_int_equal(job->hosts.items[1].slots, 4);
    assert_string_equal(job->advertise, "fd00::1");
    assert_true(job->keep_worker);
    assert_int_equal(job->staging, STAGING_NEVER);
    char identity[4096];
    snprintf(identity, sizeof identity, "%s/.ssh/batch", getenv("HOME"));
    assert_string_equal(job->ssh.identity, identity);
    assert_string_equal(job->ssh.known_hosts, "/jobs/keys/known");
    assert_true(job->ssh.accept_new);
    assert_int_equal(job->ssh.client, SSH_CLIENT_LIBSSH2);
    job_destroy(job);
    job = parse_set(JOB "workers: {hosts: 'a, b/2,a', launcher: ssh}\n", NULL);
    assert_int_equal(job->worker_count, 3);
    assert_string_equal(job->hosts.items[2].text, "a");
    job_destroy(job);
}

static void hosts_have_keys_of_their_own(void **state)
{
    (void)state;
    static const char text[] = JOB "workers:\n  hosts: [etl@a:2222/4, b, b/2, c]\n  ssh:\n"
                                   "    identities: [etl@a:2222 keys/a, 'b  /keys/the b']\n";
    struct job *job = parse_set(text, NULL);
    assert_string_equal(job->hosts.items[0].identity, "/jobs/keys/a");
    assert_string_equal(job->hosts.items[1].identity, "/keys/the b");
    assert_string_equal(job->hosts.items[2].identity, "/keys/the b");
    assert_null(job->hosts.items[3].identity);
    job_destroy(job);
    job = parse_set(text, "workers.ssh.identity=/k"); /* of the command line: for all */
    assert_string_equal(job->ssh.identity, "/k");
    assert_null(job->hosts.items[0].identity);
    job_destroy(job);
    job = parse_set(text, "workers.hosts=[b]");
    assert_string_equal(job->hosts.items[0].identity, "/keys/the b");
    job_destroy(job);
    expect(JOB "workers: {hosts: a, ssh: {identities: [b /k]}}\n",
           "j.yaml:5: workers.ssh.identities: 'b /k' begins with none of the "
           "hosts; expected one as it stands in the list, without slots");
    expect(JOB "workers: {hosts: a, ssh: {identities: [/k]}}\n",
           "j.yaml:5: workers.ssh.identities: expected a host, a blank and the "
           "file of its key, got '/k'");
}

static void without_hosts_workers_are_local(void **state)
{
    (void)state;
    struct job *job = parse_set(JOB, NULL);
    assert_int_equal(job->launcher, LAUNCHER_LOCAL);
    assert_int_equal(job->staging, STAGING_AUTO);
    assert_int_equal(job->ssh.client, SSH_CLIENT_AUTO);
    assert_null(job->ssh.identity);
    assert_null(job->ssh.known_hosts);
    assert_null(job->advertise);
    assert_false(job->ssh.accept_new || job->keep_worker);
    job_destroy(job);
    job = parse_set(JOB "workers: {hosts: [':', ':'], launcher: local, slots: 2}\n", NULL);
    assert_int_equal(job->launcher, LAUNCHER_LOCAL);
    assert_int_equal(job->worker_count, 2);
    job_destroy(job);
}

/* The copy in the run folder is read again, with no other file at hand. */
static struct job *read_copy(const struct job *job)
{
    struct mf_buffer out = {0};
    struct mf_error error = {0};
    assert_int_equal(job_write(job, &out, &error), 0);
    struct job *again = job_parse("copy.yaml", "/nowhere", mf_buffer_view(&out), NULL, 0, &error);
    if (again == NULL)
        fail_msg("%s in\n%s", error.text, mf_buffer_text(&out));
    mf_buffer_fini(&out);
    return again;
}

static void a_host_file_is_part_of_the_copy(void **state)
{
    (void)state;
    char folder[] = "/tmp/mayfly-job-XXXXXX", path[64], set[128], sentence[200];
    struct mf_error error = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/hosts", folder);
    write_file(path, "# two\na:22/2\n\nu@[::1]:22\n");
    static const char text[] = JOB "workers:\n  hosts_file: hosts\n  slots: 3\n";
    struct job *job = job_parse("j.yaml", folder, mf_bytes_text(text), NULL, 0, &error);
    if (job == NULL)
        fail_msg("%s", error.text);
    assert_string_equal(job->hosts_file, path);
    assert_int_equal(job->launcher, LAUNCHER_SSH);
    assert_int_equal(job->worker_count, 2);
    snprintf(set, sizeof set, "workers.hosts_file=%s", path);
    struct job *other = parse_set(JOB "workers: {hosts: [x, y, z]}\n", set);
    write_file(path, "a\nb c\n");
    snprintf(sentence,
             sizeof sentence,
             "j.yaml:6: workers.hosts_file: %s:2: host 'b c': there is a blank inside; entries are "
             "separated by commas",
             path);
    assert_null(job_parse("j.yaml", folder, mf_bytes_text(text), NULL, 0, &error));
    assert_string_equal(error.text, sentence);
    unlink(path);
    rmdir(folder);
    for (int i = 0; i < 2; i++) {
        struct job *again = read_copy(i == 0 ? job : other);
        assert_int_equal(again->hosts.count, 2);
        assert_string_equal(again->hosts.items[1].text, "u@[::1]:22");
        assert_int_equal(again->slots, i == 0 ? 3 : 0);
        assert_null(again->hosts_file);
        job_destroy(again);
    }
    job_destroy(other);
    job_destroy(job);
}

static void hosts_of_the_command_line_outrank_the_file(void **state)
{
    (void)state;
    static const char *const texts[] = {JOB "workers: {hosts: [x, y, z]}\n",
                                        JOB "workers: {hosts_file: none}\n",
                                        JOB "workers: {count: 4}\n",
                                        JOB "workers: {launcher: local, count: 4}\n",
                                        JOB "workers: {launcher: ssh, hosts: x}\n",
                                        JOB};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct job *job = parse_set(texts[i], "workers.hosts=\"a,b\"");
        struct job *again = read_copy(job);
        assert_int_equal(again->launcher, LAUNCHER_SSH);
        assert_int_equal(again->worker_count, 2);
        assert_int_equal(again->hosts.count, 2);
        assert_string_equal(again->hosts.items[0].text, "a");
        job_destroy(again);
        job_destroy(job);
    }
}

static void what_does_not_go_together(void **state)
{
    (void)state;
    expect(JOB "workers: {launcher: ssh}\n",
           "j.yaml:5: workers.launcher: ssh needs workers.hosts, workers.hosts_file or "
           "workers.inventory (--hosts H,H, --hosts-file F or --inventory F)");
    expect(JOB "workers: {hosts: []}\n",
           "j.yaml:5: workers.hosts: the list is empty; at least one host is expected");
    expect(JOB "workers: {hosts: [a, ':'], launcher: local}\n",
           "j.yaml:5: workers.launcher: 'local' starts workers on this machine only, but 'a' is "
           "another host; expected ssh, or no launcher");
    expect(JOB "workers: {hosts: [':/2'], launcher: local}\n",
           "j.yaml:5: workers.launcher: with 'local' all workers have the same slots: write "
           "workers.slots instead of ':/2'");
    expect(JOB "workers: {hosts: [a], count: 2}\n",
           "j.yaml:5: workers.count: a host in the list is one worker; name it twice for two, and "
           "leave the count out");
    expect_set(JOB "workers: {hosts: [a]}\n",
               "workers.count=2",
               "--set workers.count=2: workers.count: a host in the list is one worker; name it "
               "twice for two, and leave the count out");
    expect(JOB "workers: {hosts: [a], hosts_file: b}\n",
           "j.yaml:5: workers.hosts_file: workers.hosts is given too; one of the two is expected");
    expect(JOB "workers: {hosts: [a], inventory: b}\n",
           "j.yaml:5: workers.inventory: workers.hosts is given too; one of the two is expected");
    expect(JOB "workers: {inventory: b, count: 2}\n",
           "j.yaml:5: workers.count: a host in the list is one worker; name it twice for two, and "
           "leave the count out");
    expect(JOB "workers: {inventory: b, launcher: local}\n",
           "j.yaml:5: workers.launcher: 'local' starts workers on this machine only, but the hosts "
           "are those of an inventory; expected ssh, or no launcher");
    expect(JOB "workers: {hosts_file: b}\n",
           "j.yaml:5: workers.hosts_file: /jobs/b: the host file cannot be read: No such file or "
           "directory");
}

static void what_is_wrong_by_itself(void **state)
{
    (void)state;
    expect(JOB "workers:\n  hosts:\n    - a\n    - b:0\n",
           "j.yaml:8: workers.hosts: host 'b:0': behind the colon, a port from 1 to 65535 is "
           "expected");
    expect(JOB "workers: {hosts: 'a,,b'}\n",
           "j.yaml:5: workers.hosts: an entry is empty; expected a host such as user@host:22/4, or "
           "':' for this machine");
    expect(JOB "workers: {hosts: {a: 1}}\n",
           "j.yaml:5: workers.hosts: expected text or a list of texts, got a mapping");
    expect(JOB "workers: {hosts: a, ssh: {client: putty}}\n",
           "j.yaml:5: workers.ssh.client: expected auto or libssh2 or openssh, got 'putty'");
    expect(JOB "workers: {hosts: a, ssh: {identity: ''}}\n",
           "j.yaml:5: workers.ssh.identity: expected a path, got an empty text");
    expect(JOB "workers: {ssh: {identitty: x}}\n",
           "j.yaml:5: workers.ssh: unknown key 'identitty'; did you mean 'identity'?");
    expect(JOB "hosts: [a]\n",
           "j.yaml:5: the job file: unknown key 'hosts'; did you mean 'workers.hosts'?");
    static const char *const addresses[] = {"node1", "10.0.0.1:22", "[::1]", "fe80::1%eth0"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        char set[64], sentence[256];
        snprintf(set, sizeof set, "workers.advertise=\"%s\"", addresses[i]);
        snprintf(sentence,
                 sizeof sentence,
                 "--set %s: workers.advertise: expected a numeric address of this machine, such as "
                 "10.0.0.1 or fd00::1, without a port, got '%s'",
                 set,
                 addresses[i]);
        expect_set(JOB, set, sentence);
    }
    expect(JOB "workers: {advertise: 0.0.0.0}\n",
           "j.yaml:5: workers.advertise: 0.0.0.0 stands for every address; expected one that "
           "workers can dial");
    expect(JOB "workers: {advertise: '::'}\n",
           "j.yaml:5: workers.advertise: :: stands for every address; expected one that workers "
           "can dial");
}

static void a_key_file_must_be_there(void **state)
{
    (void)state;
    char path[] = "/tmp/mayfly-job-XXXXXX", sentence[200];
    struct mf_error error = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_file(path, JOB "workers: {hosts: a, ssh: {identity: /no/key}}\n");
    assert_null(job_load(path, NULL, 0, &error));
    assert_int_equal(error.code, MF_EUSAGE);
    snprintf(sentence,
             sizeof sentence,
             "%s: workers.ssh.identity: the key file /no/key cannot be read: No such file or "
             "directory",
             path);
    assert_string_equal(error.text, sentence);
    unlink(path);
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    char path[] = "/tmp/mayfly-job-XXXXXX", set[128];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_file(path, "a/2\nb\n");
    snprintf(set, sizeof set, "workers.hosts_file=%s", path);
    const char *sets[] = {set, "workers.ssh.identity=~/x"};
    for (unsigned long n = 1;; n++) {
        struct mf_error error = {0};
        mf_alloc_fail_at(n);
        struct job *job = job_parse("x.yaml",
                                    "/",
                                    mf_bytes_text(JOB "workers: {hosts: [a, b], count: 3}\n"),
                                    sets,
                                    2,
                                    &error);
        bool has_failed = mf_alloc_count() >= n;
        mf_alloc_fail_at(0);
        job_destroy(job);
        if (!has_failed)
            break;
        assert_null(job);
        assert_int_equal(error.code, MF_ENOMEM);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_mean_workers_over_ssh),
        cmocka_unit_test(hosts_have_keys_of_their_own),
        cmocka_unit_test(without_hosts_workers_are_local),
        cmocka_unit_test(a_host_file_is_part_of_the_copy),
        cmocka_unit_test(hosts_of_the_command_line_outrank_the_file),
        cmocka_unit_test(what_does_not_go_together),
        cmocka_unit_test(what_is_wrong_by_itself),
        cmocka_unit_test(a_key_file_must_be_there),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
