/* SPDX-License-Identifier: Apache-2.0 */
/* What starts a job: the keys of `trigger`, what goes together, what is completed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/job/job.h"

#define JOB "mayfly: 1\nname: n\nsplit: {range: 1-3}\ntask: {command: [echo, \"{}\"]}\ntrigger: "
#define SECOND UINT64_C(1000000)

static struct job *parse(const char *trigger)
{
    struct mf_error error = {0};
    char *text = mf_format(JOB "%s\n", trigger);
    struct job *job = job_parse("j.yaml", "/jobs", mf_bytes_text(text), NULL, 0, &error);
    mf_free(text);
    if (job == NULL)
        fail_msg("%s", error.text);
    return job;
}

static void expect(const char *trigger, const char *sentence)
{
    struct mf_error error = {0};
    char *text = mf_format(JOB "%s\n", trigger);
    struct job *job = job_parse("j.yaml", "/jobs", mf_bytes_text(text), NULL, 0, &error);
    mf_free(text);
    if (job != NULL)
        fail_msg("taken, but expected: %s", sentence);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_string_equal(error.text, sentence);
}

static void a_job_without_one_has_none(void **state)
{
    (void)state;
    struct mf_error error = {0};
    struct job *job =
        job_parse("j.yaml",
                  "/jobs",
                  mf_bytes_text("mayfly: 1\nname: n\nsplit: {range: 1-3}\ntask: {shell: 'true'}\n"),
                  NULL,
                  0,
                  &error);
    assert_non_null(job);
    assert_int_equal(job->trigger.kind, TRIGGER_NONE);
    assert_null(job->trigger.queue);
    job_destroy(job);
}

static void a_queue_and_its_threshold(void **state)
{
    (void)state;
    struct job *job = parse("{queue: documents, when: {count: 100, bytes: 64MiB, age: 10m}, "
                            "max_batch: 500, max_running: 2}");
    const struct job_trigger *trigger = &job->trigger;
    assert_int_equal(trigger->kind, TRIGGER_QUEUE);
    assert_string_equal(trigger->queue, "documents");
    assert_int_equal(trigger->when_count, 100);
    assert_int_equal(trigger->when_bytes, 64u << 20);
    assert_int_equal(trigger->when_age_us, 600 * SECOND);
    assert_int_equal(trigger->batch_max, 500);
    assert_int_equal(trigger->running_max, 2);
    assert_null(trigger->spool);
    assert_null(trigger->redis.server);
    job_destroy(job);
}

/* One message is enough unless something else is said; a batch is never smaller than its count. */
static void a_queue_s_defaults(void **state)
{
    (void)state;
    struct job *job = parse("{queue: q}");
    assert_int_equal(job->trigger.when_count, 1);
    assert_int_equal(job->trigger.batch_max, 1000);
    assert_int_equal(job->trigger.running_max, 1);
    job_destroy(job);
    job = parse("{queue: q, when: {age: 1h}}");
    assert_int_equal(job->trigger.when_count, 0);
    assert_int_equal(job->trigger.when_age_us, 3600 * SECOND);
    job_destroy(job);
    job = parse("{queue: q, when: {bytes: 1k}}");
    assert_int_equal(job->trigger.when_count, 0);
    assert_int_equal(job->trigger.when_bytes, 1000);
    job_destroy(job);
    job = parse("{queue: q, when: 5000}");
    assert_int_equal(job->trigger.when_count, 5000);
    assert_int_equal(job->trigger.batch_max, 5000);
    job_destroy(job);
}

static void sources(void **state)
{
    (void)state;
    struct job *job = parse("{queue: q, spool: incoming}");
    assert_string_equal(job->trigger.spool, "/jobs/incoming");
    job_destroy(job);
    job = parse("{queue: q, redis: {list: l}}");
    assert_string_equal(job->trigger.redis.server, "127.0.0.1:6379");
    assert_string_equal(job->trigger.redis.list, "l");
    assert_null(job->trigger.redis.group);
    job_destroy(job);
    job = parse("{queue: q, redis: {server: /run/redis.sock, stream: s, user: u, "
                "password: {file: key}}}");
    assert_string_equal(job->trigger.redis.server, "/run/redis.sock");
    assert_string_equal(job->trigger.redis.group, "mayfly");
    assert_string_equal(job->trigger.redis.password.file, "/jobs/key");
    assert_string_equal(job->trigger.redis.password.place, "j.yaml:5: trigger.redis.password");
    job_destroy(job);
    job = parse("{queue: q, redis: {list: l, password: {command: [pass, show]}}}");
    assert_int_equal(job->trigger.redis.password.command.count, 2);
    job_destroy(job);
}

