/* SPDX-License-Identifier: Apache-2.0 */
/* A job over a folder of its own, and its plan as text. */
#ifndef MAYFLY_TESTS_SPLIT_FIXTURE_H
#define MAYFLY_TESTS_SPLIT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/split/split.h"

struct split_test {
    char folder[64];
    struct mf_error error;
};

static inline int split_setup(void **state)
{
    struct split_test *test = calloc(1, sizeof *test);
    assert_non_null(test);
    const char *base = getenv("TMPDIR");
    snprintf(test->folder,
             sizeof test->folder,
             "%.30s/mayfly-split-XXXXXX",
             base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(test->folder));
    *state = test;
    return 0;
}

static inline int split_teardown(void **state)
{
    struct split_test *test = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", test->folder);
    assert_int_equal(system(command), 0);
    free(test);
    return 0;
}

static inline void
put_bytes(const struct split_test *test, const char *name, const void *data, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", test->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void put(const struct split_test *test, const char *name, const char *text)
{
    put_bytes(test, name, text, strlen(text));
}

/* A job of the test's folder with this split (in YAML's flow form). */
static inline struct job *split_job(struct split_test *test, const char *split)
{
    char text[1024];
    snprintf(text,
             sizeof text,
             "mayfly: 1\nprepare: 'true'\nsplit: %s\ntask: {command: ['true']}\n",
             split);
    struct job *job = job_parse("j.yaml", test->folder, mf_bytes_text(text), NULL, 0, &test->error);
    if (job == NULL)
        fail_msg("%s", test->error.text);
    return job;
}

/* The plan as text, a line a piece: "ITEM" or "ITEM@OFFSET+LENGTH(HEADER)". The error's sentence if
 * it fails. */
static inline char *plan_of(struct split_test *test, const char *split_text, bool with_places)
{
    struct job *job = split_job(test, split_text);
    struct mf_buffer out = {0};
    struct mf_subtask piece;
    uint64_t count = 0;
    int rc = -1;
    test->error = (struct mf_error){0};
    struct split *split = split_create(job, test->folder, &test->error);
    while (split != NULL && (rc = split_next(split, &piece, &test->error)) == 1) {
        assert_int_equal(piece.id, ++count);
        if (piece.has_number)
            assert_int_equal(mf_buffer_printf(&out, NULL, "%lld", (long long)piece.number), 0);
        assert_int_equal(mf_buffer_append(&out, piece.item.data, piece.item.length, NULL), 0);
        if (with_places)
            assert_int_equal(mf_buffer_printf(&out,
                                              NULL,
                                              "@%llu+%llu(%llu)",
                                              (unsigned long long)piece.offset,
                                              (unsigned long long)piece.length,
                                              (unsigned long long)piece.header_length),
                             0);
        assert_int_equal(mf_buffer_append(&out, "\n", 1, NULL), 0);
    }
    if (rc < 0)
        assert_int_equal(mf_buffer_append_text(&out, test->error.text, NULL), 0);
    char *text = strdup(mf_buffer_text(&out));
    assert_non_null(text);
    mf_buffer_fini(&out);
    split_destroy(split);
    job_destroy(job);
    return text;
}

static inline void expect_plan(struct split_test *test, const char *split, const char *wanted)
{
    char *got = plan_of(test, split, true);
    assert_string_equal(got, wanted);
    free(got);
}

static inline void expect_items(struct split_test *test, const char *split, const char *wanted)
{
    char *got = plan_of(test, split, false);
    assert_string_equal(got, wanted);
    free(got);
}

#endif
