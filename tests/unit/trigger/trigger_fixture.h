/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of triggers: a queues.db in a folder of its own, job files beside it. */
#ifndef MAYFLY_TESTS_UNIT_TRIGGER_TRIGGER_FIXTURE_H
#define MAYFLY_TESTS_UNIT_TRIGGER_TRIGGER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/queue/firing.h"
#include "master/record/sql.h"
#include "master/trigger/evaluate.h"
#include "master/trigger/row.h"

#define SECOND INT64_C(1000000)
#define NOW (INT64_C(1800000000) * SECOND)

struct fixture {
    char folder[64];
    struct queues *queues;
    struct mf_error error;
    struct trigger_fired fired; /* of the last one */
};

/* A call that must not fail; its value. */
#define OK(fixture, call)                                                                          \
    __extension__({                                                                                \
        int ok_rc = (call);                                                                        \
        if (ok_rc < 0)                                                                             \
            fail_msg("%s: %s", #call, (fixture)->error.text);                                      \
        ok_rc;                                                                                     \
    })

static inline int fixture_open(void **state)
{
    struct fixture *fixture = mf_calloc(1, sizeof *fixture);
    char path[96];
    snprintf(fixture->folder, sizeof fixture->folder, "/tmp/mayfly-trigger-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(path, sizeof path, "%s/queues.db", fixture->folder);
    OK(fixture, queues_open(path, true, &fixture->queues, &fixture->error));
    *state = fixture;
    return 0;
}

static inline int fixture_close(void **state)
{
    struct fixture *fixture = *state;
    char command[96];
    trigger_fired_fini(&fixture->fired);
    queues_close(fixture->queues);
    snprintf(command, sizeof command, "rm -r '%s'", fixture->folder);
    assert_int_equal(system(command), 0);
    mf_free(fixture);
    return 0;
}

#define IN(fixture) OK(fixture, queues_begin((fixture)->queues, &(fixture)->error))
#define OUT(fixture) OK(fixture, queues_commit((fixture)->queues, &(fixture)->error))

static inline int64_t make_queue(struct fixture *fixture, const char *name)
{
    const struct queue_settings settings = {0};
    int64_t id = 0;
    IN(fixture);
    OK(fixture, queue_create(fixture->queues, name, &settings, NOW, &id, &fixture->error));
    OUT(fixture);
    return id;
}

/* Writes NAME.yaml with that trigger; its path (heap). */
static inline char *
write_job(struct fixture *fixture, const char *name, const char *trigger, const char *more)
{
    char *path = mf_format("%s/%s.yaml", fixture->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "mayfly: 1\nname: %s\nsplit: {range: 1-3}\ntask: {shell: 'true'}\n%s\n%s",
            name,
            trigger,
            more);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Registers such a job: as trigger_row_install. */
static inline int
install(struct fixture *fixture, const char *name, const char *trigger, const char *more)
{
    char *path = write_job(fixture, name, trigger, more);
    const struct trigger_place place = {.job_path = path, .environment = "PATH=/bin\n"};
    struct job *job = job_load(path, NULL, 0, &fixture->error);
    if (job == NULL)
        fail_msg("%s", fixture->error.text);
    IN(fixture);
    int rc = trigger_row_install(fixture->queues, job, &place, NOW, &fixture->error);
    OUT(fixture);
    job_destroy(job);
    mf_free(path);
    return rc;
}

static inline void push(struct fixture *fixture, const char *queue, int count, int64_t now_us)
{
    struct queue_info info;
    const struct queue_message message = {.body = mf_bytes_text("12345678")};
    IN(fixture);
    OK(fixture, queue_find(fixture->queues, queue, &info, &fixture->error));
    for (int i = 0; i < count; i++)
        OK(fixture, queue_push(fixture->queues, &info, &message, now_us, &fixture->error));
    OUT(fixture);
}

/* Evaluates all; how many fired. */
static inline size_t evaluate(struct fixture *fixture, int64_t now_us)
{
    trigger_fired_fini(&fixture->fired);
    IN(fixture);
    OK(fixture, trigger_evaluate_all(fixture->queues, now_us, &fixture->fired, &fixture->error));
    OUT(fixture);
    return fixture->fired.count;
}

/* One integer of the file. */
static inline int64_t ask(struct fixture *fixture, const char *sql)
{
    int64_t value = -1;
    OK(fixture,
       sql_integer(fixture->queues->db, fixture->queues->path, sql, &value, &fixture->error));
    return value;
}

static inline void tell(struct fixture *fixture, const char *sql)
{
    OK(fixture, sql_exec(fixture->queues->db, fixture->queues->path, sql, &fixture->error));
}

#endif