static void cron_and_after(void **state)
{
    (void)state;
    struct job *job = parse("{cron: \"0 2 * * mon-fri\"}");
    assert_int_equal(job->trigger.kind, TRIGGER_CRON);
    assert_string_equal(job->trigger.cron, "0 2 * * mon-fri");
    assert_null(job->trigger.zone);
    assert_int_equal(job->trigger.overlap, OVERLAP_SKIP);
    assert_int_equal(job->trigger.catchup, CATCHUP_LAST);
    assert_int_equal(job->trigger.jitter_us, 0);
    job_destroy(job);
    job = parse("{cron: '@daily', zone: Europe/Vienna, overlap: allow, catchup: all, jitter: 30s}");
    assert_string_equal(job->trigger.zone, "Europe/Vienna");
    assert_int_equal(job->trigger.overlap, OVERLAP_ALLOW);
    assert_int_equal(job->trigger.catchup, CATCHUP_ALL);
    assert_int_equal(job->trigger.jitter_us, 30 * SECOND);
    job_destroy(job);
    job = parse("{after: extract}");
    assert_int_equal(job->trigger.kind, TRIGGER_AFTER);
    assert_string_equal(job->trigger.after, "extract");
    assert_int_equal(job->trigger.on, AFTER_SUCCESS);
    job_destroy(job);
    job = parse("{after: extract, on: always, max_running: 3}");
    assert_int_equal(job->trigger.on, AFTER_ALWAYS);
    assert_int_equal(job->trigger.running_max, 3);
    job_destroy(job);
}

static void what_does_not_go_together(void **state)
{
    (void)state;
    expect("{}", "j.yaml:5: trigger: exactly one of queue, cron and after is expected");
    expect("{when: {count: 3}}",
           "j.yaml:5: trigger: exactly one of queue, cron and after is expected");
    expect("{queue: q, after: b}",
           "j.yaml:5: trigger.after: trigger.queue is given too; exactly one of queue, cron and "
           "after is expected");
    expect("daily", "j.yaml:5: trigger: expected a mapping, got 'daily'");
    expect("{cron: '@daily', when: 3}",
           "j.yaml:5: trigger.when: this option is only for trigger.queue");
    expect("{after: b, max_batch: 3}",
           "j.yaml:5: trigger.max_batch: this option is only for trigger.queue");
    expect("{cron: '@daily', max_running: 2}",
           "j.yaml:5: trigger.max_running: this option is only for trigger.queue and "
           "trigger.after; with trigger.cron it is 'overlap' that says so");
    expect("{queue: q, catchup: all}",
           "j.yaml:5: trigger.catchup: this option is only for trigger.cron");
    expect("{queue: q, on: failure}",
           "j.yaml:5: trigger.on: this option is only for trigger.after");
    expect("{queue: q, when: {count: 100}, max_batch: 10}",
           "j.yaml:5: trigger.max_batch: 10 is less than when.count, which is 100: a run must be "
           "able to get as many messages as it was waited for");
    expect("{queue: q, spool: in, redis: {list: l}}",
           "j.yaml:5: trigger.redis: trigger.spool is given too; a trigger has at most one source, "
           "and a queue may be fed by several triggers");
    expect("{queue: q, redis: {server: s}}",
           "j.yaml:5: trigger.redis: exactly one of list and stream is expected");
    expect("{queue: q, redis: {list: l, group: g}}",
           "j.yaml:5: trigger.redis.group: this option is only for trigger.redis.stream");
    expect("{queue: q, redis: {list: l, user: u}}",
           "j.yaml:5: trigger.redis.user: trigger.redis.password is missing");
    expect("{queue: q, redis: {list: l, password: {file: a, env: B}}}",
           "j.yaml:5: trigger.redis.password: expected exactly one of file, command and env, got "
           "several");
}

static void values_that_are_none(void **state)
{
    (void)state;
    expect("{queue: 'a b'}",
           "j.yaml:5: trigger.queue: expected a queue's name of at most 64 letters, digits, '.', "
           "'-' and '_', got 'a b'");
    expect("{queue: q, when: {count: 0}}",
           "j.yaml:5: trigger.when.count: expected at least 1, got '0'");
    expect("{queue: q, when: {age: 10ms}}",
           "j.yaml:5: trigger.when.age: expected 0.1 to 315360000 s, got '10ms'");
    expect("{queue: q, when: {size: 3}}",
           "j.yaml:5: trigger.when: unknown key 'size'; known keys here are count, bytes, age");
    expect("{cron: '  '}",
           "j.yaml:5: trigger.cron: cron expression: minute (field 1), position 3: it ends here; "
           "expected five fields: minute, hour, day of month, month, weekday");
    expect("{cron: '0 2 32 * *'}",
           "j.yaml:5: trigger.cron: cron expression: day of month (field 3), position 5: \"32\" is "
           "out of range; expected 1 to 31, or L for the last");
    expect("{cron: '0 2 30 2 *'}",
           "j.yaml:5: trigger.cron: cron expression: \"0 2 30 2 *\" never fires: no month of those "
           "given has such a day; change the day of month, the month or the weekday");
    expect("{cron: '@daily', overlap: never}",
           "j.yaml:5: trigger.overlap: expected skip or queue or allow, got 'never'");
    expect("{after: n}",
           "j.yaml:5: trigger.after: a job that starts after itself would never end; expected the "
           "name of another one");
    expect("{after: other/job.yaml}",
           "j.yaml:5: trigger.after: expected the name of a job (its key 'name', not its file), "
           "got 'other/job.yaml'");
    expect("{queue: q, redis: {list: l, tls: yes}}",
           "j.yaml:5: trigger.redis.tls: not available in this version");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_without_one_has_none),
        cmocka_unit_test(a_queue_and_its_threshold),
        cmocka_unit_test(a_queue_s_defaults),
        cmocka_unit_test(sources),
        cmocka_unit_test(cron_and_after),
        cmocka_unit_test(what_does_not_go_together),
        cmocka_unit_test(values_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
