/* SPDX-License-Identifier: Apache-2.0 */
/* `notify` of job files: what is read, and one clear sentence for each that is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/job/job.h"

#define HEAD "mayfly: 1\nsplit: {range: 1-3}\ntask: {command: [echo, \"{}\"]}\n"

static struct job *parse(const char *text)
{
    struct mf_error error = {0};
    struct job *job = job_parse("j.yaml", "/jobs", mf_bytes_text(text), NULL, 0, &error);
    if (job == NULL)
        fail_msg("%s", error.text);
    return job;
}

static void expect(const char *text, const char *sentence)
{
    struct mf_error error = {0};
    struct job *job = job_parse("j.yaml", "/jobs", mf_bytes_text(text), NULL, 0, &error);
    if (job != NULL)
        fail_msg("taken, but expected: %s", sentence);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_string_equal(error.text, sentence);
}

static void all_kinds(void **state)
{
    (void)state;
    struct job *job = parse(HEAD "notify:\n"
                                 "  - {on: [started, cancelled], command: [./tell.sh, a]}\n"
                                 "  - shell: cat >>events\n"
                                 "  - on: dead\n"
                                 "    dead_above: 7\n"
                                 "    webhook: https://ops.example:444/hook?a=b\n"
                                 "    secret: {env: KEY}\n"
                                 "    ca_file: ca.pem\n"
                                 "    timeout: 2s\n"
                                 "  - {queue: counted, lines: true}\n"
                                 "  - {webhook: {file: hook}, secret: {command: [pass, k]}}\n");
    assert_int_equal(job->notify_count, 5);
    const struct job_notify *item = job->notify;
    assert_int_equal(item->events, 1u << NOTIFY_STARTED | 1u << NOTIFY_CANCELLED);
    assert_int_equal(item->command.count, 2);
    assert_string_equal(item->command.items[1], "a");
    assert_int_equal(item->timeout_us, 10000000);
    assert_string_equal(item->place, "j.yaml:5: notify[1]");
    item++;
    assert_int_equal(item->events,
                     1u << NOTIFY_SUCCEEDED | 1u << NOTIFY_PARTIAL | 1u << NOTIFY_FAILED);
    assert_string_equal(item->shell, "cat >>events");
    item++;
    assert_int_equal(item->events, 1u << NOTIFY_DEAD);
    assert_int_equal(item->dead_above, 7);
    assert_string_equal(item->webhook.text, "https://ops.example:444/hook?a=b");
    assert_string_equal(item->secret.env, "KEY");
    assert_string_equal(item->secret.place, "j.yaml:10: notify[3].secret");
    assert_string_equal(item->ca_file, "/jobs/ca.pem");
    assert_int_equal(item->timeout_us, 2000000);
    item++;
    assert_string_equal(item->queue, "counted");
    assert_true(item->lines);
    assert_int_equal(item->dead_above, 0);
    item++;
    assert_null(item->webhook.text);
    assert_string_equal(item->webhook.file, "/jobs/hook");
    assert_int_equal(item->secret.command.count, 2);
    job_destroy(job);
    job = parse(HEAD "notify: {queue: q}\n");
    assert_int_equal(job->notify_count, 1);
    assert_string_equal(job->notify[0].place, "j.yaml:4: notify");
    job_destroy(job);
}

static void events(void **state)
{
    (void)state;
    assert_string_equal(notify_event_name(NOTIFY_DEAD), "dead");
    assert_null(notify_event_name(0));
    assert_null(notify_event_name(NOTIFY_DEAD + 1));
    expect(HEAD "notify: [{on: [sucseeded], queue: q}]\n",
           "j.yaml:4: notify[1].on: expected started, succeeded, partial, failed, cancelled or "
           "dead, got 'sucseeded'; did you mean 'succeeded'?");
    expect(HEAD "notify: [{on: started, queue: q}, {on: [], queue: q}]\n",
           "j.yaml:4: notify[2].on: the list is empty");
    expect(HEAD "notify: {queue: q, dead_above: 3}\n",
           "j.yaml:4: notify.dead_above: this goes with 'dead' in 'on'");
    expect(HEAD "notify: {queue: q, on: dead, dead_above: -3}\n",
           "j.yaml:4: notify.dead_above: expected at least 0, got '-3'");
}

static void what_is_wrong(void **state)
{
    (void)state;
    expect(HEAD "notify: all\n",
           "j.yaml:4: notify: expected a mapping or a list of mappings, got 'all'");
    expect(HEAD "notify:\n  - {queue: q}\n  - ops\n",
           "j.yaml:6: notify[2]: expected a mapping, such as {on: [failed], command: "
           "[./tell.sh]}");
    expect(HEAD "notify: [{on: [failed]}]\n",
           "j.yaml:4: notify[1]: exactly one of command, shell, webhook and queue is expected, "
           "got none");
    expect(HEAD "notify: {queue: q, shell: x}\n",
           "j.yaml:4: notify: exactly one of command, shell, webhook and queue is expected, got "
           "several");
    expect(
        HEAD "notify: [{queue: q, zzzzzz: x}]\n",
        "j.yaml:4: notify[1]: unknown key 'zzzzzz'; known keys here are on, dead_above, command, "
        "shell, webhook, secret, ca_file, queue, lines, timeout");
    expect(HEAD "notify: [{queue: q, secret: {env: A}}]\n",
           "j.yaml:4: notify[1].secret: this goes with 'webhook' only");
    expect(HEAD "notify: [{queue: q, ca_file: a}]\n",
           "j.yaml:4: notify[1].ca_file: this goes with 'webhook' only");
    expect(HEAD "notify: [{shell: a, lines: yes}]\n",
           "j.yaml:4: notify[1].lines: this goes with 'queue' only");
    expect(HEAD "notify: [{shell: ' '}]\n", "j.yaml:4: notify[1].shell: the command is empty");
    expect(HEAD "notify: [{command: ['']}]\n", "j.yaml:4: notify[1].command: the command is empty");
    expect(HEAD "notify: [{queue: ''}]\n",
           "j.yaml:4: notify[1].queue: expected the name of a queue");
    expect(HEAD "notify: [{queue: q, timeout: 1ms}]\n",
           "j.yaml:4: notify[1].timeout: expected 0.1 to 600 s, got '1ms'");
    expect(HEAD "notify: [{webhook: 'http://a/', secret: {}}]\n",
           "j.yaml:4: notify[1].secret: expected exactly one of file, command and env, got none");
}

static void addresses(void **state)
{
    static const char *const bad[] = {
        "ftp://a/", "ops.example", "https://", "http:///x", "http://a b"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text = mf_format(HEAD "notify: [{webhook: '%s'}]\n", bad[i]);
        assert_non_null(text);
        expect(text,
               "j.yaml:4: notify[1].webhook: expected an address such as "
               "https://ops.example/hook (printable ASCII)");
        mf_free(text);
    }
    expect(HEAD "notify: [{webhook: 'https://me:word@ops/x'}]\n",
           "j.yaml:4: notify[1].webhook: an address with a user or password does not belong into a "
           "job file: put it into a file and write 'webhook: {file: ~/.hook}'");
}

static void too_many(void **state)
{
    (void)state;
    struct mf_buffer text = {0};
    assert_int_equal(mf_buffer_append_text(&text, HEAD "notify:\n", NULL), 0);
    for (int i = 0; i <= NOTIFY_MAX; i++)
        assert_int_equal(mf_buffer_append_text(&text, "  - {queue: q}\n", NULL), 0);
    expect(mf_buffer_text(&text), "j.yaml:37: notify[33]: a job can have at most 32 subscribers");
    mf_buffer_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kinds),
        cmocka_unit_test(events),
        cmocka_unit_test(what_is_wrong),
        cmocka_unit_test(addresses),
        cmocka_unit_test(too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
